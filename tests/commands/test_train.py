"""Training on pictures of 64x64: what a run folder holds, and that an interruption, however it comes, costs nothing."""

import csv
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from edgeailite.commands import train
from edgeailite.config import Objective, TrainConfig
from edgeailite.config.stored import plain
from edgeailite.data import open_dataset
from edgeailite.errors import DataError, DivergedError, Interrupted, UsageError
from edgeailite.runs.checkpoint import load_checkpoint
from edgeailite.runs.folder import BEST, LAST, PREVIOUS
from edgeailite.training import float_run as training
from edgeailite.training import loop
from edgeailite.training.learner import class_weights
from edgeailite.training.losses import enet_weights

ROOT = Path(__file__).resolve().parents[2]
RUN_FILES = {"config.yaml", "env.json", "metrics.csv", "curves.png", "overlays", LAST, PREVIOUS, BEST}
EPOCHS = 2
STEPS = 3  # 6 pictures, 2 per step


def config_for(data: Path, folder: Path) -> TrainConfig:
    return TrainConfig(
        dataset_name="streets",
        data_path=data,
        save_path=folder,
        img_resize=(64, 64),
        epochs=EPOCHS,
        batch_size=2,
        lr=1e-3,
        warmup_epochs=0.5,
        class_weights="enet",
        tensorboard="off",
        workers=0,
        device="cpu",
        amp="off",
        threads=1,
    )


@pytest.fixture(scope="module")
def data(miniature) -> Path:
    return miniature


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory) -> Path:
    """A run folder, to read only."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert train.run(config_for(data, folder)) == 0
    return folder


def metrics_of(folder: Path) -> list[dict[str, str]]:
    """Rows of metrics.csv without the time taken."""
    with (folder / "metrics.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def assert_same_run(folder: Path, expected: Path) -> None:
    for name in (LAST, BEST):
        ours, theirs = load_checkpoint(folder / name), load_checkpoint(expected / name)
        assert list(ours.state_dict) == list(theirs.state_dict)
        assert all(torch.equal(ours.state_dict[key], theirs.state_dict[key]) for key in ours.state_dict)
        assert (ours.training["epoch"], ours.training["best"]) == (theirs.training["epoch"], theirs.training["best"])
    assert metrics_of(folder) == metrics_of(expected)


def stop_after(monkeypatch, step: int) -> None:
    """Set the learner's flag, as the signal handler does, during the given step counted over all epochs."""

    def watched(learner, calls):
        learner.stop = learner.stop or calls == step
        return 1.0

    on_each_loss(monkeypatch, watched)


def on_each_loss(monkeypatch, factor) -> None:
    """Multiply the loss of each batch of the next run by `factor(learner, number of the batch)`."""
    made = training.make_learner

    def make(*args, **kwargs):
        learner, calls = made(*args, **kwargs), []
        original = learner.losses

        def losses(outputs, targets):
            calls.append(None)
            by = factor(learner, len(calls))
            return {name: value * by for name, value in original(outputs, targets).items()}

        learner.losses = losses
        return learner

    monkeypatch.setattr(training, "make_learner", make)


# --- an ordinary run


def test_run_folder_holds_what_is_needed_to_repeat_it(uninterrupted, data):
    assert {path.name for path in uninterrupted.iterdir()} == RUN_FILES
    config = dataclasses.replace(config_for(data, uninterrupted), pretrained=("none",))  # what auto came to
    assert yaml.safe_load((uninterrupted / "config.yaml").read_text()) == plain(config)
    assert "torch" in json.dumps(json.loads((uninterrupted / "env.json").read_text()))
    rows = metrics_of(uninterrupted)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(float(row["loss"]) > 0 and 0 <= float(row["miou"]) <= 1 for row in rows)
    last, best = load_checkpoint(uninterrupted / LAST), load_checkpoint(uninterrupted / BEST)
    assert (last.training["epoch"], last.training["step"]) == (EPOCHS, 0)
    assert last.card.dataset_name == "streets"
    assert last.card.preprocessing.height == 64
    assert last.training["best"] == best.training["best"] == max(float(row["miou"]) for row in rows)
    assert load_checkpoint(uninterrupted / PREVIOUS).training["epoch"] == EPOCHS - 1


