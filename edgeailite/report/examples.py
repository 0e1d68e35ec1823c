"""The worst pictures of a split, as the report shows them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.data import DataSource
from edgeailite.data.augment.transforms import resize_image
from edgeailite.data.files.images import read_image
from edgeailite.data.samples import picture_planes
from edgeailite.data.source import ClassTarget, DepthTarget
from edgeailite.drawing.plots import background, colorize, tint
from edgeailite.drawing.sheets import depth_colors, depth_differences, depth_scale
from edgeailite.evaluation import ClassTally, DepthTally, PictureTally, Tally, only, results_at
from edgeailite.report.record import Example
from edgeailite.report.text import percent
from edgeailite.runs.open import OpenModel

OVERLAY_ALPHA = 0.5

PictureScore = tuple[int, float]
"""Index of a picture and its own score; lower is worse."""


def picture_scores(picture: Tally) -> dict[str, float]:
    """Return a picture's score by output: mIoU, or minus ARD; NaN where nothing is labelled or can be drawn."""
    found = {}
    for name, part in picture.items():
        if isinstance(part, PictureTally):
            found[name] = math.nan
        elif isinstance(part, DepthTally):
            found[name] = -part.scores().ard
        else:
            assert isinstance(part, ClassTally)
            found[name] = part.scores().miou if part.confusion.sum() else math.nan
    return found


def worst_pictures(scores: Sequence[PictureScore], count: int) -> list[PictureScore]:
    """Return the `count` pictures with the lowest scores, worst first; those without labels are left out."""
    labelled = [scored for scored in scores if not math.isnan(scored[1])]
    return sorted(labelled, key=lambda scored: scored[1])[:count]


def examples_of(
    opened: OpenModel, source: DataSource, worst: Mapping[str, Sequence[PictureScore]]
) -> dict[str, tuple[Example, ...]]:
    """Draw the pictures given by index and score, by output; one picture at full size is in memory at a time."""
    return {
        name: tuple(_example(opened, source, name, scored) for scored in several) for name, several in worst.items()
    }


def predictions(
    opened: OpenModel, pictures: Sequence[NDArray[np.uint8]], size: tuple[int, ...]
) -> dict[str, NDArray[Any]]:
    """Predict classes and depths at `size` from pictures (H,W,3), one per input, preprocessed as in validation."""
    pre = opened.card.preprocessing
    shown = pre.size
    images = tuple(picture_planes(resize_image(picture, shown, pre.interpolation))[None] for picture in pictures)
    return results_at(only(opened.predict, opened.card.maps)(images), size)


def _example(opened: OpenModel, source: DataSource, output: str, scored: PictureScore) -> Example:
    index, score = scored
    item, target = source.items[index], source.targets[output]
    pictures = [read_image(path) for path in item.images]
    picture = pictures[item.camera]
    if isinstance(target, DepthTarget):
        depth = target.values(item.labels[output], source.name)
        guess = predictions(opened, pictures, depth.shape)[output]
        scale = depth_scale([depth, guess])
        views = depth_colors(depth, scale), depth_colors(guess, scale), depth_differences(depth, guess)
        return Example(item.image.name, f"ARD {percent(-score)} %", picture, *views)
    assert isinstance(target, ClassTarget)
    label = target.values(item.labels[output], source.name)
    found = predictions(opened, pictures, label.shape)[output]
    colors = colorize(found, target.palette)
    plain = background(target.classes, target.palette)
    over = tint(picture, found, target.palette, alpha=OVERLAY_ALPHA, plain=plain)
    return Example(item.image.name, f"mIoU {percent(score)} %", picture, colorize(label, target.palette), colors, over)
