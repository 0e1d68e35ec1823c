"""The points and pictures that a watched training gives TensorBoard."""

from __future__ import annotations

import sys
from typing import ClassVar

import numpy as np
import pytest

from edgeailite.errors import UsageError
from edgeailite.training import monitor
from edgeailite.training.monitor import TENSORBOARD, tags
from tests.training.watched import Step, make, row, show, train


class Writer:
    """Stands in for SummaryWriter where tensorboard is not installed."""

    made: ClassVar[list[Writer]] = []

    def __init__(self, log_dir: str, purge_step: int) -> None:
        self.log_dir, self.purge_step = log_dir, purge_step
        self.points: list[tuple[str, float, int]] = []
        self.pictures: list[tuple[str, tuple[int, ...], int]] = []
        self.closed = False
        Writer.made.append(self)

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        self.points.append((tag, value, step))

    def add_image(self, tag: str, image: np.ndarray, step: int, dataformats: str) -> None:
        assert dataformats == "HWC"
        self.pictures.append((tag, image.shape, step))

    def flush(self) -> None:
        assert not self.closed

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def writers(monkeypatch) -> list[Writer]:
    monkeypatch.setattr(Writer, "made", [])
    monkeypatch.setattr(monitor, "tensorboard_writer", lambda mode: Writer)
    return Writer.made


def test_points_stand_at_the_steps_of_the_run(tmp_path, writers):
    with make(tmp_path) as watch:
        train(watch, range(3), steps=50)
        show(watch, 3)
    [writer] = writers
    assert writer.log_dir == str(tmp_path / TENSORBOARD) and writer.closed
    assert [step for tag, _, step in writer.points if tag == "training/learning_rate"] == [1, 50, 100, 150]
    assert [step for tag, _, step in writer.points if tag == "training/loss_epoch"] == [50, 100, 150]
    assert [(v, s) for tag, v, s in writer.points if tag == "validation/miou"] == [(0.4567, 50), (0.4567, 150)]
    assert {tag for tag, _, _ in writer.points} >= {"training/loss_step_a", "training/images_per_second"}
    [(tag, shape, step)] = writer.pictures
    assert (tag, shape[2], step) == ("pictures/segmentation", 3, 150)


@pytest.mark.parametrize("first", [1, 31])
def test_a_resumed_run_voids_what_it_repeats(tmp_path, writers, first):
    with make(tmp_path) as watch:
        for step in range(first, 51):
            watch.step(Step(2, step, 50, 1.0))
        watch.epoch(row(3))
    assert writers[0].purge_step == 100 + first
    assert min(step for _, _, step in writers[0].points) == 100 + first


def test_nothing_is_voided_before_the_first_step(tmp_path, writers):
    with make(tmp_path) as watch:
        show(watch, 2)
        assert not writers
        watch.step(Step(2, 1, 50, 1.0))
    assert writers[0].purge_step == 101


def test_the_tags_of_an_epoch():
    several = row(1, 0.5) | {"loss_depth": 0.7, "weight_depth": 2.0, "depth_ard": 0.3}
    assert tags(several) == {
        "training/loss_epoch": 0.1234, "training/seconds_epoch": 12.3, "training/loss_epoch_depth": 0.7,
        "training/weight_depth": 2.0, "validation/miou": 0.5, "validation/pixel_accuracy": 0.9,
        "validation/depth_ard": 0.3,
    }  # fmt: skip


def test_a_writer_that_fails_is_said_once(tmp_path, monkeypatch, capsys):
    def refuse(log_dir: str, purge_step: int) -> None:
        raise PermissionError(13, "Permission denied", log_dir)

    monkeypatch.setattr(monitor, "tensorboard_writer", lambda mode: refuse)
    with make(tmp_path) as watch:
        train(watch, range(2))
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if "tensorboard: cannot be written (Permission denied)" in line]) == 1


def test_tensorboard_on_without_it_is_refused_before_training(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match="pip install tensorboard"):
        make(tmp_path, tensorboard="on")
    with make(tmp_path, tensorboard="auto") as watch:
        train(watch, range(1))
    assert not (tmp_path / TENSORBOARD).exists()


def test_tensorboard_reads_a_resumed_run_without_doubles(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with make(tmp_path, tensorboard="on") as watch:
        train(watch, range(2), steps=50)
        show(watch, 2)
    with make(tmp_path, tensorboard="on") as watch:
        train(watch, range(1, 3), steps=50)
        show(watch, 3)
    events = EventAccumulator(str(tmp_path / TENSORBOARD))
    events.Reload()
    assert [event.step for event in events.Scalars("training/loss_epoch")] == [50, 100, 150]
    assert [event.step for event in events.Scalars("training/learning_rate")] == [1, 50, 51, 100, 150]
    assert [event.step for event in events.Images("pictures/segmentation")] == [150]
