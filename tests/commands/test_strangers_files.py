"""ONNX files of strangers through the verbs: one line, exit code 3, in time, and nothing of theirs is written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from edgeailite.data.files.images import write_png
from tests.onnxfile.made import CONV, WEIGHT, loop, model, own, quantized


def tile() -> bytes:
    node = helper.make_node("Tile", ["image", "r"], ["segmentation"])
    return own(model([node], {"r": np.array([1, 1, 1000, 1000], np.int64)}))


STOLEN = json.dumps({"session.collect_node_memory_stats_to_file": "stolen"})
FILES = {  # what the message names
    "settings": (lambda: own(edgeailite_session=STOLEN), "edgeailite.session"),
    "loop": (lambda: own(loop(2**62)), "Loop"),
    "tile": (tile, "Tile"),
    "weight of NaN": (lambda: own(model(CONV, {"w": np.full((4, 3, 3, 3), np.nan, np.float32)})), "w: 108 of 108"),
    "scale of 0": (lambda: own(quantized(scale=0)), "scale of 0"),
    "gray": (lambda: own(channel_order="GRAY"), "channel_order"),
    "names of others": (lambda: own(classes="a,b,c,d"), "classes"),
    "no protocol buffer": (lambda: b"\xff" * 99, "cannot be read as ONNX"),
}
RUNNING = {
    "infer": lambda path, picture: ("infer", path, picture, "--save_path", path.parent / "out"),
    "validate": lambda path, picture: ("validate", path),
    "compare": lambda path, picture: ("compare", path, path),
    "report": lambda path, picture: ("report", path),
}


def place(tmp_path: Path, data: bytes) -> tuple[Path, Path]:
    path, picture = tmp_path / "model.onnx", tmp_path / "street.png"
    path.write_bytes(data)
    write_png(picture, np.zeros((40, 40, 3), np.uint8))
    return path, picture


@pytest.mark.parametrize("verb", RUNNING)
@pytest.mark.parametrize("kind", FILES)
def test_verbs_that_run_an_exported_file(command, tmp_path, verb, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make, named = FILES[kind]
    path, picture = place(tmp_path, make())
    ended = command(*RUNNING[verb](path, picture))
    assert (ended.code, ended.err.count("\n")) == (3, 1), ended
    assert str(path) in ended.err
    assert named in ended.err
    assert not (tmp_path / "stolen").exists()


@pytest.mark.parametrize("kind", FILES)
def test_verbs_that_measure_any_file(command, tmp_path, kind, monkeypatch):
    monkeypatch.setattr("edgeailite.runtime.trial.SECONDS", 5)
    make, named = FILES[kind]
    path, _ = place(tmp_path, make())
    for verb in ("bench", "complexity"):
        ended = command(verb, path)
        if (verb, kind) == ("complexity", "tile"):  # costs of a graph are counted, nothing is run
            assert ended.code == 0
            continue
        assert (ended.code, ended.err.count("\n")) == (3, 1), ended
        assert str(path) in ended.err
        assert named in ended.err or "takes more than 5 s" in ended.err


def test_outputs_that_are_not_finite_are_said(command, tmp_path):
    nodes = [
        helper.make_node("Mul", ["image", "large"], ["a"]),
        helper.make_node("Mul", ["a", "large"], ["b"]),
        helper.make_node("Conv", ["b", "w"], ["segmentation"], pads=[1] * 4),
    ]
    path, picture = place(tmp_path, own(model(nodes, {"large": np.float32(3e38), **WEIGHT})))
    ended = command("infer", path, picture, "--save_path", tmp_path / "out")
    assert (ended.code, ended.err.count("\n")) == (3, 1), ended
    assert "values are not finite" in ended.err


def test_names_of_nodes_neither_move_the_cursor_nor_end_a_table(command, tmp_path):
    name = "a\x1b[2J\n[/b][link=x]:smile:"
    node = helper.make_node("Conv", ["image", "w"], ["segmentation"], name=name, pads=[1] * 4)
    path, _ = place(tmp_path, model([node], WEIGHT).SerializeToString())
    for words in (("complexity", path), ("bench", path, "--rounds", 1, "--warmup", 1, "--operators", 2)):
        ended = command(*words)
        assert ended.code == 0, ended.err
        assert "\x1b" not in ended.out
        assert words[0] == "bench" or r"a\x1b[2J\n[/b][link=x]:smile:" in ended.out
