"""Learned activation ranges: their parameters, initial values and gradients.

Gradients are LSQ's (Esser et al., 2020, https://arxiv.org/abs/1902.08153) and, for grids with a zero point, those of
LSQ+ (Bhalgat et al., 2020, https://arxiv.org/abs/2004.09576). Changed: what is learned is not step and offset but the
range's ends as base-2 logarithms, as Jain et al. (2020, https://arxiv.org/abs/1903.08066) learn thresholds. The scheme
makes scale and zero point of the ends as it does of observed ones: zero always has a code, powers of two stay such (the
gradient passes their rounding), and an optimizer's rate means the same share of a range in every tensor.

Parameters per scale: (high,) of tensors without negative values and of symmetric grids, else (high, low).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

LEAST_END = 1 / 256  # of the longer end: where an end starts that calibration found to be 0


def initial_ends(low: float, high: float, *, negative: bool, symmetric: bool) -> Tensor:
    """Logarithms of the ends of a calibrated range; `negative` says whether its tensors may have negative values."""
    longest = max(high, -low) or 1.0
    if not negative:
        ends = [high or 1.0]
    elif symmetric:
        ends = [longest]
    else:
        ends = [max(high, LEAST_END * longest), max(-low, LEAST_END * longest)]
    return torch.tensor(ends).log2()


def range_of_ends(ends: Tensor, *, negative: bool) -> tuple[Tensor, Tensor]:
    """Return (low, high) from the learned parameters; the scheme derives scale and zero point from them."""
    values = ends.detach().exp2()
    return -values[-1] if negative else torch.zeros_like(values[0]), values[0]


class LearnedFakeQuantize(torch.autograd.Function):
    """The values of `FakeQuantize`, with a gradient for the ends of the range as well.

    With scale s and codes n..p (zero point taken off), y = s * clamp(round(x / s), n, p), the gradients of y are
    1 for x inside, LSQ's for s: n below, p above, (y - x) / s inside, and LSQ+'s for the offset: 1 outside. They are
    multiplied by 1/sqrt(p * values per picture), as LSQ does; Adam divides that out again.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        ends: Tensor,
        scale: Tensor,
        low: Tensor | int,
        high: Tensor | int,
        half_up: bool,
        relu: bool,
        learning: bool,
    ) -> Tensor:
        """`low` to `relu` as of `FakeQuantize`; without `learning` the gradient of the ends is 0."""
        codes = torch.mul(x, 1 / scale)
        codes = codes.add_(0.5).floor_() if half_up else codes.round_()
        y = torch.clamp(codes, low, high, out=codes).mul_(scale)
        ctx.save_for_backward(*((x, y, ends, scale) if learning else (x, None, ends, scale)))
        ctx.codes, ctx.relu = (low, high), relu
        return y

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x and of the ends."""
        grad, (x, y, ends, scale) = grad_outputs[0], ctx.saved_tensors
        low, high = (float(code) for code in ctx.codes)
        bounds = (0.0 if ctx.relu else (low - 0.5) * float(scale), (high + 0.5) * float(scale))
        inside = torch.ops.aten.hardtanh_backward(grad, x, *bounds)
        if y is None:
            return inside, torch.zeros_like(ends), None, None, None, None, None, None
        # clamped values keep y, the others are left with what rounding added
        of_scale = dot(grad, y - torch.ops.aten.hardtanh_backward(x, x, *bounds)) / scale
        if len(ends) == 1:
            slopes = (of_scale * scale).reshape(1)
        else:
            outside = (grad - inside).sum()
            values = ends.exp2()
            to_high, to_low = of_scale - low * outside, high * outside - of_scale
            slopes = torch.stack([to_high * values[0], -to_low * values[1]]) / (high - low)
        factor = math.log(2) / math.sqrt(max(high, 1.0) * x[0].numel())
        return inside, slopes * factor, None, None, None, None, None, None


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Sum of products of two feature maps, in one pass where they have one layout."""
    if all(t.dim() == 4 and t.is_contiguous(memory_format=torch.channels_last) for t in (a, b)):
        a, b = a.permute(0, 2, 3, 1), b.permute(0, 2, 3, 1)
    return torch.dot(a.reshape(-1), b.reshape(-1))
