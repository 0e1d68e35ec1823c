"""`edgeailite quantize`: quantization-aware training from a float run."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from edgeailite.commands.calibrate import calibrated, open_float, splits_of
from edgeailite.config import Loop, QuantizeConfig, TrainConfig
from edgeailite.config.stored import plain, stored_options, train_config
from edgeailite.console import print_result
from edgeailite.data import DataSource, default_path
from edgeailite.data.files.cache import open_cache
from edgeailite.device import select_device, set_threads
from edgeailite.distributed import Processes, end_processes, from_first, start_processes
from edgeailite.errors import DataError, UsageError
from edgeailite.quantization import Plan, learn_ranges, normalised_by, set_state
from edgeailite.quantization.modules import QuantConv2d
from edgeailite.quantization.plan_files import plan_of, read_plan, recorded
from edgeailite.runs.checkpoint import Checkpoint, beside, refuse_used, run_folder
from edgeailite.runs.open import Opened
from edgeailite.runs.resume import begin_run, device_of, goes_on, resumed_config
from edgeailite.training.learner import Placed, make_learner, make_losses, schedule, task_balance, task_options
from edgeailite.training.loop import Trainer, Transforms, load_last, run_training
from edgeailite.training.optim import RANGES
from edgeailite.training.output_losses import Distillation
from edgeailite.training.state import check_outputs, checked_data
from edgeailite.training.summary import ending, last_epoch
from edgeailite.training.transforms import eval_transform, train_transform

OF_THIS_CALL = {
    "run",
    "save_path",
    "resume",
    "dry_run",
    "accept_changed_data",
}  # never taken from the run that is resumed


def run(config: QuantizeConfig) -> int:
    """Calibrate, fine-tune with fake quantization, print where the run is."""
    if config.resume and config.dry_run:
        raise UsageError("--dry_run True: a dry run starts anew; leave out --resume")
    folder = config.save_path or beside(run_folder(config.run), "_qat")
    set_threads(config.threads)
    device = select_device(device_of(config.device, folder if config.resume else None))
    processes = start_processes(device, timeout=config.timeout)
    try:
        if config.dry_run:
            return _dry_run(config, Placed(device, processes))
        start = _start(config, folder, processes)
        if start is not None:  # equal weights need the run's own threads and device
            config = _resumed(config, start, processes)
            set_threads(config.threads)
            device = select_device(config.device)
        last = _quantize(config, folder, start, Placed(device, processes))
    finally:
        end_processes(processes)
    if processes.first:
        print_result("quantize", ending(folder, last, verbs="export", following="export"))
    return 0


def _quantize(config: QuantizeConfig, folder: Path, start: Checkpoint | None, placed: Placed) -> dict[str, Any]:
    began = time.perf_counter()
    torch.manual_seed(config.seed)
    if start is None:
        from_first(lambda: refuse_used(folder), placed.processes)
    checkpoint, opened = open_float(config.run, config.data_path)
    before = float_config(checkpoint)
    train, val = splits_of(opened.card, before, config.data_path)
    loop, views = loop_of(config, before), train_transform(before)
    source = train
    if config.cache is not None:
        source = open_cache(train, config.cache, size=views.stored, interpolation=before.interpolation)
    plan = read_plan(config.plan, scheme=config.scheme) if start is None else plan_of(start.quantization)
    data, start = _checked_data(config, opened, (train, val), folder=folder, start=start, placed=placed)
    trainer = _trainer(config, checkpoint, opened, train, folder=folder, placed=placed, plan=plan)
    trainer.data = data
    if start is None:
        from_first(lambda: begin_run(folder, config), placed.processes)
    transforms = Transforms(views, eval_transform(before))
    last = run_training(trainer, source, val, transforms=transforms, loop=loop, start=start)
    return {**last, "minutes": round((time.perf_counter() - began) / 60, 2)}


def _checked_data(
    config: QuantizeConfig,
    opened: Opened,
    splits: tuple[DataSource, DataSource],
    *,
    folder: Path,
    start: Checkpoint | None,
    placed: Placed,
) -> tuple[dict[str, Any], Checkpoint | None]:
    """Fingerprints of the data, and the state to go on from. Raises DataError where they are of other data."""
    card, where = opened.card, f"--resume {folder}"
    if start is not None:
        check_outputs(start, card, where)
    root = config.data_path or (default_path(card.dataset_name) if card.data_path is None else Path(card.data_path))
    return from_first(
        lambda: checked_data(*splits, root, start=start, where=where, accept=config.accept_changed_data),
        placed.processes,
    )


def _dry_run(config: QuantizeConfig, placed: Placed) -> int:
    """One update with at most two pictures, and one validated picture; nothing is written."""
    pictures = 2 * placed.processes.count
    short = dataclasses.replace(
        config,
        epochs=1,
        batch_size=min(config.batch_size or pictures, pictures),
        accumulate=1,
        epoch_size=float(min(config.batch_size or pictures, pictures)),
        epoch_size_val=1.0,
        calibration_images=min(config.calibration_images, 2),
        evaluate_every=1,
        save_every=0,
        workers=0,
    )
    with tempfile.TemporaryDirectory() as folder:
        last = _quantize(short, from_first(lambda: Path(folder), placed.processes), None, placed)
    if placed.processes.first:
        print_result("dry run: quantized network built, one step taken, nothing kept", last_epoch(last))
    return 0


def float_config(checkpoint: Checkpoint) -> TrainConfig:
    """The float run's options, at the size of its card: that is what the network is used at, and may be another."""
    before, pre = train_config(checkpoint.config), checkpoint.card.preprocessing
    sizes: dict[str, Any] = {"img_resize": pre.size, "interpolation": pre.interpolation}
    if sizes["img_resize"] != before.img_resize:
        sizes["rand_crop"] = None  # the default, all of the picture: the old crop may be larger
    return dataclasses.replace(before, **sizes)


