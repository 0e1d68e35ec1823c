"""Every verb takes the best weights of a run, says so, and takes the last ones where it is told to."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch

from edgeailite.__main__ import main
from edgeailite.runs.checkpoint import load_checkpoint, save_checkpoint
from edgeailite.runs.folder import BEST, LAST, append_metrics
from tests.commands.real_runs import train_words

MACHINE = ("--device", "cpu", "--threads", 1)
NAME = "encoder.features.0.0.weight"


@pytest.fixture(scope="module")
def run(miniature, tmp_path_factory) -> Path:
    """A run of two epochs whose first was the better by its own score; the weights differ."""
    folder = tmp_path_factory.mktemp("weights") / "run"
    assert main(train_words(miniature, folder, "--epochs", 1)) == 0
    shutil.copyfile(folder / LAST, folder / BEST)
    last = load_checkpoint(folder / LAST)
    changed = {key: value * 0.5 if value.is_floating_point() else value for key, value in last.state_dict.items()}
    save_checkpoint(folder / LAST, dataclasses.replace(last, state_dict=changed))
    append_metrics(folder, {"epoch": 2, "lr": 0, "loss": 1, "miou": 0.0, "pixel_accuracy": 0.1, "seconds": 1})
    return folder


def sentence(run: Path, weights: str) -> str:
    name, which = (BEST, "of the best epoch 1") if weights == "best" else (LAST, "of the last epoch 2")
    return f"weights: {run / name}, {which} (mIoU "


def options(weights: str) -> tuple[str, ...]:
    return () if weights == "best" else ("--weights", weights)


@pytest.mark.parametrize("weights", ["best", "last"])
def test_calibrating_begins_with_them(run, command, tmp_path, weights):
    words = ("--calibration_images", 2, "--workers", 0, *MACHINE, "--save_path", tmp_path / "ptq")
    ended = command("calibrate", run, *words, *options(weights))
    assert ended.code == 0, ended.err
    assert sentence(run, weights) in ended.err
    before = load_checkpoint(run / f"{weights}.pt").state_dict
    assert torch.equal(load_checkpoint(tmp_path / "ptq" / BEST).state_dict[NAME], before[NAME])


@pytest.mark.parametrize("weights", ["best", "last"])
def test_labels_and_accuracy_are_theirs(run, command, miniature, tmp_path, weights):
    pictures = miniature / "leftImg8bit/val"
    ended = command("infer", run, pictures, "--save_path", tmp_path / "labels", *MACHINE, *options(weights))
    assert ended.code == 0, ended.err
    assert sentence(run, weights) in ended.err
    made = json.loads((tmp_path / "labels/infer.json").read_text())
    assert made["sha256"] == hashlib.sha256((run / f"{weights}.pt").read_bytes()).hexdigest()
    folder, file = (
        json.loads(command("validate", model, *words, "--json", True, "--workers", 0, *MACHINE).out)
        for model, words in ((run, options(weights)), (run / f"{weights}.pt", ()))
    )
    assert folder["miou"] == file["miou"]


@pytest.mark.slow
def test_a_file_is_proven_with_the_weights_that_were_exported(run, command, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    verify = ("verify", copy, "--images", 1, "--sizes", 64, 64)
    ended = command("export", copy, "--weights", "last")
    assert ended.code == 0 and sentence(copy, "last") in ended.err
    ended = command(*verify)
    assert (ended.code, sentence(copy, "best") in ended.err) == (4, True), ended.err
    ended = command(*verify, "--weights", "last")
    assert ended.code == 0, ended.err
    assert command("export", copy).code == 0
    assert command(*verify).code == 0


def test_a_report_says_which_and_repeats_them(run, command, tmp_path):
    words = ("--images", 1, "--forms", "none", *MACHINE)
    for weights in ("best", "last"):
        ended = command("report", run, "--output", tmp_path / f"{weights}.html", *words, *options(weights))
        assert ended.code == 0, ended.err
        page = (tmp_path / f"{weights}.html").read_text()
        assert f"{weights}.pt in {run}" in page
        assert (f"edgeailite export {run} --weights last" in page) == (weights == "last")
