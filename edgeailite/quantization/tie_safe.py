"""Additions whose codes are the same in every runtime: scales are moved until all of them agree.

Five kernels add two quantized tensors, each with roundings of its own:
 1. onnxruntime on x86 with AVX2 (onnxruntime/core/mlas/lib/qladd.cpp): float32 with fused multiply-add, halves to even;
 2. the same file on x86 without AVX2: float32, not fused;
 3. the same file on Arm: multipliers of 22 bits, halves away from zero; float32 where the ratios do not fit them;
 4. XNNPACK (src/qs8-vadd): multipliers of 21 bits, halves up;
 5. TensorFlow Lite's reference (reference_ops/add.h) and TFLite Micro: inputs shifted by 20 bits, multipliers of 31.
They differ where a sum lies next to the middle between two codes. There are 65,536 pairs of codes, so all are tried,
and a scale is moved by steps of 1e-7 until no pair is left: a few steps nearly always suffice. Scales that are powers
of two have sums in the very middle, which no small step moves; those additions stay as they are, and so do scales that
a resize reads (`grids.short_scale`): there a summand's scale is moved instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

from edgeailite.quantization.graph import is_addition, is_module
from edgeailite.quantization.modules import INTEGER_BITS, ActivationQuantizer

STEP = 1e-7  # of a scale, relative
STEPS = 100  # in each direction
TFLITE_SHIFT = 20

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Sum:
    """The grids of an addition y = a + b: scales and zero points of (a, b, y), and the smallest of the 256 codes."""

    scales: tuple[np.float32, np.float32, np.float32]
    zeros: tuple[int, int, int]
    low: int

    def ratios(self) -> tuple[np.float32, np.float32]:
        """Scales of both summands divided by that of the result, in float32."""
        a, b, y = self.scales
        return np.float32(a / y), np.float32(b / y)

    def codes(self) -> tuple[Codes, Codes]:
        """All codes of a (256, 1) and of b (1, 256)."""
        codes = np.arange(self.low, self.low + 256)
        return codes[:, None], codes[None]

    def centred(self) -> tuple[Codes, Codes]:
        """All codes of a and b minus their zero points."""
        a, b = self.codes()
        return a - self.zeros[0], b - self.zeros[1]


def _fma(a: Any, b: Any, c: Any) -> Any:
    """A x b + c with one rounding to float32: the product of code or zero point and ratio is exact in float64."""
    return np.asarray(np.asarray(a, np.float64) * np.float64(b) + np.asarray(c, np.float64)).astype(np.float32)


def onnxruntime_x86(total: Sum) -> Codes:
    """Apply rule 1."""
    (ra, rb), (a, b), (za, zb, zy) = total.ratios(), total.codes(), total.zeros
    fixed = np.float32(zy) - _fma(za, ra, rb * np.float32(zb))
    return np.rint(_fma(a, ra, _fma(b, rb, fixed))).astype(np.int64)


def onnxruntime_sse2(total: Sum) -> Codes:
    """Apply rule 2."""
    (ra, rb), (a, b), (za, zb, zy) = total.ratios(), total.codes(), total.zeros
    fixed = np.float32(zy) - (ra * np.float32(za) + rb * np.float32(zb))
    return np.rint((fixed + a.astype(np.float32) * ra) + b.astype(np.float32) * rb).astype(np.int64)


def onnxruntime_arm64(total: Sum) -> Codes:
    """Apply rule 3."""
    (ra, rb), (a, b), zero = total.ratios(), total.centred(), total.zeros[2]
    shift = 21 - _exponent(max(ra, rb))
    if not (13 <= shift <= 31 and min(ra, rb) >= 2.0**-14 and max(ra, rb) < 256):
        values = total.scales[0] * a.astype(np.float32) + total.scales[1] * b.astype(np.float32)
        return np.rint(values / total.scales[2] + np.float32(zero)).astype(np.int64)
    summed = a * _multiplier(ra, shift) + b * _multiplier(rb, shift)
    summed = summed - (summed < 0)
    return ((summed + (1 << (shift - 1))) >> shift) + zero


def xnnpack(total: Sum) -> Codes:
    """Apply rule 4."""
    (ra, rb), (a, b) = total.ratios(), total.centred()
    shift = 20 - _exponent(max(ra, rb))
    summed = a * _multiplier(ra, shift) + b * _multiplier(rb, shift)
    return ((summed + (1 << (shift - 1))) >> shift) + total.zeros[2]


def tflite_reference(total: Sum) -> Codes:
    """Apply rule 5."""
    (a, b), (sa, sb, sy) = total.centred(), map(float, total.scales)
    twice = 2 * max(sa, sb)
    summed = _times(a << TFLITE_SHIFT, sa / twice) + _times(b << TFLITE_SHIFT, sb / twice)
    return _times(summed, twice / (2**TFLITE_SHIFT * sy)) + total.zeros[2]


RULES: tuple[Callable[[Sum], Codes], ...] = (
    onnxruntime_x86,
    onnxruntime_sse2,
    onnxruntime_arm64,
    xnnpack,
    tflite_reference,
)


def _exponent(ratio: np.float32) -> int:
    return math.frexp(float(ratio))[1] - 1


def _multiplier(ratio: np.float32, shift: int) -> int:
    return int(np.rint(ratio * np.float32(2.0**shift)))


def _times(x: Codes, factor: float) -> Codes:
    """`MultiplyByQuantizedMultiplier`: a multiplier of 31 bits and a shift, each of which rounds."""
    fraction, exponent = math.frexp(factor)
    multiplier = math.floor(fraction * 2**31 + 0.5)
    if multiplier == 2**31:
        multiplier, exponent = multiplier // 2, exponent + 1
    high = ((x << max(exponent, 0)) * multiplier + (1 << 30)) >> 31
    right = max(-exponent, 0)
    mask = (1 << right) - 1
    return (high >> right) + ((high & mask) > ((mask >> 1) + (high < 0)))


def agree(total: Sum) -> bool:
    """Tell if all rules give the same code for every pair of codes."""
    ends = total.low, total.low + 255
    first = RULES[0](total).clip(*ends)
    return all(np.array_equal(rule(total).clip(*ends), first) for rule in RULES[1:])


@dataclass(frozen=True)
class _Addition:
    """The quantizers of an addition's summands and result, in this order."""

    quantizers: tuple[ActivationQuantizer, ActivationQuantizer, ActivationQuantizer]

    def agrees(self) -> bool:
        """Tell if all rules agree at the present scales; not where codes have 16 bits."""
        a, b, y = self.quantizers
        if max(quantizer.grid.bits for quantizer in self.quantizers) > INTEGER_BITS:
            return False
        scales = [np.float32(float(quantizer.scale)) for quantizer in (a, b, y)]
        zeros = [int(quantizer.zero_point) for quantizer in (a, b, y)]
        return agree(Sum((scales[0], scales[1], scales[2]), (zeros[0], zeros[1], zeros[2]), y.grid.low))

    def movable(self) -> list[ActivationQuantizer]:
        """Return the quantizers whose scale may be moved, the result's first."""
        return [q for q in dict.fromkeys(reversed(self.quantizers)) if not (q.fixed or q.grid.has_special_scales)]


