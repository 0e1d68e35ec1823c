"""The re-check of a contract step by step, with a file whose answers are given; real files: tests/export."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeailite.environment import machine_arithmetic
from edgeailite.errors import DataError, ParityError
from edgeailite.preprocessing import preprocess
from edgeailite.runtime import contract as module
from edgeailite.runtime.contract import PROVEN_LEVELS, Golden, Layer, first_departure, recheck
from edgeailite.runtime.contract_file import BASE, FORMAT
from edgeailite.runtime.machine import here
from tests.export.toy import toy_card

CARD = replace(toy_card(), outputs={"scores": 5, "depth": 1})
PICTURE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
IMAGE = preprocess(PICTURE, CARD.preprocessing)
SCORES = np.random.default_rng(1).normal(size=(1, 5, 32, 48)).astype(np.float32)
DEPTH = np.random.default_rng(2).normal(size=(1, 1, 32, 48)).astype(np.float32)
FIRST = np.random.default_rng(3).integers(0, 256, (1, 6, 9, 7)).astype(np.uint8)
SECOND = np.random.default_rng(4).integers(0, 256, (1, 8, 9, 7)).astype(np.uint8)
ANSWERS = {"scores": SCORES, "depth": DEPTH}
INNER = {"first": FIRST, "second": SECOND}
DATA = b"a file"


def contract(kind: str = "int8", *, layers: dict[str, np.ndarray] = INNER, **changes: Any) -> dict[str, Any]:
    inner = tuple((Layer(name, (f"{name}.conv",)), value) for name, value in layers.items())
    golden = Golden((PICTURE,), (IMAGE,), ANSWERS, inner).to_dict()
    values = {"format": FORMAT, "kind": kind, "sha256": hashlib.sha256(DATA).hexdigest(), "golden": [golden]}
    card = module.described(CARD)
    return json.loads(json.dumps(values | {"card": card, "preprocessing": card["preprocessing"]} | changes))


class File:
    """Stands for a file and its sessions: what it is, and what it gives at each level."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, *, kind: str = "int8", wide: bool = False
    ) -> None:
        self.path = folder / "model.onnx"
        self.path.write_bytes(DATA)
        self.kind, self.metadata = kind, {"edgeailite.wide": "[]"} if wide else {}
        self.answers = {level: dict(ANSWERS) for level in PROVEN_LEVELS}
        self.inner = dict(INNER)
        self.card = CARD
        monkeypatch.setattr(module, "load_onnx", lambda file, threads, level: self.model(level))
        monkeypatch.setattr(module, "run", lambda model, *_: self.answers[model.level])
        monkeypatch.setattr(module, "tensors", self._tensors)

    def _tensors(self, data: bytes, names: list[str], *_: Any, **__: Any) -> dict[str, np.ndarray]:
        assert data == DATA
        return {name: self.inner[name] for name in names if name in self.inner}

    def model(self, level: str = "ALL") -> Any:
        session = SimpleNamespace(
            get_modelmeta=lambda: SimpleNamespace(custom_metadata_map=self.metadata),
            get_outputs=lambda: [SimpleNamespace(name=name) for name in self.answers["ALL"]],
        )
        return SimpleNamespace(card=self.card, kind=self.kind, session=session, level=level)

    def off(self, output: str, by: float, *, level: str | None = None, count: int | None = None) -> None:
        """Add to the first values of an output."""
        for name in PROVEN_LEVELS if level is None else (level,):
            changed = self.answers[name][output].copy()
            changed.ravel()[:count] += np.float32(by)
            self.answers[name][output] = changed


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> File:
    return File(monkeypatch, tmp_path)


def test_what_it_says_of_an_honest_file(file):
    results = recheck(file.path, contract())
    assert results == {
        "pictures": 1, "sha256": hashlib.sha256(DATA).hexdigest(), "same_file": True,
        "EXTENDED": {"equal_argmax": 1.0}, "ALL": {"equal_argmax": 1.0},
        "proven": "", "here": here(), "arithmetic": machine_arithmetic(), "expected": BASE,
        "same_as_x86": True,
    }  # fmt: skip


