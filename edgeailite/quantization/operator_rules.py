"""Rules of the integer-exact mode for the operators of `quantization.operators`, continuing those of `integer`.

 8. What moves values moves codes; rows and columns that are added have the code of their value, mostly the zero point.
 9. A function of one value is a table of 256 codes: round(f(x) / scale) + zero point, f in float64. onnxruntime
    computes f in float32, or has a table of its own (QLinearSigmoid, QLinearLeakyRelu). `tie_safe` moves the scale
    until no value lies so near to a tie that this makes a difference.
10. Product: float32((code - zero_a) x (code - zero_b)) x float32(scale_a x scale_b / scale) + zero point in float32,
    then rounded half to even (onnxruntime/core/mlas/lib/qlmul.cpp; the same on x86 with and without AVX2). GCC may
    contract the product and the sum on Arm, so there only `tie_safe` products are promised.
11. Difference, quotient and PReLU: float32 operations on dequantized values, one after the other, then rule 5: no
    sum of products, so no processor may round otherwise. A divisor of 0 counts as 2^-60.
12. Average over windows: float32 values of a window added in the order of its rows, divided by their count, by the
    scale, plus zero point, rounded half to even (onnxruntime/contrib_ops/cpu/quantization/qlinear_pool.cc: no products
    in the loop, so the same everywhere).
13. Sums and means over axes: the whole sum of (code - zero point), exact in float32 below 2^24, times scale / count.
14. A resize with aligned corners is that of rule 4 with centres i x (L - 1) / (L' - 1); compared on x86 alone.
17. Hard-swish is a product (rule 10) of the codes and a gate, whose codes are those of x at another scale, by rule 5:
    still a function of one value with 256 results, whose scale is moved as in rule 9.
Rules of kernels that files of other tools have, and ours avoid:
15. Average over a whole picture (QLinearGlobalAveragePool): float32(sum of (code - zero point)) x
    (scale_x / (scale_y x count)), rounded half to even, plus zero point, all in float32
    (onnxruntime/contrib_ops/cpu/quantization/qlinear_global_average_pool.cc).
16. Concatenation at other scales (QLinearConcat): each part by rule 5, a copy where scale and zero point are the same.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeailite.errors import UsageError
from edgeailite.quantization.codes import EXACT_IN_FLOAT32, LARGEST_CODE, Codes, Pending, rounded
from edgeailite.quantization.convert import CodeTotal, IntegerHardswish, Quantize
from edgeailite.quantization.operators import FLOATS, MOVES, TABLES, Divide, MaxUnpool, Multiply, Pad, Subtract
from edgeailite.quantization.pooling import per_axis

COUNT = 256  # codes of 8 bits
MARGIN = 2e-5  # steps; a product of float32 and its sum with a zero point err by at most 2^-16 together
FUNCTION_ERROR = 2.0**-21  # relative error of a function in float32, generously
COMPARED = ("onnxruntime_x86", "onnxruntime_sse2")  # arithmetics with rule 10 by measurement, or by the same source


def run_operator(
    module: nn.Module, arguments: Sequence[Any], options: Mapping[str, Any], arithmetic: str
) -> Codes | Pending | None:
    """Compute a module of `quantization.operators` on codes; None if it is no such module.

    In arithmetics whose kernels were never compared, products and functions raise UsageError where two implementations
    may differ.
    """
    for kinds, rule in RULES:
        if isinstance(module, kinds):
            result: Codes | Pending = rule(module, *arguments, **options)
            if isinstance(module, (Multiply, *TABLES)) and arithmetic not in COMPARED:
                return _if_safe(result, module, arguments, arithmetic)
            return result
    return None


def _if_safe(finish: Pending, module: nn.Module, operands: Sequence[Codes], arithmetic: str) -> Pending:
    def checked(output: Quantize) -> Tensor:
        wide = output.wide() or any(operand.wide for operand in operands)
        if isinstance(module, Multiply):
            safe = wide or no_tie(all_products(operands[0], operands[1], output), output)
        else:
            safe = wide or no_tie(all_results(module, operands[0], output), output, relative=FUNCTION_ERROR)
        if not safe:
            problem = (
                f"a {type(module).__name__} has results next to a tie, where kernels that were never compared differ"
            )
            raise UsageError(
                problem, value=arithmetic, about="arithmetic", fix="calibrate with a scheme of free scales"
            )
        return finish(output)

    return checked


def _move(module: nn.Module, x: Codes, *arguments: Any, **options: Any) -> Codes:
    """Rule 8."""
    if isinstance(module, Pad) and module.mode == "constant":
        value = torch.tensor(options.get("value", arguments[1] if len(arguments) > 1 else 0.0))
        code = torch.round(value / x.scale) + x.zero_point
        arguments, options = arguments[:1], {"value": float(code.clamp(x.low, x.low + COUNT - 1))}
    if isinstance(module, MaxUnpool):  # among codes of 0.0
        (pooled,) = arguments
        return replace(x, codes=module(x.codes - x.zero_point, pooled.codes) + x.zero_point)
    return replace(x, codes=module(x.codes, *arguments, **options))


def resize_nearest(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Copy the nearest value, (N,C,h,w) -> (N,C,*size), at the places where onnxruntime takes it."""
    rows, columns = (_nearest(old, new, x.device) for old, new in zip(x.shape[2:], size, strict=True))
    return x[:, :, rows][..., columns]


