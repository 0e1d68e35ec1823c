"""Values that flow through an int8 file as it is evaluated: plain tensors, dequantized codes, kernels that wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor

from edgeailite.quantization.codes import Codes
from edgeailite.quantization.convert import Quantize

Array = NDArray[Any]
BYTES = (np.uint8, np.int8)
OPSET = 21  # of a `Quantize`, whose forward is not called here


@dataclass(frozen=True)
class Plain:
    """A tensor of the file as it is: floats, sizes, bare codes. `exact` if its bits follow from rules."""

    array: Array
    exact: bool = True


@dataclass(frozen=True)
class Quantized:
    """What DequantizeLinear makes: codes in their own type, scale and zero point, per tensor or along an axis."""

    codes: Array
    scale: Array
    zero_point: Array
    axis: int = 1

    def floats(self) -> Array:
        """Return the float32 values."""
        scale, zero_point = self.scale, self.zero_point
        if scale.ndim and scale.size > 1:
            shape = [-1 if side == self.axis % self.codes.ndim else 1 for side in range(self.codes.ndim)]
            scale, zero_point = scale.reshape(shape), zero_point.reshape(shape)
        else:
            scale, zero_point = scale.reshape(()), zero_point.reshape(())
        distance = self.codes.astype(np.int64) - zero_point.astype(np.int64)
        return np.asarray(distance.astype(np.float32) * scale, np.float32)

    @property
    def distances(self) -> Array:
        """Codes minus zero point, of one scale per tensor, as float32."""
        return self.codes.astype(np.float32) - np.float32(self.zero_point.reshape(()))

    @property
    def whole(self) -> bool:
        """True for 8-bit codes of one scale."""
        return self.codes.dtype in BYTES and self.scale.size == 1

    def as_codes(self, *, unsigned: bool) -> Codes:
        """Return the codes as the rules take them; `unsigned` moves signed ones by 128, zero point and all."""
        shift = 128.0 if unsigned and self.codes.dtype == np.int8 else 0.0
        low = int(np.iinfo(self.codes.dtype).min) + int(shift)
        zero_point = torch.tensor(float(self.zero_point.reshape(())) + shift)
        scale = torch.tensor(np.float32(self.scale.reshape(())))
        return Codes(tensor(self.codes) + shift, scale, zero_point, low=low)


@dataclass(frozen=True)
class Kernel:
    """The result of an operator that becomes an integer kernel if it is quantized next.

    `finish(output)` gives its codes, not yet clamped; `floats()` the values where nothing quantizes it. `low` and
    `high` are the limits of activations behind it. `near_tie(output)` tells if implementations may differ at this
    scale; `count(shape)` is told the shape of the result once the kernel is used.
    """

    finish: Callable[[Quantize], Tensor]
    floats: Callable[[], Plain]
    label: str
    unsigned: bool
    low: float = -inf
    high: float = inf
    near_tie: Callable[[Quantize], bool] = lambda output: False
    count: Callable[[tuple[int, ...]], None] = lambda shape: None


Value = Plain | Quantized | Kernel


def tensor(array: Array) -> Tensor:
    """Return an array as a float32 torch tensor."""
    return torch.from_numpy(np.ascontiguousarray(array).astype(np.float32))


def quantizer(scale: Array, zero_point: Array, *, unsigned: bool) -> Quantize:
    """Return a quantizer of one scale; `unsigned` moves signed codes by 128."""
    zero = int(zero_point.reshape(-1)[0])
    signed = zero_point.dtype == np.int8
    if signed and unsigned:
        zero, signed = zero + 128, False
    kind = torch.int8 if signed else torch.uint8
    return Quantize(torch.tensor(np.float32(scale.reshape(()))), torch.tensor(zero, dtype=kind), opset=OPSET)


def attributes_of(node: onnx.NodeProto) -> Mapping[str, Any]:
    """Return a node's attributes by name; tensors as arrays."""
    found = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    return {k: numpy_helper.to_array(v) if isinstance(v, onnx.TensorProto) else v for k, v in found.items()}