def test_another_file_is_refused_by_its_hash_unless_that_is_left_out(file):
    other = contract(sha256="0" * 64)
    with pytest.raises(ParityError, match=r"sha256 .* but the contract is for 0000000000000000"):
        recheck(file.path, other)
    assert recheck(file.path, other, skip_hash=True)["same_file"] is False


@pytest.mark.parametrize("level", PROVEN_LEVELS)
def test_one_bit_at_one_level_is_a_departure_of_an_int8_file(level, file):
    file.off("depth", 1e-6, level=level, count=1)
    with pytest.raises(ParityError, match=f"departs first at output depth.*{level}: argmax equal on 100.000 %"):
        recheck(file.path, contract())


def test_a_float_file_may_differ_by_rounding_and_no_more(monkeypatch, tmp_path):
    for by, holds in ((1e-6, True), (0.01, False)):
        file = File(monkeypatch, tmp_path, kind="float")
        file.off("depth", by)
        if holds:
            recheck(file.path, contract("float"))
        else:
            with pytest.raises(ParityError, match="departs first at output depth"):
                recheck(file.path, contract("float"))
    file = File(monkeypatch, tmp_path, kind="float")
    file.off("scores", 9.0, count=20)  # of the first class: labels
    with pytest.raises(ParityError, match="departs first at output scores"):
        recheck(file.path, contract("float"))


@pytest.mark.parametrize(
    ("output", "by", "count", "holds"),
    [
        ("scores", 9.0, 14, True),  # labels of less than 1 % of 1536 pixels
        ("scores", 9.0, 40, False),
        ("depth", 0.05, None, True),
        ("depth", 0.2, None, False),
    ],
)
def test_a_wide_file_gives_most_labels_and_near_values(output, by, count, holds, monkeypatch, tmp_path):
    file = File(monkeypatch, tmp_path, wide=True)
    file.off(output, by, count=count)
    values = contract(exact=False)
    if holds:
        results = recheck(file.path, values)
        assert results["exact"] is False
        assert (results["ALL"]["equal_argmax"] < 1) == (output == "scores")
    else:
        with pytest.raises(ParityError, match=f"departs first at output {output}"):
            recheck(file.path, values)


def test_the_least_share_of_labels_is_what_is_said(monkeypatch, tmp_path):
    file = File(monkeypatch, tmp_path, wide=True)
    file.off("scores", 9.0, count=10)
    values = contract(exact=False)
    exact = json.loads(json.dumps(values["golden"][0]))
    values["golden"].append(exact)
    shares = iter([1.0, 0.995, 1.0, 0.995])
    monkeypatch.setattr(module, "equal_labels", lambda value, known: next(shares) if value.shape[1] == 5 else None)
    monkeypatch.setattr(module, "_output_holds", lambda *_: True)
    assert recheck(file.path, values)["ALL"]["equal_argmax"] == 0.995


def test_which_promise_is_checked_follows_from_the_file(monkeypatch, tmp_path):
    file = File(monkeypatch, tmp_path)
    with pytest.raises(DataError, match="kind: expected int8"):
        recheck(file.path, contract("float"))
    with pytest.raises(DataError, match="exact: expected true"):
        recheck(file.path, contract(exact=False))
    floats = File(monkeypatch, tmp_path, kind="float")
    floats.path.write_bytes(DATA + module.QUANTIZER)
    with pytest.raises(DataError, match="float, but it has quantizers"):
        recheck(floats.path, contract("float"), skip_hash=True)


def test_every_output_of_the_file_must_be_in_the_contract_and_the_other_way_round(file):
    values = contract()
    del values["golden"][0]["outputs"]["depth"]
    with pytest.raises(DataError, match=r"outputs: expected all of .*'depth' is missing"):
        recheck(file.path, values)
    for answers in file.answers.values():
        del answers["depth"]
    with pytest.raises(ParityError, match="output 'depth' is missing; the file has scores"):
        recheck(file.path, contract())