def test_same_seed_same_weights_with_any_number_of_workers(uninterrupted, data, tmp_path):
    train.run(dataclasses.replace(config_for(data, tmp_path / "run"), workers=1))
    assert_same_run(tmp_path / "run", uninterrupted)


def test_second_run_into_the_folder_is_refused(uninterrupted, data):
    before = (uninterrupted / LAST).read_bytes()
    with pytest.raises(DataError, match=r"holds a run already; choose another --save_path, or --resume it"):
        train.run(config_for(data, uninterrupted))
    assert (uninterrupted / LAST).read_bytes() == before


def test_pretrained_weights_start_a_run(uninterrupted, data, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(training, "fit", lambda trainer, *_, **__: started.append(trainer) or {})
    train.run(dataclasses.replace(config_for(data, tmp_path / "run"), pretrained=(str(uninterrupted / LAST),)))
    expected = load_checkpoint(uninterrupted / LAST).state_dict
    assert all(torch.equal(value, expected[key]) for key, value in started[0].model.state_dict().items())


def test_validation_can_be_rare_but_not_at_the_end(data, tmp_path):
    train.run(dataclasses.replace(config_for(data, tmp_path / "run"), evaluate_every=5))
    rows = metrics_of(tmp_path / "run")
    assert rows[0]["miou"] == ""
    assert float(rows[1]["miou"]) >= 0


def test_enet_weights_count_the_labels(data):
    source, device = open_dataset("streets", data, "train"), torch.device("cpu")
    weights = class_weights(Objective(class_weights="enet"), source, device)["segmentation"]
    assert weights.shape == (19,)
    assert weights.max() == weights[1] == enet_weights(torch.tensor([0, 1]))[0]  # a class that never occurs
    assert weights[0] < weights[13]  # more road than cars
    assert class_weights(Objective(), source, device) == {}


# --- interruption


@pytest.mark.parametrize("step", [1, pytest.param(STEPS, marks=pytest.mark.slow), STEPS + 2])
def test_interrupted_and_resumed_equals_uninterrupted(uninterrupted, data, tmp_path, monkeypatch, step):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_after(patch, step)
        with pytest.raises(Interrupted, match=r"stopped in epoch \d, state saved in .*last\.pt"):
            train.run(config_for(data, folder))
    saved = load_checkpoint(folder / LAST).training
    assert saved["epoch"] * STEPS + saved["step"] == step
    assert train.run(TrainConfig(resume=folder)) == 0
    assert_same_run(folder, uninterrupted)


@pytest.mark.parametrize(("name", "epoch"), [(LAST, 1), pytest.param(LAST, EPOCHS, marks=pytest.mark.slow), (BEST, 1)])
def test_killed_while_saving_and_resumed_equals_uninterrupted(uninterrupted, data, tmp_path, monkeypatch, name, epoch):
    """A kill between the files of an epoch: the epoch is trained again, and nothing is counted twice."""
    kill_and_resume(data, tmp_path / "run", monkeypatch, name=name, epoch=epoch)
    assert_same_run(tmp_path / "run", uninterrupted)


def test_killed_while_saving_a_later_best_and_resumed_equals_uninterrupted(data, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "is_better", lambda score, best: True)
    train.run(config_for(data, tmp_path / "whole"))
    kill_and_resume(data, tmp_path / "run", monkeypatch, name=BEST, epoch=EPOCHS)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def kill_and_resume(data: Path, folder: Path, monkeypatch, *, name: str, epoch: int) -> None:
    """Train, dying before this file of this epoch is written; then go on, or start anew where nothing was saved."""

    class KilledError(BaseException):
        pass

    original = loop.Trainer.save

    def save(self, file, **position):
        if file == name and position["epoch"] == epoch:
            raise KilledError
        original(self, file, **position)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "save", save)
        with pytest.raises(KilledError):
            train.run(config_for(data, folder))
    if (folder / LAST).exists():
        train.run(TrainConfig(resume=folder))
    else:
        train.run(config_for(data, folder))


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_damaged_last_falls_back_to_the_previous_with_a_warning(uninterrupted, tmp_path, capsys, damage):
    folder = tmp_path / "run"
    shutil.copytree(uninterrupted, folder)
    (folder / LAST).write_bytes((folder / LAST).read_bytes()[:1000])
    if damage == "gone":
        (folder / LAST).unlink()
    capsys.readouterr()
    assert train.run(TrainConfig(resume=folder)) == 0
    warning = capsys.readouterr().err.splitlines()[0]
    assert warning.startswith(f"warning: {folder / LAST}: ")
    assert warning.endswith(f"resuming from {PREVIOUS}")
    assert_same_run(folder, uninterrupted)


