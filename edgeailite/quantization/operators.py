"""Operators of other people's networks that a quantized network may hold, as modules: one tuple of classes per kind.

`prepare` gives every function call of a traced network a module (`spellings`), so that it has a name in files and a
form that export sees. The kinds differ in what becomes of scales and codes:

 MOVES       copy values: the result has the codes and the scale of the input (a window's maximum is one of its values;
             unpooling puts the codes of its first input to places that the codes of its second tell);
 TABLES      are functions of one value, so 256 codes have 256 results: any function whatever, exact by `tie_safe`;
 PRODUCERS   compute, and give their result a scale of its own (TABLES among them);
 FLOATS      are PRODUCERS without a rule: they stay in float, where one asks for it, and nothing is promised of them.

The rules in integers are those of `quantization.operator_rules`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeailite.foreign.unpooling import max_unpool
from edgeailite.foreign.windows import Pair

LEAST = 2.0**-60  # divisor in the place of 0


class Move(nn.Module):
    """Call a function that only copies values, or picks some: reshape, permute, slice, flip, the largest of an axis."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor, *arguments: Any, **options: Any) -> Tensor:
        """Tensor -> tensor of some of its values; `arguments` and `options` are those of the function."""
        moved: Tensor = self.function(x, *arguments, **options)
        return moved

    def extra_repr(self) -> str:
        """Name the function."""
        return getattr(self.function, "__name__", repr(self.function))


class Pad(nn.Module):
    """Add rows and columns: of a value (or its code), or copies of the border (`mode` as in `F.pad`)."""

    def __init__(self, mode: str = "constant") -> None:
        super().__init__()
        self.mode = mode

    def forward(self, x: Tensor, pads: Sequence[int], value: float = 0.0) -> Tensor:
        """(..., H, W) -> padded; `pads` are left, right, top, bottom and so on, negative ones crop."""
        return F.pad(x, list(pads), self.mode, value if self.mode == "constant" else None)


class MaxUnpool(nn.Module):
    """`max_unpool` as a module: values go back to where a maximum pooling found its own, among zeros."""

    def __init__(self, kernel: Pair, stride: Pair, padding: Pair) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding = kernel, stride, padding

    def forward(self, values: Tensor, pooled: Tensor) -> Tensor:
        """Values (N,C,h,w) and the tensor that was pooled (N,C,H,W) -> (N,C,H,W)."""
        return max_unpool(values, pooled, self.kernel, self.stride, self.padding)

    def extra_repr(self) -> str:
        """Name the window."""
        return f"kernel={self.kernel}, stride={self.stride}, padding={self.padding}"


class Chunk(nn.Module):
    """One of `count` equal parts along an axis, as `torch.chunk` cuts them (the last may be smaller)."""

    def __init__(self, count: int, dim: int, index: int) -> None:
        super().__init__()
        self.count, self.dim, self.index = count, dim, index

    def forward(self, x: Tensor) -> Tensor:
        """Tensor -> its part."""
        length = x.shape[self.dim]
        step = -(-length // self.count)
        first = self.index * step
        return x.narrow(self.dim, first, min(step, length - first))


class Unchanged(nn.Conv2d):
    """A depthwise convolution whose weights are 1, for good: something that a lone BatchNorm can be folded into."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 1, groups=channels, bias=False)
        weight = torch.ones_like(self.weight.detach())
        del self._parameters["weight"]
        self.register_buffer("weight", weight, persistent=False)


class Function(nn.Module):
    """A function of one value without a module of its own in torch: a power, 1 - x, |x|."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, first: bool = True) -> None:
        """`first`: the value is the first argument, else the last."""
        super().__init__()
        self.function, self.arguments, self.first = function, arguments, first

    def forward(self, x: Tensor) -> Tensor:
        """Tensor -> tensor of the same shape."""
        values = (x, *self.arguments) if self.first else (*self.arguments, x)
        result: Tensor = self.function(*values)
        return result

    def extra_repr(self) -> str:
        """Name the function and its constants."""
        return ", ".join((getattr(self.function, "__name__", repr(self.function)), *map(str, self.arguments)))


class Multiply(nn.Module):
    """The product of two tensors, of equal shapes or broadcast: gates, squeeze-and-excitation, a constant factor."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two tensors -> a tensor of their common shape."""
        return a * b


class Subtract(nn.Module):
    """The difference of two tensors, of equal shapes or broadcast."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two tensors -> a tensor of their common shape."""
        return a - b


class Divide(nn.Module):
    """The quotient of two tensors, of equal shapes or broadcast; a divisor of 0 counts as LEAST."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two tensors -> a tensor of their common shape."""
        return a / torch.where(b == 0, LEAST, b)


class Total(nn.Module):
    """The sum over some axes, or the mean."""

    def __init__(self, dims: Sequence[int], *, keepdim: bool, mean: bool) -> None:
        super().__init__()
        self.dims, self.keepdim, self.mean = tuple(dims), keepdim, mean

    def forward(self, x: Tensor) -> Tensor:
        """Tensor -> tensor with these axes gone, or of length 1 (`keepdim`)."""
        total = x.sum(self.dims, keepdim=self.keepdim)
        return total / self.count(x) if self.mean else total

    def count(self, x: Tensor) -> int:
        """Return how many values of `x` go into one sum."""
        count = 1
        for dim in self.dims:
            count = count * x.shape[dim]
        return count

    def extra_repr(self) -> str:
        """Name the axes."""
        return f"{'mean' if self.mean else 'sum'} over {self.dims}, keepdim={self.keepdim}"


class FloatPart(nn.Module):
    """A function that stays in float: softmax, a product of two tensors as matrices."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *arguments: Any, **options: Any) -> Tensor:
        """Call the function."""
        result: Tensor = self.function(*arguments, **options)
        return result

    def extra_repr(self) -> str:
        """Name the function."""
        return getattr(self.function, "__name__", repr(self.function))


TABLES = (
    nn.Sigmoid, nn.Tanh, nn.Hardsigmoid, nn.Hardswish, nn.SiLU, nn.GELU, nn.Mish, nn.LeakyReLU, nn.ELU, nn.Softplus,
    Function,
)  # fmt: skip
MOVES = (
    nn.MaxPool2d, nn.AdaptiveMaxPool2d, MaxUnpool, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle, Move, Pad,
    Chunk,
)  # fmt: skip
FLOATS = (nn.GroupNorm, nn.LayerNorm, nn.InstanceNorm2d, nn.Softmax, nn.ConvTranspose2d, FloatPart)
PRODUCERS = (*TABLES, nn.PReLU, nn.AvgPool2d, nn.AdaptiveAvgPool2d, Multiply, Subtract, Divide, Total, *FLOATS)
NEVER_NEGATIVE = (nn.Sigmoid, nn.Hardsigmoid, nn.Softplus)
