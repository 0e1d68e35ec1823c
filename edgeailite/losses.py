"""Losses: predictions and targets in, a scalar out. Ignored pixels never count, neither above nor below the line."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, target: Tensor, *, weight: Tensor | None = None, ignore: int = 255) -> Tensor:
    """Mean over labelled pixels of the class-weighted cross entropy; 0 when every pixel is ignored.

    `logits` (N,C,H,W) float, `target` (N,H,W) int64, `weight` (C,). The mean divides by the sum of the weights of
    the labelled pixels, as torch does; the published code divides by all pixels, ignored ones included.
    """
    total = F.cross_entropy(logits.float(), target, weight, ignore_index=ignore, reduction="sum")
    labelled = target != ignore
    mass = labelled.sum() if weight is None else weight[target[labelled]].sum()
    return total / mass.clamp(min=torch.finfo(torch.float32).tiny)


def enet_weights(pixels_per_class: Tensor) -> Tensor:
    """1/ln(1.02 + share of pixels), from ENet (Paszke et al., 2016, https://arxiv.org/abs/1606.02147, section 5.2)."""
    share = pixels_per_class.double() / pixels_per_class.sum().clamp(min=1)
    return (1 / torch.log(1.02 + share)).float()
