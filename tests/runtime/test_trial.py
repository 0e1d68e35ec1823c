"""Files of others are run by a child with limits first."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from edgeailite.errors import DataError
from edgeailite.runtime.trial import check_file
from tests.onnxfile.made import CONV, WEIGHT, loop, model, own, quantized


def put(tmp_path, made):
    path = tmp_path / "made.onnx"
    path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    return path


def test_an_honest_file_of_somebody_else(tmp_path):
    assert not check_file(put(tmp_path, model(CONV, WEIGHT)), height_width=None, threads=1).is_own
    check_file(put(tmp_path, model(CONV, WEIGHT, shape=(1, 3, "H", "W"))), height_width=(32, 48), threads=1)


def test_a_file_of_ours_is_checked_instead(tmp_path, monkeypatch):
    monkeypatch.setattr("edgeailite.runtime.trial.try_file", lambda *words, **more: pytest.fail("was tried"))
    assert check_file(put(tmp_path, own()), height_width=None, threads=1).is_own
    with pytest.raises(DataError, match="mean"):
        check_file(put(tmp_path, own(mean="[0, 0, 0]")), height_width=None, threads=1)


def test_a_file_of_ours_that_another_tool_went_on_with_is_tried(tmp_path, monkeypatch):
    tried = []
    monkeypatch.setattr("edgeailite.runtime.trial.try_file", lambda file, **more: tried.append(file.name))
    check_file(put(tmp_path, own(quantized(), edgeailite_kind="float")), height_width=None, threads=1)
    assert tried == [str(tmp_path / "made.onnx")]


def test_a_loop_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr("edgeailite.runtime.trial.SECONDS", 4)
    with pytest.raises(DataError, match=r"made\.onnx: takes more than 4 s to load and to run once"):
        check_file(put(tmp_path, loop(2**62)), height_width=None, threads=1)


def test_more_memory_than_a_network_takes(tmp_path):
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["c"]),
        helper.make_node("ReduceMax", ["c"], ["m"], keepdims=0),
        helper.make_node("Add", ["image", "m"], ["segmentation"]),
    ]
    path = put(tmp_path, model(nodes, {"s": np.array([100_000, 100_000], np.int64)}))
    with pytest.raises(DataError, match=r"takes more than \d+ MB of memory for one picture"):
        check_file(path, height_width=None, threads=1)


def test_what_onnxruntime_says_of_a_run_that_fails(tmp_path):
    nodes = [helper.make_node("Gather", ["image", "far"], ["segmentation"])]
    path = put(tmp_path, model(nodes, {"far": np.array([7], np.int64)}))
    with pytest.raises(
        DataError, match=r"made\.onnx: onnxruntime cannot run it \(.*indices element out of data bounds"
    ):
        check_file(path, height_width=None, threads=1)
