"""A transposed convolution as a convolution at the input's size, whose channels are the phases of the stride.

Output row s * m + r of a transposed convolution with stride s and padding p is the sum over the rows m - j of the input
times the kernel's row s * j + r + p. So each phase r is a convolution with a part of the kernel, and a pixel shuffle
puts the phases in their places. The products are the same; places of the kernel that a phase lacks are zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Phases:
    """Weights (outputs * s * s, inputs per group, taps, taps) of the convolution, its padding (top, left, bottom,
    right), and how many rows and columns to cut off at the end of the shuffled result.
    """

    weight: Array
    pads: tuple[int, int, int, int]
    crop: tuple[int, int]


def phases(
    weight: Array, stride: int, pads: Sequence[int], more: Sequence[int], dilations: Sequence[int], groups: int
) -> Phases:
    """Split the kernel (inputs, outputs per group, rows, columns) of a transposed convolution into its phases.

    `pads` are (top, left, bottom, right), `more` is ONNX's output_padding.
    """
    weight = _spread(np.asarray(weight, np.float32), dilations)
    inputs, per_group, *kernel = weight.shape
    sides = [_side(kernel[i], stride, pads[i], pads[i + 2], more[i]) for i in (0, 1)]
    taps = [[_tap(s, r, t, stride, pads[i], kernel[i]) for r in range(stride) for t in range(s[0])]
            for i, s in enumerate(sides)]  # fmt: skip
    padded = np.pad(weight, ((0, 0), (0, 0), (0, 1), (0, 1)))  # the last row and column are the missing places
    picked = padded[:, :, taps[0]][:, :, :, taps[1]]
    parts = picked.reshape(groups, inputs // groups, per_group, stride, sides[0][0], stride, sides[1][0])
    ordered = parts.transpose(0, 2, 3, 5, 1, 4, 6)  # group, output, phase, phase, input, tap, tap
    result = ordered.reshape(groups * per_group * stride**2, inputs // groups, sides[0][0], sides[1][0])
    (_, top, bottom, low), (_, left, right, end) = sides
    return Phases(np.ascontiguousarray(result), (top, left, bottom, right), (low, end))


def _spread(weight: Array, dilations: Sequence[int]) -> Array:
    """Return the kernel with zeros in the gaps of its dilation."""
    rows, columns = ((side - 1) * gap + 1 for side, gap in zip(weight.shape[2:], dilations, strict=True))
    result = np.zeros((*weight.shape[:2], rows, columns), np.float32)
    result[:, :, :: dilations[0], :: dilations[1]] = weight
    return result


def _side(kernel: int, stride: int, before: int, behind: int, more: int) -> tuple[int, int, int, int]:
    """Return taps, padding before and behind, and what is cut off, along one side."""
    lowest, highest = -((before + stride - 1) // stride), (kernel - 1 - before) // stride
    taps = highest - lowest + 1
    excess = kernel - stride - before - behind + more  # of the output over stride * input
    places = -(-excess // stride)
    return taps, highest, places + taps - 1 - highest, places * stride - excess


def _tap(side: tuple[int, int, int, int], phase: int, tap: int, stride: int, before: int, kernel: int) -> int:
    """Return the place in the kernel of a tap of a phase; `kernel`, the place after the last, where there is none."""
    place = stride * (side[1] - tap) + phase + before
    return place if 0 <= place < kernel else kernel
