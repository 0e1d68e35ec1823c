"""What a `Program` takes from a graph's quantizers: its tensors' types and scales, and fused activations.

The numbers of rules are those of `quantization.lowering`.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from edgeailite.errors import UsageError
from edgeailite.quantization.convert import MIDDLE, TOLERANCE, Quantize
from edgeailite.quantization.program import Value

RELU6 = 6.0


def fused_activation(name: str, limits: tuple[float, float], quantize: Quantize) -> str:
    """Choose the fused activation that clamps to `limits` as far as the output's codes reach beyond (rule 2)."""
    (low, high), (bottom, top), near = limits, quantize.bounds(), TOLERANCE * float(quantize.scale)
    if quantize.wide():  # int16 reaches as far below zero as above; codes that began at zero did a ReLU's work
        low, bottom = max(low, 0.0) if bottom == 0 else low, min(bottom, -top)
    below, above = bottom + near < low, high < top - near
    if low == 0 and not above and (below or high == float("inf")):
        return "RELU"
    if low == 0 and high == RELU6:
        return "RELU6"
    if not below and not above:
        return "NONE"
    raise UsageError(
        f"an activation with limits {low:g} and {high:g} has no form in TensorFlow Lite",
        path=name,
        fix="use ReLU or ReLU6, or calibrate so that the range ends where the activation does",
        code="no-integer-form",
    )


def narrow_value(name: str, shape: tuple[int, ...], quantize: Quantize) -> Value:
    """Describe a tensor of 8 bits behind this quantizer (rule 1)."""
    shift = MIDDLE if quantize.zero_point.dtype == torch.uint8 else 0
    return Value(name, shape, "int8", scale_of(float(quantize.scale)), int(quantize.zero_point) - shift)


def wide_value(name: str, shape: tuple[int, ...], quantize: Quantize) -> Value:
    """Describe a tensor of 16 bits behind this quantizer: symmetric, as far as its farther end (rule 5)."""
    first, last = quantize.codes()
    zero = int(quantize.zero_point)
    farther = max(zero - first, last + 1 - zero)
    return Value(name, shape, "int16", scale_of(float(quantize.scale) * farther / 2**15))


def scale_of(step: float) -> NDArray[np.float32]:
    """Return one scale as programs hold it."""
    return np.array([step], np.float32)
