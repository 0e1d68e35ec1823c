"""`edgeailite quantize`: quantization-aware training from a float run."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import torch
from torch import fx

from edgeailite.checkpoint import Checkpoint, run_folder, start_run
from edgeailite.commands.calibrate import calibrated, open_float
from edgeailite.commands.common import plain, print_result, set_threads, train_config
from edgeailite.commands.opening import Opened
from edgeailite.commands.train import class_weights, train_transform
from edgeailite.commands.training import Trainer, load_last, run_training
from edgeailite.commands.validate import dataset_of
from edgeailite.config import QuantizeConfig
from edgeailite.data import DataSource
from edgeailite.engine import select_device
from edgeailite.environment import environment
from edgeailite.optim import learning_rate, make_optimizer
from edgeailite.quantization import set_state


def run(config: QuantizeConfig) -> int:
    """Calibrate, fine-tune with fake quantization, print where the run is."""
    set_threads(config.threads)
    torch.manual_seed(config.seed)
    checkpoint, opened = open_float(config.run)
    float_config = train_config(checkpoint.config)
    folder = config.save_path or run_folder(config.run).with_name(run_folder(config.run).name + "_qat")
    train = dataset_of(opened.card, None, config.data_path, "train")
    val = dataset_of(opened.card, None, config.data_path, float_config.val_split)
    batch_size = config.batch_size or float_config.batch_size
    trainer = _trainer(config, checkpoint, opened, train, folder=folder, batch_size=batch_size)
    start: dict[str, Any] = {}
    if config.resume:
        saved = load_last(folder)
        start = {**saved.training, "state_dict": saved.state_dict}
    else:
        start_run(folder, plain(config), environment())
    began = time.perf_counter()
    last = run_training(
        trainer,
        train,
        val,
        train_transform(float_config),
        epochs=config.epochs,
        batch_size=batch_size,
        seed=config.seed,
        workers=config.workers,
        evaluate_every=config.evaluate_every,
        start=start,
    )
    print_result("quantize", {"run": str(folder), **last, "minutes": round((time.perf_counter() - began) / 60, 2)})
    return 0


def _trainer(
    config: QuantizeConfig, checkpoint: Checkpoint, opened: Opened, train: DataSource, *, folder: Path, batch_size: int
) -> Trainer:
    device = select_device(config.device)
    model = calibrated(
        opened,
        train,
        images=config.calibration_images,
        percentile=config.percentile,
        scheme=config.scheme,
        batch_size=batch_size,
        workers=config.workers,
        seed=config.seed,
        device=device,
    )
    float_config = train_config(checkpoint.config)

    def rate(epoch: float) -> float:
        return learning_rate(config.lr, epoch, epochs=config.epochs, scheduler="cosine", warmup_epochs=0.0)

    return Trainer(
        folder=folder,
        card=checkpoint.card,
        config={**checkpoint.config, **plain(dataclasses.replace(config, batch_size=batch_size))},
        model=model,
        optimizer=make_optimizer(config.optimizer, model.parameters(), lr=config.lr, weight_decay=config.weight_decay),
        rate=rate,
        weight=class_weights(float_config.class_weights, train, device),
        channels_last=config.channels_last,
        quantization={"scheme": config.scheme, "percentile": config.percentile, "method": "qat"},
        before_epoch=_freezer(model, config),
    )


def _freezer(model: fx.GraphModule, config: QuantizeConfig) -> Any:
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
