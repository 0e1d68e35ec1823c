"""How each layer and call of a traced network is written: one function a kind, in `LAYERS` and `CALLS`.

Each function gets the graph that is built, the node of the traced network and, of layers, the module; it adds ONNX
nodes and returns the value they give. It raises `Unknown` for a form of the layer that it cannot write.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from onnx import TensorProto
from torch import fx, nn

from edgeailite.export import graph_pools
from edgeailite.export.graph_builder import RANK, TYPES, GraphBuilder, Size, Unknown, Value
from edgeailite.export.graphs import BYTE, enlarged_label_map, label_map
from edgeailite.export.naming import dequantized_name
from edgeailite.quantization.convert import (
    CodePool,
    CodeTotal,
    Constant,
    FromCodes,
    IntegerConv,
    IntegerHardswish,
    IntegerLinear,
    Quantize,
    ToCodes,
)
from edgeailite.quantization.enlarge_codes import EnlargeCodes
from edgeailite.quantization.graph import NEAREST
from edgeailite.quantization.modules import ImpliedReLU
from edgeailite.quantization.operators import MaxUnpool, Move, Multiply, Subtract
from edgeailite.quantization.pooling import RegionPool
from edgeailite.quantization.tie_free import nearest_rows


def _quantize(writer: GraphBuilder, node: fx.Node, module: Quantize) -> Value:
    return _from_codes(writer, node, module, _to_codes(writer, node, module))


def _to_codes(writer: GraphBuilder, node: fx.Node, module: Quantize) -> Value:
    value, path = writer.argument(node), str(node.target)
    parameters = [writer.buffer(path, module, name) for name in ("scale", "zero_point")]
    name = writer.named.get(node) if type(module) is ToCodes else None
    codes = writer.node("QuantizeLinear", [value.name, *parameters], name or f"{value.name}_quantized", axis=1)
    return Value(codes, value.shape, TYPES[module.zero_point.dtype], codes)


def _from_codes(writer: GraphBuilder, node: fx.Node, module: Quantize, codes: Value | None = None) -> Value:
    codes, path = codes or writer.argument(node), str(node.target)
    parameters = [writer.buffer(path, module, name) for name in ("scale", "zero_point")]
    name = writer.named.get(node) or dequantized_name(codes.name)
    name = writer.node("DequantizeLinear", [codes.name, *parameters], name, axis=1)
    return Value(name, codes.shape, sized_as=codes.name)


def _constant(writer: GraphBuilder, node: fx.Node, module: Constant) -> Value:
    path = str(node.target)
    codes = Value(writer.constant(f"{path}.codes", module.codes_), tuple(module.codes_.shape))
    return _from_codes(writer, node, module, codes)


def _dequantized(writer: GraphBuilder, path: str, module: IntegerConv, name: str, axis: int) -> str:
    """Weight or bias of an integer layer: its codes and a DequantizeLinear."""
    tensors = [writer.buffer(path, module, f"{name}{more}") for more in ("", "_scale", "_zero_point")]
    return writer.node("DequantizeLinear", tensors, f"{path}.{name}_dequantized", axis=axis)


def _integer_tensors(writer: GraphBuilder, path: str, module: IntegerConv) -> list[str]:
    weight = _dequantized(writer, path, module, "weight", 0 if module.weight_scale.dim() else 1)
    if not module.integer:
        return [weight, writer.buffer(path, module, "bias")]
    return [weight, _dequantized(writer, path, module, "bias", 0)]


def _integer_conv(writer: GraphBuilder, node: fx.Node, module: IntegerConv) -> Value:
    tensors = _integer_tensors(writer, str(node.target), module)
    return _convolved(writer, node, tensors, tuple(module.weight.shape), module.geometry)


def _conv(writer: GraphBuilder, node: fx.Node, module: nn.Conv2d) -> Value:
    if module.padding_mode != "zeros":
        raise Unknown(str(node))
    path = str(node.target)
    tensors = [writer.buffer(path, module, "weight")]
    if module.bias is not None:
        tensors.append(writer.buffer(path, module, "bias"))
    geometry = (module.stride, module.padding, module.dilation, module.groups)
    return _convolved(writer, node, tensors, tuple(module.weight.shape), geometry)


def _convolved(
    writer: GraphBuilder, node: fx.Node, tensors: list[str], weight: tuple[int, ...], geometry: tuple[Any, ...]
) -> Value:
    value, (stride, padding, dilation, groups) = writer.argument(node), geometry
    if isinstance(padding, str) or len(value.shape) != RANK:
        raise Unknown(str(node))
    name = writer.node(
        "Conv",
        [value.name, *tensors],
        writer.path(node),
        group=groups,
        pads=[*padding, *padding],
        auto_pad="NOTSET",
        strides=list(stride),
        dilations=list(dilation),
        kernel_shape=list(weight[2:]),
    )
    return Value(
        name, (value.shape[0], weight[0], *graph_pools.sides(node, value, weight[2:], stride, padding, dilation))
    )


def _integer_linear(writer: GraphBuilder, node: fx.Node, module: IntegerLinear) -> Value:
    value = writer.argument(node)
    if len(value.shape) != 2:
        raise Unknown(str(node))
    tensors = _integer_tensors(writer, str(node.target), module)
    return _product(writer, node, value, tensors, module.weight.shape[0])


def _linear(writer: GraphBuilder, node: fx.Node, module: nn.Linear) -> Value:
    value, path = writer.argument(node), str(node.target)
    if len(value.shape) != 2 or module.bias is None:
        raise Unknown(str(node))
    tensors = [writer.buffer(path, module, name) for name in ("weight", "bias")]
    return _product(writer, node, value, tensors, module.out_features)


def _product(writer: GraphBuilder, node: fx.Node, value: Value, tensors: list[str], width: int) -> Value:
    how = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 1}
    name = writer.node("Gemm", [value.name, *tensors], writer.path(node), **how)
    return Value(name, (value.shape[0], width))


def _clip(writer: GraphBuilder, node: fx.Node, module: nn.Hardtanh) -> Value:
    value = writer.argument(node)
    limits = [
        writer.constant(f"{node.target}.{name}", np.array(limit, np.float32))
        for name, limit in (("min", module.min_val), ("max", module.max_val))
    ]
    return Value(writer.node("Clip", [value.name, *limits], writer.path(node)), value.shape)


def _same(writer: GraphBuilder, node: fx.Node, module: nn.Module) -> Value:
    return writer.argument(node)


def _enlarge(writer: GraphBuilder, node: fx.Node, module: EnlargeCodes) -> Value:
    value = writer.argument(node)
    size = writer.values.get(node.args[1]) if len(node.args) > 1 else None
    if not writer.fixed:
        raise Unknown(str(node))
    height, width = (
        size.of.shape[2:] if isinstance(size, Size) else (module.factor * length for length in value.shape[2:])
    )
    name, shape = value.name, [*value.shape]
    for axis, length in ((3, width), (2, height)):
        rows = nearest_rows(shape[axis], length, module.factor, torch.device("cpu"))
        indices = writer.constant(f"{node.target}.rows", rows)
        shape[axis] = len(rows)
        name = writer.node(
            "Gather", [name, indices], writer.path(node) if axis == 2 else f"{node.target}.wide", axis=axis
        )
    return Value(name, tuple(shape), value.type, name)


def _function(kind: str, **attributes: float) -> Callable[[GraphBuilder, fx.Node, Any], Value]:
    """Return the rule of a function of one value that ONNX has."""

    def rule(writer: GraphBuilder, node: fx.Node, module: nn.Module) -> Value:
        value = writer.argument(node)
        return Value(writer.node(kind, [value.name], writer.path(node), **attributes), value.shape)

    return rule


def _leaky_relu(writer: GraphBuilder, node: fx.Node, module: nn.LeakyReLU) -> Value:
    return _function("LeakyRelu", alpha=module.negative_slope)(writer, node, module)


def _silu(writer: GraphBuilder, node: fx.Node, module: nn.SiLU) -> Value:
    value = writer.argument(node)
    gate = writer.node("Sigmoid", [value.name], f"{node.target}.sigmoid")
    return Value(writer.node("Mul", [value.name, gate], writer.path(node)), value.shape)


def _integer_hardswish(writer: GraphBuilder, node: fx.Node, module: IntegerHardswish) -> Value:
    value, path = writer.argument(node), str(node.target)
    slope = writer.node("LeakyRelu", [value.name], f"{path}.leakyrelu", alpha=module.slope)
    to_codes = [writer.buffer(path, module, name) for name in ("step", "middle")]
    codes = writer.node("QuantizeLinear", [slope, *to_codes], f"{slope}_quantized", axis=1)
    to_values = [writer.buffer(path, module, name) for name in ("scale", "zero")]
    gate = writer.node("DequantizeLinear", [codes, *to_values], f"{slope}_dequantized", axis=1)
    return Value(writer.node("Mul", [value.name, gate], writer.path(node)), value.shape)


def _pixel_shuffle(writer: GraphBuilder, node: fx.Node, module: nn.PixelShuffle) -> Value:
    value, factor = writer.argument(node), module.upscale_factor
    if len(value.shape) != RANK:
        raise Unknown(str(node))
    name = writer.node("DepthToSpace", [value.name], writer.path(node), blocksize=factor, mode="CRD")
    batch, channels, height, width = value.shape
    return Value(name, (batch, channels // factor**2, factor * height, factor * width), value.type)


def _move(writer: GraphBuilder, node: fx.Node, module: Move) -> Value:
    """`flatten(1)`, the way from maps to a classifier."""
    value = writer.argument(node)
    if (
        module.function is not torch.flatten
        or node.args[1:] not in ((1,), (1, -1))
        or node.kwargs
        or len(value.shape) != RANK
    ):
        raise Unknown(str(node))
    if not writer.fixed and value.shape[2:] != (1, 1):
        raise Unknown(str(node))
    name = writer.node("Flatten", [value.name], writer.path(node), axis=1)
    return Value(name, (value.shape[0], int(np.prod(value.shape[1:]))), value.type)


def _pointwise(kind: str) -> Callable[[GraphBuilder, fx.Node, Any], Value]:
    """Return the rule of an operator on two tensors that are broadcast."""

    def rule(writer: GraphBuilder, node: fx.Node, module: nn.Module | None) -> Value:
        if node.kwargs or len(node.args) != 2:
            raise Unknown(str(node))
        values = [writer.argument(node, index) for index in range(2)]
        try:
            shape = tuple(np.broadcast_shapes(*(value.shape for value in values)))
        except ValueError as error:
            raise Unknown(str(node)) from error
        return Value(writer.node(kind, [value.name for value in values], writer.path(node)), shape)

    return rule


def _add(writer: GraphBuilder, node: fx.Node) -> Value:
    if node not in writer.calls:
        raise Unknown(str(node))
    return _pointwise("Add")(writer, node, None)


def _concatenate(writer: GraphBuilder, node: fx.Node) -> Value:
    parts = [writer.values[part] for part in node.args[0]]
    axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    if axis != 1 or not all(isinstance(part, Value) for part in parts):
        raise Unknown(str(node))
    first = parts[0]
    if any((part.shape[0], *part.shape[2:]) != (first.shape[0], *first.shape[2:]) for part in parts):
        raise Unknown(str(node))
    shape = (first.shape[0], sum(part.shape[1] for part in parts), *first.shape[2:])
    return Value(writer.node("Concat", [part.name for part in parts], writer.path(node), axis=1), shape, first.type)


def _interpolate(writer: GraphBuilder, node: fx.Node) -> Value:
    options, value = node.kwargs, writer.argument(node)
    size, mode = writer.values.get(options.get("size")), options.get("mode")
    if len(node.args) != 1 or not isinstance(size, Size) or options.get("antialias") or options.get("scale_factor"):
        raise Unknown(str(node))
    if mode not in ("bilinear", NEAREST) or len(value.shape) != RANK:
        raise Unknown(str(node))
    if mode == NEAREST:
        return _nearest(writer, value, size, writer.path(node))
    corners = "align_corners" if options.get("align_corners") else "half_pixel"
    name = writer.node(
        "Resize",
        [value.name, "", "", writer.sizes(value, size.of)],
        writer.path(node),
        keep_aspect_ratio_policy="stretch",
        antialias=0,
        extrapolation_value=0.0,
        exclude_outside=0,
        nearest_mode="floor",
        coordinate_transformation_mode=corners,
        cubic_coeff_a=-0.75,
        mode="linear",
    )
    return Value(name, (*value.shape[:2], *size.of.shape[2:]))


def _nearest(writer: GraphBuilder, value: Value, size: Size, name: str) -> Value:
    """Write a resize to the nearest neighbour."""
    name = writer.node(
        "Resize",
        [value.name, "", "", writer.sizes(value, size.of)],
        name,
        coordinate_transformation_mode="asymmetric",
        mode="nearest",
        nearest_mode="floor",
    )
    return Value(name, (*value.shape[:2], *size.of.shape[2:]), value.type)


def _entry(writer: GraphBuilder, node: fx.Node) -> Size:
    """`x.shape[2:]` and `x.shape[-2:]`."""
    size, part = writer.values.get(node.args[0]), node.args[1]
    spatial = (slice(2, None), slice(-2, None), slice(2, 4))
    if not isinstance(size, Size) or part not in spatial or len(size.of.shape) != RANK:
        raise Unknown(str(node))
    return size


def _label_map(writer: GraphBuilder, node: fx.Node) -> Value:
    name, logits = writer.named[node], writer.argument(node)
    labels = _classes(writer, logits, name, name, keepdims=0)
    return Value(labels.name, (logits.shape[0], *logits.shape[2:]), labels.type)


def _enlarged_label_map(writer: GraphBuilder, node: fx.Node) -> Value:
    name, logits, size = writer.named[node], writer.argument(node), writer.values.get(node.args[1])
    if not isinstance(size, Size):
        raise Unknown(str(node))
    labels = _nearest(writer, _classes(writer, logits, name, f"{name}.cast", keepdims=1), size, f"{name}.resize")
    axes = writer.constant("shape.one", np.array([1], np.int64))
    squeezed = writer.node("Squeeze", [labels.name, axes], name)
    return Value(squeezed, (labels.shape[0], *labels.shape[2:]), labels.type)


def _classes(writer: GraphBuilder, logits: Value, path: str, name: str, *, keepdims: int) -> Value:
    """Write the classes of the largest logits as `graphs.label_map` gives them, with their axis (N,1,H,W)."""
    largest = writer.node("ArgMax", [logits.name], f"{path}.argmax", axis=1, keepdims=keepdims, select_last_index=0)
    kind = TensorProto.UINT8 if logits.shape[1] <= BYTE else TensorProto.INT32
    return Value(writer.node("Cast", [largest], name, to=kind), (logits.shape[0], 1, *logits.shape[2:]), kind)


LAYERS: dict[type[nn.Module], Callable[[GraphBuilder, fx.Node, Any], Value]] = {
    Quantize: _quantize,
    ToCodes: _to_codes,
    FromCodes: _from_codes,
    Constant: _constant,
    IntegerConv: _integer_conv,
    IntegerLinear: _integer_linear,
    nn.Conv2d: _conv,
    nn.Linear: _linear,
    nn.ReLU: _function("Relu"),
    ImpliedReLU: _function("Relu"),
    nn.ReLU6: _clip,
    nn.Hardtanh: _clip,
    nn.MaxPool2d: graph_pools.max_pool,
    MaxUnpool: graph_pools.max_unpool,
    RegionPool: graph_pools.region_pool,
    CodePool: graph_pools.code_pool,
    EnlargeCodes: _enlarge,
    CodeTotal: graph_pools.code_total,
    IntegerHardswish: _integer_hardswish,
    nn.Sigmoid: _function("Sigmoid"),
    nn.Tanh: _function("Tanh"),
    nn.Hardsigmoid: _function("HardSigmoid", alpha=1 / 6, beta=0.5),
    nn.Hardswish: _function("HardSwish"),
    nn.SiLU: _silu,
    nn.LeakyReLU: _leaky_relu,
    nn.AvgPool2d: graph_pools.average_pool,
    nn.PixelShuffle: _pixel_shuffle,
    Multiply: _pointwise("Mul"),
    Subtract: _pointwise("Sub"),
    Move: _move,
    nn.Identity: _same,
    nn.Dropout: _same,
    nn.Dropout2d: _same,
}
CALLS: dict[Any, Callable[[GraphBuilder, fx.Node], Value | Size]] = {
    operator.add: _add,
    torch.add: _add,
    torch.cat: _concatenate,
    F.interpolate: _interpolate,
    operator.getitem: _entry,
    label_map: _label_map,
    enlarged_label_map: _enlarged_label_map,
}