def _resumed(config: QuantizeConfig, start: Checkpoint, processes: Processes) -> QuantizeConfig:
    """How the run goes on, as the first process says; where the float run is, each says for itself."""
    own = from_first(lambda: resumed_config(config, of_run(config, start.config)), processes)
    return dataclasses.replace(own, run=config.run)


def of_run(given: QuantizeConfig, saved: Mapping[str, Any]) -> QuantizeConfig:
    """The options that a quantized run began with, from its checkpoint; what `given` calls stays its own."""
    options = stored_options(QuantizeConfig, saved, where=f"--resume {given.save_path}: its options")
    own = {name: value for name, value in options.items() if name not in OF_THIS_CALL}
    try:
        return dataclasses.replace(given, **own)
    except UsageError as error:
        raise DataError(f"--resume {given.save_path}: its options: {error}") from None


def _start(config: QuantizeConfig, folder: Path, processes: Processes) -> Checkpoint | None:
    """The state to go on from: asked for, or because torchrun started the processes again."""
    if from_first(lambda: config.resume, processes) or goes_on(folder, processes):
        return from_first(lambda: load_last(folder), processes)
    return None


def loop_of(config: QuantizeConfig, before: TrainConfig) -> Loop:
    """The loop of quantization-aware training; what it does not say is as in the float run."""
    return Loop(
        epochs=config.epochs,
        epoch_size=config.epoch_size,
        epoch_size_val=config.epoch_size_val,
        batch_size=config.batch_size or before.batch_size,
        accumulate=config.accumulate or before.accumulate,
        optimizer=config.optimizer,
        lr=config.lr,
        weight_decay=config.weight_decay,
        scheduler="cosine",
        warmup_epochs=0.0,
        freeze_bn=before.freeze_bn,
        freeze_layers=before.freeze_layers,
        evaluate_every=config.evaluate_every,
        save_every=config.save_every,
        workers=config.workers,
        amp="off",
        channels_last=config.channels_last,
        seed=config.seed,
        overlays=0 if config.dry_run else before.overlays,
        tensorboard="off" if config.dry_run else before.tensorboard,
    )


def _trainer(
    config: QuantizeConfig,
    checkpoint: Checkpoint,
    opened: Opened,
    train: DataSource,
    *,
    folder: Path,
    placed: Placed,
    plan: Plan,
) -> Trainer:
    before = float_config(checkpoint)
    loop = loop_of(config, before)
    model = calibrated(
        opened,
        train,
        images=config.calibration_images,
        percentile=config.percentile,
        observer=config.observer,
        scheme=config.scheme,
        plan=plan,
        batch_size=loop.batch_size,
        workers=config.workers,
        seed=config.seed,
        device=placed.device,
    )
    if config.ranges == "learned":
        learn_ranges(model)
    distillation = Distillation(config.distill, config.distill_temperature) if config.distill else None
    options = task_options(before, train, placed.device, placed.processes)
    learner = make_learner(
        model,
        loop,
        losses=make_losses(options, placed.processes, distillation),
        balance=task_balance(before, opened.card.outputs, placed.processes),
        preprocessing=opened.card.preprocessing,
        placed=placed,
        lr_ranges=config.ranges_lr,
        teacher=_teacher(opened, loop, placed) if config.distill else None,
    )
    used = dataclasses.replace(config, batch_size=loop.batch_size, accumulate=loop.accumulate)
    return Trainer(
        folder=folder,
        card=checkpoint.card,
        config={**checkpoint.config, **plain(before), **plain(used)},
        learner=learner,
        schedule=schedule(loop),
        quantization={
            "scheme": config.scheme,
            "percentile": config.percentile,
            "observer": config.observer,
            "method": "qat",
            "ranges": config.ranges,
            **recorded(plan),
        },
        before_epoch=_freezer(model, config, normalised_by(model, learner.still), learner.optimizer),
    )


def _teacher(opened: Opened, loop: Loop, placed: Placed) -> nn.Module:
    """The float network, as it is used."""
    assert opened.module is not None
    teacher = opened.module.to(placed.device)
    if loop.channels_last:
        teacher = teacher.to(memory_format=torch.channels_last)
    return teacher.eval().requires_grad_(False)


def _freezer(
    model: fx.GraphModule,
    config: QuantizeConfig,
    still: Sequence[QuantConv2d] = (),
    optimizer: torch.optim.Optimizer | None = None,
) -> Callable[[int], None]:
    """BatchNorm statistics and ranges are fixed from their declared share of the epochs on, those of `still` always."""

    def before_epoch(epoch: int) -> None:
        progress = epoch / config.epochs
        moving = progress < config.freeze_ranges_epoch
        for group in optimizer.param_groups if optimizer is not None else ():
            if group.get("name") == RANGES:  # momentum would move them on without a gradient
                group["initial_lr"] = config.ranges_lr if moving else 0.0
        set_state(
            model,
            observing=moving,
            frozen_bn=progress >= config.freeze_bn_epoch,
            enabled=True,
        )
        for convolution in still:
            convolution.frozen_bn = True

    return before_epoch
