"""The line, train to verify, with a network of the other family and its input convention."""

from __future__ import annotations

import json

import onnx
import pytest

from edgeailite.runs.checkpoint import load_checkpoint

MEAN = ("102.9801", "115.9465", "122.7717")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, miniature):
    """An ADE20K network with deep supervision, trained for an epoch on BGR pictures of 0..255."""
    from edgeailite.__main__ import main

    folder = tmp_path_factory.mktemp("line") / "run"
    words = ["train", "--model_name", "mobilenetv2dilated_c1_bilinear_deepsup", "--data_path", miniature]
    words += ["--save_path", folder, "--img_resize", 64, 64, "--epochs", 1, "--batch_size", 2, "--workers", 0]
    words += ["--input_channel_reverse", "True", "--image_mean", *MEAN, "--image_scale", 1, 1, 1]
    assert main([str(word) for word in words]) == 0
    return folder


def test_the_card_keeps_network_and_input(trained):
    card = load_checkpoint(trained / "last.pt").card
    assert card.model_name == "mobilenetv2dilated_c1_deepsup"
    assert card.preprocessing.channel_order == "BGR"
    assert card.preprocessing.mean == tuple(map(float, MEAN))
    assert card.preprocessing.scale == (1.0, 1.0, 1.0)


def test_export_and_verify(trained, command):
    assert command("export", trained).code == 0
    metadata = {p.key: p.value for p in onnx.load(trained / "model.onnx").metadata_props}
    assert metadata["channel_order"] == "BGR"
    assert json.loads(metadata["mean"]) == [float(m) for m in MEAN]
    ended = command("verify", trained, "--images", 2)
    assert ended.code == 0, ended.out + ended.err


def test_calibrated_int8_is_proven(trained, command):
    ended = command("calibrate", trained, "--images", 4, "--batch_size", 2, "--workers", 0)
    assert ended.code == 0, ended.err
    quantized = trained.with_name("run_ptq")
    assert command("export", quantized).code == 0
    ended = command("verify", quantized, "--images", 2)
    assert ended.code == 0, ended.out + ended.err
