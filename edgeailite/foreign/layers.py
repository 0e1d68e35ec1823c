"""Operators of ONNX that compute, as modules and functions of the normal form."""

from __future__ import annotations

import operator
from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from edgeailite.foreign.reader import FIXED_SIZE, MOST_FOLDED, Array, Reader, Table, Translate
from edgeailite.foreign.transposed import Phases, phases
from edgeailite.foreign.windows import Pair, padded, pads_of, pair_of
from edgeailite.onnxfile.wire import Node

ONE_SIXTH = 1 / 6
TOLERANCE = 1e-6


def _of_module(make: Callable[[Reader, Node], nn.Module]) -> Translate:
    """Translate to a module of the first input."""
    return lambda read, node: read.module(node, make(read, node), read.tensor(node.inputs[0]))


def _attribute(node: Node, name: str, default: float) -> float:
    value = node.attributes.get(name)
    return default if value is None else float(value)


def _weights(read: Reader, node: Node, index: int = 1) -> Array:
    value = read.constant(node.inputs[index])
    if value is None:
        raise read.refuse(node, "has weights that are computed from pictures")
    if value.dtype.kind != "f":
        raise read.refuse(node, f"has weights of type {value.dtype}, not floating point")
    return value


def _bias(read: Reader, node: Node, outputs: int) -> nn.Parameter | None:
    if len(node.inputs) < 3 or not node.inputs[2]:
        return None
    shape = _weights(read, node, 2).shape
    if shape != (outputs,):
        raise read.refuse(node, f"adds a bias of shape {shape} to {outputs} channels", fix="export it again")
    return read.parameter(node.inputs[2])


def _conv(read: Reader, node: Node) -> fx.Node:
    """Convolution: asymmetric padding becomes a padding of its own."""
    weights = _weights(read, node)
    kernel, strides, dilations = weights.shape[2:], pair_of(read, node, "strides"), pair_of(read, node, "dilations")
    x, padding = padded(read, read.tensor(node.inputs[0]), pads_of(read, node, (kernel[0], kernel[1])))
    groups, name = int(node.attributes.get("group", 1)), node.inputs[1]
    conv = convolution(read.parameter(name), _bias(read, node, len(weights)), strides, padding, dilations, groups)
    return read.module(node, conv, x, weight=name)


def convolution(
    weight: nn.Parameter, bias: nn.Parameter | None, strides: Pair, padding: Pair, dilations: Pair, groups: int
) -> nn.Conv2d:
    """Return a convolution with these parameters."""
    outputs, inputs, *kernel = weight.shape
    conv = nn.Conv2d(
        inputs * groups, outputs, (kernel[0], kernel[1]), strides, padding, dilations, groups, bias is not None,
        device="meta",
    )  # fmt: skip
    conv.weight, conv.bias = weight, bias
    return conv


def _transposed(read: Reader, node: Node) -> fx.Node:
    """Transposed convolution: a convolution that makes all phases of the stride, and a pixel shuffle of them."""
    weights = _weights(read, node)
    if node.attributes.get("output_shape") or (node.attributes.get("auto_pad") or b"NOTSET") not in (
        b"NOTSET",
        b"VALID",
    ):
        raise read.refuse(node, "computes its padding from a size", fix="write its pads into the file")
    pads = tuple(node.attributes.get("pads") or (0, 0, 0, 0))
    more = tuple(node.attributes.get("output_padding") or (0, 0))
    strides, dilations = pair_of(read, node, "strides"), pair_of(read, node, "dilations")
    if strides[0] != strides[1]:
        raise read.refuse(node, f"has strides of {strides[0]} and {strides[1]}; only equal ones are read")
    groups = int(node.attributes.get("group", 1))
    inputs, per_group = weights.shape[:2]
    sides = [(side - 1) * gap + 1 + 2 * strides[0] for side, gap in zip(weights.shape[2:], dilations, strict=True)]
    if inputs * per_group * sides[0] * sides[1] > MOST_FOLDED:
        raise read.refuse(node, f"has a kernel that is {sides[0]}x{sides[1]} with its gaps; it is too large")
    made: Phases = phases(weights, strides[0], pads, more, dilations, groups)
    if min(made.pads) < 0:
        raise read.refuse(node, f"has padding {pads} beyond its kernel")
    x, padding = padded(read, read.tensor(node.inputs[0]), made.pads)
    bias = _bias(read, node, per_group * groups)
    if bias is not None:
        bias = nn.Parameter(bias.detach().repeat_interleave(strides[0] ** 2))
    conv = convolution(nn.Parameter(torch.from_numpy(made.weight)), bias, (1, 1), padding, (1, 1), groups)
    x = read.module(node, conv, x, weight=node.inputs[1])
    if strides[0] > 1:
        x = read.module(node, nn.PixelShuffle(strides[0]), x)
    if made.crop != (0, 0):
        ends = (slice(None, -side or None) for side in made.crop)
        x = read.call(operator.getitem, x, (slice(None), slice(None), *ends))
    return x


