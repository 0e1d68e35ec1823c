"""Optimizers by name, learning rates as plain functions of progress, and the moving average of weights.

A rate is nothing to save but the step number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from edgeailite.errors import UsageError, option

RANGES = "ranges."  # names of a quantized network's learned ranges begin so
RANGES_EPS = 1e-14  # Adam's: their gradients are means over pictures and times 1/sqrt of the values in one


def make_optimizer(
    name: str,
    parameters: Iterable[nn.Parameter] | Sequence[dict[str, Any]],
    *,
    lr: float,
    weight_decay: float,
    momentum: float = 0.9,
) -> torch.optim.Optimizer:
    """Make sgd, adam (weight decay added to the gradient, as published) or adamw (decoupled).

    `parameters` are parameters, or groups as of `parameter_groups`. `momentum` is Adam's first beta. Each group keeps
    its rate as `initial_lr`, which `set_rates` multiplies.
    """
    groups: list[Any] = [p for p in parameters if isinstance(p, dict) or p.requires_grad]
    if name == "sgd":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(groups, lr=lr, momentum=momentum, weight_decay=weight_decay)
    else:
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
        optimizer = kind(groups, lr=lr, betas=(momentum, 0.999), weight_decay=weight_decay)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def parameter_groups(
    model: nn.Module,
    *,
    lr: float,
    lr_encoder: float | None,
    weight_decay: float,
    decay: str,
    lr_ranges: float = 0.0,
) -> list[dict[str, Any]]:
    """Group the trained parameters by rate (those of `encoder.*` may have their own) and by what decays.

    `decay` is "all", or "weights": those with more than one dimension, so neither biases nor BatchNorm (the ADE20K
    recipes). Learned ranges (`ranges.*`) are a group named RANGES, at the rate `lr_ranges`, and never decay. Raises
    UsageError if nothing is trained.
    """
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    ranges = [p for name, p in model.named_parameters() if name.startswith(RANGES) and p.requires_grad]
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not name.startswith(RANGES):
            slow = lr_encoder is not None and name.startswith("encoder.")
            decays = weight_decay if decay == "all" or parameter.ndim > 1 else 0.0
            groups.setdefault((slow, decays), []).append(parameter)
    if not groups:
        raise UsageError(f"{option('freeze_layers')}: every parameter is frozen, nothing is left to train")
    learned = {"params": ranges, "name": RANGES, "lr": lr_ranges, "weight_decay": 0.0, "eps": RANGES_EPS}
    return [learned][: len(ranges)] + [
        {"params": members, "lr": lr_encoder if slow else lr, "weight_decay": decays}
        for (slow, decays), members in sorted(groups.items(), reverse=True)  # the last one's rate is what is reported
    ]


def freeze(model: nn.Module, patterns: Sequence[str]) -> list[nn.Module]:
    """Stop training parameters whose names contain one of `patterns`; returns the BatchNorm modules among them, whose
    statistics must not move either. Raises UsageError for a pattern that nothing contains.
    """
    for pattern in patterns:
        if not any(pattern in name for name, _ in model.named_parameters()):
            tops = ", ".join(dict.fromkeys(".".join(name.split(".")[:2]) for name, _ in model.named_parameters()))
            raise UsageError(
                f"{option('freeze_layers')} {pattern}: no parameter has this in its name; there are {tops[:200]}"
            )
    for name, parameter in model.named_parameters():
        if any(pattern in name for pattern in patterns):
            parameter.requires_grad_(False)
    return [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and any(pattern in name for pattern in patterns)
    ]


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Give every group its initial rate times `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor


def learning_rate(
    base: float,
    epoch: float,
    *,
    epochs: int,
    scheduler: str,
    warmup_epochs: float,
    milestones: tuple[int, ...] = (),
    gamma: float = 0.25,
    power: float = 0.9,
) -> float:
    """Return the rate at `epoch` (fractional, from 0): linear warm-up, then step, cosine (to 0), poly or constant."""
    if epoch < warmup_epochs:
        return base * max(epoch / warmup_epochs, 1e-3)
    if scheduler == "step":
        return base * gamma ** sum(epoch >= milestone for milestone in milestones)
    if scheduler == "constant":
        return base
    progress = min(epoch / epochs, 1.0)
    if scheduler == "cosine":
        return base * 0.5 * (1 + math.cos(math.pi * progress))
    return base * float((1 - progress) ** power)


class MovingAverage:
    """Exponential moving average of a network's state: floating tensors are averaged, counters are copied.

    The decay grows from 0.1 with the number of updates n as (1 + n) / (10 + n) up to `decay`, so that initial values
    are forgotten (as in TensorFlow's ExponentialMovingAverage).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.values = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move towards the network's present state."""
        rate = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        averages, present = [], []
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                averages.append(self.values[name])
                present.append(value)
            else:
                self.values[name].copy_(value)
        torch._foreach_lerp_(averages, present, rate)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """The network has the averaged state inside the block, and its own again after it."""
        own = {name: value.detach().clone() for name, value in model.state_dict().items()}
        model.load_state_dict(self.values)
        try:
            yield
        finally:
            model.load_state_dict(own)

    @torch.no_grad()
    def take(self, model: nn.Module, prefix: str) -> None:
        """Replace the averages of tensors whose names begin with `prefix` by the network's values."""
        for name, value in model.state_dict().items():
            if name.startswith(prefix):
                self.values[name].copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` takes; the values themselves are not copied."""
        return {"updates": self.updates, "values": dict(self.values)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.updates = state["updates"]
        for name, value in self.values.items():
            saved: Tensor = state["values"][name]
            value.copy_(saved)
