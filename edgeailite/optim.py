"""Optimizers by name and learning rates as plain functions of progress: nothing to save but the step number."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn


def make_optimizer(
    name: str, parameters: Iterable[nn.Parameter], *, lr: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Make sgd (momentum 0.9), adam (weight decay added to the gradient, as published) or adamw (decoupled)."""
    trained = [p for p in parameters if p.requires_grad]
    if name == "sgd":
        return torch.optim.SGD(trained, lr=lr, momentum=0.9, weight_decay=weight_decay)
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    return kinds[name](trained, lr=lr, weight_decay=weight_decay)


def learning_rate(
    base: float,
    epoch: float,
    *,
    epochs: int,
    scheduler: str,
    warmup_epochs: float,
    milestones: tuple[int, ...] = (),
    gamma: float = 0.25,
) -> float:
    """Rate at `epoch` (fractional, from 0): linear warm-up, then step, cosine (to 0) or poly (power 0.9)."""
    if epoch < warmup_epochs:
        return base * max(epoch / warmup_epochs, 1e-3)
    if scheduler == "step":
        return base * gamma ** sum(epoch >= milestone for milestone in milestones)
    progress = min(epoch / epochs, 1.0)
    if scheduler == "cosine":
        return base * 0.5 * (1 + math.cos(math.pi * progress))
    return base * float((1 - progress) ** 0.9)
