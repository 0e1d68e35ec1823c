"""Pooling of ONNX, and max unpooling, as modules and functions of the normal form."""

from __future__ import annotations

import torch
from torch import fx, nn

from edgeailite.foreign.reader import Reader, Table
from edgeailite.foreign.unpooling import max_unpool
from edgeailite.foreign.windows import padded, pads_of, pair_of
from edgeailite.onnxfile.wire import Node

NONNEGATIVE = (nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Hardsigmoid, nn.Softplus)


def _max_pool(read: Reader, node: Node) -> fx.Node:
    """Largest value of a window. Rows and columns that are added are -inf, which only symmetric ones can be here."""
    given = [name for name in node.outputs[1:] if name]
    if any(reader.op != "MaxUnpool" for name in given for reader in read.file.graph.nodes if name in reader.inputs):
        raise read.refuse(node, "gives the places of its values to more than unpooling")
    kernel, strides, dilations = (pair_of(read, node, name) for name in ("kernel_shape", "strides", "dilations"))
    x, pads, up = read.tensor(node.inputs[0]), pads_of(read, node, kernel), bool(node.attributes.get("ceil_mode"))
    top, left, bottom, right = pads
    if (top, left) == (bottom, right):
        return read.module(node, nn.MaxPool2d(kernel, strides, (top, left), dilations, ceil_mode=up), x)
    maker = read.root.get_submodule(str(x.target)) if x.op == "call_module" else None
    if isinstance(maker, NONNEGATIVE):  # zeros are as good as -inf
        x, _ = padded(read, x, pads)
        return read.module(node, nn.MaxPool2d(kernel, strides, 0, dilations, ceil_mode=up), x)
    for axis in (0, 1):
        room = [
            side + 2 * pads[axis] - dilations[axis] * (kernel[axis] - 1) - 1
            for side in read.sides(node.inputs[0], axis + 2)
        ]
        places = tuple(-(-free // strides[axis]) + 1 for free in room)
        if places != read.sides(node.outputs[0], axis + 2):
            raise read.refuse(node, f"is padded unevenly ({pads}) where values may be negative")
    return read.module(node, nn.MaxPool2d(kernel, strides, (top, left), dilations, ceil_mode=True), x)


def _average_pool(read: Reader, node: Node) -> fx.Node:
    kernel, strides, dilations = (pair_of(read, node, name) for name in ("kernel_shape", "strides", "dilations"))
    pads, inside = pads_of(read, node, kernel), bool(node.attributes.get("count_include_pad"))
    if dilations != (1, 1):
        raise read.refuse(node, "averages over a window with gaps")
    sides = [set(read.sides(node.inputs[0], axis)) for axis in (2, 3)]
    x, up = read.tensor(node.inputs[0]), bool(node.attributes.get("ceil_mode"))
    if sides == [{kernel[0]}, {kernel[1]}] and pads == (0, 0, 0, 0):
        return read.module(node, nn.AdaptiveAvgPool2d(1), x)
    if pads[:2] != pads[2:] and not inside:
        raise read.refuse(node, "averages with uneven padding that it does not count")
    x, padding = padded(read, x, pads)
    pool = nn.AvgPool2d(kernel, strides, padding, ceil_mode=up, count_include_pad=inside)
    return read.module(node, pool, x)


def _global_average(read: Reader, node: Node) -> fx.Node:
    if len(read.shape(node.inputs[0])) != 4:
        raise read.refuse(node, "works on other than two sides of pictures")
    return read.module(node, nn.AdaptiveAvgPool2d(1), read.tensor(node.inputs[0]))


def _max_unpool(read: Reader, node: Node) -> fx.Node:
    """Values go back to the places of a pooling, whose own window says which; the node's is not looked at."""
    pool = read.makers.get(node.inputs[1])
    if pool is None or pool.op != "MaxPool":
        raise read.refuse(node, "takes places that are no maximum pooling's")
    kernel, strides = pair_of(read, pool, "kernel_shape"), pair_of(read, pool, "strides")
    top, left, bottom, right = pads_of(read, pool, kernel)
    pooled, result = pool.inputs[0], node.outputs[0]
    if any(sizes.shapes[pooled] != sizes.shapes[result] for sizes in read.samples):
        raise read.refuse(
            node, "gives another size than its pooling took", fix="give it the size of the pooling's input"
        )
    if pool.attributes.get("ceil_mode") or pool.attributes.get("storage_order"):
        raise read.refuse(node, "undoes a pooling that rounds its size up, or counts places column by column")
    if kernel[0] > strides[0] or kernel[1] > strides[1]:
        raise read.refuse(node, f"undoes a pooling whose windows overlap: {kernel}, strides {strides}")
    if pair_of(read, pool, "dilations") != (1, 1) or (top, left) != (bottom, right):
        raise read.refuse(node, "undoes a pooling whose windows have gaps, or padding at one end")
    return read.call(max_unpool, read.tensor(node.inputs[0]), read.tensor(pooled), kernel, strides, (top, left))


POOLS: Table = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average,
    "GlobalMaxPool": lambda read, node: read.call(torch.amax, read.tensor(node.inputs[0]), [2, 3], True),
    "MaxPool": _max_pool,
    "MaxUnpool": _max_unpool,
}
