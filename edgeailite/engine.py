"""The training loop: one for float and quantized training alike.

Plain functions. State is (model, optimizer, position); everything random is a function of (seed, epoch, index) or of
torch's generator, which `position` carries along.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgeailite.data.loader import EpochBatches, Sample
from edgeailite.data.tensors import to_input
from edgeailite.environment import cpu_features
from edgeailite.errors import DivergedError, UsageError
from edgeailite.preprocessing import Preprocessing

Loss = Callable[[dict[str, Tensor], dict[str, Tensor]], Tensor]


@dataclass(frozen=True)
class Step:
    """What a step reports: epoch (from 0), step in it (from 1), steps in the epoch, loss, sum of losses, rate."""

    epoch: int
    step: int
    steps: int
    loss: float
    total: float
    lr: float


def select_device(name: str) -> torch.device:
    """auto, cpu or cuda. Raises UsageError for cuda where there is none."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: torch sees no CUDA device; use --device cpu, or run `edgeailite doctor`")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def select_amp(name: str, device: torch.device) -> torch.dtype | None:
    """Autocast type; auto is bf16 on GPUs and on CPUs with AMX tiles (elsewhere on CPUs bf16 is slower)."""
    if name == "fp16":
        if device.type == "cpu":
            raise UsageError("--amp fp16: CPUs train in bf16 or without mixed precision; use --amp bf16 or off")
        return torch.float16
    if name == "bf16":
        return torch.bfloat16
    fast = device.type == "cuda" or "amx_bf16" in cpu_features()
    return torch.bfloat16 if name == "auto" and fast else None


def train_epoch(
    model: nn.Module,
    loader: Iterable[Sample],
    batches: EpochBatches,
    *,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    rate: Callable[[float], float],
    preprocessing: Preprocessing,
    amp: torch.dtype | None = None,
    total: float = 0.0,
    on_step: Callable[[Step], None] = lambda step: None,
) -> float:
    """One pass over `loader` from `batches.epoch` and `batches.skip` on; returns the mean loss of the whole epoch.

    `total` is the sum of the losses of skipped steps. `rate(epoch)` gives the learning rate at a fractional epoch.
    `on_step` is called after each update and may raise to stop. Raises DivergedError before an update with a loss
    that is not finite.
    """
    device = next(model.parameters()).device
    scaler = torch.amp.GradScaler(device.type, enabled=amp == torch.float16)
    first = batches.skip
    steps = first + len(batches)
    for index, (images, targets) in enumerate(loader):
        lr = rate(batches.epoch + (first + index) / steps)
        for group in optimizer.param_groups:
            group["lr"] = lr
        x = to_input(images[0].to(device, non_blocking=True), preprocessing)
        targets = {name: target.to(device, non_blocking=True) for name, target in targets.items()}
        with torch.autocast(device.type, dtype=amp) if amp else nullcontext():
            outputs = model(x)
        value = loss(outputs, targets)
        if not torch.isfinite(value):
            where = f"epoch {batches.epoch + 1}, step {first + index + 1}"
            raise DivergedError(f"loss is {value.item()} at {where}; lower --lr (now {lr:.3g}) or check the labels")
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(value).backward()
        scaler.step(optimizer)
        scaler.update()
        total += value.item()
        on_step(Step(batches.epoch, first + index + 1, steps, value.item(), total, lr))
    return total / steps


def is_better(value: float, best: float) -> bool:
    """Higher is better; anything beats NaN."""
    return math.isnan(best) or value > best
