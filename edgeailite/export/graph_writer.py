"""A traced network to an ONNX graph, node by node, for the operators that most networks consist of.

`torch.onnx.export` traces a network once more, decomposes it and rewrites what comes out, which takes seconds to half
a minute. A traced graph already says everything: `write` translates it in a fraction of a second, and what it writes
depends on no version of torch. It knows the layers in `LAYERS` and `CALLS`; for a graph with any other, or with sizes
that are computed in another way than `x.shape[2:]`, it returns None, and the exporter writes the file (`to_onnx`).

Names are those of `naming`: a module's value is called after its path, its node `<path>/<operator>`; quantized and
dequantized values add `_quantized` and `_dequantized` to the name of their tensor.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, fx, nn

from edgeailite.export.graphs import enlarged_label_map, label_map
from edgeailite.export.naming import function_names
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
from edgeailite.quantization.graph import (
    NEAREST,
    input_index,
    is_input,
    is_nearest,
    output_nodes,
    reads_shape,
    unused_name,
)
from edgeailite.quantization.modules import ImpliedReLU
from edgeailite.quantization.operators import Move, Multiply, Subtract
from edgeailite.quantization.pooling import RegionPool, regions
from edgeailite.quantization.tie_free import nearest_rows

EXAMPLE = (2, 97, 161)  # pictures, height, width: open sizes are told apart by it
OPEN = ("batch", "height", "width")
RANK = 4
BYTE = 256  # classes that one byte tells apart
TYPES = {torch.uint8: TensorProto.UINT8, torch.int8: TensorProto.INT8, torch.uint16: TensorProto.UINT16,
         torch.int16: TensorProto.INT16, torch.int32: TensorProto.INT32, torch.float32: TensorProto.FLOAT}  # fmt: skip


class Unknown(Exception):
    """A part of the graph that `write` has no rule for."""


@dataclass(frozen=True)
class Value:
    """A tensor of the file: its name, its shape at the example's size, and its type."""

    name: str
    shape: tuple[int, ...]
    type: int = TensorProto.FLOAT
    sized_as: str = ""
    """A tensor of the same size to ask for it: codes, where this one is what they stand for."""


@dataclass(frozen=True)
class Size:
    """Height and width of a value (`x.shape[2:]`)."""

    of: Value


def write(
    traced: fx.GraphModule, inputs: Sequence[str], *, opset: int, size: tuple[int, int] | None
) -> onnx.ModelProto | None:
    """Return the ONNX model of a traced network in eval mode, or None for a graph that this module cannot write.

    `inputs` are the names of the pictures (N,3,H,W). `size` (height, width) fixes them at batch 1, None leaves batch,
    height and width open. `opset` is 18 or newer.
    """
    try:
        return _Writer(traced, inputs, opset=opset, size=size).model()
    except Unknown:
        return None


