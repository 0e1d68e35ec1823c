"""`edgeailite train`: from a data set to a run folder."""

from __future__ import annotations

import dataclasses
import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgeailite.checkpoint import start_run
from edgeailite.commands.common import log, plain, print_result, set_threads, train_config
from edgeailite.commands.datasets import ensure_dataset, open_labelled
from edgeailite.commands.training import Trainer, load_last, run_training
from edgeailite.config import TrainConfig
from edgeailite.data import DataSource
from edgeailite.data.augment import Extras
from edgeailite.data.augment_ade20k import Ade20kTransform
from edgeailite.data.augment_published import PublishedTransform
from edgeailite.data.cache import open_cache
from edgeailite.data.transforms import TrainTransform
from edgeailite.engine import select_amp, select_device
from edgeailite.environment import environment
from edgeailite.errors import UsageError
from edgeailite.losses import enet_weights
from edgeailite.modelcard import ModelCard, changed_options
from edgeailite.models import Pixel2Pixel, create_model
from edgeailite.optim import learning_rate, make_optimizer
from edgeailite.preprocessing import Preprocessing
from edgeailite.pretrained import LoadReport, describe, load_pretrained

PRETRAINED = "pretrained.json"  # in the run folder: what was loaded to start from


def run(config: TrainConfig) -> int:
    """Train and print where the run is. Raises the errors of `edgeailite.errors`."""
    if config.resume is not None:
        folder, config, start = _resumed(config.resume)
    else:
        folder, start = config.save_path or _default_folder(config), {}
    set_threads(config.threads)
    torch.manual_seed(config.seed)
    device = select_device(config.device)
    amp = select_amp(config.amp, device)
    ensure_dataset(config.dataset_name, config.data_path)
    train = open_labelled(config.dataset_name, config.data_path, "train")
    val = open_labelled(config.dataset_name, config.data_path, config.val_split)
    model = create_model(
        config.model_name, len(train.classes), upsampling=config.upsampling, align_corners=config.align_corners
    )
    card = _card(config, train, model)
    report = _load(model, config) if config.pretrained is not None and not start else None
    model.to(device)
    optimizer = make_optimizer(config.optimizer, model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    weight = class_weights(config.class_weights, train, device)
    if not start:
        start_run(folder, plain(config), environment())
    if report is not None:
        (folder / PRETRAINED).write_text(json.dumps(dataclasses.asdict(report), indent=2) + "\n", encoding="utf-8")
    transform = train_transform(config)
    trainer = Trainer(
        folder=folder,
        card=card,
        config=plain(config),
        model=model,
        optimizer=optimizer,
        rate=_rate(config),
        weight=weight,
        amp=amp,
        channels_last=config.channels_last,
    )
    began = time.perf_counter()
    last = run_training(
        trainer,
        training_source(config, train, transform),
        val,
        transform,
        epochs=config.epochs,
        batch_size=config.batch_size,
        seed=config.seed,
        workers=config.workers,
        evaluate_every=config.evaluate_every,
        start=start,
    )
    print_result("train", {"run": str(folder), **last, "minutes": round((time.perf_counter() - began) / 60, 2)})
    return 0


def class_weights(kind: str, source: DataSource, device: torch.device) -> Tensor | None:
    """Loss weights: those published for the data set, or ENet's from the labels of the training split; or None."""
    if kind == "none":
        return None
    if kind == "published":
        published = source.main.class_weights
        if published is None:
            raise UsageError(f"--class_weights published: none are published for {source.name}; take enet or none")
        return torch.tensor(published, device=device)
    counts = np.zeros(256, np.int64)
    for item in source.items:
        counts += np.bincount(source.class_map(item).ravel(), minlength=256)
    return enet_weights(torch.from_numpy(counts[: len(source.classes)])).to(device)


def training_source(
    config: TrainConfig, source: DataSource, transform: TrainTransform | PublishedTransform | Ade20kTransform
) -> DataSource:
    """Where training pictures come from: the files, or the cache of them. DataError where that does not fit."""
    if config.cache is None:
        return source
    return open_cache(source, config.cache, size=transform.stored, interpolation=config.interpolation)


def train_transform(config: TrainConfig) -> TrainTransform | PublishedTransform | Ade20kTransform:
    """The augmentation that a configuration asks for."""
    jitter = config.color_jitter if config.color_jitter is not None else 0.3 if config.pipeline == "affine" else 0.0
    extras = Extras(jitter, config.blur, config.cutout)
    if config.pipeline == "ade20k":
        return Ade20kTransform(
            config.short_edges,
            config.max_size,
            padding=config.padding,
            extras=extras,
            interpolation=config.interpolation,
        )
    pipeline = PublishedTransform if config.pipeline == "published" else TrainTransform
    return pipeline(
        config.img_resize,
        config.rand_crop or config.img_resize,
        scale=config.rand_scale,
        rotation=config.rotation,
        extras=extras,
        balanced_crops=config.balanced_crops,
        interpolation=config.interpolation,
    )


def _load(model: Pixel2Pixel, config: TrainConfig) -> LoadReport:
    """Start from published or own weights, and say what was loaded."""
    report = load_pretrained(model, config.pretrained or (), allow_head_mismatch=config.allow_head_mismatch)
    log(describe(report))
    return report


def _card(config: TrainConfig, source: DataSource, model: Pixel2Pixel) -> ModelCard:
    order = "BGR" if config.input_channel_reverse else "RGB"
    return ModelCard(
        model_name=model.name,
        outputs={"segmentation": len(source.classes)},
        classes=source.classes,
        palette=source.palette,
        preprocessing=Preprocessing(
            *config.img_resize, config.image_mean, config.image_scale, order, config.interpolation
        ),
        dataset_name=config.dataset_name,
        data_path=None if config.data_path is None else str(config.data_path.resolve()),
        options=changed_options(model.options),
    )


def _rate(config: TrainConfig) -> Any:
    def rate(epoch: float) -> float:
        return learning_rate(
            config.lr,
            epoch,
            epochs=config.epochs,
            scheduler=config.scheduler,
            warmup_epochs=config.warmup_epochs,
            milestones=config.milestones,
            gamma=config.multistep_gamma,
        )

    return rate


def _default_folder(config: TrainConfig) -> Path:
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return Path("runs") / f"{stamp}_{config.dataset_name}_{config.model_name}"


def _resumed(folder: Path) -> tuple[Path, TrainConfig, dict[str, Any]]:
    """Folder, configuration and state of a float run."""
    checkpoint = load_last(folder)
    if checkpoint.quantization is not None:
        raise UsageError(
            f"--resume {folder}: a quantized run; use `edgeailite quantize RUN --save_path … --resume True`"
        )
    config = dataclasses.replace(train_config(checkpoint.config), resume=None)
    return folder, config, {**checkpoint.training, "state_dict": checkpoint.state_dict}
