"""How deep one update lies: every frame between a command and the optimizer is one more thing to know."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
import torch

import edgeailite
from edgeailite.commands import quantize, train
from edgeailite.config import QuantizeConfig
from tests.commands.real_runs import train_words
from tests.commands.test_train import config_for

PACKAGE = Path(edgeailite.__file__).parent


class HereError(Exception):
    """Raised where the optimizer steps."""


def frames_between(action, monkeypatch) -> list[str]:
    """The functions of the package between the verb's `run` and the optimizer's step."""

    def step(self, *args, **kwargs):
        raise HereError

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    with pytest.raises(HereError) as raised:
        action()
    frames = traceback.extract_tb(raised.value.__traceback__)
    own = [frame.name for frame in frames if PACKAGE in Path(frame.filename).parents]
    assert own[0] == "run"
    return own[1:]


def test_frames_from_train_to_the_optimizer(miniature, tmp_path, monkeypatch):
    frames = frames_between(lambda: train.run(config_for(miniature, tmp_path / "run")), monkeypatch)
    assert frames == ["train", "fit", "train_epoch", "_update"]


def test_frames_from_quantize_to_the_optimizer(miniature, tmp_path, monkeypatch, command):
    assert command(*train_words(miniature, tmp_path / "run", "--epochs", 1)).code == 0
    config = QuantizeConfig(tmp_path / "run", calibration_images=2, workers=0, device="cpu", threads=1)
    frames = frames_between(lambda: quantize.run(config), monkeypatch)
    assert frames == ["quantize_run", "fit", "train_epoch", "_update"]
