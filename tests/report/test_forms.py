"""The table of forms, with made-up tallies instead of networks."""

import numpy as np
import pytest
import torch

from edgeailite.errors import DataError
from edgeailite.evaluation import ClassTally, DepthTally
from edgeailite.metrics import DepthSums
from edgeailite.modelcard import ModelCard
from edgeailite.preprocessing import Preprocessing
from edgeailite.report import forms as forms_module
from edgeailite.report.forms import Conditions, forms_of, quantization_rows
from edgeailite.runs.open import OpenModel

CARD = ModelCard("m", {"segmentation": 2}, ("a", "b"), ((0, 0, 0),) * 2, Preprocessing(32, 32), "streets")


def tally(right: int):
    return {"segmentation": ClassTally(np.array([[right, 100 - right], [0, 100]]), np.zeros((2, 2), np.int64))}


def forms(tmp_path, monkeypatch, *, kind="quantized", proven=(), exact=False, before=None, opens=None):
    def opened(path, *, integer_exact_mode, **_):
        if opens is not None:
            raise opens
        return OpenModel(CARD, tally(90 if path.suffix else 80 + 5 * integer_exact_mode), "float", tmp_path, None)

    monkeypatch.setattr(forms_module, "open_model", opened)
    monkeypatch.setattr(forms_module, "measure", lambda model, source: model.predict)
    run = OpenModel(CARD, None, kind, tmp_path, None)
    measuring = Conditions(None, torch.device("cpu"), None, CARD.outputs, exact=exact)
    head, rows, tallies = forms_of(run, tmp_path, tally(70), before=before, proven=proven, conditions=measuring)
    assert head == ["mIoU, %", "pixel accuracy, %"]
    return {row.name: row.note or row.cells[1] for row in rows}, tallies


def test_differences_to_the_float_network(tmp_path, monkeypatch):
    (tmp_path / "model_int8.onnx").touch()
    found, tallies = forms(tmp_path, monkeypatch, before=str(tmp_path), exact=True)
    assert found == {
        "float, torch": "90.00",
        "fake-quantized, torch": "85.00 (-5.00)",
        "integer-exact, torch": "92.50 (+2.50)",
        "model_int8.onnx, onnxruntime": "95.00 (+5.00)",
    }
    assert len(tallies) == 4


def test_what_is_not_measured_is_said(tmp_path, monkeypatch):
    found, tallies = forms(tmp_path, monkeypatch)
    assert "does not say" in found["float, torch"]
    assert "--forms all" in found["integer-exact, torch"]
    assert "edgeailite export" in found["model_int8.onnx, onnxruntime"]
    assert list(tallies) == ["fake-quantized, torch"]
    found, _ = forms(tmp_path, monkeypatch, proven=["model_int8.onnx"], before=str(tmp_path / "gone"))
    assert "in every bit" in found["integer-exact, torch"]
    assert "gone is not there" in found["float, torch"]


def test_a_tflite_file_adds_itself_and_what_microcontrollers_compute(tmp_path, monkeypatch):
    (tmp_path / "model_int8.tflite").touch()
    found, _ = forms(tmp_path, monkeypatch, exact=True)
    assert found["model_int8.tflite, LiteRT"] == "95.00"
    assert found["integer-exact, tflite_reference"] == "92.50"
    found, _ = forms(tmp_path, monkeypatch, proven=["model_int8.tflite"])
    assert "in LiteRT's reference kernels in every bit" in found["integer-exact, tflite_reference"]
    found, _ = forms(tmp_path, monkeypatch, kind="float")
    assert "model_int8.tflite, LiteRT" not in found


def test_a_form_that_fails_does_not_spoil_the_report(tmp_path, monkeypatch):
    (tmp_path / "model.onnx").touch()
    found, _ = forms(tmp_path, monkeypatch, kind="float", opens=DataError("model.onnx: not an ONNX file"))
    assert found == {"float, torch": "85.00", "model.onnx, onnxruntime": "model.onnx: not an ONNX file"}


def test_columns_of_several_outputs():
    several = {**tally(70), "depth": DepthTally((DepthSums(1.0, 4.0, 10),))}
    assert forms_module._values(several) == pytest.approx(
        {"segmentation mIoU, %": 72.4637681, "segmentation pixel accuracy, %": 85.0, "depth ARD, %": 10.0}, abs=1
    )


def test_what_was_done():
    how = {"percentile": 99.9, "scheme": "ort_u8s8", "observer": "mse", "method": "calibration", "equalize": True}
    assert quantization_rows(how) == [
        ("method", "calibration after training"),
        ("scheme", "ort_u8s8"),
        ("observer", "mse"),
        ("equalize", "yes"),
    ]
    plan = {"weights": {"a": 4, "b": 4, "c": 16}, "activations": {}}
    assert quantization_rows({"plan": plan}) == [
        ("plan: weights of 4 bits", "2: a, b"),
        ("plan: weights of 16 bits", "1: c"),
    ]
    assert quantization_rows({"plan": {}})[0][1] == "every layer as the scheme says"
