"""`run_program`: computes what TensorFlow Lite's integer kernels give, bit for bit, by one of two sets of rules.

`tflite_reference` is the arithmetic of LiteRT's reference kernels and of TFLite Micro, from which CMSIS-NN states that
it does not depart. `xnnpack` is that of the XNNPACK delegate, which LiteRT applies by default on CPUs. Sources are
named below the folders `tensorflow/lite/kernels/internal` (reference) and `src` of XNNPACK.

 1. Multiplier, reference: M = s_x s_w / s_y in float64 of float32 scales (`kernel_util.cc`); (f, e) = frexp(M);
    m = floor(f 2^31 + 1/2), and if that is 2^31 its half with e + 1; below 2^-31 it is 0 (`quantization_util.cc`).
 2. Multiplication, reference: h = (x 2^max(e,0) m + 2^30) >> 31, then h >> r for r = max(-e,0) with halves away from
    zero: two roundings (`common.cc`, MultiplyByQuantizedMultiplier without TFLITE_SINGLE_ROUNDING).
 3. Convolution: int32 sum of (code - zero point) x weight code, plus bias. Reference: rule 2 (`integer_ops/conv.h`,
    `depthwise_conv.h`). XNNPACK: float32(sum) x (s_x s_w / s_y in float32), half to even
    (`operators/convolution-nhwc.c`, fp32 requantization). Then plus zero point, clamped.
 4. A fused activation clamps codes. RELU: from the zero point; RELU6: up to z + 6/s in float32, halves away from zero
    (reference, `kernel_util.cc`) or the sum rounded half to even (XNNPACK, `microparams-init.h`).
 5. ADD, reference: both sides x 2^20 (int16: 2^15) by rule 2 with s/T, T = 2 max(s_a, s_b), their sum by rule 2 with
    T / (2^20 s_y) (`add.h`). XNNPACK: r = s / s_y in float32, k = 20 - floor(log2 max r), weights rint(r 2^k); the sum
    of weighted differences >> k with halves up (`microparams-init.c`, init_qs8_add_minmax).
 6. RESIZE_BILINEAR, reference: positions in 1/1024 from S = (1024 n + n'/2) / n', whole numbers; four products; halves
    away from zero (`resize_bilinear.h`, ResizeBilinearInteger). XNNPACK: positions in float32, fractions rounded to
    1/2048, rows then columns, halves up (`indirection.c`, `s8-ibilinear`).
 7. MEAN, reference: rule 2 with the count divided into the multiplier, cut off (`reduce.h`, QuantizedMeanOrSum).
    XNNPACK: sum x ((s_x / s_y) (1 / count)) in float32, half to even (`operators/reduce-nd.c`).
 8. QUANTIZE between 8 and 16 bits: rule 2 of (code - zero point) with s_x / s_y (`requantize.h`).
 9. Convolution in 16 bits: int64 bias; m' = (m + 2^15) >> 16 (at most 0x7FFF), one rounding with halves up
    (`common.cc`, MultiplyByQuantizedMultiplier of int64).
10. MAX_POOL_2D and the operators of `tflite_copies` copy codes (PAD also the zero point); ADD of int32 is exact.
11. ARG_MAX takes the first of equals. DEQUANTIZE is float32(code - zero point) x scale.
12. XNNPACK leaves to LiteRT's own kernels what has int16, and an ADD with an s / s_y that is not from 2^-10 to below
    2^8. Those kernels follow the rules of the reference, but in ADD take both shifts of a side at once, with one
    rounding (to the left; to the right they cut off), in blocks of 16 numbers: `optimized/integer_ops/add.h`, which has
    code for AVX2 and NEON (on other x86 by way of SSE4).
13. RESIZE_BILINEAR of float32 is written by factors that are powers of two and of values with few bits; then all sums
    are exact, in any order.
14. SUB is ADD with the second side negated.
15. MUL, reference: rule 2 of the product of differences, with s_a s_b / s_y in float32 (`mul.cc`). XNNPACK: the product
    in float32 times that ratio, half to even, from 2^-16 to below 2^8 (`qs8-vmul`); LiteRT's own kernel else.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from edgeailite.errors import UsageError
from edgeailite.quantization.program import Operator, Program, Value
from edgeailite.quantization.tflite_copies import COPIES

Array = NDArray[Any]
Seen = Callable[[Value, Array], None]
EXACT_IN_FLOAT32, LARGEST_DISTANCE = 2**24, 255
ADD_BITS = {"int8": 20, "int16": 15}  # behind the point, in which the reference adds
XNNPACK_RATIOS = (2**-10, 2**8)  # of an input's scale to the output's, in additions that XNNPACK takes
XNNPACK_PRODUCTS = (2**-16, 2**8)  # of the product of the inputs' scales to the output's
ROWS = 32  # of a resize at a time
LIMITS = {"int8": (-128, 127), "int16": (-(2**15), 2**15 - 1)}


@dataclass(frozen=True)
class Rules:
    """The kernels in which the two arithmetics differ; each gives codes as int64 before they are clamped.

    `requantize(op, sums)`, `mean(op, codes, axes)`, `scale_products(op, products)` and `add(op, a, b)`, which subtracts
    too, include the output's zero point. `positions(old, new,
    align_corners)` gives first neighbours, second ones and distances from the first in `blend`'s unit; `blend(corners,
    distances)` the weighted average of four. `six(output)` is the code at which RELU6 ends.
    """

    requantize: Callable[[Operator, Array], Array]
    add: Callable[[Operator, Array, Array], Array]
    positions: Callable[[int, int, bool], tuple[Array, Array, Array]]
    blend: Callable[[tuple[Array, Array, Array, Array], tuple[Array, Array]], Array]
    mean: Callable[[Operator, Array, tuple[int, ...]], Array]
    scale_products: Callable[[Operator, Array], Array]
    six: Callable[[Value], int]


def run_program(
    program: Program, images: Sequence[Array], arithmetic: str, *, seen: Seen | None = None
) -> dict[str, Array]:
    """Compute a program's outputs by name from int8 pictures (1, height, width, 3), one per input.

    `arithmetic` is a row of RULES. `seen` is called with every tensor that an operator gives, in order. Results have
    the types of the file's tensors: int8 or int16 codes, int32 classes, float32 values. Raises UsageError for an
    unknown arithmetic and for pictures that do not fit the inputs.
    """
    if arithmetic not in RULES:
        raise UsageError(
            f"unknown arithmetic {arithmetic!r}",
            fix=f"known: {', '.join(RULES)}",
            known=tuple(RULES),
            code="unknown-name",
            value=arithmetic,
        )
    found = _checked_inputs(program, images)
    waiting = Counter(value for op in program.operators for value in op.inputs)
    waiting.update(program.outputs.values())
    for op in program.operators:
        values = [found[value] if value.data is None else value.data for value in op.inputs]
        found[op.output] = run_operator(op, values, arithmetic)
        if seen is not None:
            seen(op.output, found[op.output])
        for value in op.inputs:  # the last reader lets go of a tensor
            waiting[value] -= 1
            if not waiting[value]:
                found.pop(value, None)
    return {name: found[value] for name, value in program.outputs.items()}


def run_operator(op: Operator, values: Sequence[Array], arithmetic: str) -> Array:
    """Compute one operator from the numbers of its inputs, constants included, in the type of its output."""
    wide = "int16" in (op.output.type, op.inputs[0].type)
    rules = (WIDE_RULES if wide else RULES)[arithmetic]
    result = KERNELS[op.kind](rules, op, *values)
    limits = LIMITS.get(op.output.type)
    if limits is not None and result.dtype == np.int64:
        low, high = _fused_limits(rules, op, limits)
        result = result.clip(low, high)
    return result.astype(op.output.type, copy=False)


def _checked_inputs(program: Program, images: Sequence[Array]) -> dict[Value, Array]:
    given = [(image.shape, str(image.dtype)) for image in images]
    expected = [(value.shape, value.type) for value in program.inputs]
    if given != expected:
        raise UsageError(
            f"the program takes {expected}, got {given}",
            fix="give int8 codes, NHWC, one array per input",
            code="no-fit",
        )
    return dict(zip(program.inputs, images, strict=True))


def _fused_limits(rules: Rules, op: Operator, limits: tuple[int, int]) -> tuple[int, int]:
    """Rule 4."""
    activation, (low, high) = op.options.get("activation", "NONE"), limits
    if activation != "NONE":
        low = max(low, op.output.zero_point)
    if activation == "RELU6":
        high = min(high, rules.six(op.output))
    return low, high


# --- numbers


def quantize_multiplier(real: float) -> tuple[int, int]:
    """Split a positive factor into a 31-bit multiplier and a binary exponent (rule 1).

    >>> quantize_multiplier(0.75)
    (1610612736, 0)
    """
    fraction, exponent = math.frexp(real)
    multiplier = math.floor(fraction * 2**31 + 0.5)
    if multiplier == 2**31:
        multiplier, exponent = multiplier // 2, exponent + 1
    return (0, 0) if exponent < -31 else (multiplier, exponent)


def multiply(x: Array, multiplier: Array | int, exponent: Array | int) -> Array:
    """Multiply int64 `x` by multiplier x 2^(exponent - 31), rounded twice (rule 2)."""
    left, right = np.maximum(exponent, 0), np.maximum(np.negative(exponent), 0).astype(np.int64)
    high = ((x << left) * multiplier + 2**30) >> 31
    mask = (np.int64(1) << right) - 1
    return (high >> right) + ((high & mask) > (mask >> 1) + (high < 0))


def multiply_wide(x: Array, multiplier: Array, exponent: Array) -> Array:
    """Multiply int64 `x` by a multiplier of 15 bits, rounded once (rule 9)."""
    short = np.where(multiplier < 0x7FFF0000, (multiplier + 2**15) >> 16, 0x7FFF)
    return (x * short + (np.int64(1) << (14 - exponent))) >> (15 - exponent)


def _multipliers(x: Value, weight: Value, y: Value) -> tuple[Array, Array]:
    """Rule 1 for each channel, or for all at once."""
    real = np.float64(_step(x)) * weight.scale.astype(np.float64) / np.float64(_step(y))
    pairs = [quantize_multiplier(factor) for factor in real.tolist()]
    return np.array([m for m, _ in pairs], np.int64), np.array([e for _, e in pairs], np.int64)


def _step(value: Value) -> np.float32:
    return np.float32(value.scale[0])


def _distance(value: Value, codes: Array) -> Array:
    """Codes minus their zero point, in int64."""
    return codes.astype(np.int64) - value.zero_point


# --- rules of the reference


def _requantize_reference(op: Operator, sums: Array) -> Array:
    multiplier, exponent = _multipliers(op.inputs[0], op.inputs[1], op.output)
    if op.output.type == "int16":
        return multiply_wide(sums, multiplier, exponent)
    return multiply(sums, multiplier, exponent) + op.output.zero_point


def _add_reference(op: Operator, a: Array, b: Array) -> Array:
    bits = ADD_BITS[op.output.type]
    return _added(op, lambda side, m, e: multiply(side << bits, m, e), a, b)


def _add_in_blocks(op: Operator, a: Array, b: Array) -> Array:
    """Rule 12."""

    def scaled(side: Array, multiplier: int, exponent: int) -> Array:
        shift = ADD_BITS[op.output.type] + exponent
        return multiply(side << shift if shift >= 0 else side >> -shift, multiplier, 0)

    blocks = _added(op, scaled, a, b).reshape(-1)
    whole = len(blocks) // 16 * 16
    blocks[whole:] = _add_reference(op, a, b).reshape(-1)[whole:]
    return blocks.reshape(a.shape)


def _added(op: Operator, scaled: Callable[[Array, int, int], Array], a: Array, b: Array) -> Array:
    """Rule 5; `scaled` multiplies a side, which then has ADD_BITS behind the point."""
    steps = [float(_step(value)) for value in op.inputs]
    twice = 2 * max(steps)
    first, second = (
        scaled(_distance(value, codes), *quantize_multiplier(step / twice))
        for value, codes, step in zip(op.inputs, (a, b), steps, strict=True)
    )
    second = -second if op.kind == "SUB" else second
    last = quantize_multiplier(twice / (2 ** ADD_BITS[op.output.type] * float(_step(op.output))))
    return multiply(first + second, *last) + op.output.zero_point


def _positions_reference(old: int, new: int, align_corners: bool) -> tuple[Array, Array, Array]:
    corners = int(align_corners and new > 1)
    step = (1024 * (old - corners) + (new - corners) // 2) // (new - corners)
    at = np.arange(new, dtype=np.int64) * step + (0 if align_corners else step // 2 - 512)
    first = np.maximum(np.trunc(at / 1024).astype(np.int64), 0)
    second = np.minimum(np.trunc((at + 1023) / 1024).astype(np.int64), old - 1)
    return first, second, at - 1024 * first


def _blend_reference(corners: tuple[Array, Array, Array, Array], distances: tuple[Array, Array]) -> Array:
    (top_left, top_right, bottom_left, bottom_right), (down, right) = corners, distances
    total = (top_left * (1024 - right) + top_right * right) * (1024 - down)
    total += (bottom_left * (1024 - right) + bottom_right * right) * down
    return np.sign(total) * ((np.abs(total) + 2**19) >> 20)


def _mean_reference(op: Operator, codes: Array, axes: tuple[int, ...]) -> Array:
    (x, _), y, count = op.inputs, op.output, math.prod(codes.shape[axis] for axis in axes)
    multiplier, exponent = quantize_multiplier(float(_step(x)) / float(_step(y)))
    bits = min(count.bit_length() - 1, 32, 31 + exponent)
    total = _distance(x, codes).sum(axes, keepdims=True)
    return multiply(total, (multiplier << bits) // count, exponent - bits) + y.zero_point


def _six_reference(y: Value) -> int:
    return y.zero_point + math.floor(float(np.float32(6) / _step(y)) + 0.5)


# --- rules of XNNPACK


def _requantize_xnnpack(op: Operator, sums: Array) -> Array:
    factor = (_step(op.inputs[0]) * op.inputs[1].scale) / _step(op.output)
    return np.rint(sums.astype(np.float32) * factor).astype(np.int64) + op.output.zero_point


def _add_xnnpack(op: Operator, a: Array, b: Array) -> Array:
    ratios = [_step(value) / _step(op.output) for value in op.inputs]
    if not all(XNNPACK_RATIOS[0] <= ratio < XNNPACK_RATIOS[1] for ratio in ratios):
        return _add_in_blocks(op, a, b)
    bits = 20 - (math.frexp(float(max(ratios)))[1] - 1)
    weights = [int(np.rint(np.ldexp(ratio, bits))) for ratio in ratios]
    total = 2 ** (bits - 1)
    weights[1] *= -1 if op.kind == "SUB" else 1
    for value, codes, weight in zip(op.inputs, (a, b), weights, strict=True):
        total = total + _distance(value, codes) * weight
    return (total >> bits) + op.output.zero_point


def _positions_xnnpack(old: int, new: int, align_corners: bool) -> tuple[Array, Array, Array]:
    corners, half = int(align_corners and new > 1), np.float32(0.5)
    step = np.float32(old - corners) / np.float32(new - corners)
    at = np.arange(new).astype(np.float32) * step + (0 if align_corners else half * step - half)
    at = at.clip(np.float32(0), np.float32(old - 1))
    first = at.astype(np.int64)
    distance = np.rint((at - first.astype(np.float32)) * np.float32(2048)).astype(np.int64)
    return first, np.minimum(first + 1, old - 1), distance


def _blend_xnnpack(corners: tuple[Array, Array, Array, Array], distances: tuple[Array, Array]) -> Array:
    (top_left, top_right, bottom_left, bottom_right), (down, right) = corners, distances
    top = (top_left << 11) + (top_right - top_left) * right
    bottom = (bottom_left << 11) + (bottom_right - bottom_left) * right
    return ((top << 11) + (bottom - top) * down + 2**21) >> 22


def _mean_xnnpack(op: Operator, codes: Array, axes: tuple[int, ...]) -> Array:
    (x, _), y, count = op.inputs, op.output, math.prod(codes.shape[axis] for axis in axes)
    factor = (_step(x) / _step(y)) * (np.float32(1) / np.float32(count))
    fixed = np.float32(y.zero_point) - np.float32(count * x.zero_point) * factor
    sums = codes.sum(axes, keepdims=True, dtype=np.int64).astype(np.float32)
    return np.rint(sums * factor + fixed).astype(np.int64)


def _scale_products_reference(op: Operator, products: Array) -> Array:
    a, b = op.inputs
    real = float(_step(a) * _step(b) / _step(op.output))
    return multiply(products, *quantize_multiplier(real)) + op.output.zero_point


def _scale_products_xnnpack(op: Operator, products: Array) -> Array:
    a, b = op.inputs
    ratio = _step(a) * _step(b) / _step(op.output)
    if not XNNPACK_PRODUCTS[0] <= ratio < XNNPACK_PRODUCTS[1]:
        return _scale_products_reference(op, products)
    return np.rint(products.astype(np.float32) * ratio).astype(np.int64) + op.output.zero_point


def _six_xnnpack(y: Value) -> int:
    return int(np.rint(np.float32(6) / _step(y) + np.float32(y.zero_point)))


_REFERENCE = Rules(
    _requantize_reference, _add_reference, _positions_reference, _blend_reference, _mean_reference,
    _scale_products_reference, _six_reference,
)  # fmt: skip
_XNNPACK = Rules(
    _requantize_xnnpack, _add_xnnpack, _positions_xnnpack, _blend_xnnpack, _mean_xnnpack, _scale_products_xnnpack,
    _six_xnnpack,
)  # fmt: skip
RULES: Mapping[str, Rules] = {"tflite_reference": _REFERENCE, "xnnpack": _XNNPACK}
"""By the name of the arithmetic."""
WIDE_RULES: Mapping[str, Rules] = {"tflite_reference": _REFERENCE, "xnnpack": replace(_REFERENCE, add=_add_in_blocks)}
"""The same for operators with int16 (rule 12)."""


# --- kernels


def _convolve(rules: Rules, op: Operator, codes: Array, weight: Array, bias: Array) -> Array:
    return rules.requantize(op, integer_sums(op, codes, weight) + bias)


def integer_sums(op: Operator, codes: Array, weight: Array) -> Array:
    """Sum (code - zero point) x weight exactly, as int64 NHWC, without the bias (rule 3)."""
    depthwise, options = op.kind == "DEPTHWISE_CONV_2D", op.options
    kernel = torch.from_numpy(weight).permute((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
    distance = torch.from_numpy(codes).permute(0, 3, 1, 2).float() - op.inputs[0].zero_point
    padded = F.pad(distance, _torch_pads(op, codes.shape, kernel.shape[2:], options["dilation"]))
    groups = codes.shape[3] // kernel.shape[1]
    largest = LARGEST_DISTANCE if op.inputs[0].type == "int8" else 2**15
    return (
        _sums(padded, kernel, (options["stride"], 0, options["dilation"], groups), largest).permute(0, 2, 3, 1).numpy()
    )


def _sums(x: Tensor, weight: Tensor, geometry: tuple[Any, ...], largest: int) -> Tensor:
    """Convolve whole numbers up to `largest`, held in float32, at once where partial sums are exact, else in parts."""
    most = largest * int(weight.abs().to(torch.int64).sum((1, 2, 3)).max())
    if most < EXACT_IN_FLOAT32:
        return F.conv2d(x, weight.float(), None, *geometry).long()
    if geometry[3] == 1 and weight.shape[1] > 1 and largest <= LARGEST_DISTANCE:
        halves = zip(x.tensor_split(2, 1), weight.tensor_split(2, 1), strict=True)
        first, second = (_sums(part, kernel, geometry, largest) for part, kernel in halves)
        return first + second
    return F.conv2d(x.double(), weight.double(), None, *geometry).long()  # exact below 2^53


def _torch_pads(op: Operator, shape: Sequence[int], kernel: Sequence[int], dilation: Sequence[int]) -> list[int]:
    """Left, right, top and bottom rows of SAME, the odd one behind; none of VALID, whose last rows may go unread."""
    pads: list[int] = []
    for n, out, k, s, d in zip(shape[1:3], op.output.shape[1:3], kernel, op.options["stride"], dilation, strict=True):
        total = max((out - 1) * s + d * (k - 1) + 1 - n, 0)
        pads = [total // 2, total - total // 2, *pads]
    return pads


def _add(rules: Rules, op: Operator, a: Array, b: Array) -> Array:
    return a + b if op.output.type == "int32" else rules.add(op, a, b)


def _multiply_codes(rules: Rules, op: Operator, a: Array, b: Array) -> Array:
    first, second = (_distance(value, codes) for value, codes in zip(op.inputs, (a, b), strict=True))
    return rules.scale_products(op, first * second)


def _resize(rules: Rules, op: Operator, codes: Array, size: Array) -> Array:
    """Rule 6, a few rows at a time: four corners of a full-size output in int64 would take gigabytes."""
    corners, (height, width) = op.options["align_corners"], (int(length) for length in size)
    if op.output.type == "float32":
        return _resize_values(codes, (height, width))
    top, bottom, down = rules.positions(codes.shape[1], height, corners)
    left, right, aside = rules.positions(codes.shape[2], width, corners)
    result = np.empty(op.output.shape, codes.dtype)  # an average needs no clamping
    for first in range(0, height, ROWS):
        rows = slice(first, first + ROWS)
        upper, lower = codes[:, top[rows]].astype(np.int64), codes[:, bottom[rows]].astype(np.int64)
        four = (upper[:, :, left], upper[:, :, right], lower[:, :, left], lower[:, :, right])
        result[:, rows] = rules.blend(four, (down[rows, None, None], aside[:, None]))
    return result


def _resize_values(values: Array, size: tuple[int, int]) -> Array:
    """Rule 13."""
    exact = F.interpolate(torch.from_numpy(values).permute(0, 3, 1, 2).double(), size, mode="bilinear")
    return exact.float().permute(0, 2, 3, 1).numpy()


def _mean(rules: Rules, op: Operator, codes: Array, axes: Array) -> Array:
    return rules.mean(op, codes, tuple(int(axis) for axis in axes))


def _quantize(_: Rules, op: Operator, codes: Array) -> Array:
    """Rule 8."""
    (x,), y = op.inputs, op.output
    return multiply(_distance(x, codes), *quantize_multiplier(float(_step(x)) / float(_step(y)))) + y.zero_point


def _max_pool(_: Rules, op: Operator, codes: Array) -> Array:
    kernel, options = op.options["kernel"], op.options
    pads = _torch_pads(op, codes.shape, kernel, (1, 1))
    x = torch.from_numpy(codes).permute(0, 3, 1, 2).float()
    largest = F.max_pool2d(F.pad(x, pads, value=-float("inf")), kernel, options["stride"])
    return largest.permute(0, 2, 3, 1).numpy().astype(np.int64)


def _dequantize(_: Rules, op: Operator, codes: Array) -> Array:
    (x,) = op.inputs
    return _distance(x, codes).astype(np.float32) * _step(x)


def _of_copies(kernel: Callable[..., Array]) -> Callable[..., Array]:
    return lambda _, op, *values: kernel(op, *values)


KERNELS: Mapping[str, Callable[..., Array]] = {
    "ADD": _add,
    "CONV_2D": _convolve,
    "DEPTHWISE_CONV_2D": _convolve,
    "DEQUANTIZE": _dequantize,
    "MAX_POOL_2D": _max_pool,
    "MEAN": _mean,
    "MUL": _multiply_codes,
    "QUANTIZE": _quantize,
    "RESIZE_BILINEAR": _resize,
    "SUB": _add,
    **{kind: _of_copies(kernel) for kind, kernel in COPIES.items()},
}
"""By TensorFlow Lite's names: `kernel(rules, op, *values)`, int64 where codes are still to be clamped."""
