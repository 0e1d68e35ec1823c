"""Errors of depth, over the pixels whose depth is known (target above 0).

ARD is the mean of |prediction - target| / target (the published code's AbsRelDiff, there in per cent), RMSE the root of
the mean squared difference in metres. A picture gives three float64 sums; `math.fsum` adds those of a split without
rounding in between, so that the result depends neither on the order of pictures nor on how a split is divided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class DepthSums:
    """Sums over one picture: relative differences, squared differences in square metres, number of known pixels."""

    relative: float
    squared: float
    pixels: int


@dataclass(frozen=True)
class DepthScores:
    """`ard` is a share (0.1 = 10 %), `rmse` in metres; NaN where no depth was known."""

    ard: float
    rmse: float


def depth_sums(target: NDArray[np.floating], prediction: NDArray[np.floating]) -> DepthSums:
    """Sum the errors of one picture: depths (H,W) in metres, target 0 = not known."""
    known = target > 0
    truth, guess = target[known].astype(np.float64), prediction[known].astype(np.float64)
    gap = np.abs(guess - truth)
    return DepthSums(float((gap / truth).sum()), float((gap * gap).sum()), int(known.sum()))


def depth_scores(pictures: Sequence[DepthSums]) -> DepthScores:
    """Return ARD and RMSE of a split; every known pixel counts alike."""
    pixels = sum(picture.pixels for picture in pictures)
    if not pixels:
        return DepthScores(math.nan, math.nan)
    relative, squared = (math.fsum(getattr(p, name) for p in pictures) for name in ("relative", "squared"))
    return DepthScores(relative / pixels, math.sqrt(squared / pixels))
