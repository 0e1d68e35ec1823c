"""Fake-quantized convolution and activation quantizer, on public torch primitives.

Formulas (Jacob et al., 2018, https://arxiv.org/abs/1712.05877): code = round(x / scale) + zero_point, clamped. What is
simulated in training is what is exported: BatchNorm folded into the weights, the bias rounded to int32, scales shared
where the file shares them. While BatchNorm statistics still move, the folded convolution is divided by the folding
factor and normalised by the batch (one convolution, not two).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeailite.quantization.grids import (
    TINY_SCALE,
    ActivationGrid,
    WeightGrid,
    bias_on_power_of_two,
    ceil_power_of_two,
)
from edgeailite.quantization.learned import LearnedFakeQuantize, initial_ends, range_of_ends
from edgeailite.quantization.observers import DEFAULT_OBSERVER, OBSERVERS, Histogram, best_range
from edgeailite.quantization.tidl_ranges import histogram_range, update_rate
from edgeailite.quantization.tie_free import TieFreeResize, bias_codes, within_shifts

BIAS_LIMIT = 2**30  # codes; leaves int32 headroom for the accumulator
INTEGER_BITS = 8  # what integer kernels read; with more, a convolution is computed in float between quantizers
SLOWEST_UPDATE = 0.02
SINGLE_VALUE = "a convolution gives one value per channel (batch 1, 1x1 feature): running statistics are used there"


class FakeQuantize(torch.autograd.Function):
    """`torch.fake_quantize_per_tensor_affine` from vectorised operations: 3 to 4 times faster forward on the CPU.

    It rounds before the zero point is added, as the integer kernels do (so ties fall alike). The gradient passes where
    the code is not clamped.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, low: int, high: int, half_up: bool, relu: bool) -> Tensor:
        """`low` and `high` are the ends of the codes minus the zero point; halves go to even, or up.

        `relu` stands for a ReLU in front whose values the codes imply: its gradient ends at 0.
        """
        ctx.save_for_backward(x)
        ctx.bounds = (0.0 if relu else (low - 0.5) * float(scale), (high + 0.5) * float(scale))
        codes = torch.mul(x, 1 / scale)
        codes = codes.add_(0.5).floor_() if half_up else codes.round_()
        return codes.clamp_(low, high).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        """Straight through inside the range."""
        (x,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(grad_outputs[0], x, *ctx.bounds), None, None, None, None, None


class ImpliedReLU(nn.ReLU):
    """A ReLU in front of a quantizer whose codes begin at 0, which clamps as it does: left out in training on CPUs."""

    def forward(self, x: Tensor) -> Tensor:
        """(N,C,H,W) -> the same, with negative values where the quantizer takes care of them."""
        return x if self.training and not x.is_cuda else super().forward(x)


class ActivationQuantizer(nn.Module):
    """Tracks the range of one tensor, or of several that share a scale ("sites"), and fake-quantizes.

    Buffers: `low`, `high` (range per site), `count` (updates per site), `scale`, `zero_point`. Ranges move only in
    training mode and while `observing`; `observing` and `enabled` are switched by `set_state`, never by `eval()`.
    After `learn` the range is the parameter `ends` instead, trained while `observing`. `tied` are quantizers that have
    one scale with this one (itself among them), but not one zero point; a tuple, as they are no submodules.
    """

    low: Tensor
    high: Tensor
    count: Tensor
    scale: Tensor
    zero_point: Tensor
    ends: nn.Parameter | None

    def __init__(
        self, grid: ActivationGrid, sites: list[bool], *, percentile: float, observer: str = DEFAULT_OBSERVER
    ) -> None:
        """`sites` says for each tensor whether it is non-negative (after ReLU); `observer` names a row of OBSERVERS."""
        super().__init__()
        self.observer, self.histograms = observer, [Histogram() for _ in sites]
        self.grid, self.nonnegative, self.percentile = grid, tuple(sites), percentile
        self.observing, self.enabled, self.fixed, self.behind_relu = False, True, False, False
        self.tied: tuple[ActivationQuantizer, ...] = (self,)
        self.register_buffer("low", torch.zeros(len(sites)))
        self.register_buffer("high", torch.zeros(len(sites)))
        self.register_buffer("count", torch.zeros(len(sites), dtype=torch.int64))
        self.register_buffer("scale", torch.tensor(1.0))
        self.register_buffer("zero_point", torch.tensor(0, dtype=torch.int32))
        self.register_parameter("ends", None)

    def forward(self, x: Tensor, site: int) -> Tensor:
        """Fake-quantized `x`; `site` -1 marks a tensor whose range follows from other sites."""
        if self.ends is not None:
            return self._with_learned_range(x, site)
        if self.observing and self.training and not self.fixed and site >= 0:
            self.observe(x.detach(), site)
        if not self.enabled:
            return self._with_relu(x)
        grid, half_up = self.grid, self.grid.scheme.half_up
        if x.is_cuda and not half_up:  # the bounds of `FakeQuantize` would have to be fetched from the GPU each time
            return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero_point, grid.low, grid.high)
        zero = int(self.zero_point)
        relu = self.implies_relu and site >= 0
        return FakeQuantize.apply(x, self.scale, grid.low - zero, grid.high - zero, half_up, relu)

    def _with_learned_range(self, x: Tensor, site: int) -> Tensor:
        self.update_scale()
        if not self.enabled:
            return self._with_relu(x)
        grid, half_up = self.grid, self.grid.scheme.half_up
        zero = self.zero_point if x.is_cuda else int(self.zero_point)
        codes, relu = (grid.low - zero, grid.high - zero), self.implies_relu and site >= 0 and not x.is_cuda
        return LearnedFakeQuantize.apply(x, self.ends, self.scale.clone(), *codes, half_up, relu, self.observing)

    def _with_relu(self, x: Tensor) -> Tensor:
        """`x` as it is without quantization: `ImpliedReLU` may have left the ReLU to this."""
        return F.relu(x) if self.implies_relu and self.training else x

    @torch.no_grad()
    def observe(self, x: Tensor, site: int) -> None:
        """Update the range of `site` from the values of `x`: extremes, a running mean, or later an exponential mean."""
        observer = OBSERVERS[self.observer]
        self.count[site] += 1
        updates = int(self.count[site])
        rate = max(1.0 / updates, SLOWEST_UPDATE)
        if self.grid.scheme.published_ranges and self.observer == DEFAULT_OBSERVER:
            (low, high), rate = histogram_range(x.float()), update_rate(updates)
        else:
            low, high = observer.of_batch(x.float(), self.percentile)
        if self.nonnegative[site]:
            low = torch.zeros_like(low)
        if observer.union and updates > 1:
            low, high, rate = torch.minimum(low, self.low[site]), torch.maximum(high, self.high[site]), 1.0
        self.low[site] += rate * (low - self.low[site])
        self.high[site] += rate * (high - self.high[site])
        if observer.measure is not None:
            self.histograms[site].add(x)
        self.update_scale()

    @torch.no_grad()
    def settle(self) -> None:
        """End of calibration: a range that is searched for is found, for all sites together."""
        observer = OBSERVERS[self.observer]
        if observer.measure is not None and not self.fixed and any(histogram.width for histogram in self.histograms):
            low, high = best_range(observer.measure, self.histograms, self.grid.reach)
            self.low.copy_(torch.tensor([0.0 if nonnegative else low for nonnegative in self.nonnegative]))
            self.high.fill_(high)
            self.update_scale()
        self.observer, self.histograms = observer.then, [Histogram() for _ in self.nonnegative]

    @torch.no_grad()
    def set_range(self, low: float, high: float) -> None:
        """Fix the range for good (the network's input, whose range is known)."""
        self.low.fill_(low)
        self.high.fill_(high)
        self.fixed = True
        self.update_scale()

    @torch.no_grad()
    def stretch(self, factor: float) -> None:
        """Multiply both ends of the range, observed or learned, by `factor`."""
        if self.ends is not None:
            self.ends.add_(math.log2(factor))
        else:
            self.low.mul_(factor)
            self.high.mul_(factor)
        self.update_scale()

    def learn(self) -> None:
        """Turn the observed range into a parameter that starts at its present value, from which saved scales are
        made.
        """
        ends = initial_ends(
            float(self.low.min()), float(self.high.max()), negative=self.negative, symmetric=self.grid.scheme.symmetric
        )
        self.ends = nn.Parameter(ends.to(self.low.device))
        self.register_state_dict_pre_hook(_update_scale_before_saving)  # type: ignore[no-untyped-call]
        self.update_scale()

    @property
    def implies_relu(self) -> bool:
        """True if codes begin at 0 and all tensors come from a ReLU, so that the quantizer also acts as the ReLU."""
        return not self.negative and not self.grid.scheme.signed and self.behind_relu

    @property
    def negative(self) -> bool:
        """True if one of the tensors may have negative values."""
        return not all(self.nonnegative)

    @torch.no_grad()
    def update_scale(self) -> None:
        """Scale and zero point of the range; of those that are tied the largest scale, and each its own zero point."""
        scale, zero_point = self.grid.of_range(*self.range())
        if len(self.tied) > 1:
            scale = torch.stack([other.grid.of_range(*other.range())[0] for other in self.tied]).max()
            for other in self.tied:
                other.scale.copy_(scale)
                other.zero_point.copy_(other.grid.zero_point(other.range()[0], scale))
            return
        self.scale.copy_(scale)
        self.zero_point.copy_(zero_point)

    def range(self) -> tuple[Tensor, Tensor]:
        """The union of the sites' ranges, or the learned range."""
        if self.ends is not None:
            return range_of_ends(self.ends, negative=self.negative)
        return self.low.min(), self.high.max()


