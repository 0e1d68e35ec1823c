"""TensorBoard as something that may be there or not."""

import math
import sys
import types

import numpy as np
import pytest

from edgeailite.errors import UsageError
from edgeailite.training.tensorboard import FOLDER, Tracker, tensorboard_writer


class Recorder:
    def __init__(self, log_dir: str, purge_step: int) -> None:
        self.calls = [("made", log_dir, purge_step)]

    def add_scalar(self, tag, value, step):
        self.calls.append((tag, value, step))

    def add_image(self, tag, image, step, dataformats):
        self.calls.append((tag, image.shape, step, dataformats))

    def flush(self):
        self.calls.append(("flush",))

    def close(self):
        self.calls.append(("close",))


def test_missing_it_is_an_error_only_where_it_was_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert tensorboard_writer("auto") is None
    with pytest.raises(UsageError, match=r"--tensorboard on: .*pip install tensorboard"):
        tensorboard_writer("on")


@pytest.mark.parametrize(("mode", "writer"), [("auto", Recorder), ("on", Recorder), ("off", None)])
def test_installed_it_is_taken_unless_off(monkeypatch, mode, writer):
    stand_in = types.ModuleType("torch.utils.tensorboard")
    stand_in.SummaryWriter = Recorder
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stand_in)
    assert tensorboard_writer(mode) is writer


def test_points_pictures_and_the_end(tmp_path):
    tracker = Tracker(Recorder, tmp_path, purge=7)
    tracker.scalars({"a": 1.5, "not measured": math.nan}, 8)
    tracker.picture("p", np.zeros((4, 5, 3), np.uint8), 9)
    tracker.flush()
    tracker.close()
    assert tracker._writer.calls == [
        ("made", str(tmp_path / FOLDER), 7),
        ("a", 1.5, 8),
        ("p", (4, 5, 3), 9, "HWC"),
        ("flush",),
        ("close",),
    ]
