"""Losses between the predictions of two networks: what a smaller one or an integer one learns from a teacher.

Distillation of Hinton et al. (2015, https://arxiv.org/abs/1503.02531), per pixel. All pixels count, without labels too.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from edgeailite.training.losses.sums import LossSum, at_least_float32


def distilled_classes(logits: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> LossSum:
    """Compute T^2 times the divergence KL(teacher || student) of the classes' probabilities at temperature T.

    Both are logits (N,C,H,W); the factor keeps the gradient's size when T changes. Mass is the number of pixels.
    """
    ours = (at_least_float32(logits) / temperature).log_softmax(1)
    theirs = (at_least_float32(teacher) / temperature).log_softmax(1)
    total = temperature**2 * F.kl_div(ours, theirs, reduction="sum", log_target=True)
    return LossSum(total, _pixels(ours))


def distilled_values(prediction: Tensor, teacher: Tensor) -> LossSum:
    """Compute the absolute difference of two regressions (N,1,H,W); mass is the number of pixels."""
    ours = at_least_float32(prediction)
    return LossSum(F.l1_loss(ours, at_least_float32(teacher), reduction="sum"), _pixels(ours))


def _pixels(prediction: Tensor) -> Tensor:
    return torch.tensor(prediction.numel() / prediction.shape[1], dtype=prediction.dtype, device=prediction.device)
