"""Text files that somebody else may have written, each read by its own reader: one line that names the file."""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeailite.cli import parse
from edgeailite.compat.ade20k_reading import read
from edgeailite.cost.accuracies import read_accuracies
from edgeailite.cost.device_times import read_times
from edgeailite.cost.devices import load_profile
from edgeailite.cost.devices.profile import FOLDER
from edgeailite.distributed import ALONE
from edgeailite.errors import DataError, EdgeailiteError
from edgeailite.files import write_result
from edgeailite.quantization.plan_files import read_plan
from edgeailite.report.analysis_page import of_folder
from edgeailite.report.facts import curves_of, marks_of, read_mapping, training_rows
from edgeailite.report.reproduce import commands_of
from edgeailite.runs.resume import device_of, goes_on

NETWORK = "unet_aspp_mobilenetv2_tv_edgeailite"
ROW = {"name": "a", "kind": "weights", "sqnr_db": {"segmentation": 30.0}, "drop": {"miou": 0.5}}
PLAN = {"format": 1, "scheme": "ort_u8s8", "weights": {"a": 16}, "activations": {}}
BENCH = {"models": [{"model": "a", "runtime": "onnxruntime", "minimum_ms": 1.5, "size": [64, 96], "operators": []}]}


def config_of(path: Path) -> object:
    return parse("train", ["--config", str(path)])


# name of the file, reader, what it reads
READERS: dict[str, tuple[str, Callable[[Path], object], Any]] = {
    "--config": ("a.yaml", config_of, {"epochs": 3, "img_resize": [64, 96], "data_path": "x"}),
    "device": ("a.yaml", lambda path: load_profile(str(path)), yaml.safe_load((FOLDER / "tda4vm.yaml").read_text())),
    "plan": ("plan.json", lambda path: read_plan(path, scheme="ort_u8s8"), PLAN),
    "results": ("a.json", read_accuracies, [{"network": NETWORK, "miou": 50.0, "size": [64, 96], "data": "x"}]),
    "times": ("a.json", read_times, BENCH),
    "analysis": (
        "sensitivity.json",
        lambda path: of_folder(path.parent),
        {"scheme": "ort_u8s8", "sections": [{**ROW, "kind": "section"}], "layers": [ROW]},
    ),
    "options of a run": ("config.yaml", read_mapping, {"epochs": 3, "milestones": [1, 2]}),
    "record of a run": ("env.json", read_mapping, {"commit": "0123abc"}),
    "published settings": (
        "a.yaml",
        lambda path: read("train", ["--cfg", str(path)]),
        {"DIR": "ckpt", "TRAIN": {"num_epoch": 3, "lr_encoder": 0.02}, "DATASET": {"imgSizes": [300, 375]}},
    ),
}
LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{c}: &{c} [{','.join(['*' + p] * 10)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
)
TEXTS: dict[str, bytes] = {
    "empty list": b"[]",
    "number": b"3",
    "text": b"x",
    "null": b"null",
    "not UTF-8": b"\xff\xfe\x00a",
    "NUL": b"\0" * 50,
    "deep list": b"[" * 20_000,
    "deep mapping": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "digits": b"1" * 10_000,
    "digits of a value": b'{"epochs": ' + b"1" * 10_000 + b"}",
    "laughs": LAUGHS.encode(),
    "holds itself": b"a: &a [*a]",
    "tag": b"a: !!python/object/apply:os.system [ls]",
    "date": b"a: 2020-13-45",
    "two documents": b"a: 1\n---\nb: 2\n",
    "list as a name": b"? [a]\n: 1\n",
    "numbers as names": b"1: 2\n3: 4\n",
    "cut": b'{"a": [1, 2',
    "cells": b"model,ms\n" + b"x" * 200_000 + b",1\n",
}
SECONDS = 10.0


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("kind", READERS)
def test_text_that_is_none_of_the_kind(tmp_path, kind, text):
    name, reader, _ = READERS[kind]
    (tmp_path / name).write_bytes(TEXTS[text])
    in_one_line(reader, tmp_path / name)


@pytest.mark.parametrize("kind", READERS)
def test_files_that_never_end_or_begin(tmp_path, kind):
    name, reader, _ = READERS[kind]
    path = tmp_path / name
    path.symlink_to("/dev/zero")
    in_one_line(reader, path)
    path.unlink()
    os.mkfifo(path)
    in_one_line(reader, path)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(1 << 40)
    in_one_line(reader, path)


VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    1e400,
    float("nan"),
    10**400,
    "x",
    "\x1b[2J\nerror: y",
    [],
    [[]],
    {},
    {"a": 1},
    2**70,
]


