"""The device on which torch computes, its threads and the type of mixed precision."""

from __future__ import annotations

import torch

from edgeailite.environment import cpu_features
from edgeailite.errors import UsageError, option


def set_threads(count: int | None) -> None:
    """Limit torch's CPU threads to `count`; None leaves them as they are."""
    if count is not None:
        torch.set_num_threads(max(count, 1))


def select_device(name: str) -> torch.device:
    """Return the device of `auto`, `cpu` or `cuda`. Raises UsageError for cuda where torch sees none."""
    if name == "cuda" and not torch.cuda.is_available():
        fix = f"use {option('device')} cpu, or run `edgeailite doctor`"
        raise UsageError(f"{option('device')} cuda: torch sees no CUDA device", value=name, fix=fix, code="no-gpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def select_amp(name: str, device: torch.device) -> torch.dtype | None:
    """Return the autocast type of `auto`, `bf16`, `fp16` or `off`, None for float32.

    `auto` is bf16 on GPUs and on CPUs with AMX tiles; on other CPUs bf16 is slower. UsageError for fp16 on a CPU.
    """
    if name == "fp16":
        if device.type == "cpu":
            problem = f"{option('amp')} fp16: CPUs train in bf16 or without mixed precision"
            raise UsageError(problem, value=name, fix=f"use {option('amp')} bf16 or off")
        return torch.float16
    if name == "bf16":
        return torch.bfloat16
    fast = device.type == "cuda" or "amx_bf16" in cpu_features()
    return torch.bfloat16 if name == "auto" and fast else None
