"""A classifier from elsewhere, with a gate and hard-swish, from its ONNX file to a proven .tflite file."""

from __future__ import annotations

import json

import onnx
import pytest

from edgeailite.runtime import load_tflite
from tests.foreign.onnx_models import model, weights

RULES = ("--mean", 128, 128, 128, "--scale", 0.015625, 0.015625, 0.015625, "--img_resize", 64, 64)
MACHINE = ("--workers", 0, "--device", "cpu", "--threads", 1)
NODES = [
    ("Conv", "image w", "c", {"pads": [1] * 4, "strides": [2, 2]}),
    ("HardSwish", "c", "x", {}),
    ("GlobalAveragePool", "x", "g", {}),
    ("Conv", "g squeeze", "s", {}),
    ("HardSigmoid", "s", "gate", {"alpha": 1 / 6, "beta": 0.5}),
    ("Mul", "x gate", "e", {}),
    ("GlobalAveragePool", "e", "p", {}),
    ("Flatten", "p", "f", {}),
    ("Gemm", "f fc.weight fc.bias", "y", {"transB": 1}),
]
CONSTANTS = {
    "w": weights(16, 3, 3, 3), "squeeze": weights(16, 16, 1, 1), "fc.weight": weights(7, 16), "fc.bias": weights(7),
}  # fmt: skip


@pytest.mark.slow
def test_a_classifier_becomes_a_proven_tflite_file(miniature, tmp_path, monkeypatch, command):
    pytest.importorskip("ai_edge_litert")
    monkeypatch.chdir(tmp_path)
    onnx.save(model(NODES, CONSTANTS), "theirs.onnx")
    pictures = miniature / "leftImg8bit" / "val"
    for words in (
        ("card", "theirs.onnx", "--classes", *"abcdefg", *RULES),
        ("calibrate", "theirs_card.onnx", "--pictures", pictures, *MACHINE),
        ("export", "theirs_card_ptq", "--target", "tflite"),
    ):
        ended = command(*words)
        assert ended.code == 0, ended.err
    ended = command("verify", "theirs_card_ptq", "--images", 2, "--sizes", 65, 97, "--threads", 1, "--json", True)
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert found["inner_tensors"]["departing"] == 0
    file = tmp_path / "theirs_card_ptq" / "model_int8.tflite"
    opened = load_tflite(file)
    assert list(opened.card.outputs.values()) == [7]
    contract = file.with_name("contract_int8_tflite.json")
    ended = command("verify", file, contract)
    assert (ended.code, "every bit as expected" in ended.out) == (0, True), ended.err
