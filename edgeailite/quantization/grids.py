"""The formulas that turn ranges into scales, zero points and codes, for every scheme.

An affine grid spends all codes on the range and puts zero on one of them (Jacob et al., 2018,
https://arxiv.org/abs/1712.05877). A symmetric one has zero in the middle, or at the first code for tensors without
negative values. Powers of two round the range up, as TI's xnn.quantize does: its scales are `clip / 2^(bits-1)`.
The scheme without ties rounds the step of an affine grid up to a power of two, and takes for weights the power that
gives the smaller error.

A bilinear resize by a power of two computes with weights of few bits. If the scale of its input has few significant
bits too, every product and partial sum is exact in float32: fused or not and in any order, each CPU gives the same
bits. `short_scale` rounds a scale to 8 bits, which is enough up to x 8: code minus zero point takes 8, the weights of
both axes 4 each, together 24. It rounds down, by less than 1 per cent, so that an activation's upper limit stays the
last code.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgeailite.quantization.schemes import Scheme
from edgeailite.quantization.tie_free import WEIGHT_STEP

TINY_SCALE = 1e-12
SHORT_BITS = 8  # of a scale whose tensor is resized
CODE_TYPES = {
    (8, False): torch.uint8,
    (8, True): torch.int8,
    (16, False): torch.uint16,
    (16, True): torch.int16,
}


@dataclass(frozen=True)
class ActivationGrid:
    """Codes `low`..`high` of an activation; `of_range` chooses scale and zero point.

    With `exact_resize` a scale of 8-bit codes is short (`short_scale`).
    """

    scheme: Scheme
    bits: int = 8
    exact_resize: bool = False

    @property
    def low(self) -> int:
        """Smallest code."""
        return -(2 ** (self.bits - 1)) if self.scheme.signed else 0

    @property
    def high(self) -> int:
        """Largest code."""
        return self.low + 2**self.bits - 1

    @property
    def code_type(self) -> torch.dtype:
        """The codes' type in a file."""
        return CODE_TYPES[self.bits, self.scheme.signed]

    def of_range(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and zero point (float, a whole number) such that 0 has a code; an all-zero tensor gets range 0..1."""
        low, high = low.clamp(max=0), high.clamp(min=0)
        high = torch.where(high > low, high, torch.ones_like(high))
        if not self.scheme.symmetric:
            step = (high - low) / (self.high - self.low)
            scale = ceil_power_of_two(step) if self.scheme.power_of_two else self._shortened(step)
            return scale, self.zero_point(low, scale)
        middle = 2 ** (self.bits - 1)
        largest = torch.maximum(-low, high)
        unsigned = (low >= 0) & (not self.scheme.signed)
        if self.scheme.power_of_two:
            scale = ceil_power_of_two(largest) / torch.where(unsigned, 2 * middle, middle)
        else:
            scale = self._shortened(largest / torch.where(unsigned, 2 * middle - 1, middle - 1))
        zero = torch.where(unsigned, 0.0, 0.0 if self.scheme.signed else float(middle))
        return scale, zero.to(scale)

    def zero_point(self, low: Tensor, scale: Tensor) -> Tensor:
        """Zero point of a grid that is not symmetric, such that its first code is about `low`."""
        return torch.round(self.low - low.clamp(max=0) / scale).clamp(self.low, self.high)

    @property
    def has_special_scales(self) -> bool:
        """True where a scale cannot be moved a little: powers of two, and the short ones of resizes."""
        return self.scheme.power_of_two or (self.exact_resize and self.bits == 8)

    def _shortened(self, scale: Tensor) -> Tensor:
        return short_scale(scale) if self.exact_resize and self.bits == 8 else scale

    def reach(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scale, and the smallest and largest code without the zero point; for any number of ranges at once."""
        scale, zero_point = self.of_range(low, high)
        return scale, self.low - zero_point, self.high - zero_point


@dataclass(frozen=True)
class WeightGrid:
    """Codes `low`..`high` of a convolution's weight."""

    scheme: Scheme
    bits: int

    @property
    def step(self) -> int:
        """All codes are multiples of this."""
        return WEIGHT_STEP if self.scheme.tie_free else 1

    @property
    def high(self) -> int:
        """Largest code."""
        return (2 ** (self.bits - 1) - 1) // self.step * self.step

    @property
    def low(self) -> int:
        """Smallest code."""
        return -self.high - int(self.scheme.full_weights)

    @property
    def code_type(self) -> torch.dtype:
        """The codes' type in a file; 4 bits are kept in 8, for that is what integer kernels read."""
        return torch.int8 if self.bits <= 8 else torch.int16

    def scale(self, weight: Tensor) -> Tensor:
        """(out,) scales of a weight (out, ...): of each channel's largest value, or all of the tensor's."""
        largest = weight.abs().flatten(1).amax(1)
        if not self.scheme.per_channel:
            largest = largest.max().expand(len(largest))
        if self.scheme.tie_free:
            return self._closer_power(weight, ceil_power_of_two(largest / (self.high + self.step / 2)))
        if self.scheme.power_of_two:
            return ceil_power_of_two(largest) / 2 ** (self.bits - 1)
        return largest / self.high

    def _closer_power(self, weight: Tensor, scale: Tensor) -> Tensor:
        """Take `scale` or its half, which clips: for each channel the one with the smaller squared error."""
        errors = [
            (self.codes(weight, s) * s.view(-1, *[1] * (weight.dim() - 1)) - weight).square().flatten(1).sum(1)
            for s in (scale, scale / 2)
        ]
        return torch.where(errors[1] < errors[0], scale / 2, scale)

    def codes(self, weight: Tensor, scale: Tensor) -> Tensor:
        """Whole numbers in float32, of the shape of `weight`; `scale` is (out,)."""
        codes = weight * (1 / (self.step * scale)).view(-1, *[1] * (weight.dim() - 1))
        codes = half_away_from_zero(codes) if self.scheme.half_up else torch.round(codes)
        return (codes * self.step).clamp(self.low, self.high)


def ceil_power_of_two(x: Tensor) -> Tensor:
    """Return the smallest power of two at or above `x`, exactly; at least 2^-39, so that zeros have a scale."""
    mantissa, exponent = torch.frexp(x.clamp(min=TINY_SCALE))
    return torch.ldexp(torch.ones_like(mantissa), exponent - (mantissa == 0.5).to(exponent.dtype))


def short_scale(scale: Tensor) -> Tensor:
    """Return scales rounded down to SHORT_BITS significant bits, exactly."""
    mantissa, exponent = torch.frexp(scale)
    return torch.ldexp(torch.floor(mantissa * 2**SHORT_BITS) / 2**SHORT_BITS, exponent)


def half_away_from_zero(x: Tensor) -> Tensor:
    """Rounded; halves go away from zero, as C's `round`."""
    return torch.copysign(torch.floor(x.abs() + 0.5), x)


def bias_on_power_of_two(bias: Tensor, bits: int) -> Tensor:
    """Round a bias to `bits` on one power-of-two scale of its own, as TI's xnn.quantize r8.2."""
    clip = ceil_power_of_two(bias.abs().max())
    scale = clip / 2 ** (bits - 1)
    codes = half_away_from_zero(bias / scale)
    return codes.clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) * scale
