"""Arithmetics: how the kernels of a runtime turn integer sums into codes, as one table with a row per set of kernels.

A quantized network is the same list of integer operators everywhere; what differs is how two codes are added and how a
resize interpolates. The rules of convolution, concatenation, pooling and quantization are those of
`quantization.integer` in every onnxruntime row. Rules of the kernels that differ:

 1. `onnxruntime_x86` (AVX2 and later). Addition: fma(a, ra, fma(b, rb, z - fma(ra, za, rb x zb))) in float32 with
    ra = scale_a / scale_y, rounded half to even (mlas/lib/qladd.cpp, MLAS_FMA3). Resize: four products of float32,
    each rounded, added one after the other (core/providers/cpu/tensor/upsample.h, UpsampleBilinear).
 2. `onnxruntime_sse2` (x86 without AVX2). Addition: ((z - (ra x za + rb x zb)) + a x ra) + b x rb, every product and
    sum rounded to float32 (qladd.cpp, the branch of SSE2). Resize as in rule 1.
 3. `onnxruntime_arm64`. Addition: whole multipliers ma, mb = round(r x 2^shift), the larger of 22 bits; the sum
    (a - za) x ma + (b - zb) x mb is shifted right, halves away from zero (qladd.cpp, MLAS_NEON_INTRINSICS). Ratios
    below 2^-14 or from 256 on are added in float32. Resize: as in rule 1, but GCC contracts products and sums to
    fma(p22, x22, fma(p12, x12, fma(p11, x11, p21 x x21))); other compilers may choose otherwise.
 4. `tflite_reference` (TensorFlow Lite's reference kernels, TFLite Micro, CMSIS-NN) and `xnnpack` compute another form
    of the network, a `Program`; `quantization.tflite_rules` has their rules.

Rules 2 and 3 were compared with onnxruntime 1.32.0 under emulators (qemu-x86_64 Nehalem; qemu-aarch64 Cortex-A53, A72,
A76, Neoverse-N2, max), rule 1 with processors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from edgeailite.environment import UNKNOWN, machine_arithmetic
from edgeailite.errors import UsageError

if TYPE_CHECKING:
    from edgeailite.quantization.codes import Codes
    from edgeailite.quantization.convert import Quantize

SMALLEST_RATIO, LARGEST_RATIO = np.float32(2.0**-14), np.float32(256)  # of scales that NEON multiplies as integers
MULTIPLIER_BITS = 22
SHIFTS = (13, 31)  # least and largest

Products = Iterator[tuple[Tensor, Tensor]]
"""Weights and values of the corners of a bilinear resize: top left, top right, bottom left, bottom right."""


@dataclass(frozen=True)
class Arithmetic:
    """A set of kernels: `runtime` has them, in the files `source`.

    `add(a, b, output)` returns codes that are not yet clamped, `blend(products)` the sum of weighted corners. Both are
    None where a network is computed as a lowered `Program`, by the functions of `quantization.tflite_rules`.
    """

    name: str
    about: str
    runtime: str
    source: tuple[str, ...]
    add: Callable[[Codes, Codes, Quantize], Tensor] | None = None
    blend: Callable[[Products], Tensor] | None = None

    @property
    def lowered(self) -> bool:
        """True if a network is computed as a `Program`."""
        return self.add is None


def arithmetic_of(name: str | None = None) -> Arithmetic:
    """Return the row of a name; None is the machine's own (`environment.machine_arithmetic`).

    Raises UsageError for a name that is no row, and for None on a machine whose kernels were never compared.

    >>> arithmetic_of("onnxruntime_arm64").runtime
    'onnxruntime'
    """
    known = machine_arithmetic() if name is None else name
    if known in ARITHMETICS:
        return ARITHMETICS[known]
    rows = tuple(ARITHMETICS)
    problem = "the kernels of this machine were never compared" if known == UNKNOWN else "there is no such row"
    raise UsageError(
        problem, value=known, about="arithmetic", known=rows, fix=f"name one of {', '.join(rows)}", code="unknown-name"
    )


def fma(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """A x b + c with one rounding to float32 (the product is exact in float64)."""
    return (a.double() * b.double() + c.double()).float()


def add_fused(a: Codes, b: Codes, output: Quantize) -> Tensor:
    """Add by rule 1."""
    ratio_a, ratio_b = a.scale / output.scale, b.scale / output.scale
    fixed = output.zero_point.float() - fma(ratio_a, a.zero_point, ratio_b * b.zero_point)
    return torch.round(fma(a.codes, ratio_a, fma(b.codes, ratio_b, fixed)))


def add_unfused(a: Codes, b: Codes, output: Quantize) -> Tensor:
    """Add by rule 2."""
    ratio_a, ratio_b = a.scale / output.scale, b.scale / output.scale
    fixed = output.zero_point.float() - (ratio_a * a.zero_point + ratio_b * b.zero_point)
    return torch.round((fixed + a.codes * ratio_a) + b.codes * ratio_b)


def add_fixed_point(a: Codes, b: Codes, output: Quantize) -> Tensor:
    """Add by rule 3."""
    multipliers = fixed_point_multipliers(float(a.scale / output.scale), float(b.scale / output.scale))
    if multipliers is None:
        sums = a.scale * (a.codes - a.zero_point) + b.scale * (b.codes - b.zero_point)
        return torch.round(sums / output.scale + output.zero_point.float())
    shift, multiplier_a, multiplier_b = multipliers
    total = (a.codes - a.zero_point).long() * multiplier_a + (b.codes - b.zero_point).long() * multiplier_b
    total = total - (total < 0).long()  # so that adding a half and shifting rounds halves away from zero
    return ((total + 2 ** (shift - 1)) >> shift).float() + output.zero_point.float()


def fixed_point_multipliers(ratio_a: float, ratio_b: float) -> tuple[int, int, int] | None:
    """Return shift and whole multipliers of rule 3; None where the kernel adds in float32 instead."""
    ratios = np.array([ratio_a, ratio_b], np.float32)
    if not ((ratios >= SMALLEST_RATIO) & (ratios < LARGEST_RATIO)).all():
        return None
    shift = MULTIPLIER_BITS - int(np.frexp(ratios.max())[1])  # the larger multiplier has all bits
    if not SHIFTS[0] <= shift <= SHIFTS[1]:
        return None
    whole = np.rint(ratios * np.float32(2.0**shift)).astype(np.int64)
    if whole.max() >= 2**MULTIPLIER_BITS:
        return None
    return shift, int(whole[0]), int(whole[1])


def blend_rounded(products: Products) -> Tensor:
    """Add the products of a resize by rule 1, each rounded."""
    weight, value = next(products)
    total = weight * value
    for weight, value in products:
        total = total + weight * value
    return total


def blend_fused(products: Products) -> Tensor:
    """Add the products of a resize by rule 3: the second is rounded, all others are not."""
    (weight, value), (second_weight, second_value) = next(products), next(products)
    total = fma(weight, value, second_weight * second_value)
    for weight, value in products:
        total = fma(weight, value, total)
    return total


QLADD, UPSAMPLE = "onnxruntime/core/mlas/lib/qladd.cpp", "onnxruntime/core/providers/cpu/tensor/upsample.h"
ARITHMETICS = {
    row.name: row
    for row in (
        Arithmetic(
            "onnxruntime_x86", "onnxruntime on x86 with AVX2 or later", "onnxruntime", (QLADD, UPSAMPLE),
            add_fused, blend_rounded,
        ),
        Arithmetic(
            "onnxruntime_sse2", "onnxruntime on x86 without AVX2", "onnxruntime", (QLADD, UPSAMPLE),
            add_unfused, blend_rounded,
        ),
        Arithmetic(
            "onnxruntime_arm64", "onnxruntime on 64-bit Arm", "onnxruntime", (QLADD, UPSAMPLE),
            add_fixed_point, blend_fused,
        ),
        Arithmetic(
            "tflite_reference", "TensorFlow Lite's reference kernels, TFLite Micro, CMSIS-NN", "TensorFlow Lite",
            ("tensorflow/lite/kernels/internal/reference",),
        ),
        Arithmetic(
            "xnnpack", "XNNPACK, TensorFlow Lite's default on CPUs", "TensorFlow Lite", ("XNNPACK/src/reference",),
        ),
    )
}  # fmt: skip
ONNXRUNTIME_ROWS = tuple(row.name for row in ARITHMETICS.values() if row.runtime == "onnxruntime")
