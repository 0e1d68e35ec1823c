"""Transforms of pictures and labels from a training configuration: augmented in training, plain in validation."""

from __future__ import annotations

from pathlib import Path

from edgeailite.config import TrainConfig
from edgeailite.data import DataSource
from edgeailite.data.augment.ade20k import Ade20kTransform
from edgeailite.data.augment.extras import Extras
from edgeailite.data.augment.published import PublishedTransform
from edgeailite.data.augment.transforms import EvalTransform, TrainTransform
from edgeailite.data.files.cache import open_cache

TrainingTransform = TrainTransform | PublishedTransform | Ade20kTransform


def train_transform(config: TrainConfig) -> TrainingTransform:
    """Return the augmentation that a configuration asks for."""
    jitter = config.color_jitter if config.color_jitter is not None else 0.3 if config.pipeline == "affine" else 0.0
    extras = Extras(jitter, config.blur, config.cutout)
    if config.pipeline == "ade20k":
        return Ade20kTransform(
            config.short_edges,
            config.max_size,
            padding=config.padding,
            extras=extras,
            interpolation=config.interpolation,
            flip=config.flip,
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
        flip=config.flip,
    )


def eval_transform(config: TrainConfig) -> EvalTransform:
    """Return the transform that prepares pictures and labels for validation."""
    return EvalTransform(config.img_resize, config.interpolation, config.output_size)


def training_source(source: DataSource, cache: Path | None, transform: TrainingTransform) -> DataSource:
    """Return the source of training pictures: their files, or the cache. Raises DataError if it does not fit."""
    if cache is None:
        return source
    return open_cache(source, cache, size=transform.stored, interpolation=transform.interpolation)
