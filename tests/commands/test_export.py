"""`export --target`: which files are written, what is said of them, and what is refused."""

from __future__ import annotations

import re
import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import onnx
import pytest

from edgeailite.commands import export
from edgeailite.runtime import load_onnx
from tests.examples.test_camera import ALONE as CAMERA_ALONE
from tests.export.toy import toy_card, toy_quantized


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """A run folder whose network is a small one, quantized with the scheme that is asked for."""

    def open_as(scheme: str):
        checkpoint = SimpleNamespace(card=toy_card(), quantization={"scheme": scheme})
        monkeypatch.setattr("edgeailite.export.run.load_network", lambda run: (checkpoint, toy_quantized(scheme)))
        return tmp_path

    return open_as


def test_tidl_writes_three_files_of_one_stem(opened, command):
    run = opened("tidl_pow2")
    done = command("export", run, "--target", "tidl")
    assert done.code == 0
    names = sorted(file.name for file in run.iterdir())
    assert names == ["model_tidl.onnx", "model_tidl.yaml", "model_tidl_qdq.onnx"]
    assert "model_tidl_qdq.onnx, model_tidl.yaml" in done.out
    kinds = [load_onnx(run / name).kind for name in ("model_tidl.onnx", "model_tidl_qdq.onnx")]
    assert kinds == ["float", "int8"]


@pytest.mark.parametrize(
    ("features", "row"),
    [
        (
            ["avx2", "avx512_vnni"],
            r"note: saturation +other programs .* \d+ convolutions?, on x86 CPUs without VNNI \(this one has it;",
        ),
        (
            ["avx2"],
            r"warning: saturation +other programs .* \d+ convolutions?, on x86 CPUs without VNNI \(this one has not;",
        ),
    ],
)
def test_warnings_are_printed_and_the_file_is_the_run_s(opened, command, monkeypatch, features, row):
    monkeypatch.setattr(export, "cpu_features", lambda: features)
    run = opened("ort_u8s8")
    done = command("export", run, "--opset", 19, "--output", run / "some.onnx")
    assert done.code == 0
    assert [file.name for file in run.iterdir()] == ["some.onnx"]
    assert onnx.load(str(run / "some.onnx")).opset_import[0].version == 19
    assert re.search(row, done.out), done.out
    assert "--scheme ort_u8s7 avoids it, docs/targets.md" in done.out


def test_a_bundle_labels_pictures_where_it_lies(opened, command, tmp_path):
    """Written by the command line and run from inside its folder, without edgeailite."""
    done = command("export", opened("ort_u8s8"), "--bundle", tmp_path / "board")
    assert done.code == 0 and "board/camera.py" in done.out
    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures/a.png"), np.full((50, 70, 3), 99, np.uint8))
    words = [sys.executable, "-c", CAMERA_ALONE, "model_int8.onnx", "../pictures", "--save", "out", "--threads", "1"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path / "board")
    assert ended.returncode == 0, ended.stderr
    assert [path.name for path in (tmp_path / "board/out").iterdir()] == ["000000.jpg"]


def test_errors_refuse_and_write_nothing(opened, command):
    run = opened("ort_u8s8")
    done = command("export", run, "--target", "tensorrt")
    assert done.code == 2
    assert "--scheme s8s8" in done.err
    assert list(run.iterdir()) == []


def test_c_source_stands_beside_a_tflite_file_under_its_stem(opened, command):
    run = opened("ort_u8s8")
    options = ("--target", "tflite", "--head", "codes", "--c_array", True)
    done = command("export", run, *options)
    assert done.code == 0
    assert sorted(file.name for file in run.iterdir()) == ["model_int8.c", "model_int8.h", "model_int8.tflite"]
    assert "model_int8.h, model_int8.c" in done.out
    size = (run / "model_int8.tflite").stat().st_size
    assert f"#define MODEL_INT8_SIZE {size}\n" in (run / "model_int8.h").read_text()

    done = command("export", run, *options, "--output", run / "night-2.tflite")
    assert done.code == 2 and "'night-2' is no name in C" in done.err
    assert not list(run.glob("night*"))


def test_c_source_of_an_onnx_file_is_refused(opened, command):
    run = opened("ort_u8s8")
    done = command("export", run, "--c_array", True)
    assert done.code == 2 and "--c_array: of a .tflite file; add --target tflite" in done.err
    assert list(run.iterdir()) == []