def _batch_norm(read: Reader, node: Node) -> fx.Node:
    """BatchNorm; `rewrites` replaces one that does not follow a convolution."""
    if node.attributes.get("training_mode"):
        raise read.refuse(node, "is in training mode", fix="export the network in evaluation mode (model.eval())")
    scale, bias, mean, variance = (_weights(read, node, index) for index in range(1, 5))
    norm = nn.BatchNorm2d(len(scale), _attribute(node, "epsilon", 1e-5), device="meta")
    norm.weight, norm.bias = read.parameter(node.inputs[1]), read.parameter(node.inputs[2])
    norm.running_mean, norm.running_var = (torch.from_numpy(np.array(value, np.float32)) for value in (mean, variance))
    norm.num_batches_tracked = torch.tensor(0)
    if not len(scale) == len(bias) == len(mean) == len(variance) == read.shape(node.inputs[0])[1]:
        raise read.refuse(node, "has statistics of another number of channels than its input")
    return read.module(node, norm, read.tensor(node.inputs[0]), weight=node.inputs[1])


def _gemm(read: Reader, node: Node) -> fx.Node:
    weights = _weights(read, node)
    alpha, beta = _attribute(node, "alpha", 1.0), _attribute(node, "beta", 1.0)
    if node.attributes.get("transA"):
        raise read.refuse(node, "transposes its first input")
    plain = bool(node.attributes.get("transB")) and alpha == 1
    change = None if plain else lambda value: alpha * (value if node.attributes.get("transB") else value.T)
    outputs = weights.shape[0] if node.attributes.get("transB") else weights.shape[1]
    bias = None
    if len(node.inputs) > 2 and node.inputs[2]:
        shape = _weights(read, node, 2).shape
        if shape[:-1] not in ((), (1,)):
            raise read.refuse(node, f"adds an array of shape {shape}")
        whole = shape == (outputs,) and beta == 1
        bias = read.parameter(
            node.inputs[2], None if whole else lambda value: np.broadcast_to(beta * value.reshape(-1), (outputs,))
        )
    return _linear(read, node, read.parameter(node.inputs[1], change), bias)


def _linear(read: Reader, node: Node, weight: nn.Parameter, bias: nn.Parameter | None) -> fx.Node:
    outputs, inputs = weight.shape
    linear: Any = nn.Linear(inputs, outputs, bias is not None, device="meta")
    linear.weight, linear.bias = weight, bias
    return read.module(node, linear, read.tensor(node.inputs[0]), weight=node.inputs[1])


def _matmul(read: Reader, node: Node) -> fx.Node:
    """A linear layer, or the product of two tensors of attention, which stays in float."""
    first, second = (read.constant(name) for name in node.inputs)
    if first is None and second is None:
        return read.call(torch.matmul, *(read.tensor(name) for name in node.inputs))
    if second is None or second.ndim != 2:
        raise read.refuse(node, "multiplies by a constant that is no matrix on the right")
    return _linear(read, node, read.parameter(node.inputs[1], lambda value: value.T), None)


