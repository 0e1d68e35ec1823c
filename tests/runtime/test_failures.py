"""What a runtime says when it fails keeps its reason; outputs that are not finite are an error."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from edgeailite.errors import DataError
from edgeailite.runtime import load_onnx, run, run_picture
from edgeailite.runtime.failures import check_finite, reason_of, run_session, said
from tests.onnxfile.made import CONV, SIZE, WEIGHT, model, own

NEWER = (
    "[ONNXRuntimeError] : 1 : FAIL : Load model from /a/very/long/path/model.onnx failed:/onnxruntime_src/onnxruntime"
    "/core/graph/model.cc:186 onnxruntime::Model::Model(onnx::ModelProto&&, const onnxruntime::PathString&, const "
    "onnxruntime::IOnnxRuntimeOpSchemaRegistryList*, const onnxruntime::logging::Logger&, const "
    "onnxruntime::ModelOptions&) Unsupported model IR version: 10, max supported IR version: 9\n"
)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (NEWER, "Unsupported model IR version: 10, max supported IR version: 9"),
        ("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : a\n  b", "a b"),
        ("x \x1b[31mred\x07", r"x \x1b[31mred\x07"),
        ("", "ValueError"),
        ("ends f.cc:12 name(with (brackets)", "ends name(with (brackets)"),
        ("y" * 1000, "y" * 399 + "…"),
    ],
)
def test_the_reason_comes_first_and_whole(message, reason):
    assert reason_of(ValueError(message)) == reason


def test_a_failure_is_one_line_with_the_files_name():
    with pytest.raises(DataError, match=r"^a\.onnx: cannot load it \(no b\)$"), said("a.onnx: cannot load it"):
        raise RuntimeError("no\nb")
    with pytest.raises(KeyboardInterrupt), said("a.onnx"):
        raise KeyboardInterrupt


def test_onnxruntimes_own_refusal_has_its_reason(capfd):
    nodes = [helper.make_node("Conv", ["image", "w"], ["segmentation"], auto_pad="\x1b[31mODD", pads=[1] * 4)]
    with pytest.raises(DataError, match="ONNX model: onnxruntime cannot load it") as error:
        load_onnx(own(model(nodes, WEIGHT)))
    assert "AutoPadType" in str(error.value)
    assert str(error.value).isprintable()
    assert capfd.readouterr() == ("", ""), "its log has the names of the file as they are"


def test_a_run_that_fails_names_the_file(monkeypatch):
    opened = load_onnx(own())
    monkeypatch.setattr(type(opened.session), "run", lambda *words: (_ for _ in ()).throw(RuntimeError("bad_alloc")))
    with pytest.raises(DataError, match=r"ONNX model: onnxruntime cannot run it \(bad_alloc\)"):
        run(opened, np.zeros((1, 3, *SIZE), np.float32))


def test_outputs_that_are_not_finite_are_an_error():
    nodes = [
        helper.make_node("Mul", ["image", "large"], ["a"]),
        helper.make_node("Mul", ["a", "large"], ["b"]),
        helper.make_node("Conv", ["b", "w"], ["segmentation"], pads=[1] * 4),
    ]
    opened = load_onnx(own(model(nodes, {"large": np.float32(3e38), **WEIGHT})))
    with pytest.raises(DataError, match=r"ONNX model: output segmentation: \d+ of 6144 values are not finite"):
        run_picture(opened, np.full((32, 48, 3), 7, np.uint8))


def test_large_sums_are_no_infinity():
    check_finite({"a": np.full((4, 4), 3e38, np.float32), "b": np.array([1, 2])}, where="x")
    with pytest.raises(DataError, match="x: output a: 1 of 2 values"):
        check_finite({"a": np.array([np.nan, 1])}, where="x")


def test_an_honest_file_runs():
    [result] = run_picture(load_onnx(own(model(CONV, WEIGHT))), np.zeros((20, 30, 3), np.uint8)).values()
    assert result.shape == (1, 4, *SIZE)


def test_no_names_are_no_outputs():
    """By itself onnxruntime gives all outputs then."""
    assert run_session(None, {}, [], where="a.onnx") == {}