def _nearest(size: int, new_size: int, device: torch.device) -> Tensor:
    scale = torch.tensor(float(new_size)) / torch.tensor(float(size))
    return (torch.arange(new_size, dtype=torch.float32) / scale).floor().clamp(0, size - 1).long().to(device)


def _look_up(module: nn.Module, x: Codes) -> Pending:
    """Rule 9."""

    def finish(output: Quantize) -> Tensor:
        if x.wide or output.wide():
            return rounded(module(x.dequantize()), output)
        low = x.low
        table = torch.round(table_values(module, x.scale, x.zero_point, low) / output.scale.double())
        return (table + output.zero_point.double()).float()[(x.codes - low).long()]

    return finish


def table_values(module: nn.Module, scale: Tensor, zero_point: Tensor, low: int) -> Tensor:
    """Return a function's values (256,) float64 for the codes from `low` on."""
    given = (all_codes(low).to(scale) - zero_point) * scale
    values = given.double()
    if isinstance(module, IntegerHardswish):
        return values * module.gate(given).double() * module.scale.double()
    with torch.no_grad():
        function = copy.deepcopy(module).double()
        result: Tensor = function(values)
    return result


def all_codes(low: int) -> Tensor:
    """Return the 256 codes from `low` on."""
    return torch.arange(COUNT).float() + low


def all_products(a: Codes, b: Codes, y: Quantize) -> Tensor:
    """Return the products (256, 256) float64 of all codes of a and b, in steps of y, without its zero point."""
    first, second = (all_codes(q.low).to(q.scale).double() - q.zero_point.double() for q in (a, b))
    return first[:, None] * second * ((a.scale * b.scale) / y.scale).double()


def all_results(module: nn.Module, x: Codes, y: Quantize) -> Tensor:
    """Return a function's results (256,) float64 for all codes of x, in steps of y, without its zero point."""
    return table_values(module, x.scale, x.zero_point, x.low) / y.scale.double()


def no_tie(steps: Tensor, y: Quantize, *, relative: float = 0.0) -> bool:
    """Tell if no result lies within MARGIN, and `relative` of itself, of the middle between two codes of y."""
    low, high = (code - int(y.zero_point) for code in y.codes())
    apart = (steps - steps.floor() - 0.5).abs() > MARGIN + relative * steps.abs()
    return bool((apart | (steps < low - 1) | (steps > high + 1)).all())


def _multiply(module: nn.Module, a: Codes, b: Codes) -> Pending:
    """Rule 10."""

    def finish(output: Quantize) -> Tensor:
        if a.wide or b.wide or output.wide():
            return rounded(a.dequantize() * b.dequantize(), output)
        return torch.round(scaled_product(a, b, output))

    return finish


def scaled_product(a: Codes, b: Codes, output: Quantize) -> Tensor:
    """Return products in steps of the output, zero point included, before they are rounded (rule 10)."""
    ratio = (a.scale * b.scale) / output.scale
    return ((a.codes - a.zero_point) * (b.codes - b.zero_point)) * ratio + output.zero_point.float()


def _gated(module: IntegerHardswish, x: Codes) -> Pending:
    """Rule 17."""
    return _multiply(module, x, Codes(module.gate(x.dequantize()), module.scale, torch.zeros(())))


