"""How pooling and sums over axes are written (`graph_layers`): windows, regions of any size, codes that are added."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from onnx import TensorProto
from torch import fx, nn

from edgeailite.export.graph_builder import RANK, GraphBuilder, Unknown, Value
from edgeailite.quantization.convert import (
    CodePool,
    CodeTotal,
)
from edgeailite.quantization.pooling import RegionPool, regions


def sides(node: fx.Node, value: Value, *window: Sequence[int]) -> list[int]:
    """Return height and width of what a window (kernel, stride, padding, dilation; each per axis) makes of a value."""
    sides = [
        (length + 2 * pad - step * (kernel - 1) - 1) // hop + 1
        for length, kernel, hop, pad, step in zip(value.shape[2:], *window, strict=True)
    ]
    if min(sides) < 1:
        raise Unknown(str(node))
    return sides


def max_pool(writer: GraphBuilder, node: fx.Node, module: nn.MaxPool2d) -> Value:
    """Write a maximum over windows; not with rounded up sizes, nor with places."""
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
    return Value(name, (*value.shape[:2], *sides(node, value, kernel, stride, pads, dilation)), value.type)


def average_pool(writer: GraphBuilder, node: fx.Node, module: nn.AvgPool2d) -> Value:
    """Write a mean over windows; not with rounded up sizes."""
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
    return Value(name, (*value.shape[:2], *sides(node, value, kernel, stride, pads, (1, 1))))


def region_pool(writer: GraphBuilder, node: fx.Node, module: RegionPool) -> Value:
    """Write adaptive average pooling of values."""
    value, name = writer.argument(node), writer.path(node)
    sums, areas = _region_sums(writer, str(node.target), value.name, value, module.output_size)
    return Value(writer.node("Div", [sums, areas], name), (*value.shape[:2], *module.output_size))


def code_pool(writer: GraphBuilder, node: fx.Node, module: CodePool) -> Value:
    """Write adaptive average pooling of codes: whole numbers are added, one factor follows."""
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


def _region_sums(writer: GraphBuilder, path: str, name: str, value: Value, size: tuple[int, int]) -> tuple[str, str]:
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


def _areas(writer: GraphBuilder, path: str, regions: list[str]) -> str:
    if writer.fixed:
        rows, columns = (writer.array(name).sum(1) for name in regions)
        return writer.constant(f"{path}.areas", rows[:, None] * columns)
    axis = writer.constant("shape.one", np.array([1], np.int64))
    rows, columns = (
        writer.node("ReduceSum", [name, axis], f"{name}_lengths", keepdims=keep, noop_with_empty_axes=0)
        for name, keep in zip(regions, (1, 0), strict=True)
    )
    return writer.node("Mul", [rows, columns], f"{path}.areas")


def _regions(writer: GraphBuilder, path: str, value: Value, axis: int, count: int) -> str:
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


def code_total(writer: GraphBuilder, node: fx.Node, module: CodeTotal) -> Value:
    """Write the sum or mean of codes over some axes; the mean only where the size is fixed."""
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
