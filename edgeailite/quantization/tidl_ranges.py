"""Ranges as TI's published quantization (xnn.quantize, r8.2) tracks them: a histogram per batch, then a running mean.

Restated from its behaviour and checked against vectors of it. Changed: no random subsample of large tensors, so that
equal pictures give equal ranges; large ones are thinned out regularly.
"""

from __future__ import annotations

import torch
from torch import Tensor

BINS = 255
CUT = 0.01  # per cent of the values, at each end
SLOWEST_UPDATE = 0.001
SAMPLES = 1 << 18


def histogram_range(x: Tensor, cut: float = CUT) -> tuple[Tensor, Tensor]:
    """The range of `x` without the outermost bins of 255 that hold less than `cut` per cent of it at each end."""
    stride = max(1, int((x.numel() / SAMPLES) ** 0.5)) if x.dim() > 1 else 1
    x = torch.atleast_2d(x)[..., ::stride, ::stride] if stride > 1 else x
    low, high = x.aminmax()
    if low == high:
        return low, high
    scale = BINS / (high - low)
    counts = torch.bincount(torch.round((x - low) * scale).long().flatten(), minlength=BINS + 1)
    least = cut / 100 * x.numel()
    first = max(int((counts.cumsum(0) < least).sum()) - 1, 0)
    last = BINS - max(int((counts.flip(0).cumsum(0) < least).sum()) - 1, 0)
    top = scale.new_tensor(last) / scale + low
    # the vectors have the largest value itself where values are negative, and this way around back to it where none is
    return scale.new_tensor(first) / scale + low, high if last == BINS and low < 0 else top


def update_rate(updates: int) -> float:
    """Return the weight of the newest batch after `updates` of them; each of the first two replaces the range."""
    return max(1 / max(updates - 1, 1), SLOWEST_UPDATE)
