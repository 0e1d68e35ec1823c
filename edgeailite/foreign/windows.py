"""How a window of ONNX moves over a picture: pairs of numbers, and the rows and columns around its input."""

from __future__ import annotations

import torch.nn.functional as F
from torch import fx

from edgeailite.foreign.reader import FIXED_SIZE, Reader
from edgeailite.onnxfile.layers import same_padding
from edgeailite.onnxfile.wire import Node

Pads = tuple[int, int, int, int]
"""Rows and columns that are added: top, left, bottom, right, the order of ONNX."""
Pair = tuple[int, int]


def pair_of(read: Reader, node: Node, name: str) -> Pair:
    """Return an attribute of a window, for height and width; 1 where it is left out. Raises UsageError."""
    values = tuple(node.attributes.get(name) or (1, 1))
    if len(values) != 2 or len(read.shape(node.inputs[0])) != 4:
        raise read.refuse(node, "works on other than two sides of pictures")
    return values


def pads_of(read: Reader, node: Node, kernel: Pair) -> Pads:
    """Return the rows and columns that a window is given around its input. Raises UsageError."""
    auto = node.attributes.get("auto_pad") or b"NOTSET"
    if auto in (b"NOTSET", b""):
        top, left, bottom, right = node.attributes.get("pads") or (0, 0, 0, 0)
        return top, left, bottom, right
    if auto == b"VALID":
        return 0, 0, 0, 0
    strides, dilations = pair_of(read, node, "strides"), pair_of(read, node, "dilations")
    found = []
    for i in (0, 1):
        sides = set(read.sides(node.inputs[0], i + 2))
        window = {"kernel": kernel[i], "stride": strides[i], "dilation": dilations[i]}
        amounts = {same_padding(auto, side, **window) for side in sides}
        if len(amounts) > 1 or (strides[i] > 1 and len(sides) > 1):
            raise read.refuse(node, "is padded by amounts that depend on the picture's size (SAME)", fix=FIXED_SIZE)
        found.append(amounts.pop())
    (top, bottom), (left, right) = found
    return top, left, bottom, right


def padded(read: Reader, x: fx.Node, pads: Pads) -> tuple[fx.Node, Pair]:
    """Return the input and the padding that is left for the window itself, which pads both ends alike."""
    top, left, bottom, right = pads
    if (top, left) == (bottom, right):
        return x, (top, left)
    return read.call(F.pad, x, [left, right, top, bottom]), (0, 0)
