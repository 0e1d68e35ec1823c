"""The weights that a new training starts from: the words `auto`, `imagenet` and `none`, and the input that goes with
them.
"""

from __future__ import annotations

from dataclasses import replace

from edgeailite.config import TrainConfig
from edgeailite.console import log
from edgeailite.errors import DataError, UsageError, option
from edgeailite.models import ALIASES, MODELS
from edgeailite.preprocessing import Preprocessing
from edgeailite.pretrained import Offer, imagenet_weights
from edgeailite.pretrained.by_name import AUTO, IMAGENET, NONE


def with_first_weights(config: TrainConfig) -> TrainConfig:
    """Settle what a training starts from, and say it: `auto` becomes `imagenet` or `none`.

    With `imagenet`, mean and scale that were not given become those that the weights expect. Weights that are not on
    this machine are downloaded, for `auto` only if their server answers at once. Raises DataError or UsageError if
    `imagenet` is asked for and cannot be had.
    """
    if config.pretrained not in ((AUTO,), (IMAGENET,)):
        return config
    try:
        offer = imagenet_weights(config.model_name, patient=config.pretrained == (IMAGENET,))
    except (DataError, UsageError) as error:
        if config.pretrained == (IMAGENET,):
            raise
        if config.model_name in MODELS or config.model_name in ALIASES:  # others are refused when they are built
            log(f"weights: none, training starts from random values ({error})")
        return replace(config, pretrained=(NONE,))
    settled = _with_input(replace(config, pretrained=(IMAGENET,)), offer)
    mean, scale = settled.image_mean, settled.image_scale
    log(
        f"weights: {offer.weights.name} ({offer.where}), {option('image_mean')} {_numbers(mean)} "
        f"{option('image_scale')} {_numbers(scale)}; {option('pretrained')} {NONE} starts from random values"
    )
    return settled


def first_weights(config: TrainConfig) -> tuple[str, ...] | None:
    """Return the files or addresses that `load_pretrained` takes; None for a start from random values."""
    if config.pretrained == (IMAGENET,):
        return (imagenet_weights(config.model_name).source,)
    return None if config.pretrained in ((AUTO,), (NONE,)) else config.pretrained


def preprocessing_of(config: TrainConfig) -> Preprocessing:
    """Return the steps from a picture to the network's input; mean and scale that are not given have their defaults."""
    order = "BGR" if config.input_channel_reverse else "RGB"
    usual = Preprocessing(*config.img_resize, channel_order=order, interpolation=config.interpolation)
    return replace(usual, mean=config.image_mean or usual.mean, scale=config.image_scale or usual.scale)


def _with_input(config: TrainConfig, offer: Offer) -> TrainConfig:
    """Fill in the mean and scale that the weights expect, in the network's order of channels."""
    if offer.weights.mean_and_scale is None:
        return config
    mean, scale = offer.weights.mean_and_scale
    if config.input_channel_reverse:
        mean, scale = mean[::-1], scale[::-1]
    return replace(config, image_mean=config.image_mean or mean, image_scale=config.image_scale or scale)


def _numbers(values: tuple[float, float, float] | None) -> str:
    return " ".join(f"{value:.6g}" for value in values or ())