class _Writer:
    """The graph that is being written."""

    def __init__(
        self, traced: fx.GraphModule, inputs: Sequence[str], *, opset: int, size: tuple[int, int] | None
    ) -> None:
        self.traced, self.opset, self.fixed = traced, opset, size is not None
        batch, height, width = (1, *size) if size is not None else EXAMPLE
        self.inputs = [Value(name, (batch, 3, height, width)) for name in inputs]
        self.outputs = output_nodes(traced.graph)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.values: dict[fx.Node, Any] = {}
        self.calls = function_names(traced.graph)
        self.named = {node: name for name, node in reversed(self.outputs.items())}
        self.taken = {*inputs, *self.outputs}
        self.node_names: set[str] = set()

    def model(self) -> onnx.ModelProto:
        """Translate all nodes; return the model."""
        for node in _live(self.traced.graph):
            self.values[node] = self.value_of(node)
        given = [self.output(name, node) for name, node in self.outputs.items()]
        graph = helper.make_graph(
            self.nodes,
            "main_graph",
            [self.info(value.name, value) for value in self.inputs],
            [self.info(name, value) for name, value in zip(self.outputs, given, strict=True)],
            list(self.constants.values()),
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])

    def value_of(self, node: fx.Node) -> Any:
        """Write a node of the traced graph; return its value."""
        if is_input(node):
            return self.inputs[input_index(node)]
        if node.op == "placeholder":
            return None  # all pictures together: `images[i]` reads them
        if node.op == "call_module":
            module = self.traced.get_submodule(str(node.target))
            rule = next((rule for kind, rule in LAYERS.items() if type(module) is kind), None)
            if rule is None:
                raise Unknown(str(node))
            return rule(self, node, module)
        if node.op == "call_function" and node.target in CALLS:
            return CALLS[node.target](self, node)
        if reads_shape(node):
            return Size(self.argument(node))
        raise Unknown(str(node))

    def output(self, name: str, node: fx.Node) -> Value:
        """Return the value of an output; one that has another name already is copied."""
        value = self.values[node]
        if not isinstance(value, Value):
            raise Unknown(str(node))
        if value.name != name:
            self.node("Identity", [value.name], name)
        return value

    def argument(self, node: fx.Node, index: int = 0) -> Value:
        """Return the value of a positional argument, which must be a tensor."""
        source = node.args[index] if index < len(node.args) else None
        value = self.values[source] if isinstance(source, fx.Node) else None
        if not isinstance(value, Value):
            raise Unknown(str(node))
        return value

    def path(self, node: fx.Node) -> str:
        """Return the name of the value that a node gives, before others have it."""
        return self.named.get(node) or (str(node.target) if node.op == "call_module" else self.calls[node])

    def node(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Add an ONNX node with one output called `name`, or like it; return the output's name."""
        wanted = f"{name.removesuffix('_quantized').removesuffix('_dequantized')}/{kind}"
        if name not in self.outputs or any(name in node.output for node in self.nodes):
            name = unused_name(name, self.taken.__contains__)
            self.taken.add(name)
        node_name = unused_name(wanted, self.node_names.__contains__)
        self.node_names.add(node_name)
        self.nodes.append(helper.make_node(kind, inputs, [name], name=node_name, **attributes))
        return name

    def shared(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Return the output of a node that is there already, or add it."""
        known = helper.make_node(kind, inputs, [], **attributes)
        for node in self.nodes:
            if (node.op_type, node.input, node.attribute) == (kind, known.input, known.attribute):
                return str(node.output[0])
        return self.node(kind, inputs, name, **attributes)

    def constant(self, name: str, value: Tensor | np.ndarray[Any, Any]) -> str:
        """Add an initializer called `name`, or like it where that is another; return its name."""
        array = value.detach().cpu().contiguous().numpy() if isinstance(value, Tensor) else value
        tensor = numpy_helper.from_array(array)
        while name in self.constants:
            tensor.name = name
            if self.constants[name] == tensor:
                return name
            name += "_"
        name = unused_name(name, self.taken.__contains__)
        tensor.name = name
        self.constants[name] = tensor
        self.taken.add(name)
        return name

    def buffer(self, path: str, module: nn.Module, name: str) -> str:
        """Add a tensor of a module as an initializer; return its name."""
        return self.constant(f"{path}.{name}", getattr(module, name))

    def array(self, name: str) -> np.ndarray[Any, Any]:
        """Return the values of an initializer."""
        return numpy_helper.to_array(self.constants[name])

    def sizes(self, value: Value, size: Value) -> str:
        """Return the name of the sizes (N,C,H,W) with batch and channels of one value, height and width of another."""
        if self.fixed:
            return self.constant("shape.sizes", np.array([*value.shape[:2], *size.shape[2:]], np.int64))
        parts = [
            self.shared("Shape", [value.sized_as or value.name], "shape.channels", start=0, end=2),
            self.shared("Shape", [size.sized_as or size.name], "shape.size", start=2, end=4),
        ]
        return self.node("Concat", parts, "shape.sizes", axis=0)

    def info(self, name: str, value: Value) -> onnx.ValueInfoProto:
        """Return name, type and shape of an input or output; what is open has the name of its axis."""
        shape: list[int | str | None] = list(value.shape)
        if not self.fixed and shape:
            picture = self.inputs[0].shape
            shape[0] = OPEN[0]
            for axis in range(len(shape) - 2, len(shape)) if len(shape) >= RANK - 1 else ():
                whole = value.shape[-2:] == picture[-2:]
                shape[axis] = OPEN[axis - len(shape) + 3] if whole else None
        return helper.make_tensor_value_info(name, value.type, shape)


def _live(graph: fx.Graph) -> list[fx.Node]:
    """Return the nodes that an output needs, in order."""
    needed = {source for node in graph.nodes if node.op == "output" for source in node.all_input_nodes}
    for node in reversed(graph.nodes):
        if node in needed:
            needed.update(node.all_input_nodes)
    return [node for node in graph.nodes if node in needed]


def _quantize(writer: _Writer, node: fx.Node, module: Quantize) -> Value:
    codes = _to_codes(writer, node, module)
    return _from_codes(writer, node, module, codes)


def _to_codes(writer: _Writer, node: fx.Node, module: Quantize, value: Value | None = None) -> Value:
    value, path = value or writer.argument(node), str(node.target)
    parameters = [writer.buffer(path, module, name) for name in ("scale", "zero_point")]
    name = writer.named.get(node) if type(module) is ToCodes else None
    name = writer.node("QuantizeLinear", [value.name, *parameters], name or f"{value.name}_quantized", axis=1)
    return Value(name, value.shape, TYPES[module.zero_point.dtype], name)


def _from_codes(writer: _Writer, node: fx.Node, module: Quantize, codes: Value | None = None) -> Value:
    codes, path = codes or writer.argument(node), str(node.target)
    parameters = [writer.buffer(path, module, name) for name in ("scale", "zero_point")]
    name = writer.named.get(node) or f"{codes.name.removesuffix('_quantized')}_dequantized"
    name = writer.node("DequantizeLinear", [codes.name, *parameters], name, axis=1)
    return Value(name, codes.shape, sized_as=codes.name)


def _constant(writer: _Writer, node: fx.Node, module: Constant) -> Value:
    path = str(node.target)
    codes = Value(writer.constant(f"{path}.codes", module.codes_), tuple(module.codes_.shape))
    return _from_codes(writer, node, module, codes)


def _dequantized(writer: _Writer, path: str, module: IntegerConv, name: str, axis: int) -> str:
    """Weight or bias of an integer layer: its codes and a DequantizeLinear."""
    tensors = [writer.buffer(path, module, f"{name}{more}") for more in ("", "_scale", "_zero_point")]
    return writer.node("DequantizeLinear", tensors, f"{path}.{name}_dequantized", axis=axis)


def _integer_tensors(writer: _Writer, path: str, module: IntegerConv) -> list[str]:
    weight = _dequantized(writer, path, module, "weight", 0 if module.weight_scale.dim() else 1)
    if not module.integer:
        return [weight, writer.buffer(path, module, "bias")]
    return [weight, _dequantized(writer, path, module, "bias", 0)]


def _integer_conv(writer: _Writer, node: fx.Node, module: IntegerConv) -> Value:
    tensors = _integer_tensors(writer, str(node.target), module)
    return _convolved(writer, node, tensors, tuple(module.weight.shape), module.geometry)


def _conv(writer: _Writer, node: fx.Node, module: nn.Conv2d) -> Value:
    if module.padding_mode != "zeros":
        raise Unknown(str(node))
    path = str(node.target)
    tensors = [writer.buffer(path, module, "weight")]
    if module.bias is not None:
        tensors.append(writer.buffer(path, module, "bias"))
    geometry = (module.stride, module.padding, module.dilation, module.groups)
    return _convolved(writer, node, tensors, tuple(module.weight.shape), geometry)


def _convolved(
    writer: _Writer, node: fx.Node, tensors: list[str], weight: tuple[int, ...], geometry: tuple[Any, ...]
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
    return Value(name, (value.shape[0], weight[0], *_sides(node, value, weight[2:], stride, padding, dilation)))


def _sides(node: fx.Node, value: Value, *window: Sequence[int]) -> list[int]:
    """Height and width of what a window (kernel, stride, padding, dilation; each per axis) makes of a value."""
    sides = [
        (length + 2 * pad - step * (kernel - 1) - 1) // hop + 1
        for length, kernel, hop, pad, step in zip(value.shape[2:], *window, strict=True)
    ]
    if min(sides) < 1:
        raise Unknown(str(node))
    return sides


def _integer_linear(writer: _Writer, node: fx.Node, module: IntegerLinear) -> Value:
    value = writer.argument(node)
    if len(value.shape) != 2:
        raise Unknown(str(node))
    tensors = _integer_tensors(writer, str(node.target), module)
    return _product(writer, node, value, tensors, module.weight.shape[0])


def _linear(writer: _Writer, node: fx.Node, module: nn.Linear) -> Value:
    value, path = writer.argument(node), str(node.target)
    if len(value.shape) != 2 or module.bias is None:
        raise Unknown(str(node))
    tensors = [writer.buffer(path, module, name) for name in ("weight", "bias")]
    return _product(writer, node, value, tensors, module.out_features)


def _product(writer: _Writer, node: fx.Node, value: Value, tensors: list[str], width: int) -> Value:
    how = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 1}
    name = writer.node("Gemm", [value.name, *tensors], writer.path(node), **how)
    return Value(name, (value.shape[0], width))


def _relu(writer: _Writer, node: fx.Node, module: nn.Module) -> Value:
    value = writer.argument(node)
    return Value(writer.node("Relu", [value.name], writer.path(node)), value.shape)


def _clip(writer: _Writer, node: fx.Node, module: nn.Hardtanh) -> Value:
    value = writer.argument(node)
    limits = [
        writer.constant(f"{node.target}.{name}", np.array(limit, np.float32))
        for name, limit in (("min", module.min_val), ("max", module.max_val))
    ]
    return Value(writer.node("Clip", [value.name, *limits], writer.path(node)), value.shape)


def _same(writer: _Writer, node: fx.Node, module: nn.Module) -> Value:
    return writer.argument(node)


def _max_pool(writer: _Writer, node: fx.Node, module: nn.MaxPool2d) -> Value:
    value = writer.argument(node)
    kernel, stride, pads, dilation = (
        part if isinstance(part, tuple) else (part, part)
        for part in (module.kernel_size, module.stride, module.padding, module.dilation)
    )
    if module.ceil_mode or module.return_indices or len(value.shape) != RANK:
        raise Unknown(str(node))
    name = writer.node(
        "MaxPool",
        [value.name],
        writer.path(node),
        storage_order=0,
        dilations=list(dilation),
        strides=list(stride),
        pads=[*pads, *pads],
        auto_pad="NOTSET",
        kernel_shape=list(kernel),
        ceil_mode=0,
    )
    return Value(name, (*value.shape[:2], *_sides(node, value, kernel, stride, pads, dilation)), value.type)


def _region_pool(writer: _Writer, node: fx.Node, module: RegionPool) -> Value:
    value, name = writer.argument(node), writer.path(node)
    sums, areas = _region_sums(writer, str(node.target), value.name, value, module.output_size)
    return Value(writer.node("Div", [sums, areas], name), (*value.shape[:2], *module.output_size))


def _code_pool(writer: _Writer, node: fx.Node, module: CodePool) -> Value:
    codes, path = writer.argument(node), str(node.target)
    parameters = [writer.constant(f"{codes.name}.{name}", getattr(module, name)) for name in ("one", "zero_point")]
    counts = writer.shared(
        "DequantizeLinear", [codes.name, *parameters], f"{codes.name.removesuffix('_quantized')}_dequantized", axis=1
    )
    sums, areas = _region_sums(writer, path, counts, codes, module.output_size)
    if writer.fixed:
        factor = writer.constant(f"{path}.factor", module.scale / torch.from_numpy(writer.array(areas).copy()))
    else:
        factor = writer.node("Div", [writer.buffer(path, module, "scale"), areas], f"{path}.factor")
    name = writer.node("Mul", [sums, factor], writer.path(node))
    return Value(name, (*codes.shape[:2], *module.output_size))


def _region_sums(writer: _Writer, path: str, name: str, value: Value, size: tuple[int, int]) -> tuple[str, str]:
    """Write `pooling.region_sums`; return the names of the sums and of the areas."""
    regions = [_regions(writer, f"{path}.{axis}", value, axis, count) for axis, count in zip((2, 3), size, strict=True)]
    areas = _areas(writer, path, regions)
    if size == (1, 1):
        axes = writer.constant(f"{path}.axes", np.array([2, 3], np.int64))
        return writer.node("ReduceSum", [name, axes], f"{path}.reducesum", keepdims=1, noop_with_empty_axes=0), areas
    rows, columns = regions
    if writer.fixed:
        columns = writer.constant(f"{path}.3.transposed", np.ascontiguousarray(writer.array(columns).T))
    else:
        columns = writer.node("Transpose", [columns], f"{path}.3.transposed", perm=[1, 0])
    across = writer.node("MatMul", [name, columns], f"{path}.matmul")
    return writer.node("MatMul", [rows, across], f"{path}.matmul"), areas


def _areas(writer: _Writer, path: str, regions: list[str]) -> str:
    if writer.fixed:
        rows, columns = (writer.array(name).sum(1) for name in regions)
        return writer.constant(f"{path}.areas", rows[:, None] * columns)
    axis = writer.constant("shape.one", np.array([1], np.int64))
    rows, columns = (
        writer.node("ReduceSum", [name, axis], f"{name}_lengths", keepdims=keep, noop_with_empty_axes=0)
        for name, keep in zip(regions, (1, 0), strict=True)
    )
    return writer.node("Mul", [rows, columns], f"{path}.areas")


def _regions(writer: _Writer, path: str, value: Value, axis: int, count: int) -> str:
    """Write `pooling.regions`: as a constant, or by the same comparisons from the length that the file meets."""
    if writer.fixed:
        return writer.constant(f"{path}.regions", regions(value.shape[axis], count))
    index = np.arange(count, dtype=np.int64)[:, None]

    def constant(name: str, values: object) -> str:
        return writer.constant(f"shape.{name}_{count}", np.array(values, np.int64))

    source = value.sized_as or value.name
    length = writer.node("Shape", [source], "shape.length", start=axis, end=axis + 1)
    last = writer.node("Squeeze", [length], "shape.squeeze")
    places = writer.node("Range", [constant("zero", 0), last, constant("unit", 1)], "shape.range")
    scaled = writer.node("Mul", [places, constant("count", [count])], "shape.mul")
    first = writer.node("Mul", [constant("index", index), length], "shape.mul")
    before = writer.node("Sub", [first, constant("count", [count])], "shape.sub")
    end = writer.node("Mul", [constant("next", index + 1), length], "shape.mul")
    inside = [
        writer.node("Greater", [scaled, before], "shape.greater"),
        writer.node("Less", [scaled, end], "shape.less"),
    ]
    both = writer.node("And", inside, "shape.and")
    return writer.node("Cast", [both], f"{path}.regions", to=TensorProto.FLOAT)


def _enlarge(writer: _Writer, node: fx.Node, module: EnlargeCodes) -> Value:
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


def _code_total(writer: _Writer, node: fx.Node, module: CodeTotal) -> Value:
    codes, path = writer.argument(node), str(node.target)
    rank = len(codes.shape)
    dims = sorted(dim % rank for dim in module.dims)
    if module.mean and not writer.fixed:
        raise Unknown(str(node))
    parameters = [writer.constant(f"{codes.name}.{name}", getattr(module, name)) for name in ("one", "zero_point")]
    tensor = f"{codes.name.removesuffix('_quantized')}_dequantized"
    counts = writer.shared("DequantizeLinear", [codes.name, *parameters], tensor, axis=1)
    axes = writer.constant(f"{path}.axes", np.array(dims, np.int64))
    how = {"keepdims": int(module.keepdim), "noop_with_empty_axes": 0}
    sums = writer.node("ReduceSum", [counts, axes], f"{path}.reducesum", **how)
    count = int(np.prod([codes.shape[dim] for dim in dims]))
    factor = writer.constant(f"{path}.factor", module.scale / count if module.mean else module.scale)
    shape = [
        1 if dim in dims else length for dim, length in enumerate(codes.shape) if module.keepdim or dim not in dims
    ]
    return Value(writer.node("Mul", [sums, factor], writer.path(node)), tuple(shape))


def _function(kind: str, **attributes: float) -> Callable[[_Writer, fx.Node, Any], Value]:
    """Return the rule of a function of one value that ONNX has."""

    def rule(writer: _Writer, node: fx.Node, module: nn.Module) -> Value:
        value = writer.argument(node)
        return Value(writer.node(kind, [value.name], writer.path(node), **attributes), value.shape)

    return rule


def _leaky_relu(writer: _Writer, node: fx.Node, module: nn.LeakyReLU) -> Value:
    return _function("LeakyRelu", alpha=module.negative_slope)(writer, node, module)


def _silu(writer: _Writer, node: fx.Node, module: nn.SiLU) -> Value:
    value = writer.argument(node)
    gate = writer.node("Sigmoid", [value.name], f"{node.target}.sigmoid")
    return Value(writer.node("Mul", [value.name, gate], writer.path(node)), value.shape)


def _integer_hardswish(writer: _Writer, node: fx.Node, module: IntegerHardswish) -> Value:
    value, path = writer.argument(node), str(node.target)
    slope = writer.node("LeakyRelu", [value.name], f"{path}.leakyrelu", alpha=module.slope)
    to_codes = [writer.buffer(path, module, name) for name in ("step", "middle")]
    codes = writer.node("QuantizeLinear", [slope, *to_codes], f"{slope}_quantized", axis=1)
    to_values = [writer.buffer(path, module, name) for name in ("scale", "zero")]
    gate = writer.node("DequantizeLinear", [codes, *to_values], f"{slope}_dequantized", axis=1)
    return Value(writer.node("Mul", [value.name, gate], writer.path(node)), value.shape)


def _average_pool(writer: _Writer, node: fx.Node, module: nn.AvgPool2d) -> Value:
    value = writer.argument(node)
    kernel, stride, pads = (
        part if isinstance(part, tuple) else (part, part)
        for part in (module.kernel_size, module.stride, module.padding)
    )
    if module.ceil_mode or module.divisor_override is not None or len(value.shape) != RANK:
        raise Unknown(str(node))
    name = writer.node(
        "AveragePool",
        [value.name],
        writer.path(node),
        auto_pad="NOTSET",
        ceil_mode=0,
        count_include_pad=int(module.count_include_pad),
        kernel_shape=list(kernel),
        pads=[*pads, *pads],
        strides=list(stride),
    )
    return Value(name, (*value.shape[:2], *_sides(node, value, kernel, stride, pads, (1, 1))))


def _pixel_shuffle(writer: _Writer, node: fx.Node, module: nn.PixelShuffle) -> Value:
    value, factor = writer.argument(node), module.upscale_factor
    if len(value.shape) != RANK:
        raise Unknown(str(node))
    name = writer.node("DepthToSpace", [value.name], writer.path(node), blocksize=factor, mode="CRD")
    batch, channels, height, width = value.shape
    return Value(name, (batch, channels // factor**2, factor * height, factor * width), value.type)


def _move(writer: _Writer, node: fx.Node, module: Move) -> Value:
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


def _pointwise(kind: str) -> Callable[[_Writer, fx.Node, Any], Value]:
    """Return the rule of an operator on two tensors that are broadcast."""

    def rule(writer: _Writer, node: fx.Node, module: nn.Module | None = None) -> Value:
        if node.kwargs or len(node.args) != 2:
            raise Unknown(str(node))
        values = [writer.argument(node, index) for index in range(2)]
        try:
            shape = tuple(np.broadcast_shapes(*(value.shape for value in values)))
        except ValueError as error:
            raise Unknown(str(node)) from error
        return Value(writer.node(kind, [value.name for value in values], writer.path(node)), shape)

    return rule


def _add(writer: _Writer, node: fx.Node) -> Value:
    if node not in writer.calls:
        raise Unknown(str(node))
    return _pointwise("Add")(writer, node, None)


def _concatenate(writer: _Writer, node: fx.Node) -> Value:
    parts = [writer.values[part] for part in node.args[0]]
    axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    if axis != 1 or not all(isinstance(part, Value) for part in parts):
        raise Unknown(str(node))
    first = parts[0]
    if any((part.shape[0], *part.shape[2:]) != (first.shape[0], *first.shape[2:]) for part in parts):
        raise Unknown(str(node))
    shape = (first.shape[0], sum(part.shape[1] for part in parts), *first.shape[2:])
    return Value(writer.node("Concat", [part.name for part in parts], writer.path(node), axis=1), shape, first.type)


def _interpolate(writer: _Writer, node: fx.Node) -> Value:
    options, value = node.kwargs, writer.argument(node)
    size = writer.values.get(options.get("size"))
    if len(node.args) != 1 or not isinstance(size, Size) or options.get("antialias") or options.get("scale_factor"):
        raise Unknown(str(node))
    if options.get("mode") not in ("bilinear", NEAREST) or len(value.shape) != RANK:
        raise Unknown(str(node))
    if is_nearest(node):
        name = writer.node(
            "Resize",
            [value.name, "", "", writer.sizes(value, size.of)],
            writer.path(node),
            coordinate_transformation_mode="asymmetric",
            mode="nearest",
            nearest_mode="floor",
        )
        return Value(name, (*value.shape[:2], *size.of.shape[2:]), value.type)
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


def _entry(writer: _Writer, node: fx.Node) -> Size:
    """`x.shape[2:]` and `x.shape[-2:]`."""
    size, part = writer.values.get(node.args[0]), node.args[1]
    spatial = (slice(2, None), slice(-2, None), slice(2, 4))
    if not isinstance(size, Size) or part not in spatial or len(size.of.shape) != RANK:
        raise Unknown(str(node))
    return size


def _label_map(writer: _Writer, node: fx.Node) -> Value:
    logits = writer.argument(node)
    of_bytes = logits.shape[1] <= BYTE
    name = writer.named[node]
    largest = writer.node("ArgMax", [logits.name], f"{name}.argmax", axis=1, keepdims=0, select_last_index=0)
    kind = TensorProto.UINT8 if of_bytes else TensorProto.INT32
    return Value(writer.node("Cast", [largest], name, to=kind), (logits.shape[0], *logits.shape[2:]), kind)


def _enlarged_label_map(writer: _Writer, node: fx.Node) -> Value:
    size = writer.values.get(node.args[1])
    logits = writer.argument(node)
    if not isinstance(size, Size) or logits.shape[1] > BYTE:
        raise Unknown(str(node))
    name = writer.named[node]
    largest = writer.node("ArgMax", [logits.name], f"{name}.argmax", axis=1, keepdims=1, select_last_index=0)
    small = writer.node("Cast", [largest], f"{name}.cast", to=TensorProto.UINT8)
    shape = (logits.shape[0], 1, *size.of.shape[2:])
    sizes = writer.sizes(Value(small, (logits.shape[0], 1)), size.of)
    resized = writer.node(
        "Resize",
        [small, "", "", sizes],
        f"{name}.resize",
        coordinate_transformation_mode="asymmetric",
        mode="nearest",
        nearest_mode="floor",
    )
    axes = writer.constant("shape.one", np.array([1], np.int64))
    return Value(writer.node("Squeeze", [resized, axes], name), (shape[0], *shape[2:]), TensorProto.UINT8)


LAYERS: dict[type[nn.Module], Callable[[_Writer, fx.Node, Any], Value]] = {
    Quantize: _quantize,
    ToCodes: _to_codes,
    FromCodes: _from_codes,
    Constant: _constant,
    IntegerConv: _integer_conv,
    IntegerLinear: _integer_linear,
    nn.Conv2d: _conv,
    nn.Linear: _linear,
    nn.ReLU: _relu,
    ImpliedReLU: _relu,
    nn.ReLU6: _clip,
    nn.Hardtanh: _clip,
    nn.MaxPool2d: _max_pool,
    RegionPool: _region_pool,
    CodePool: _code_pool,
    EnlargeCodes: _enlarge,
    CodeTotal: _code_total,
    IntegerHardswish: _integer_hardswish,
    nn.Sigmoid: _function("Sigmoid"),
    nn.Tanh: _function("Tanh"),
    nn.Hardsigmoid: _function("HardSigmoid", alpha=1 / 6, beta=0.5),
    nn.Hardswish: _function("HardSwish"),
    nn.SiLU: _silu,
    nn.LeakyReLU: _leaky_relu,
    nn.AvgPool2d: _average_pool,
    nn.PixelShuffle: _pixel_shuffle,
    Multiply: _pointwise("Mul"),
    Subtract: _pointwise("Sub"),
    Move: _move,
    nn.Identity: _same,
    nn.Dropout: _same,
    nn.Dropout2d: _same,
}
CALLS: dict[Any, Callable[[_Writer, fx.Node], Value | Size]] = {
    operator.add: _add,
    torch.add: _add,
    torch.cat: _concatenate,
    F.interpolate: _interpolate,
    operator.getitem: _entry,
    label_map: _label_map,
    enlarged_label_map: _enlarged_label_map,
}
