"""Quantization-aware training: what is fixed from which epoch on, and what it takes from the float run."""

import dataclasses
from pathlib import Path

import pytest
import torch

from edgeailite.__main__ import main
from edgeailite.checkpoint import LAST, load_checkpoint
from edgeailite.commands import quantize
from edgeailite.config import QuantizeConfig, TrainConfig
from tests.commands.real_runs import quantize_words, train_words


@pytest.mark.parametrize(
    "options, frozen_bn, fixed_ranges",
    [
        ({}, 3, 6),
        ({"freeze_bn_epoch": 0.5, "freeze_ranges_epoch": 0.2}, 5, 2),
        ({"freeze_bn_epoch": 1.0, "freeze_ranges_epoch": 0.0}, 10, 0),
    ],
)
def test_statistics_and_ranges_are_fixed_from_their_share_of_the_epochs_on(
    monkeypatch, options, frozen_bn, fixed_ranges
):
    states = []
    monkeypatch.setattr(quantize, "set_state", lambda model, **state: states.append(state))
    before_epoch = quantize._freezer(torch.nn.Identity(), QuantizeConfig(run=Path("r"), epochs=10, **options))
    for epoch in range(10):
        before_epoch(epoch)
    assert [state["frozen_bn"] for state in states] == [epoch >= frozen_bn for epoch in range(10)]
    assert [state["observing"] for state in states] == [epoch < fixed_ranges for epoch in range(10)]


def test_the_loop_takes_from_the_float_run_what_it_does_not_say():
    before = TrainConfig(batch_size=7, freeze_layers=("encoder.stem",), overlays=2, tensorboard="off", lr=0.5)
    loop = quantize.loop_of(QuantizeConfig(run=Path("r"), epochs=4, lr=1e-5, epoch_size=0.5, save_every=3), before)
    assert (loop.batch_size, loop.freeze_layers, loop.overlays, loop.tensorboard) == (7, ("encoder.stem",), 2, "off")
    assert (loop.epochs, loop.lr, loop.epoch_size, loop.save_every, loop.warmup_epochs) == (4, 1e-5, 0.5, 3, 0.0)
    changed = dataclasses.replace(QuantizeConfig(run=Path("r")), batch_size=3)
    assert quantize.loop_of(changed, before).batch_size == 3


def test_fixed_from_the_start_only_the_weights_move(miniature, tmp_path):
    """The state after calibration is that of a training at a rate of nothing."""
    run = tmp_path / "run"
    assert main(train_words(miniature, run, "--epochs", 1)) == 0
    fixed = ("--epochs", 1, "--freeze_bn_epoch", 0, "--freeze_ranges_epoch", 0)
    states = []
    for name, rate in (("a", 1e-3), ("b", 1e-15)):
        assert main(quantize_words(run, tmp_path / name, *fixed, "--lr", rate, "--weight_decay", 0)) == 0
        states.append(load_checkpoint(tmp_path / name / LAST).state_dict)
    moved = {name for name, value in states[0].items() if not torch.equal(value, states[1][name])}
    assert moved
    still = {name for name in states[0] if name.startswith("ranges.") or "running_" in name}
    assert any(name.startswith("ranges.") for name in still)
    assert not moved & still