def _layer_norm(read: Reader, node: Node) -> fx.Node:
    """Normalisation over the last sides of a tensor."""
    shape = read.shape(node.inputs[0])
    axis = read.axis(node, int(node.attributes.get("axis", -1)), len(shape))
    if any(node.outputs[1:]):
        raise read.refuse(node, "also gives its mean or deviation")
    if any(len(set(read.sides(node.inputs[0], place))) > 1 for place in range(axis, len(shape))):
        raise read.refuse(node, "normalises over a side that depends on the picture's size", fix=FIXED_SIZE)
    module = nn.LayerNorm(shape[axis:], _attribute(node, "epsilon", 1e-5), device="meta")
    whole = lambda value: np.broadcast_to(value, shape[axis:])  # noqa: E731 - used twice, here alone
    module.weight = read.parameter(node.inputs[1], whole)
    has_bias = len(node.inputs) > 2 and node.inputs[2]
    module.bias = read.parameter(node.inputs[2], whole) if has_bias else nn.Parameter(torch.zeros(shape[axis:]))
    return read.module(node, module, read.tensor(node.inputs[0]), weight=node.inputs[1])


def _instance_norm(read: Reader, node: Node) -> fx.Node:
    """Normalisation of each channel by its own picture; `rewrites` finds the group normalisation that it is part of."""
    scale, bias = _weights(read, node), _weights(read, node, 2)
    kinds = {3: nn.InstanceNorm1d, 4: nn.InstanceNorm2d}
    kind = kinds.get(len(read.shape(node.inputs[0])))
    if kind is None or not scale.shape == bias.shape == (read.shape(node.inputs[0])[1],):
        raise read.refuse(node, "works on other than two sides of pictures, or another number of channels")
    module = kind(len(scale), _attribute(node, "epsilon", 1e-5), affine=True, device="meta")
    module.weight, module.bias = read.parameter(node.inputs[1]), read.parameter(node.inputs[2])
    return read.module(node, module, read.tensor(node.inputs[0]), weight=node.inputs[1])