@pytest.mark.filterwarnings("ignore:constrained_layout not applied|Attempting to set identical")  # one bar alone
@pytest.mark.parametrize("kind", READERS)
def test_every_value_replaced_by_every_other(tmp_path, kind):
    name, reader, whole = READERS[kind]
    path = tmp_path / name
    write(path, whole)
    assert reader(path) is not None
    tried = 0
    for damaged in replaced(whole):
        tried += 1
        write(path, damaged)
        if in_one_line(reader, path) is None and kind in ("options of a run", "record of a run"):
            used(tmp_path, read_mapping(path))
    assert tried > 10


def write(path: Path, values: Any) -> None:
    text = json.dumps(values) if path.suffix == ".json" else yaml.safe_dump(values, allow_unicode=True)
    path.write_text(text)


def replaced(values: Any) -> Iterator[Any]:
    """Copies in which one value, at any depth, is another one or gone."""
    for place in places(values):
        for value in [*VALUES, places]:
            damaged = copy.deepcopy(values)
            parent = damaged
            for key in place[:-1]:
                parent = parent[key]
            if value is not places:
                parent[place[-1]] = value
            else:
                del parent[place[-1]]
            yield damaged


def places(values: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """A few places of long lists and mappings, all of short ones."""
    if isinstance(values, dict | list):
        keys = list(values) if isinstance(values, dict) else list(range(len(values)))
        for key in keys[: 12 if len(above) == 0 else 3]:
            yield (*above, key)
            yield from places(values[key], (*above, key))


def in_one_line(reader: Callable[[Path], object], path: Path) -> str | None:
    """The message of the error that the file gives; None for a file that is read."""
    began = time.perf_counter()
    message = None
    try:
        reader(path)
    except EdgeailiteError as error:
        message = str(error)
        assert path.name in message or "--" in message, message
        assert error.exit_code in (2, 3)
        assert len(message) < 1500 + len(str(path))
    assert time.perf_counter() - began < SECONDS
    return message


def used(folder: Path, values: dict[str, Any]) -> None:
    """All that a report makes of the options of a run."""
    marks_of(values)
    training_rows([{"epoch": "1", "loss": "1"}], values, weights="last.pt")
    found = commands_of(folder, values, None, commit=values.get("commit"))
    assert all(line.isprintable() for line in found)


@pytest.mark.parametrize("text", TEXTS)
def test_going_on_beside_records_that_are_none(tmp_path, monkeypatch, text):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "job")
    (tmp_path / "last.pt").touch()
    for name in ("env.json", "config.yaml"):
        (tmp_path / name).write_bytes(TEXTS[text])
    assert not goes_on(tmp_path, ALONE)
    assert device_of("auto", tmp_path) == "auto"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e308", "-1e308", "x", "", "0", "1" * 5000])
def test_curves_of_any_numbers(value):
    rows = [{"epoch": "1", "lr": value, "loss": value, "miou": value, "seconds": value}, {"epoch": "999999999"}]
    found = curves_of(rows, {})
    assert found is not None
    assert found[0].startswith(b"\x89PNG")
    training_rows(rows, {}, weights="last.pt")


def test_results_are_whole_or_not_there(tmp_path, monkeypatch):
    victim, path = tmp_path / "victim", tmp_path / "deep" / "a.txt"
    victim.write_text("mine")
    path.parent.mkdir()
    (path.parent / "a.txt.partial").symlink_to(victim)
    write_result(path, "one", "output")
    assert (path.read_text(), victim.read_text()) == ("one", "mine")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(
        DataError, match=r"a\.txt: cannot be written \(No space left on device\); choose another --output"
    ):
        write_result(path, "two", "output")
    assert (path.read_text(), len(list(path.parent.iterdir()))) == ("one", 2)


def test_a_result_may_go_to_a_device():
    write_result(Path("/dev/null"), "x", "output")