def _update_scale_before_saving(module: nn.Module, prefix: str, keep_vars: bool) -> None:
    """The optimizer moved the range since the last forward pass."""
    assert isinstance(module, ActivationQuantizer)
    module.update_scale()


@dataclass(frozen=True)
class IntegerParameters:
    """Integer parameters of a convolution as in the file: codes, and scales per output channel or one for all."""

    weight: Tensor  # int8 (int16 above 8 bits) (out, in/groups, kh, kw)
    weight_scale: Tensor  # float32 (out,) or ()
    bias: Tensor  # int32 (out,), or float32 where the convolution is computed in float
    bias_scale: Tensor  # float32 (out,) or (): input scale x weight scale


class QuantConv2d(nn.Conv2d):
    """Convolution with BatchNorm folded in and fake-quantized weight and bias; keeps the convolution's key names.

    The BatchNorm module stays where it was; the graph hands its tensors to `forward`. Attributes: `bn_eps`,
    `bn_momentum`, `frozen_bn` (use running statistics in training too), `enabled` (False: plain float), `grid` (codes
    of the weight), `integer` (False: its input or weight has more than 8 bits; the bias stays float), `result` (the
    quantizer of its result, in a tuple, where the scale of the weight depends on it).
    """

    bn_eps: float
    bn_momentum: float
    grid: WeightGrid
    integer: bool
    enabled: bool
    frozen_bn: bool
    result: tuple[ActivationQuantizer, ...]

    @classmethod
    def from_conv(cls, conv: nn.Conv2d, bn: nn.BatchNorm2d | None, grid: WeightGrid) -> QuantConv2d:
        """Share the parameters of `conv`; only zero padding is supported."""
        new = cls.__new__(cls)
        new.__dict__ = conv.__dict__.copy()
        new.bn_eps, new.bn_momentum = (bn.eps, bn.momentum or 0.1) if bn is not None else (0.0, 0.1)
        new.grid, new.integer, new.enabled, new.frozen_bn = grid, grid.bits <= INTEGER_BITS, True, False
        new.result = ()
        return new

    def forward(self, x: Tensor, in_scale: Tensor, *bn: Tensor) -> Tensor:  # type: ignore[override]
        """`bn` is (weight, bias, running_mean, running_var, num_batches_tracked), or nothing."""
        weight, bias = self.folded(*bn)
        if self.enabled:
            scale = self.weight_scale(weight, bias, in_scale)
            weight = self._on_grid(weight, scale)
            bias = self._rounded_bias(bias, in_scale * scale)
        if bn and self.training and not self.frozen_bn:
            return self._with_batch_statistics(x, weight, *bn)
        return self.convolve(x, weight, bias)

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The convolution's geometry on any weight and bias."""
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def folded(self, *bn: Tensor) -> tuple[Tensor, Tensor | None]:
        """Weight and bias with BatchNorm's running statistics folded in."""
        if not bn:
            return self.weight, self.bias
        gamma, beta, mean, var = bn[:4]
        factor = gamma * torch.rsqrt(var + self.bn_eps)
        bias = beta - mean * factor if self.bias is None else beta + (self.bias - mean) * factor
        return self.weight * factor.view(-1, 1, 1, 1), bias

    def weight_scale(self, weight: Tensor, bias: Tensor | None, in_scale: Tensor) -> Tensor:
        """(out,) scales of the grid; larger where the bias would not fit into int32 (dead channels)."""
        scale = self.grid.scale(weight.detach())
        if self.grid.scheme.tie_free:
            return within_shifts(scale, in_scale, self.result[0].scale)
        if bias is not None and self.integer:
            scale = torch.maximum(scale, self._least_scale(bias.detach().abs() / (in_scale * BIAS_LIMIT)))
        return scale.clamp(min=TINY_SCALE)

    def _least_scale(self, least: Tensor) -> Tensor:
        """`least` (out,) on the grid of scales."""
        scheme = self.grid.scheme
        least = least if scheme.per_channel else least.max()
        return ceil_power_of_two(least) if scheme.power_of_two else least

    def _on_grid(self, weight: Tensor, scale: Tensor) -> Tensor:
        """Fake-quantized weight; the gradient goes straight through."""
        grid = self.grid
        if grid.scheme.half_up:
            rounded = grid.codes(weight.detach(), scale) * scale.view(-1, 1, 1, 1)
            return weight + (rounded - weight).detach()
        zero, step = torch.zeros_like(scale, dtype=torch.int32), grid.step
        return torch.fake_quantize_per_channel_affine(
            weight, scale * step, zero, 0, grid.low // step, grid.high // step
        )

    def _rounded_bias(self, bias: Tensor | None, scale: Tensor) -> Tensor | None:
        """Round the bias as in the file, with a straight-through gradient."""
        if bias is None:
            tie_free = self.grid.scheme.tie_free
            return self._bias_codes(torch.zeros_like(scale), scale).float() * scale if tie_free else None
        values = self._own_grid(bias.detach())
        if self.integer:
            values = (self._bias_codes(values, scale) * scale.double()).float()
        return bias + (values - bias).detach()

    def _bias_codes(self, bias: Tensor, scale: Tensor) -> Tensor:
        """Whole numbers in float64."""
        if self.grid.scheme.tie_free:
            return bias_codes(bias, scale)
        return torch.round(bias.double() / scale.double())

    def _own_grid(self, bias: Tensor) -> Tensor:
        """`bias` on the power-of-two scale of its own that some schemes give it."""
        bits = self.grid.scheme.bias_bits
        return bias if bits is None else bias_on_power_of_two(bias, bits)

    @torch.no_grad()
    def integer_parameters(self, in_scale: Tensor, *bn: Tensor) -> IntegerParameters:
        """Compute the codes that export writes and that the integer-exact mode uses."""
        weight, bias = self.folded(*bn)
        scale = self.weight_scale(weight, bias, in_scale)
        codes = self.grid.codes(weight, scale).to(self.grid.code_type)
        bias = torch.zeros_like(scale) if bias is None else self._own_grid(bias)
        if self.integer:
            bias = self._bias_codes(bias, in_scale * scale).to(torch.int32)
        scale = scale if self.grid.scheme.per_channel else scale[0]
        return IntegerParameters(codes, scale, bias, in_scale * scale)

    def _with_batch_statistics(self, x: Tensor, weight: Tensor, *bn: Tensor) -> Tensor:
        gamma, beta, mean, var, count = bn
        factor = (gamma * torch.rsqrt(var + self.bn_eps)).detach()
        factor = torch.where(factor.abs() < TINY_SCALE, torch.full_like(factor, TINY_SCALE), factor)
        y = self.convolve(x, weight / factor.view(-1, 1, 1, 1), self.bias)
        if y.numel() == y.shape[1]:  # one value has no variance; `models.single_values` does the same in float
            warnings.warn(SINGLE_VALUE, stacklevel=2)
            return F.batch_norm(y, mean, var, gamma, beta, False, 0.0, self.bn_eps)
        count.add_(1)
        return F.batch_norm(y, mean, var, gamma, beta, True, self.bn_momentum, self.bn_eps)