def tie_safe_additions(model: fx.GraphModule) -> tuple[int, int]:
    """Count the additions of a prepared network that are the same in every runtime, and all additions."""
    found = list(_additions(model))
    return sum(addition.agrees() for addition in found), len(found)


@torch.no_grad()
def settle_scales(model: fx.GraphModule) -> None:
    """Give a network in training the scales that its file may have: of its present ranges, additions tie-safe."""
    for module in model.modules():
        if isinstance(module, ActivationQuantizer):
            module.update_scale()
    make_additions_tie_safe(model)


@torch.no_grad()
def make_additions_tie_safe(model: fx.GraphModule) -> tuple[int, int]:
    """Move scales of a prepared and calibrated network until all runtimes add alike; count as `tie_safe_additions`.

    A scale moves by at most 1e-5 of itself, its zero point stays. An addition that cannot be helped keeps its scales.
    """
    settled: list[_Addition] = []
    safe = 0
    for addition in _additions(model):
        settled.append(addition)
        safe += addition.agrees() or any(_move(quantizer, settled) for quantizer in addition.movable())
    return safe, len(settled)


def _move(quantizer: ActivationQuantizer, settled: Sequence[_Addition]) -> bool:
    """Find a scale near the present one with which the last addition agrees, and those that agreed still do."""
    touched = [addition for addition in settled if any(quantizer is q for q in addition.quantizers)]
    touched = [addition for addition in touched[:-1] if addition.agrees()] + touched[-1:]
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    for step in range(1, 2 * STEPS + 1):
        quantizer.stretch(1 + STEP * (step if step <= STEPS else STEPS - step))
        same_zero = int(quantizer.zero_point) == int(before["zero_point"])
        if same_zero and all(addition.agrees() for addition in reversed(touched)):
            return True
        quantizer.load_state_dict(before)
    return False


def _additions(model: fx.GraphModule) -> Iterator[_Addition]:
    for node in model.graph.nodes:
        if is_addition(node):
            result = next(iter(node.users))
            if not is_module(result, ActivationQuantizer):
                result = next(user for user in result.users if is_module(user, ActivationQuantizer))
            a, b, y = (model.get_submodule(str(n.target)) for n in (*node.args[:2], result))
            assert isinstance(a, ActivationQuantizer)
            assert isinstance(b, ActivationQuantizer)
            assert isinstance(y, ActivationQuantizer)
            yield _Addition((a, b, y))
