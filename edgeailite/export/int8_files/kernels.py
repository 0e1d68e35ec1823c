"""Operators of int8 files that onnxruntime computes with integer kernels, by the rules of `quantization`.

Each function takes the operands as dequantized codes and returns a `Finish`, which gives codes once the output's scale
is known; None where no integer kernel takes such operands. The rules are those numbered in `quantization.integer` and
`quantization.operator_rules`; nothing is computed by another formula here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeailite.export.int8_files.values import Array, Quantized, Value
from edgeailite.onnxfile.layers import same_padding
from edgeailite.quantization.arithmetic import Arithmetic
from edgeailite.quantization.codes import Codes
from edgeailite.quantization.convert import IntegerConv, Quantize
from edgeailite.quantization.integer import convolve
from edgeailite.quantization.operator_rules import (
    COMPARED,
    FUNCTION_ERROR,
    all_products,
    all_results,
    concatenate_rescaled,
    global_average,
    no_tie,
    run_operator,
)
from edgeailite.quantization.operators import Function, Multiply

BIAS_SCALE = 1e-6  # relative: a bias of another scale than input times weight is another number


@dataclass(frozen=True)
class Call:
    """A node's operands, its attributes, and the arithmetic; `unsigned`: signed codes are moved by 128 first."""

    operands: Sequence[Value | None]
    attributes: Mapping[str, Any]
    arithmetic: Arithmetic
    unsigned: bool

    def codes(self, index: int) -> Codes | None:
        """Return an operand's codes; None if they are no 8-bit codes of one scale."""
        operand = self.operands[index] if index < len(self.operands) else None
        if not isinstance(operand, Quantized) or not operand.whole:
            return None
        return operand.as_codes(unsigned=self.unsigned)

    def given(self, index: int) -> bool:
        """Tell if an operand is there."""
        return index < len(self.operands) and self.operands[index] is not None


@dataclass(frozen=True)
class Finish:
    """Codes of an output, not yet clamped; `near_tie` tells if implementations may differ at its scale."""

    codes: Callable[[Quantize], Tensor]
    near_tie: Callable[[Quantize], bool] = lambda output: False


Rule = Callable[[Call], Finish | None]


def _numbers(call: Call, weight: Array, x: Codes, geometry: tuple[Any, ...]) -> IntegerConv | None:
    """Return weights (outputs, inputs, rows, columns) minus zero point, and the bias, as rule 1 takes them."""
    source = call.operands[1]
    assert isinstance(source, Quantized)
    scale = source.scale.astype(np.float32).reshape(-1)
    outputs = len(weight)
    bias: Tensor = torch.zeros(outputs, dtype=torch.int32)
    if call.given(2):
        given = call.operands[2]
        if not isinstance(given, Quantized) or given.codes.dtype != np.int32 or given.zero_point.any():
            return None
        own = x.scale.numpy() * scale
        factor = given.scale.astype(np.float64).reshape(-1) / own
        codes = given.codes.reshape(-1)
        if np.abs(factor - 1).max() > BIAS_SCALE:  # the file's number, of which the kernel knows nothing
            bias = torch.from_numpy(codes * factor)
        else:
            bias = torch.from_numpy(codes.copy())
        if len(bias) != outputs:
            return None
    weight_scale = torch.from_numpy(np.broadcast_to(scale, (outputs,)).copy())
    return IntegerConv.of_numbers(torch.from_numpy(weight), weight_scale, bias, geometry)


def _centred(operand: Value | None, axis: int) -> Array | None:
    """Return weight codes minus zero point, scaled per tensor or along `axis`; None of others."""
    if not isinstance(operand, Quantized) or operand.codes.dtype not in (np.uint8, np.int8):
        return None
    if operand.scale.size > 1 and operand.axis % operand.codes.ndim != axis:
        return None
    if operand.scale.size not in (1, operand.codes.shape[axis]):
        return None
    zero = operand.zero_point.astype(np.int16).reshape(-1)
    shape = [-1 if side == axis else 1 for side in range(operand.codes.ndim)]
    return operand.codes.astype(np.int16) - (zero.reshape(shape) if zero.size > 1 else zero.reshape(()))


def _conv(call: Call) -> Finish | None:
    x, weight = call.codes(0), _centred(call.operands[1], 0)
    if x is None or weight is None or weight.ndim != 4 or x.codes.dim() != 4:
        return None
    strides, dilations = (tuple(call.attributes.get(name) or (1, 1)) for name in ("strides", "dilations"))
    top, left, bottom, right = _pads(call.attributes, x.codes.shape[2:], weight.shape[2:], strides, dilations)
    padded = F.pad(x.codes, (left, right, top, bottom), value=float(x.zero_point))
    layer = _numbers(call, weight, x, (strides, (0, 0), dilations, int(call.attributes.get("group", 1))))
    return None if layer is None else Finish(convolve(layer, replace(x, codes=padded)))


def _pads(
    attributes: Mapping[str, Any], sides: Sequence[int], kernel: Sequence[int], strides: Any, dilations: Any
) -> tuple[int, int, int, int]:
    """Rows and columns around a window's input: top, left, bottom, right."""
    auto = attributes.get("auto_pad", b"NOTSET")
    if auto in (b"NOTSET", b""):
        top, left, bottom, right = attributes.get("pads") or (0, 0, 0, 0)
        return top, left, bottom, right
    if auto == b"VALID":
        return 0, 0, 0, 0
    (top, bottom), (left, right) = (
        same_padding(auto, side, kernel=length, stride=step, dilation=gap)
        for side, length, step, gap in zip(sides, kernel, strides, dilations, strict=True)
    )
    return top, left, bottom, right


