"""Files of any exporter run; sizes and types that cannot be are said."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from onnx import TensorProto

from edgeailite.cost.latency import onnx_runner, onnx_session, random_inputs, torch_runner
from edgeailite.errors import DataError, UsageError
from tests.cost.latency.tiny import tiny_file


def test_a_foreign_file_runs(tmp_path):
    [logits] = onnx_runner(tiny_file(tmp_path / "tiny.onnx"), "onnxruntime", threads=1)()
    assert logits.shape == (1, 8, 64, 96)


def test_open_sizes_are_asked_for(tmp_path):
    path = tiny_file(tmp_path / "tiny.onnx", size=("height", "width"))
    [logits] = onnx_runner(path, "onnxruntime", threads=1, height_width=(40, 56))()
    assert logits.shape == (1, 8, 80, 112)
    with pytest.raises(UsageError, match=r"input image has the open size .* give --img_resize H W"):
        onnx_runner(path, "onnxruntime", threads=1)


def test_inputs_are_of_the_files_type(tmp_path):
    session = onnx_session(tiny_file(tmp_path / "tiny.onnx", element_type=TensorProto.UINT8), threads=1)
    pixels = random_inputs(session, None)["image"]
    assert (pixels.dtype, pixels.shape) == (np.uint8, (1, 3, 32, 48))
    assert pixels.max() > 200
    session = onnx_session(tiny_file(tmp_path / "int64.onnx", element_type=TensorProto.INT64), threads=1)
    with pytest.raises(UsageError, match=r"input image is tensor\(int64\)"):
        random_inputs(session, None)


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(DataError, match="no such ONNX file"):
        onnx_session(tmp_path / "none.onnx", threads=1)
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"bad\.onnx: onnxruntime cannot load it"):
        onnx_session(tmp_path / "bad.onnx", threads=1)


def test_openvino_is_asked_for_politely(tmp_path, monkeypatch):
    monkeypatch.setattr("edgeailite.runtime.openvino_session.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"--runtimes openvino: not installed; pip install openvino"):
        onnx_runner(tiny_file(tmp_path / "tiny.onnx"), "openvino", threads=1)


def test_a_file_that_openvino_refuses_is_named(tmp_path, monkeypatch):
    class Core:
        def read_model(self, path):
            raise RuntimeError("Unsupported operator\nat line 3")

    monkeypatch.setattr("edgeailite.runtime.openvino_session.find_spec", lambda name: True)
    monkeypatch.setitem(sys.modules, "openvino", SimpleNamespace(Core=Core))
    with pytest.raises(DataError, match=r"tiny\.onnx: OpenVINO cannot load it \(Unsupported operator at line 3\)"):
        onnx_runner(tiny_file(tmp_path / "tiny.onnx"), "openvino", threads=1)


def test_torch_runs_in_eval_mode():
    before = torch.get_num_threads()
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).train()
    result = torch_runner(model, (32, 48), threads=1)()
    assert (result.shape, model.training, torch.get_num_threads()) == ((1, 4, 30, 46), False, 1)
    torch.set_num_threads(before)
