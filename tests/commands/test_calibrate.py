"""Calibration: which pictures are observed, and what a dry run leaves."""

from __future__ import annotations

import pytest
import torch

from edgeailite.__main__ import main
from edgeailite.commands import calibrate
from edgeailite.commands.opening import load_network
from edgeailite.quantization import prepare, published_names
from tests.commands.real_runs import train_words

MACHINE = ("--workers", 0, "--device", "cpu", "--threads", 1)


@pytest.mark.parametrize(
    "options, observed, validated",
    [(("--train_split", "val", "--val_split", "train"), 2, 6), (("--overfit", 3), 3, 3)],
    ids=["splits", "overfit"],
)
def test_pictures_are_those_of_the_float_training(
    miniature, tmp_path, command, monkeypatch, options, observed, validated
):
    assert main(train_words(miniature, tmp_path / "run", "--epochs", 1, *options)) == 0
    seen = []
    whole, measured = calibrate.calibrated, calibrate.measure

    def calibrated(opened, train, **rest):
        seen.append(train)
        return whole(opened, train, **rest)

    def measure(opened, source, **rest):
        seen.append(source)
        return measured(opened, source, **rest)

    monkeypatch.setattr(calibrate, "calibrated", calibrated)
    monkeypatch.setattr(calibrate, "measure", measure)
    assert command("calibrate", tmp_path / "run", "--images", 2, *MACHINE).code == 0
    assert [len(source.items) for source in seen] == [observed, validated]


def test_a_dry_run_keeps_nothing(miniature, tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    assert main(train_words(miniature, run, "--epochs", 1)) == 0
    before = sorted(tmp_path.rglob("*"))
    ended = command("calibrate", run, "--dry_run", True, *MACHINE)
    assert ended.code == 0
    assert "dry run" in ended.out
    assert sorted(tmp_path.rglob("*")) == before


def test_a_published_quantized_checkpoint_becomes_a_run(miniature, tmp_path, command):
    """Weights and ranges are the file's; no picture is observed; the run is measured and can be exported."""
    assert main(train_words(miniature, tmp_path / "run", "--epochs", 1)) == 0
    _, network = load_network(tmp_path / "run")
    state = {f"module.{key}": value * 1 for key, value in network.state_dict().items()}
    for key in published_names(prepare(network, "tidl_pow2")).values():
        state[f"module.{key}.clips_act"] = torch.tensor([-3.0, 5.0])
        state[f"module.{key}.num_batches_tracked"] = torch.tensor(9.0)
    state["module.decoders.0.pred.1.0.weight"] += 1
    torch.save({"state_dict": state, "quantize": True}, tmp_path / "qat.pth")
    words = ("calibrate", tmp_path / "run", "--pretrained", tmp_path / "qat.pth", *MACHINE)
    refused = command(*words)
    assert refused.code == 2
    assert "tidl_pow2 beside pretrained" in refused.err
    assert command(*words, "--scheme", "tidl_pow2").code == 0
    checkpoint, model = load_network(tmp_path / "run_ptq")
    assert checkpoint.quantization["method"] == "published ranges"
    loaded = model.state_dict()
    assert torch.equal(loaded["decoders.0.pred.1.0.weight"], state["module.decoders.0.pred.1.0.weight"])
    assert {key: value.item() for key, value in loaded.items() if key.endswith("image.scale")} == {
        "ranges.image.scale": 8 / 128
    }