def _gemm(call: Call) -> Finish | None:
    plain = call.attributes.get("alpha", 1.0) == 1 and call.attributes.get("beta", 1.0) == 1
    if not plain or call.attributes.get("transA"):
        return None
    transposed = bool(call.attributes.get("transB"))
    return _product(call, _centred(call.operands[1], 0 if transposed else 1), transposed=transposed)


def _matmul(call: Call) -> Finish | None:
    return _product(call, _centred(call.operands[1], 1), transposed=False)


def _product(call: Call, weight: Array | None, *, transposed: bool) -> Finish | None:
    """A product of matrices is the convolution of one pixel (rule 1)."""
    x = call.codes(0)
    if x is None or weight is None or weight.ndim != 2:
        return None
    matrix = weight if transposed else np.ascontiguousarray(weight.T)
    layer = _numbers(call, matrix[:, :, None, None], x, ((1, 1), (0, 0), (1, 1), 1))
    if layer is None:
        return None
    rows = x.codes.reshape(-1, matrix.shape[1], 1, 1)
    finish, shape = convolve(layer, replace(x, codes=rows)), (*x.codes.shape[:-1], len(matrix))
    return Finish(lambda output: finish(output).reshape(shape))


def _add(call: Call) -> Finish | None:
    a, b = call.codes(0), call.codes(1)
    add = call.arithmetic.add
    return None if a is None or b is None or add is None else Finish(lambda output: add(a, b, output))


def _multiply(call: Call) -> Finish | None:
    a, b = call.codes(0), call.codes(1)
    if a is None or b is None:
        return None
    finish = run_operator(Multiply(), (a, b), {}, COMPARED[0])
    assert callable(finish)
    known = call.arithmetic.name in COMPARED
    return Finish(finish, lambda output: not known and not no_tie(all_products(a, b, output), output))


def _concatenate(call: Call) -> Finish | None:
    parts = [call.codes(index) for index in range(len(call.operands))]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    axis = int(call.attributes["axis"])
    return Finish(lambda output: concatenate_rescaled(known, axis, output))


def _global_average(call: Call) -> Finish | None:
    x = call.codes(0)
    return None if x is None or x.codes.dim() != 4 else Finish(global_average(x))


def _average(call: Call) -> Finish | None:
    x, given = call.codes(0), call.attributes
    if x is None or x.codes.dim() != 4 or given.get("auto_pad", b"NOTSET") not in (b"NOTSET", b""):
        return None
    top, left, bottom, right = given.get("pads") or (0, 0, 0, 0)
    if (top, left) != (bottom, right) or set(given.get("dilations") or (1,)) != {1}:
        return None
    pool = nn.AvgPool2d(
        tuple(given["kernel_shape"]), tuple(given.get("strides") or (1, 1)), (top, left),
        bool(given.get("ceil_mode", 0)), bool(given.get("count_include_pad", 0)),
    )  # fmt: skip
    finish = run_operator(pool, (x,), {}, call.arithmetic.name)
    assert callable(finish)
    return Finish(finish)


def _function(make: Callable[[Mapping[str, Any]], nn.Module]) -> Rule:
    """Return the rule of a function of one value: a table of 256 codes (rule 9)."""

    def rule(call: Call) -> Finish | None:
        x = call.codes(0)
        if x is None:
            return None
        module = make(call.attributes)
        finish = run_operator(module, (x,), {}, COMPARED[0])
        assert callable(finish)
        return Finish(
            finish, lambda output: not no_tie(all_results(module, x, output), output, relative=FUNCTION_ERROR)
        )

    return rule


def _hard_sigmoid(given: Mapping[str, Any]) -> nn.Module:
    alpha, beta = float(np.float32(given.get("alpha", 0.2))), float(np.float32(given.get("beta", 0.5)))
    return Function(lambda x: (x * alpha + beta).clamp(0, 1))


FUNCTIONS: dict[str, Rule] = {
    "Elu": _function(lambda given: nn.ELU(given.get("alpha", 1.0))),
    "Gelu": _function(lambda given: nn.GELU("tanh" if given.get("approximate") == b"tanh" else "none")),
    "HardSigmoid": _function(_hard_sigmoid),
    "HardSwish": _function(lambda given: nn.Hardswish()),
    "LeakyRelu": _function(lambda given: nn.LeakyReLU(given.get("alpha", 0.01))),
    "Mish": _function(lambda given: nn.Mish()),
    "Sigmoid": _function(lambda given: nn.Sigmoid()),
    "Softplus": _function(lambda given: nn.Softplus()),
    "Tanh": _function(lambda given: nn.Tanh()),
}
RULES: dict[str, Rule] = {
    "Add": _add,
    "AveragePool": _average,
    "Concat": _concatenate,
    "Conv": _conv,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average,
    "MatMul": _matmul,
    "Mul": _multiply,
    **FUNCTIONS,
}
"""Operators between DequantizeLinear and QuantizeLinear (QDQ) whose integer kernels have a rule."""
