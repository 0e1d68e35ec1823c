"""Losses of depth: prediction (N,1,H,W) against target (N,H,W), both in metres; a target of 0 is not known.

The published recipe adds three, with weights 0.125, 0.125 and 4: smooth L1; a scale loss, a Charbonnier penalty of the
difference of means; the variance of the error. Changed: the last two are taken per picture, since each picture may
be off by a scale of its own and batches may be split; only known pixels count in the means; the third is the root of
the variance, so that all three are metres and their weights mean the same at any range.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from edgeailite.training.losses.sums import LossSum, at_least_float32

SOFTNESS = 1e-3  # metres: below it the Charbonnier penalty is a parabola


def depth_smooth_l1(prediction: Tensor, target: Tensor) -> LossSum:
    """Compute smooth L1 (half a square below 1 m, linear above); mass is the number of known pixels."""
    error, known = _error(prediction, target)
    total = F.smooth_l1_loss(error, torch.zeros_like(error), reduction="sum")
    return LossSum(total, known.sum().to(total.dtype))


def depth_scale(prediction: Tensor, target: Tensor) -> LossSum:
    """Compute the size of a picture's mean error, its being too near or too far as a whole; mass counts pictures."""
    error, known = _error(prediction, target)
    pixels = known.sum((1, 2)).to(error.dtype)
    return _over_pictures(error.sum((1, 2)) ** 2 / pixels.clamp(min=1) ** 2, pixels)


def depth_spread(prediction: Tensor, target: Tensor) -> LossSum:
    """Compute the standard deviation of the error within a picture, whatever its mean; mass counts pictures."""
    error, known = _error(prediction, target)
    pixels = known.sum((1, 2)).to(error.dtype)
    mean = error.sum((1, 2)) / pixels.clamp(min=1)
    off = (error - mean[:, None, None]) * known
    return _over_pictures((off**2).sum((1, 2)) / pixels.clamp(min=1), pixels)


def depth_relative(prediction: Tensor, target: Tensor) -> LossSum:
    """Compute absolute error over true depth, the ARD that is validated; mass is the number of known pixels.

    Not in the published recipe, whose metres count far pixels most.
    """
    error, known = _error(prediction, target)
    share = error.abs() / torch.where(known, target.to(error.dtype), torch.ones_like(error))
    return LossSum(share.sum(), known.sum().to(error.dtype))


def _error(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """(prediction - target, 0 where it is not known; bool map of known pixels), both (N,H,W)."""
    predicted = at_least_float32(prediction)[:, 0]
    known = target > 0
    return torch.where(known, predicted - target.to(predicted.dtype), torch.zeros_like(predicted)), known


def _over_pictures(square: Tensor, pixels: Tensor) -> LossSum:
    """Charbonnier's root of squares (N,), summed over the pictures with known pixels."""
    seen = (pixels > 0).to(square.dtype)
    root = (square + SOFTNESS**2).sqrt() - SOFTNESS
    return LossSum((root * seen).sum(), seen.sum())
