"""Quantization-aware training: what is fixed from which epoch on, and what it takes from the float run."""

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from torch import fx

from edgeailite.__main__ import main
from edgeailite.config import QuantizeConfig, TrainConfig
from edgeailite.errors import UsageError
from edgeailite.quantization.grids import short_scale
from edgeailite.quantization.modules import ActivationQuantizer
from edgeailite.quantization.tie_safe import tie_safe_additions
from edgeailite.runs.checkpoint import load_checkpoint, save_checkpoint
from edgeailite.runs.folder import BEST, LAST, find_checkpoint
from edgeailite.runs.network import load_network
from edgeailite.runs.resume import resumed_config
from edgeailite.training import calibration, quantized_run
from edgeailite.training.optim import RANGES
from tests.commands.real_runs import assert_same_state, killed, quantize_words, rows_of, train_words


@pytest.fixture(scope="module")
def float_run(miniature, tmp_path_factory) -> Path:
    """A float run of one epoch, to read only."""
    folder = tmp_path_factory.mktemp("float") / "run"
    assert main(train_words(miniature, folder, "--epochs", 1)) == 0
    return folder


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
    monkeypatch.setattr(quantized_run, "set_state", lambda model, **state: states.append(state))
    before_epoch = quantized_run._freezer(torch.nn.Identity(), QuantizeConfig(run=Path("r"), epochs=10, **options))
    for epoch in range(10):
        before_epoch(epoch)
    assert [state["frozen_bn"] for state in states] == [epoch >= frozen_bn for epoch in range(10)]
    assert [state["observing"] for state in states] == [epoch < fixed_ranges for epoch in range(10)]


def test_the_loop_takes_from_the_float_run_what_it_does_not_say():
    before = TrainConfig(batch_size=7, freeze_layers=("encoder.stem",), overlays=2, tensorboard="off", lr=0.5)
    loop = quantized_run.loop_of(QuantizeConfig(run=Path("r"), epochs=4, lr=1e-5, epoch_size=0.5, save_every=3), before)
    assert (loop.batch_size, loop.freeze_layers, loop.overlays, loop.tensorboard) == (7, ("encoder.stem",), 2, "off")
    assert (loop.epochs, loop.lr, loop.epoch_size, loop.save_every, loop.warmup_epochs) == (4, 1e-5, 0.5, 3, 0.0)
    changed = dataclasses.replace(QuantizeConfig(run=Path("r")), batch_size=3)
    assert quantized_run.loop_of(changed, before).batch_size == 3


def test_fixed_from_the_start_only_the_weights_move(float_run, tmp_path):
    """The state after calibration is that of a training at a rate of nothing."""
    run = float_run
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


def test_learned_ranges_move_until_they_are_fixed_and_open_again(float_run, tmp_path):
    """The rate that is left behind is nothing: momentum would move them on."""
    options = ("--ranges", "learned", "--freeze_ranges_epoch", 0.5, "--ranges_lr", 0.01)
    assert main(quantize_words(float_run, tmp_path / "qat", *options)) == 0
    checkpoint, network = load_network(tmp_path / "qat")
    ends = [name for name in checkpoint.state_dict if name.endswith(".ends")]
    assert len(ends) == len(list(network.ranges.children())) - 1
    values = [(checkpoint.state_dict[name.replace(".ends", ".high")].max().log2(), name) for name in ends]
    moved = [not torch.equal(checkpoint.state_dict[name][0], start) for start, name in values]
    assert sum(moved) > 0.8 * len(ends)
    groups = load_checkpoint(tmp_path / "qat" / LAST).training["optimizer"]["param_groups"]
    assert [group["initial_lr"] for group in groups if group.get("name") == RANGES] == [0.0]


@pytest.mark.parametrize("ranges", ["tracked", "learned"])
def test_scales_that_were_trained_are_exact_in_resizes_and_additions(ranges, float_run, tmp_path):
    assert main(quantize_words(float_run, tmp_path / "qat", "--freeze_ranges_epoch", 1, "--ranges", ranges)) == 0
    for name in (LAST, BEST):
        checkpoint, network = load_network(tmp_path / "qat" / name)
        assert checkpoint.quantization["exact_resizes"]
        assert isinstance(network, fx.GraphModule)
        safe, total = tie_safe_additions(network)
        assert safe == total > 0
        quantizers = [module for module in network.modules() if isinstance(module, ActivationQuantizer)]
        resized = [quantizer for quantizer in quantizers if quantizer.grid.exact_resize]
        assert 0 < len(resized) < len(quantizers)
        for quantizer in resized:
            assert torch.equal(quantizer.scale, short_scale(quantizer.scale))