@pytest.mark.parametrize("key", ["std", "labels", "sample"])
def test_a_contract_may_say_nothing_else_of_an_output_that_has_its_bits(key, file):
    values = contract()
    known = values["golden"][0]["outputs"]["scores"]
    if key == "std":
        known["std"] *= 1.02
    elif key == "sample":
        known["sample"][5] += 0.1
    else:
        labels = SCORES.argmax(1).astype(np.uint8)
        labels[0, 3, 4] = (labels[0, 3, 4] + 1) % 5
        known["labels"] = module._pack(labels)
    with pytest.raises(DataError, match=f"contract: golden 0: scores: {key}: expected"):
        recheck(file.path, values)


def test_another_preprocessing_or_card_is_named(file):
    values = contract()
    values["preprocessing"]["mean"][0] = 127.0
    with pytest.raises(DataError, match=r"preprocessing: mean: expected \[128.0"):
        recheck(file.path, values)
    values = contract()
    values["card"]["classes"][0] = "other"
    with pytest.raises(ParityError, match=r"classes\[0\]: the file has 'class 0', the contract 'other'"):
        recheck(file.path, values)
    file.card = replace(CARD, preprocessing=replace(CARD.preprocessing, channel_order="BGR"))
    with pytest.raises(ParityError, match=r"departs first at image .preprocessing: .*BGR"):
        recheck(file.path, contract())


def place(file: File, values: dict[str, Any] | None = None, *, kind: str = "int8") -> str | None:
    golden = (values or contract(kind))["golden"][0]
    return first_departure(DATA, file.model(), golden, kind=kind)


def test_the_first_tensor_that_departs_is_named_with_its_nodes(file):
    assert place(file) is None
    file.off("scores", 1.0, count=3)
    assert place(file) == "output scores, behind the last of 2 inner tensors, which agree"
    file.inner["second"] = SECOND ^ 1
    assert place(file) == "second.conv (tensor second)"
    file.inner["first"] = FIRST.copy()
    file.inner["first"][0, 0, 0, 0] ^= 1
    assert place(file) == "first.conv (tensor first)"
    del file.inner["first"]
    assert place(file) == "first.conv: tensor first is missing in the file"


def test_rounding_is_no_departure_of_a_float_file_but_it_is_of_an_int8_one(file):
    file.off("scores", 1e-6)
    assert place(file, kind="float") is None
    assert place(file) == "output scores, behind the last of 2 inner tensors, which agree"
    file.off("scores", 1.0)
    floats = {"first": DEPTH, "second": SCORES}
    file.inner = {name: value + np.float32(1e-6) for name, value in floats.items()}
    values = contract(layers=floats)
    assert place(file, values, kind="float") == "output scores, behind the last of 2 inner tensors, which agree"
    assert place(file, values) == "first.conv (tensor first)"


def test_a_rounded_input_departs_in_any_kind_of_file(file):
    values = contract("float")
    values["golden"][0]["images"][0]["sha256"] = "0" * 64
    assert str(place(file, values, kind="float")).startswith("image (preprocessing: ")
    int8 = contract()
    int8["golden"][0]["images"][0]["sha256"] = "0" * 64
    with pytest.raises(ParityError, match=r"departs first at image \(preprocessing: "):
        recheck(file.path, int8)


def test_channels_of_zeros_behind_a_tensor_s_own_are_no_departure(file):
    file.off("scores", 1.0, count=3)
    file.inner["first"] = np.pad(FIRST, ((0, 0), (0, 10), (0, 0), (0, 0)))
    assert place(file) == "output scores, behind the last of 2 inner tensors, which agree"
    file.inner["first"] = np.pad(FIRST, ((0, 0), (10, 0), (0, 0), (0, 0)))
    assert place(file) == "first.conv (tensor first)"