def test_resuming_what_cannot_be(uninterrupted, tmp_path):
    with pytest.raises(DataError, match=r"--resume .*nowhere: no last\.pt in it"):
        train.run(TrainConfig(resume=tmp_path / "nowhere"))
    (tmp_path / LAST).write_bytes(b"")
    with pytest.raises(DataError, match=r"last\.pt: damaged checkpoint \(0 bytes"):
        train.run(TrainConfig(resume=tmp_path))


def test_resuming_a_finished_run_changes_nothing(uninterrupted):
    before = files_of(uninterrupted)
    assert train.run(TrainConfig(resume=uninterrupted)) == 0
    assert files_of(uninterrupted) == before


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_to_a_real_process_saves_and_exits_130(data, tmp_path, number):
    """Ctrl-C in a terminal and `timeout` reach the loader processes too, so the whole group is told."""
    folder = tmp_path / "run"
    flags = f"--data_path {data} --save_path {folder} --img_resize 64 64 --batch_size 2 --epochs 1000 --workers 1"
    flags += " --dataset_name streets --pretrained none"
    words = [sys.executable, "-m", "edgeailite", "train", *flags.split(), "--device", "cpu", "--threads", "1"]
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        if not first.startswith("epoch 1/1000 "):
            process.kill()  # or nobody would ever read its end
        assert first.startswith("epoch 1/1000 "), first + process.stderr.read()
        os.killpg(process.pid, number)
        err = process.stderr.read()
        assert process.wait(30) == 130
    assert err.splitlines()[-2].startswith("error: stopped in epoch")
    assert err.splitlines()[-1] == f"edgeailite train --resume {folder}"
    assert "Traceback" not in err
    assert load_checkpoint(folder / LAST).training["epoch"] >= 1


# --- divergence


def test_divergence_keeps_the_last_good_state(data, tmp_path, monkeypatch):
    on_each_loss(monkeypatch, lambda learner, calls: float("nan") if calls == STEPS + 1 else 1.0)
    with pytest.raises(
        DivergedError, match=r"loss is nan at epoch 2, step 1; lower --lr .*the batch is in .*diverged\.pt"
    ):
        train.run(config_for(data, tmp_path / "run"))
    saved = load_checkpoint(tmp_path / "run" / LAST)
    batch = torch.load(tmp_path / "run" / "diverged.pt", weights_only=True)
    assert batch["images"][0].shape == (2, 3, 64, 64)
    assert batch["targets"]["segmentation"].shape == (2, 64, 64)
    assert saved.training["epoch"] == 1
    assert all(torch.isfinite(value).all() for value in saved.state_dict.values())


def test_names_that_do_not_exist(data, tmp_path):
    for option, value in (("model_name", "resnet"), ("dataset_name", "city"), ("val_split", "dev")):
        with pytest.raises(UsageError, match=value):
            train.run(dataclasses.replace(config_for(data, tmp_path / "run"), **{option: value}))
    assert not (tmp_path / "run").exists()