def _group_norm(read: Reader, node: Node) -> fx.Node:
    """Normalisation over groups of channels; scale and bias are per group before opset 21, per channel since."""
    groups, channels = int(node.attributes["num_groups"]), read.shape(node.inputs[0])[1]
    module = nn.GroupNorm(groups, channels, _attribute(node, "epsilon", 1e-5), device="meta")
    each = lambda value: np.repeat(value, channels // len(value))  # noqa: E731 - used twice, here alone
    module.weight, module.bias = read.parameter(node.inputs[1], each), read.parameter(node.inputs[2], each)
    return read.module(node, module, read.tensor(node.inputs[0]), weight=node.inputs[1])


def _clip(read: Reader, node: Node) -> fx.Node:
    low, high = -inf, inf
    for index, name in ((1, "min"), (2, "max")):
        value: float | None = node.attributes.get(name)
        if len(node.inputs) > index and node.inputs[index]:
            value = float(_weights(read, node, index).reshape(()))
        if value is not None:
            low, high = (value, high) if index == 1 else (low, value)
    return clamp(read, node, read.tensor(node.inputs[0]), low, high)


def clamp(read: Reader, node: Node, x: fx.Node, low: float, high: float) -> fx.Node:
    """Append a clamp: ReLU, ReLU6 or Hardtanh; nothing where there are no limits."""
    largest = float(np.finfo(np.float32).max)
    low, high = max(low, -largest), min(high, largest)
    if (low, high) == (-largest, largest):
        return x
    if not low < high:
        raise read.refuse(node, f"clamps to {low:g} .. {high:g}")
    if low == 0 and high == largest:
        return read.module(node, nn.ReLU(), x)
    return read.module(node, nn.ReLU6() if (low, high) == (0, 6) else nn.Hardtanh(low, high), x)


def _limit(sign: int) -> Translate:
    """Max (sign 1) or Min (-1) of a tensor and a constant number."""

    def translate(read: Reader, node: Node) -> fx.Node:
        constants = [value for name in node.inputs if (value := read.constant(name)) is not None]
        if len(node.inputs) != 2 or len(constants) != 1 or constants[0].size != 1:
            raise read.refuse(node, "compares two tensors")
        x = next(read.tensors[name] for name in node.inputs if name in read.tensors)
        number = float(constants[0].reshape(()))
        return clamp(read, node, x, number if sign > 0 else -inf, inf if sign > 0 else number)

    return translate


def _hard_sigmoid(read: Reader, node: Node) -> fx.Node:
    x, alpha, beta = read.tensor(node.inputs[0]), _attribute(node, "alpha", 0.2), _attribute(node, "beta", 0.5)
    if abs(alpha - ONE_SIXTH) < TOLERANCE and beta == 0.5:
        return read.module(node, nn.Hardsigmoid(), x)
    x = read.call(operator.mul, x, read.buffer(f"{node.label}_alpha", np.array(alpha)))
    x = read.call(operator.add, x, read.buffer(f"{node.label}_beta", np.array(beta)))
    return read.module(node, nn.Hardtanh(0.0, 1.0), x)


def _prelu(read: Reader, node: Node) -> nn.Module:
    slope, channels = _weights(read, node), read.shape(node.inputs[0])[1]
    if slope.size not in (1, channels) or (
        slope.size > 1 and slope.shape[:1] != (channels,) and slope.shape[:2] != (1, channels)
    ):
        raise read.refuse(node, f"has slopes of shape {slope.shape} for {channels} channels")
    module = nn.PReLU(slope.size, device="meta")
    module.weight = read.parameter(node.inputs[1], lambda value: value.reshape(-1))
    return module


def _gelu(read: Reader, node: Node) -> nn.Module:
    how = node.attributes.get("approximate") or b"none"
    return nn.GELU("tanh" if how == b"tanh" else "none")


def _swish(read: Reader, node: Node) -> nn.Module:
    if _attribute(node, "alpha", 1.0) != 1:
        raise read.refuse(node, f"has alpha {node.attributes['alpha']}, not 1")
    return nn.SiLU()


def _two(function: Callable[..., object]) -> Translate:
    """Arithmetic on two tensors, or one and a constant."""

    def translate(read: Reader, node: Node) -> fx.Node:
        first, second = node.inputs
        return read.call(function, operand(read, node, first), operand(read, node, second))

    return translate


def operand(read: Reader, node: Node, name: str) -> fx.Node:
    """Return an operand of arithmetic, a tensor or a constant."""
    value = read.constant(name)
    if value is None:
        return read.tensor(name)
    return read.buffer(
        name if name in read.file.graph.constants else f"{node.label}_{name}", _shaped(read, node, value)
    )


def _shaped(read: Reader, node: Node, value: Array) -> Array:
    """Return a constant with as many sides as the result; one number has none."""
    if value.size == 1:
        return value.reshape(())
    return value.reshape((1,) * (len(read.shape(node.outputs[0])) - value.ndim) + value.shape)


def _divided(read: Reader, node: Node) -> fx.Node:
    divisor = read.constant(node.inputs[1])
    if divisor is None and read.constant(node.inputs[0]) is None:
        return read.call(operator.truediv, *(read.tensor(name) for name in node.inputs))
    if divisor is None or not np.all(divisor):
        raise read.refuse(node, "divides by a tensor that is computed from pictures, or by 0")
    inverse = _shaped(read, node, 1 / divisor.astype(np.float64))
    return read.call(operator.mul, operand(read, node, node.inputs[0]), read.buffer(f"{node.label}_inverse", inverse))


def _negative(read: Reader, node: Node) -> fx.Node:
    return read.call(operator.mul, read.tensor(node.inputs[0]), read.buffer(f"{node.label}_sign", np.array(-1.0)))


def _sum(read: Reader, node: Node) -> fx.Node:
    total = operand(read, node, node.inputs[0])
    for name in node.inputs[1:]:
        total = read.call(operator.add, total, operand(read, node, name))
    return total


def _power(read: Reader, node: Node) -> fx.Node:
    exponent, x = read.constant(node.inputs[1]), read.tensor(node.inputs[0])
    if exponent is None or exponent.size != 1 or float(exponent.reshape(())) not in (1.0, 2.0, 3.0):
        raise read.refuse(node, "raises to a power that is not 2")
    result = x
    for _ in range(int(exponent.reshape(())) - 1):
        result = read.call(operator.mul, result, x)
    return result


def _axes(read: Reader, node: Node) -> tuple[list[int], bool]:
    """Return the sides that a reduction runs over, and whether they stay with length 1."""
    rank = len(read.shape(node.inputs[0]))
    axes = sorted(read.axis(node, axis, rank) for axis in read.numbers(node, 1, "axes") or range(rank))
    return axes, bool(node.attributes.get("keepdims", 1))


def _reduce(function: Callable[..., object]) -> Translate:
    """Mean, largest value or sum over some sides."""

    def translate(read: Reader, node: Node) -> fx.Node:
        x, rank = read.tensor(node.inputs[0]), len(read.shape(node.inputs[0]))
        axes, keep = _axes(read, node)
        if function is torch.mean and rank == 4 and axes == [2, 3]:
            x = read.module(node, nn.AdaptiveAvgPool2d(1), x)
            return x if keep else read.call(torch.flatten, x, 1)
        return read.call(function, x, axes, keep)

    return translate


def _length(read: Reader, node: Node) -> fx.Node:
    """Length of vectors, the root of a sum of squares; it stays in float."""
    axes, keep = _axes(read, node)
    return read.call(torch.linalg.vector_norm, read.tensor(node.inputs[0]), 2, axes, keep)


def _softmax(read: Reader, node: Node) -> fx.Node:
    rank, new = len(read.shape(node.inputs[0])), read.file.graph.opsets.get("", 0) >= 13
    axis = read.axis(node, int(node.attributes.get("axis", -1 if new else 1)), rank)
    if not new and any(side != 1 for side in read.shape(node.inputs[0])[axis + 1 :]):
        raise read.refuse(node, "runs over several sides at once (opset below 13)")
    return read.call(torch.softmax, read.tensor(node.inputs[0]), axis)


def _raw(function: Callable[..., object]) -> Translate:
    """A function that only occurs within a pattern that `rewrites` recognises."""
    return lambda read, node: read.call(function, read.tensor(node.inputs[0]))


LAYERS: Table = {
    "Add": _two(operator.add),
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Conv": _conv,
    "ConvTranspose": _transposed,
    "Div": _divided,
    "Elu": _of_module(lambda read, node: nn.ELU(_attribute(node, "alpha", 1.0))),
    "Erf": _raw(torch.erf),
    "Gelu": _of_module(_gelu),
    "Gemm": _gemm,
    "GroupNormalization": _group_norm,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _of_module(lambda read, node: nn.Hardswish()),
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "LeakyRelu": _of_module(lambda read, node: nn.LeakyReLU(_attribute(node, "alpha", 0.01))),
    "MatMul": _matmul,
    "Max": _limit(1),
    "Min": _limit(-1),
    "Mish": _of_module(lambda read, node: nn.Mish()),
    "Mul": _two(operator.mul),
    "Neg": _negative,
    "PRelu": _of_module(_prelu),
    "Pow": _power,
    "ReduceL2": _length,
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(torch.mean),
    "ReduceSum": _reduce(torch.sum),
    "Relu": _of_module(lambda read, node: nn.ReLU()),
    "Sigmoid": _of_module(lambda read, node: nn.Sigmoid()),
    "Softmax": _softmax,
    "Softplus": _of_module(lambda read, node: nn.Softplus()),
    "Sqrt": _raw(torch.sqrt),
    "Sub": _two(operator.sub),
    "Sum": _sum,
    "Swish": _of_module(_swish),
    "Tanh": _of_module(lambda read, node: nn.Tanh()),
}
