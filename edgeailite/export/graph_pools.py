"""How pooling and sums over axes are written (`graph_layers`): windows, regions of any size, codes that are added."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto
from torch import Tensor, fx, nn

from edgeailite.export.graph_builder import RANK, GraphBuilder, Unknown, Value
from edgeailite.export.naming import dequantized_name
from edgeailite.quantization.convert import CodePool, CodeTotal
from edgeailite.quantization.operators import MaxUnpool
from edgeailite.quantization.pooling import RegionPool, areas_of, per_axis, regions


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
        per_axis(part) for part in (module.kernel_size, module.stride, module.padding, module.dilation)
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


def max_unpool(writer: GraphBuilder, node: fx.Node, module: MaxUnpool) -> Value:
    """Write a pooling for its places alone, and the unpooling to them."""
    values, pooled = writer.argument(node), writer.argument(node, 1)
    window = {"kernel_shape": list(module.kernel), "strides": list(module.stride), "pads": [*module.padding] * 2}
    path = str(node.target)
    writer.node("MaxPool", [pooled.name], f"{path}.pooled", **window)
    places = writer.second_output(f"{path}.places")
    if writer.fixed:
        size = writer.constant(f"{path}.size", np.array(pooled.shape, np.int64))
    else:
        size = writer.node("Shape", [pooled.name], f"{path}.size")
    return Value(writer.node("MaxUnpool", [values.name, places, size], writer.path(node), **window), pooled.shape)


def average_pool(writer: GraphBuilder, node: fx.Node, module: nn.AvgPool2d) -> Value:
    """Write a mean over windows; not with rounded up sizes."""
    value = writer.argument(node)
    kernel, stride, pads = (per_axis(part) for part in (module.kernel_size, module.stride, module.padding))
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
    value, path = writer.argument(node), str(node.target)
    sums, areas = _region_sums(writer, path, value.name, value, module.output_size)
    divisor = areas if isinstance(areas, str) else writer.constant(f"{path}.areas", areas)
    return Value(writer.node("Div", [sums, divisor], writer.path(node)), (*value.shape[:2], *module.output_size))


def code_pool(writer: GraphBuilder, node: fx.Node, module: CodePool) -> Value:
    """Write adaptive average pooling of codes: whole numbers are added, one factor follows."""
    codes, path = writer.argument(node), str(node.target)
    sums, areas = _region_sums(writer, path, _counts(writer, codes, module), codes, module.output_size)
    if isinstance(areas, str):
        factor = writer.node("Div", [writer.buffer(path, module, "scale"), areas], f"{path}.factor")
    else:
        factor = writer.constant(f"{path}.factor", module.scale / areas)
    name = writer.node("Mul", [sums, factor], writer.path(node))
    return Value(name, (*codes.shape[:2], *module.output_size))


def _counts(writer: GraphBuilder, codes: Value, module: CodePool | CodeTotal) -> str:
    """Write codes less their zero point as float32, once for all that add them; return the name."""
    parameters = [writer.constant(f"{codes.name}.{name}", getattr(module, name)) for name in ("one", "zero_point")]
    return writer.shared("DequantizeLinear", [codes.name, *parameters], dequantized_name(codes.name), axis=1)


def _region_sums(
    writer: GraphBuilder, path: str, name: str, value: Value, size: tuple[int, int]
) -> tuple[str, str | Tensor]:
    """Write `pooling.region_sums`; return the name of the sums, and the areas: numbers, or by name at open size."""
    axes = tuple(zip((2, 3), size, strict=True))
    if writer.fixed:
        matrices = [regions(value.shape[axis], count) for axis, count in axes]
        areas: str | Tensor = areas_of(*matrices)
    else:
        written = [_regions(writer, f"{path}.{axis}", value, axis, count) for axis, count in axes]
        areas = _areas(writer, path, *written)
    if size == (1, 1):
        return _sum(writer, name, [2, 3], f"{path}.reducesum", keepdims=1), areas
    if writer.fixed:
        rows = writer.constant(f"{path}.2.regions", matrices[0])
        columns = writer.constant(f"{path}.3.transposed", matrices[1].t())
    else:
        rows, columns = written[0], writer.node("Transpose", written[1:], f"{path}.3.transposed", perm=[1, 0])
    across = writer.node("MatMul", [name, columns], f"{path}.matmul")
    return writer.node("MatMul", [rows, across], f"{path}.matmul"), areas


def _sum(writer: GraphBuilder, name: str, axes: list[int], result: str, *, keepdims: int) -> str:
    """Write a sum over axes; return its name."""
    given = writer.constant(f"{result}_axes", np.array(axes, np.int64))
    return writer.node("ReduceSum", [name, given], result, keepdims=keepdims, noop_with_empty_axes=0)


def _areas(writer: GraphBuilder, path: str, rows: str, columns: str) -> str:
    """Write `pooling.areas_of`; return its name."""
    heights = _sum(writer, rows, [1], f"{rows}_lengths", keepdims=1)
    widths = _sum(writer, columns, [1], f"{columns}_lengths", keepdims=0)
    return writer.node("Mul", [heights, widths], f"{path}.areas")


def _regions(writer: GraphBuilder, path: str, value: Value, axis: int, count: int) -> str:
    """Write `pooling.regions`, by the same comparisons from the length that the file meets; return its name."""
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
    sums = _sum(writer, _counts(writer, codes, module), dims, f"{path}.reducesum", keepdims=int(module.keepdim))
    count = int(np.prod([codes.shape[dim] for dim in dims]))
    factor = writer.constant(f"{path}.factor", module.scale / count if module.mean else module.scale)
    shape = [
        1 if dim in dims else length for dim, length in enumerate(codes.shape) if module.keepdim or dim not in dims
    ]
    return Value(writer.node("Mul", [sums, factor], writer.path(node)), tuple(shape))
