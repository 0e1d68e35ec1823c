"""The result of a loss: a sum and the mass that it is divided by."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

IGNORE = 255


@dataclass(frozen=True)
class LossSum:
    """A loss as `total / mass`, two scalars of one type; `mass` has no gradient and is 0 when nothing was labelled.

    `total` and `mass` of parts of a batch (of several processes) add up; those that are no means over pixels have
    mass 1, so that the loss of several processes is the mean of theirs.
    """

    total: Tensor
    mass: Tensor

    def mean(self) -> Tensor:
        """Return the loss of this batch alone; 0, with zero gradients, when nothing is labelled."""
        return self.over(self.mass)

    def over(self, mass: Tensor) -> Tensor:
        """Return `total / mass` for the mass of all processes; 0 when that is 0."""
        # 1, not a tiny number: the gradient's quotient would overflow under a gradient scaler, and inf * 0 is NaN
        return self.total / torch.where(mass > 0, mass, torch.ones_like(mass))


def at_least_float32(prediction: Tensor) -> Tensor:
    """Convert half precision to float32; float32 and float64 stay."""
    return prediction.float() if prediction.dtype in (torch.float16, torch.bfloat16) else prediction


def split_ignored(target: Tensor, ignore: int) -> tuple[Tensor, Tensor]:
    """Split a class map into a bool map of labelled pixels, and the map with class 0 in place of ignored pixels."""
    labelled = target != ignore
    return labelled, torch.where(labelled, target, torch.zeros_like(target))


def once(total: Tensor, anything: Tensor) -> LossSum:
    """Make a loss that is no mean over pixels: mass 1, or 0 if `anything` (bool scalar) is False."""
    return LossSum(total, anything.to(total.dtype))
