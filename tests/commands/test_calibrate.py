"""Calibration: which pictures are observed, what is done to them and recorded, and what a dry run leaves."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edgeailite.__main__ import main
from edgeailite.quantization import prepare, published_names
from edgeailite.runs.checkpoint import load_checkpoint, save_checkpoint
from edgeailite.runs.folder import LAST
from edgeailite.runs.network import load_network
from edgeailite.runs.open import open_model
from edgeailite.training import calibration
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
    whole, measured = calibration.calibrated, calibration.measure

    def calibrated(opened, train, **rest):
        seen.append(train)
        return whole(opened, train, **rest)

    def measure(opened, source, **rest):
        seen.append(source)
        return measured(opened, source, **rest)

    monkeypatch.setattr(calibration, "calibrated", calibrated)
    monkeypatch.setattr(calibration, "measure", measure)
    assert command("calibrate", tmp_path / "run", "--images", 2, *MACHINE).code == 0
    assert [len(source.items) for source in seen] == [observed, validated]


def test_a_dry_run_keeps_nothing(miniature, tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    assert main(train_words(miniature, run, "--epochs", 1)) == 0
    before = sorted(tmp_path.rglob("*"))
    ended = command("calibrate", run, "--dry_run", True, "--adaround", 1000, *MACHINE)
    assert ended.code == 0
    assert "dry run" in ended.out
    assert sorted(tmp_path.rglob("*")) == before


def test_a_data_set_that_moved_is_found_by_what_comes_after(float_run, miniature, tmp_path, command):
    moved = tmp_path / "moved"
    shutil.copytree(miniature, moved)
    options = ("--data_path", moved, "--save_path", tmp_path / "q", "--images", 2)
    assert command("calibrate", float_run, *options, *MACHINE).code == 0
    assert load_checkpoint(tmp_path / "q" / LAST).card.data_path == str(moved.resolve())


def test_pictures_of_several_sizes(own_miniature, float_run, tmp_path, command):
    for index, path in enumerate(sorted(own_miniature.rglob("*.png"))):
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        path.write_bytes(cv2.imencode(".png", pixels[: 48 + 4 * (index % 4)])[1].tobytes())
    options = ("--data_path", own_miniature, "--save_path", tmp_path / "q", "--images", 6, "--batch_size", 4)
    ended = command("calibrate", float_run, *options, *MACHINE)
    assert ended.code == 0, ended.err


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


@pytest.fixture(scope="module")
def float_run(miniature, tmp_path_factory) -> Path:
    """A float run of one epoch, to read only."""
    folder = tmp_path_factory.mktemp("float") / "run"
    assert main(train_words(miniature, folder, "--epochs", 1)) == 0
    return folder


@pytest.mark.parametrize(
    "options",
    [
        {"equalize": True},
        {"correct_bias": True},
        {"adaround": 2, "refine_images": 1},
        {"observer": "mse", "equalize": True, "correct_bias": True, "adaround": 2, "scheme": "ort_u8s7"},
    ],
    ids=lambda options: "_".join(map(str, options.values())),
)
def test_the_checkpoint_says_what_was_done_and_opens(float_run, tmp_path, command, options):
    folder = tmp_path / "ptq"
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    ended = command("calibrate", float_run, "--save_path", folder, "--images", 3, *words, *MACHINE)
    assert ended.code == 0
    assert "simulated int8: val mIoU, %" in ended.out
    before, written = load_checkpoint(float_run / LAST), load_checkpoint(folder / LAST)
    names = {name for name in written.state_dict if not name.startswith("ranges.")}
    assert names == set(before.state_dict)
    done = {"scheme": "ort_u8s8", "observer": "percentile", "equalize": False, "correct_bias": False, "adaround": 0}
    record = {name: written.quantization[name] for name in done}
    assert record == done | {name: value for name, value in options.items() if name in done}
    moved = any(not torch.equal(written.state_dict[name], value) for name, value in before.state_dict.items())
    assert moved == bool({"equalize", "correct_bias", "adaround"} & set(options))
    assert open_model(folder, device=torch.device("cpu")).number_type == "int8"


def test_a_folder_in_use_is_refused_before_the_work(float_run, tmp_path, command, monkeypatch):
    shutil.copytree(float_run, tmp_path / "used")
    monkeypatch.setattr(calibration, "calibrated", None)  # not called
    ended = command("calibrate", float_run, "--save_path", tmp_path / "used", *MACHINE)
    assert ended.code == 3
    assert "holds a run already" in ended.err
    assert "--resume" not in ended.err  # calibrate has none


def test_observers_differ(float_run, tmp_path, command):
    scales = set()
    for name in ("minmax", "entropy"):
        folder = tmp_path / name
        words = ("--observer", name, "--images", 4, "--batch_size", 2, "--percentile", 99)
        assert command("calibrate", float_run, "--save_path", folder, *words, *MACHINE).code == 0
        state = load_checkpoint(folder / LAST).state_dict
        scales.add(tuple(float(value) for key, value in state.items() if key.endswith(".scale")))
    assert len(scales) == 2


@pytest.mark.parametrize(
    "value, expected",
    [
        (float("nan"), "broken.pt: encoder.features.0.1.weight holds nan (1 of its 32 values"),
        (3e38, "streets_000000_000019_leftImg8bit.png: the network gives NaN"),  # seen only in what comes out
    ],
)
def test_weights_that_are_no_numbers_are_said_before_or_with_the_picture(float_run, tmp_path, command, value, expected):
    checkpoint = load_checkpoint(float_run / LAST)
    state = {name: tensor.clone() for name, tensor in checkpoint.state_dict.items()}
    damaged = [state["encoder.features.0.1.weight"]] if value != value else state.values()
    for tensor in damaged:
        if tensor.is_floating_point():
            tensor[0] = value
    save_checkpoint(tmp_path / "broken.pt", dataclasses.replace(checkpoint, state_dict=state))
    ended = command("calibrate", tmp_path / "broken.pt", "--save_path", tmp_path / "ptq", *MACHINE)
    assert ended.code == 3
    assert expected in ended.err
    assert not (tmp_path / "ptq").exists()


def test_one_black_picture_calibrates_and_is_warned_of(own_miniature, float_run, tmp_path, command):
    for path in (own_miniature / "leftImg8bit" / "train").rglob("*.png"):
        path.write_bytes(cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes())
    words = ("--data_path", own_miniature, "--images", 1, "--save_path", tmp_path / "ptq")
    with pytest.warns(UserWarning, match="every picture that calibration saw is of one colour"):
        assert command("calibrate", float_run, *words, *MACHINE).code == 0
    state = load_checkpoint(tmp_path / "ptq" / LAST).state_dict
    scales = torch.stack([value for name, value in state.items() if name.endswith(".scale")])
    assert scales.isfinite().all()
    assert (scales > 0).all()