def test_a_resumed_run_of_an_earlier_version_keeps_its_scales(float_run, tmp_path, monkeypatch):
    """It says nothing of exact resizes, so its scales are those of its ranges."""
    seen = []
    prepared = calibration.prepare
    monkeypatch.setattr(
        calibration, "prepare", lambda *_, exact_resizes, **how: (seen.append(exact_resizes), prepared(*_, **how))[1]
    )
    words = quantize_words(float_run, tmp_path / "qat")
    assert main(words) == 0
    checkpoint = load_checkpoint(tmp_path / "qat" / LAST)
    older = {name: value for name, value in checkpoint.quantization.items() if name != "exact_resizes"}
    save_checkpoint(tmp_path / "qat" / LAST, dataclasses.replace(checkpoint, quantization=older))
    assert main([*words, "--resume", "True"]) == 0
    assert seen == [True, False]


def test_the_teacher_is_the_float_network_as_it_is_used(float_run, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(quantized_run, "fit", lambda trainer, *args, **rest: seen.append(trainer.learner) or {})
    assert main(quantize_words(float_run, tmp_path / "with", "--distill", 2)) == 0
    assert main(quantize_words(float_run, tmp_path / "without")) == 0
    teacher, expected = seen[0].teacher, load_checkpoint(find_checkpoint(float_run)).state_dict
    assert all(torch.equal(value, expected[name]) for name, value in teacher.state_dict().items())
    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert seen[1].teacher is None


def test_a_folder_in_use_is_refused_before_calibration(float_run, tmp_path, command, monkeypatch):
    shutil.copytree(float_run, tmp_path / "used")
    monkeypatch.setattr(quantized_run, "calibrated", None)  # not called
    ended = command(*quantize_words(float_run, tmp_path / "used"))
    assert ended.code == 3
    assert "holds a run already; choose another --save_path, or --resume it" in ended.err


@pytest.mark.parametrize("options", [{"distill": -1.0}, {"ranges_lr": 0.0}, {"distill_temperature": 0.0}])
def test_numbers_out_of_range_are_refused(options):
    with pytest.raises(UsageError, match=next(iter(options))):
        QuantizeConfig(run=Path("r"), **options)


@pytest.mark.parametrize(
    "more",
    [pytest.param((), marks=pytest.mark.slow), ("--ranges", "learned", "--distill", 2, "--freeze_ranges_epoch", 0.5)],
)
def test_the_bare_resume_ends_as_the_run_that_nobody_killed(float_run, tmp_path, command, more):
    """Epochs, rates, freeze points and batch are the run's own; what is named beside them is said to be ignored."""
    options = ("--epochs", 3, "--lr", 1e-3, "--batch_size", 3, "--freeze_bn_epoch", 0.5, "--weight_decay", 0, *more)
    whole, cut = (quantize_words(float_run, tmp_path / name, *options) for name in ("whole", "cut"))
    assert main(whole) == 0
    assert killed(cut, dies_at=14), "this chance must come"
    assert 1 <= len(rows_of(tmp_path / "cut")) - 1 < 3
    bare = ("quantize", float_run, "--save_path", tmp_path / "cut", "--resume", True)
    ended = command(*bare, "--lr", 1e-2, "--workers", 0)
    assert ended.code == 0
    assert "not taken: --lr (the run's is 0.001)" in ended.err
    assert_same_state(tmp_path / "cut", tmp_path / "whole")


def test_options_of_a_quantized_run_come_from_its_checkpoint(tmp_path):
    saved = {"epochs": 3, "lr": 1e-3, "workers": 0, "data_path": "old", "cache": None, "momentum": 0.5, "run": "gone"}
    given = QuantizeConfig(Path("r"), Path("s"), resume=True, workers=1, lr=2.0)
    own = quantized_run.of_run(given, saved)
    assert (own.epochs, own.lr, own.workers, own.data_path, own.cache) == (3, 1e-3, 0, Path("old"), None)
    assert (own.run, own.save_path, own.resume) == (Path("r"), Path("s"), True)
    assert resumed_config(given, own) == dataclasses.replace(own, workers=1)


def test_the_observer_gives_the_initial_ranges_and_is_recorded(float_run, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(quantized_run, "fit", lambda trainer, *args, **rest: seen.append(trainer) or {})
    for name in ("percentile", "mse"):
        assert main(quantize_words(float_run, tmp_path / name, "--observer", name)) == 0
    assert [trainer.quantization["observer"] for trainer in seen] == ["percentile", "mse"]
    ranges = [
        torch.stack([value for key, value in trainer.learner.model.state_dict().items() if key.endswith(".scale")])
        for trainer in seen
    ]
    assert not torch.equal(*ranges)


@pytest.mark.parametrize(
    "options", [("--freeze_layers", "encoder.features.0", "encoder.features.1."), ("--freeze_bn", True)]
)
def test_what_the_float_run_froze_stays(miniature, tmp_path, options):
    """Also while other BatchNorm statistics move."""
    assert main(train_words(miniature, tmp_path / "run", "--epochs", 1, *options)) == 0
    moving = ("--epochs", 1, "--lr", 1e-3, "--freeze_bn_epoch", 1)
    assert main(quantize_words(tmp_path / "run", tmp_path / "qat", *moving)) == 0
    before, after = (load_checkpoint(tmp_path / name / LAST).state_dict for name in ("run", "qat"))
    statistics = [name for name in before if "running_" in name or "num_batches" in name]
    moved = [name for name in statistics if not torch.equal(before[name], after[name])]
    frozen = options[1:] if options[0] == "--freeze_layers" else ("",)
    still = [name for name in statistics if any(part in name for part in frozen)]
    assert still
    assert not set(moved) & set(still)
    assert bool(moved) == (options[0] == "--freeze_layers")


def test_a_dry_run_takes_one_step_and_keeps_nothing(float_run, miniature, tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr(quantized_run, "fit", lambda *args, loop, **rest: seen.append(loop) or {"loss": 1.0})
    run = shutil.copytree(float_run, tmp_path / "run")
    ended = command("quantize", run, "--dry_run", True, "--workers", 0, "--device", "cpu")
    assert ended.code == 0
    assert "dry run" in ended.out
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert (seen[0].epochs, seen[0].epoch_size, seen[0].batch_size, seen[0].epoch_size_val) == (1, 2.0, 2, 1.0)
    assert command("quantize", run, "--dry_run", True, "--resume", True).code == 2


def test_a_dry_run_of_both_trainings_builds_the_quantized_network(miniature, tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = train_words(miniature, tmp_path / "run", "--dry_run", True, "--quantize", True)
    ended = command(*words)
    assert ended.code == 0
    assert ended.out.count("dry run") == 2
    assert not any(tmp_path.iterdir())
    ended = command(*words, "--upsampling", "deconvolution")
    assert ended.code == 2
    assert "cannot be quantized" in ended.err


def test_the_size_of_the_card_is_that_of_the_training(float_run, tmp_path, monkeypatch):
    """A published command may change it for a run."""
    checkpoint = load_checkpoint(float_run / LAST)
    pre = dataclasses.replace(checkpoint.card.preprocessing, height=32, width=96, interpolation="area")
    changed = dataclasses.replace(checkpoint, card=dataclasses.replace(checkpoint.card, preprocessing=pre))
    save_checkpoint(tmp_path / "changed.pt", changed)
    seen = []
    monkeypatch.setattr(quantized_run, "fit", lambda *args, transforms, **rest: seen.append(transforms) or {})
    assert main(quantize_words(tmp_path / "changed.pt", tmp_path / "qat")) == 0
    assert (seen[0].val.size, seen[0].val.interpolation) == ((32, 96), "area")
    assert (seen[0].train.size, seen[0].train.interpolation) == ((32, 96), "area")


def test_pictures_are_those_of_the_float_training(miniature, tmp_path, monkeypatch):
    """Of a run on a few pictures the same few; of part of the split that part; from the cache the cached ones."""
    cache = ("--cache", tmp_path / "cache", "--pipeline", "affine")
    sizes = ("--img_resize", 64, 64)
    written = ("data", "cache", "--dataset_name", "streets", "--data_path", miniature, *cache, *sizes)
    assert main([str(word) for word in written]) == 0
    seen = []
    monkeypatch.setattr(
        quantized_run, "fit", lambda trainer, train, val, *, loop, **rest: seen.append((train, val, loop)) or {}
    )
    more = ("--epochs", 1, "--epoch_size", 4, "--epoch_size_val", 1, "--accumulate", 2, "--quantize", True)
    assert main(train_words(miniature, tmp_path / "cached", *more, *cache)) == 0
    assert main(train_words(miniature, tmp_path / "few", "--epochs", 1, "--overfit", 2, "--quantize", True)) == 0
    (train, val, loop), (few, few_val, _) = seen
    assert type(train).__name__ == "CachedSource"
    assert len(val.items) == 2
    assert (loop.epoch_size, loop.epoch_size_val, loop.accumulate) == (4, 1, 2)
    assert few.items == few_val.items == train.items[:2]