class QuantLinear(QuantConv2d):
    """A linear layer on (..., in), as a convolution of one pixel; keeps the layer's key names and shapes.

    Integer parameters are those of the convolution: the weight is (out, in, 1, 1).
    """

    @classmethod
    def from_linear(cls, linear: nn.Linear, grid: WeightGrid) -> QuantLinear:
        """Share the parameters of `linear`."""
        with torch.device("meta"):
            geometry = nn.Conv2d(linear.in_features, linear.out_features, 1)
        new = cls.__new__(cls)
        new.__dict__ = geometry.__dict__ | {"_parameters": linear._parameters, "training": linear.training}
        new.bn_eps, new.bn_momentum = 0.0, 0.1
        new.grid, new.integer, new.enabled, new.frozen_bn = grid, grid.bits <= INTEGER_BITS, True, False
        new.result = ()
        return new

    def folded(self, *bn: Tensor) -> tuple[Tensor, Tensor | None]:
        """Weight (out, in, 1, 1) and bias."""
        return self.weight[:, :, None, None], self.bias

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """(..., in) -> (..., out), or as a convolution (N, in, 1, 1) -> (N, out, 1, 1)."""
        if x.shape[1:] == (self.in_channels, 1, 1):
            return super().convolve(x, weight, bias)
        return F.linear(x, weight.flatten(1), bias)


def set_state(
    model: nn.Module, *, observing: bool | None = None, enabled: bool | None = None, frozen_bn: bool | None = None
) -> None:
    """Switch observing, quantizing and BatchNorm statistics of a whole prepared model; None leaves as is."""
    for module in model.modules():
        if isinstance(module, ActivationQuantizer):
            module.observing = module.observing if observing is None else observing
            module.enabled = module.enabled if enabled is None else enabled
        elif isinstance(module, QuantConv2d):
            module.enabled = module.enabled if enabled is None else enabled
            module.frozen_bn = module.frozen_bn if frozen_bn is None else frozen_bn
        elif isinstance(module, TieFreeResize):
            module.enabled = module.enabled if enabled is None else enabled
