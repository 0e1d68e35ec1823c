"""`edgeailite quantize`: quantization-aware training from a float run."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import fx

from edgeailite.checkpoint import Checkpoint, run_folder
from edgeailite.commands.calibrate import calibrated, open_float
from edgeailite.commands.common import plain, print_result, set_threads, train_config
from edgeailite.commands.learning import Placed, make_learner, make_losses, schedule, task_balance, task_options
from edgeailite.commands.opening import Opened
from edgeailite.commands.resuming import begin_run, goes_on
from edgeailite.commands.training import Trainer, Transforms, load_last, run_training
from edgeailite.commands.validate import dataset_of
from edgeailite.commands.views import eval_transform, train_transform
from edgeailite.config import QuantizeConfig, TrainConfig
from edgeailite.config.loop import Loop
from edgeailite.data import DataSource
from edgeailite.distributed import Processes, end_processes, from_first, start_processes
from edgeailite.engine import select_device
from edgeailite.quantization import set_state


def run(config: QuantizeConfig) -> int:
    """Calibrate, fine-tune with fake quantization, print where the run is."""
    set_threads(config.threads)
    device = select_device(config.device)
    processes = start_processes(device, timeout=config.timeout)
    try:
        folder, last = _quantize(config, Placed(device, processes))
    finally:
        end_processes(processes)
    if processes.first:
        print_result("quantize", {"run": str(folder), **last})
    return 0


def _quantize(config: QuantizeConfig, placed: Placed) -> tuple[Path, dict[str, Any]]:
    began = time.perf_counter()
    torch.manual_seed(config.seed)
    checkpoint, opened = open_float(config.run)
    before = train_config(checkpoint.config)
    folder = config.save_path or run_folder(config.run).with_name(run_folder(config.run).name + "_qat")
    train = dataset_of(opened.card, None, config.data_path, before.train_split)
    val = dataset_of(opened.card, None, config.data_path, before.val_split)
    loop = loop_of(config, before)
    trainer = _trainer(config, checkpoint, opened, train, folder=folder, placed=placed)
    start = _start(config, folder, placed.processes)
    if start is None:
        from_first(lambda: begin_run(folder, config), placed.processes)
    transforms = Transforms(train_transform(before), eval_transform(before))
    last = run_training(trainer, train, val, transforms=transforms, loop=loop, start=start)
    return folder, {**last, "minutes": round((time.perf_counter() - began) / 60, 2)}


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
        optimizer=config.optimizer,
        lr=config.lr,
        weight_decay=config.weight_decay,
        scheduler="cosine",
        warmup_epochs=0.0,
        freeze_layers=before.freeze_layers,
        evaluate_every=config.evaluate_every,
        save_every=config.save_every,
        workers=config.workers,
        amp="off",
        channels_last=config.channels_last,
        seed=config.seed,
        overlays=before.overlays,
        tensorboard=before.tensorboard,
    )


def _trainer(
    config: QuantizeConfig, checkpoint: Checkpoint, opened: Opened, train: DataSource, *, folder: Path, placed: Placed
) -> Trainer:
    before = train_config(checkpoint.config)
    loop = loop_of(config, before)
    model = calibrated(
        opened,
        train,
        images=config.calibration_images,
        percentile=config.percentile,
        scheme=config.scheme,
        batch_size=loop.batch_size,
        workers=config.workers,
        seed=config.seed,
        device=placed.device,
    )
    learner = make_learner(
        model,
        loop,
        losses=make_losses(task_options(before, train, placed.device, placed.processes), placed.processes),
        balance=task_balance(before, opened.card.outputs, placed.processes),
        preprocessing=opened.card.preprocessing,
        placed=placed,
    )
    return Trainer(
        folder=folder,
        card=checkpoint.card,
        config={**checkpoint.config, **plain(dataclasses.replace(config, batch_size=loop.batch_size))},
        learner=learner,
        schedule=schedule(loop),
        quantization={"scheme": config.scheme, "percentile": config.percentile, "method": "qat"},
        before_epoch=_freezer(model, config),
    )


def _freezer(model: fx.GraphModule, config: QuantizeConfig) -> Callable[[int], None]:
    """BatchNorm statistics and ranges are fixed from their declared share of the epochs on."""

    def before_epoch(epoch: int) -> None:
        progress = epoch / config.epochs
        set_state(
            model,
            observing=progress < config.freeze_ranges_epoch,
            frozen_bn=progress >= config.freeze_bn_epoch,
            enabled=True,
        )

    return before_epoch