def _subtract(module: nn.Module, a: Codes, b: Codes) -> Pending:
    """Rule 11."""
    return lambda output: rounded(a.dequantize() - b.dequantize(), output)


def _divide(module: nn.Module, a: Codes, b: Codes) -> Pending:
    """Rule 11."""
    return lambda output: rounded(module(a.dequantize(), b.dequantize()), output)


def _slopes(module: nn.Module, x: Codes) -> Pending:
    """Rule 11."""
    return lambda output: rounded(module(x.dequantize()), output)


def _average(module: nn.AvgPool2d, x: Codes) -> Pending:
    """Rule 12."""
    sums, counts = window_sums(x.dequantize(), module)
    if x.wide:
        return lambda output: rounded(sums / counts, output)

    def finish(output: Quantize) -> Tensor:
        if output.wide():
            return rounded(sums / counts, output)
        return torch.round((sums / counts) / output.scale + output.zero_point.float())

    return finish


def window_sums(x: Tensor, pool: nn.AvgPool2d) -> tuple[Tensor, Tensor]:
    """Return sums (N,C,H',W') of windows, added row by row in float32, and how many values count for each (H',W')."""
    (kh, kw), (sh, sw), (ph, pw) = (per_axis(v) for v in (pool.kernel_size, pool.stride, pool.padding))
    height, width = F.avg_pool2d(x[:1, :1], (kh, kw), (sh, sw), (ph, pw), pool.ceil_mode).shape[2:]
    below, right = (height - 1) * sh + kh - ph - x.shape[2], (width - 1) * sw + kw - pw - x.shape[3]
    sides = (pw, max(right, 0), ph, max(below, 0))
    padded, inside = F.pad(x, sides), F.pad(torch.ones_like(x[0, 0]), sides)
    sums, counts = torch.zeros(*x.shape[:2], height, width, device=x.device), torch.zeros_like(inside[:height, :width])
    for i in range(kh):
        for j in range(kw):
            rows, columns = slice(i, i + sh * (height - 1) + 1, sh), slice(j, j + sw * (width - 1) + 1, sw)
            sums = sums + padded[:, :, rows, columns]
            counts = counts + inside[rows, columns]
    return sums, torch.full_like(counts, kh * kw) if pool.count_include_pad else counts


def global_average(x: Codes) -> Pending:
    """Average codes (N,C,H,W) over height and width, (N,C,1,1), by rule 15."""
    count = float(x.codes.shape[2] * x.codes.shape[3])
    sums = (x.codes - x.zero_point).double().sum((2, 3), keepdim=True).float()
    return lambda output: torch.round(sums * (x.scale / (output.scale * count))) + output.zero_point.float()


def concatenate_rescaled(parts: Sequence[Codes], dim: int, output: Quantize) -> Tensor:
    """Concatenate codes of any scales by rule 16; the result is not yet clamped."""
    return torch.cat([_rescaled(part, output) for part in parts], dim)


def _rescaled(x: Codes, output: Quantize) -> Tensor:
    if bool(x.scale == output.scale) and bool(x.zero_point == output.zero_point.float()):
        return x.codes
    return rounded(x.dequantize(), output)


def _total(module: CodeTotal, x: Codes) -> Tensor:
    """Rule 13. Raises UsageError where a sum may be too large to be exact in float32."""
    count = module.count(x.codes)
    if count * LARGEST_CODE >= EXACT_IN_FLOAT32:
        raise UsageError(f"{module.extra_repr()}: a sum of {count} codes is not exact", fix="take smaller pictures")
    sums = (x.codes - x.zero_point).double().sum(module.dims, keepdim=module.keepdim).float()
    return sums * (x.scale / count if module.mean else x.scale)


def _float_part(module: nn.Module, *arguments: Any, **options: Any) -> Pending:
    """Compute what has no rule, in the order of float32 operations of the machine at hand."""
    values = [value.dequantize() if isinstance(value, Codes) else value for value in arguments]
    return lambda output: rounded(module(*values, **options), output)


RULES: tuple[tuple[type | tuple[type, ...], Callable[..., Any]], ...] = (
    (MOVES, _move),
    (IntegerHardswish, _gated),
    (TABLES, _look_up),
    (Multiply, _multiply),
    (Subtract, _subtract),
    (Divide, _divide),
    (nn.PReLU, _slopes),
    (nn.AvgPool2d, _average),
    (CodeTotal, _total),
    (FLOATS, _float_part),
)
