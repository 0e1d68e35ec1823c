"""Operators of ONNX that move, pick or repeat values, as functions of the normal form."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import fx, nn

from edgeailite.foreign.reader import FIXED_SIZE, Length, Reader, Table, is_float
from edgeailite.onnxfile.wire import TO_FIRST, TO_LAST, Node

STRIDES = (2, 3, 4, 8, 16)  # of windows with SAME padding
HALF_PIXEL = (b"half_pixel", b"pytorch_half_pixel")


def _same(read: Reader, node: Node) -> fx.Node:
    return read.tensor(node.inputs[0])


def _dropout(read: Reader, node: Node) -> fx.Node:
    """Dropout does nothing in evaluation."""
    ratio = read.constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    if ratio is not None and ratio.any():
        raise read.refuse(node, "is in training mode", fix="export the network in evaluation mode (model.eval())")
    if any(name and name in other.inputs for name in node.outputs[1:] for other in read.file.graph.nodes):
        raise read.refuse(node, "hands on which values it left out")
    return read.tensor(node.inputs[0])


def _cast(read: Reader, node: Node) -> fx.Node:
    if not is_float(node):
        raise read.refuse(node, "makes whole numbers of values of the picture")
    return read.tensor(node.inputs[0])


def _concat(read: Reader, node: Node) -> fx.Node:
    """Tensors one behind the other. Constants in front of them or behind are added to a padding with zeros."""
    shape = read.shape(node.outputs[0])
    axis = read.axis(node, int(node.attributes["axis"]), len(shape))
    inside = [index for index, name in enumerate(node.inputs) if name in read.tensors]
    ends = node.inputs[: inside[0]], node.inputs[inside[-1] + 1 :]
    outside = [*ends[0], *ends[1]]
    if len(inside) != inside[-1] - inside[0] + 1 or (outside and axis == 0):
        raise read.refuse(node, "puts constants between values of the picture")
    parts = [read.tensor(node.inputs[index]) for index in inside]
    x = parts[0] if len(parts) == 1 else read.call(torch.cat, parts, axis)
    if not outside:
        return x
    lengths = [sum(read.shape(name)[axis] for name in names) for names in ends]
    if any(len(set(read.sides(name, axis))) > 1 for name in outside):
        raise read.refuse(
            node, "puts constants beside values of the picture, as many as its size tells", fix=FIXED_SIZE
        )
    x = read.call(F.pad, x, [0, 0] * (len(shape) - 1 - axis) + lengths)
    if all(map(read.is_zeros, outside)):
        return x
    if None in read.known_sides(node.outputs[0])[1:]:
        raise read.refuse(node, "puts constants beside values of the picture, at open size", fix=FIXED_SIZE)
    filling = np.zeros((1, *shape[1:]), np.float32)
    first = 0
    for name in node.inputs:
        length = read.shape(name)[axis]
        if name in outside and not read.is_zeros(name):
            row = read.row(name)
            if row is None:
                raise read.refuse(
                    node, "puts constants beside values of the picture that are not alike for all pictures"
                )
            filling[(slice(None),) * axis + (slice(first, first + length),)] = row
        first += length
    return read.call(operator.add, x, read.buffer(f"{node.label}_constants", filling))


def _window(read: Reader, x: fx.Node, rank: int, axis: int, ends: tuple[Any, Any]) -> fx.Node:
    """Append x[:, ..., start:end] for one side."""
    return read.call(operator.getitem, x, (*(slice(None),) * axis, slice(*ends), *(slice(None),) * (rank - axis - 1)))


def _split(read: Reader, node: Node) -> list[fx.Node]:
    x, rank = read.tensor(node.inputs[0]), len(read.shape(node.inputs[0]))
    axis, start, parts = read.axis(node, int(node.attributes.get("axis", 0)), rank), 0, []
    for name in node.outputs:
        side = read.length(node, read.sides(name, axis), ())
        assert isinstance(side, int)
        parts.append(_window(read, x, rank, axis, (start, start + side)))
        start += side
    return parts


def _slice(read: Reader, node: Node) -> fx.Node:
    x, name = read.tensor(node.inputs[0]), node.inputs[0]
    rank = len(read.shape(name))
    starts = _at_samples(read, node, 1, "starts")
    axes = read.numbers(node, 3, "axes") or list(range(len(starts)))
    if any(step != 1 for step in read.numbers(node, 4, "steps") or ()):
        raise read.refuse(node, "takes every second value, or runs backwards")
    near = [*read.sources(node.inputs[1:]), name]
    for index, axis in enumerate(axes):
        at = read.axis(node, axis, rank)
        before, behind = read.sides(name, at), read.sides(node.outputs[0], at)
        pairs = zip(starts[index], before, strict=True)
        first = [min(max(start + side if start < 0 else start, 0), side) for start, side in pairs]
        last = [start + side for start, side in zip(first, behind, strict=True)]
        if before == behind:
            continue
        begin = None if not any(first) else _place(read, node, first, before, near)
        end = None if last == list(before) else _place(read, node, last, before, near)
        x = _window(read, x, rank, at, (begin, end))
    return x


def _place(read: Reader, node: Node, places: Sequence[int], sides: Sequence[int], near: Sequence[str]) -> Length:
    """Return a place along a side: counted from the start, from the end, or computed."""
    from_end = {place - side for place, side in zip(places, sides, strict=True)}
    if len(set(places)) > 1 and len(from_end) == 1:
        return from_end.pop()
    return read.length(node, places, near)


def _at_samples(read: Reader, node: Node, index: int, attribute: str) -> list[list[int]]:
    """Return numbers of an input, each as a list of its values at the sample sizes."""
    if attribute in node.attributes:
        return [[int(number)] * len(read.samples) for number in node.attributes[attribute]]
    found = [sizes.values.get(node.inputs[index]) for sizes in read.samples]
    if any(value is None for value in found):
        raise read.refuse(node, f"has {attribute} that are computed from values of the picture")
    return [[int(value) for value in values] for values in np.stack([np.asarray(v).reshape(-1) for v in found]).T]


def _gather(read: Reader, node: Node) -> fx.Node:
    """Picks one place, places that follow each other, or all places of a vector in order."""
    x, index = read.tensor(node.inputs[0]), read.constant(node.inputs[1])
    data = read.shape(node.inputs[0])
    axis = read.axis(node, int(node.attributes.get("axis", 0)), len(data))
    if len(data) == 1 and _takes_all(read, node):
        source = _before_flattening(read, node.inputs[0])
        return _reshaped(read, node, read.tensor(source), source)
    if index is None or index.ndim > 1 or not index.size:
        raise read.refuse(node, "picks places that are computed, or arrays of places")
    places = [read.axis(node, int(place), data[axis]) for place in index.reshape(-1)]
    if places != list(range(places[0], places[0] + len(places))):
        raise read.refuse(node, "picks places that do not follow each other")
    x = _window(read, x, len(data), axis, (places[0], places[-1] + 1))
    return x if index.ndim else _reshaped(read, node, x, node.inputs[0])


def _takes_all(read: Reader, node: Node) -> bool:
    """Tell if a Gather takes all values of a vector in order, whatever the size of the picture.

    torch writes `as_strided` so, which its mean over a whole picture calls where channels lie last.
    """
    found = [sizes.values.get(node.inputs[1]) for sizes in read.samples]
    lengths = read.sides(node.inputs[0], 0)
    return all(
        places is not None and np.array_equal(np.reshape(places, -1), np.arange(length))
        for places, length in zip(found, lengths, strict=True)
    )


def _before_flattening(read: Reader, name: str) -> str:
    """Return the tensor of which a vector has all values in order: what was flattened, else the vector."""
    maker = read.makers.get(name)
    return maker.inputs[0] if maker is not None and maker.op in ("Reshape", "Flatten") else name


def _reshape(read: Reader, node: Node) -> fx.Node:
    return _reshaped(read, node, read.tensor(node.inputs[0]), node.inputs[0])


def _reshaped(read: Reader, node: Node, x: fx.Node, source: str) -> fx.Node:
    """Append a reshape of the tensor `source` to the shape of the node's output, at any size of the picture."""
    result = node.outputs[0]
    data, shape = read.shape(source), read.shape(result)
    sides = [read.sides(result, axis) for axis in range(len(shape))]
    old = [read.sides(source, axis) for axis in range(len(data))]
    if sides == old:
        return x
    keeps_batch = sides[:1] == old[:1]
    if keeps_batch and len(shape) == 2 and len(data) > 2:
        return read.call(torch.flatten, x, 1)
    near = [source, *read.sources(node.inputs[1:])]
    lengths: list[Length] = []
    for axis, side in enumerate(sides):
        if axis == 0 and keeps_batch:
            lengths.append(read.read_side(source, 0))  # also where the file fixes it: batches are of any size here
        elif len(set(side)) > 1 and -1 not in lengths and not _is_near(read, side, near):
            lengths.append(-1)
        else:
            lengths.append(read.length(node, side, near))
    return read.call(torch.reshape, x, tuple(lengths))


def _is_near(read: Reader, side: Sequence[int], near: Sequence[str]) -> bool:
    """Tell if a side is one of those of the tensors `near`."""
    return any(read.sides(name, axis) == tuple(side) for name in near for axis in range(len(read.shape(name))))


def _transpose(read: Reader, node: Node) -> fx.Node:
    rank = len(read.shape(node.inputs[0]))
    order = tuple(node.attributes.get("perm") or range(rank)[::-1])
    x = read.tensor(node.inputs[0])
    return x if order == tuple(range(rank)) else read.call(torch.permute, x, order)


def _expand(read: Reader, node: Node) -> fx.Node:
    """Repeat one place over a height and width, or along sides of known length."""
    source, result = node.inputs[0], node.outputs[0]
    x, data, shape = read.tensor(source), read.shape(source), read.shape(result)
    if data == shape:
        return x
    if len(data) == len(shape) == 4 and data[2:] == (1, 1) and data[:2] == shape[:2]:
        return _resized(read, node, x, "nearest", None)
    repeated = [axis for axis, side in enumerate(shape) if len(data) == len(shape) and side != data[axis]]
    if not repeated or any(len(set(read.sides(result, axis))) > 1 or axis == 0 for axis in repeated):
        raise read.refuse(node, f"repeats {'x'.join(map(str, data))} to {'x'.join(map(str, shape))}")
    return read.call(torch.broadcast_to, x, [shape[axis] if axis in repeated else -1 for axis in range(len(shape))])


def _pad(read: Reader, node: Node) -> fx.Node:
    x, rank = read.tensor(node.inputs[0]), len(read.shape(node.inputs[0]))
    amounts = _at_samples(read, node, 1, "pads")
    axes = [read.axis(node, axis, rank) for axis in read.numbers(node, 3, "axes") or range(rank)]
    value = read.constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    number = float(node.attributes.get("value") or 0) if value is None else float(value.reshape(()))
    ends = {axis: (amounts[index], amounts[index + len(axes)]) for index, axis in enumerate(axes)}
    used = {axis: pair for axis, pair in ends.items() if any(pair[0]) or any(pair[1])}
    if not used:
        return x
    mode = (node.attributes.get("mode") or b"constant").decode("utf-8", "replace")
    last = bool(used.keys() & {1})  # a map with channels last
    axes = [1, 2] if last else [2, 3]
    if mode != "constant" or not np.isfinite(number) or rank != 4 or not set(used) <= set(axes):
        raise read.refuse(node, f"pads otherwise than with a number around the picture (mode {mode}, value {number:g})")
    (top, bottom), (left, right) = (_ends(read, node, axis, *used[axis]) if axis in used else (0, 0) for axis in axes)
    pads = ([left, right, top, bottom], *(("constant", number) if number else ()))
    if not last:
        return read.call(F.pad, x, *pads)
    padded = read.call(F.pad, read.call(torch.permute, x, TO_FIRST), *pads)
    return read.call(torch.permute, padded, TO_LAST)


def _ends(read: Reader, node: Node, axis: int, before: Sequence[int], behind: Sequence[int]) -> tuple[Length, Length]:
    """Return what is added along a side: numbers, or what is missing to the side of another tensor, in halves."""
    if len(set(before)) == len(set(behind)) == 1:
        return before[0], behind[0]
    wanted = read.sides(node.outputs[0], axis)
    other = next((n for n in read.sources(node.inputs[1:]) if _sides(read, n, axis) == wanted), None)
    totals = [a + b for a, b in zip(before, behind, strict=True)]
    halves = [total // 2 for total in totals]
    padded = _up_to_multiple(read, node.inputs[0], axis, wanted) if other is None else read.read_side(other, axis)
    if padded is None or (list(before) != halves and len(set(before)) > 1):
        raise read.refuse(node, "pads by amounts that cannot be found again", fix=FIXED_SIZE)
    total = read.call(operator.sub, padded, read.read_side(node.inputs[0], axis))
    first: Length = read.call(operator.floordiv, total, 2) if list(before) == halves else before[0]
    return first, read.call(operator.sub, total, first)


def _up_to_multiple(read: Reader, name: str, axis: int, wanted: Sequence[int]) -> fx.Node | None:
    """Return a side brought up to a multiple of a stride, and a constant: the SAME padding of TensorFlow."""
    sides = read.sides(name, axis)
    for stride in STRIDES:
        more = {want - -(-side // stride) * stride for side, want in zip(sides, wanted, strict=True)}
        if len(more) == 1:
            up = read.call(operator.add, read.read_side(name, axis), stride - 1)
            up = read.call(operator.mul, read.call(operator.floordiv, up, stride), stride)
            return read.call(operator.add, up, more.pop())
    return None


def _sides(read: Reader, name: str, axis: int) -> tuple[int, ...]:
    """Return a side of a tensor at each sample size; none where it has no such side."""
    return read.sides(name, axis) if len(read.shape(name)) > axis else ()


def _resize(read: Reader, node: Node) -> fx.Node:
    x, data, result = read.tensor(node.inputs[0]), node.inputs[0], node.outputs[0]
    mode = node.attributes.get("mode") or b"nearest"
    coordinates = node.attributes.get("coordinate_transformation_mode") or b"half_pixel"
    if node.attributes.get("antialias") or mode not in (b"nearest", b"linear"):
        raise read.refuse(
            node, f"resizes with mode {mode.decode('utf-8', 'replace')}; only nearest and linear are read"
        )
    if len(read.shape(data)) != 4 or read.shape(data)[:2] != read.shape(result)[:2]:
        raise read.refuse(node, "resizes other than height and width")
    places = [(before, behind) for axis in (2, 3) for before, behind in
              zip(read.sides(data, axis), read.sides(result, axis), strict=True)]  # fmt: skip
    if all(before == behind for before, behind in places):
        return x
    scales = _scales(read, node)
    if mode == b"nearest":
        how = node.attributes.get("nearest_mode") or b"round_prefer_floor"
        for (before, behind), scale in zip(places, scales, strict=True):
            if _nearest(before, behind, scale, coordinates, how) != _nearest(
                before, behind, None, b"asymmetric", b"floor"
            ):
                raise read.refuse(node, f"picks nearest values as {_text(coordinates)}, {_text(how)}, unlike torch")
        return _resized(read, node, x, "nearest", None)
    ends = coordinates == b"align_corners"
    if not ends and (coordinates not in HALF_PIXEL or any(
        scale is not None and scale * before != behind for (before, behind), scale in zip(places, scales, strict=True)
    )):  # fmt: skip
        uneven = coordinates in HALF_PIXEL
        why = "gives a size that is no multiple of its scale" if uneven else f"resizes as {_text(coordinates)}"
        raise read.refuse(node, why, fix=FIXED_SIZE if uneven else "export it as half_pixel or align_corners")
    return _resized(read, node, x, "bilinear", ends)


def _text(word: bytes) -> str:
    return word.decode("utf-8", "replace")[:40]


def _scales(read: Reader, node: Node) -> list[float | None]:
    """Return the scale that the file gives for each side and sample size; None where it gives sizes."""
    nothing: list[float | None] = [None] * (2 * len(read.samples))
    if len(node.inputs) < 3 or not node.inputs[2]:
        return nothing
    found = [sizes.values.get(node.inputs[2]) for sizes in read.samples]
    if any(value is None or not value.size for value in found):
        return nothing
    axes = [axis % 4 for axis in node.attributes.get("axes") or range(4)]
    tables = [dict(zip(axes, np.asarray(value, float).reshape(-1), strict=True)) for value in found]
    return [float(table.get(axis, 1.0)) for axis in (2, 3) for table in tables]


def _nearest(before: int, behind: int, scale: float | None, coordinates: bytes, how: bytes) -> list[int]:
    """Return which value of a side each value of the resized side takes, by ONNX's formulas."""
    scale = scale or behind / before
    places = np.arange(behind)
    if coordinates in HALF_PIXEL:
        at = (places + 0.5) / scale - 0.5
    elif coordinates == b"tf_half_pixel_for_nn":
        at = (places + 0.5) / scale
    elif coordinates == b"align_corners":
        at = places * (before - 1) / max(behind - 1, 1)
    else:
        at = places / scale
    rounded = {b"floor": np.floor(at), b"ceil": np.ceil(at), b"round_prefer_ceil": np.floor(at + 0.5)}
    return [int(place) for place in np.clip(rounded.get(how, np.ceil(at - 0.5)), 0, before - 1)]


def _resized(read: Reader, node: Node, x: fx.Node, mode: str, align_corners: bool | None) -> fx.Node:
    """Append a resize to the size of the node's output, which is read from a tensor where it is open."""
    result, data = node.outputs[0], node.inputs[0]
    near = [*read.sources(node.inputs[1:]), *reversed(read.tensors), data]
    other = read.same_sides(result, near)
    sides = [read.sides(result, axis) for axis in (2, 3)]
    size: Any
    if all(len(set(side)) == 1 for side in sides):
        size = tuple(side[0] for side in sides)
    elif other is not None:
        size = read.call(operator.getitem, read.call(getattr, read.tensors[other], "shape"), slice(-2, None))
    else:
        near = [data, *read.sources(node.inputs[1:])]
        size = tuple(read.length(node, side, near) for side in sides)
    return read.call(F.interpolate, x, size=size, mode=mode, align_corners=align_corners)


def _depth_to_space(read: Reader, node: Node) -> fx.Node:
    x, block = read.tensor(node.inputs[0]), int(node.attributes["blocksize"])
    if (node.attributes.get("mode") or b"DCR") == b"DCR":
        x = _swapped(read, node, x, (block**2, read.shape(node.inputs[0])[1] // block**2))
    return read.module(node, nn.PixelShuffle(block), x)


def _swapped(read: Reader, node: Node, x: fx.Node, parts: tuple[int, int]) -> fx.Node:
    """Append a change of the order of channels: (a, b) parts become (b, a)."""
    name = node.inputs[0]
    batch, channels, height, width = (read.read_side(name, 0), read.shape(name)[1], *_picture(read, node))
    x = read.call(torch.reshape, x, (batch, *parts, height, width))
    return read.call(torch.reshape, read.call(torch.permute, x, (0, 2, 1, 3, 4)), (batch, channels, height, width))


def _picture(read: Reader, node: Node) -> tuple[Length, Length]:
    """Return height and width of a node's input."""
    name = node.inputs[0]
    height, width = (read.length(node, read.sides(name, axis), [name]) for axis in (2, 3))
    return height, width


def _space_to_depth(read: Reader, node: Node) -> fx.Node:
    x, name, block = read.tensor(node.inputs[0]), node.inputs[0], int(node.attributes["blocksize"])
    if any(side % block for axis in (2, 3) for side in read.sides(name, axis)):
        raise read.refuse(node, f"cuts pictures whose sides are no multiples of {block}", fix=FIXED_SIZE)
    batch, channels = read.read_side(name, 0), read.shape(name)[1]
    height, width = (read.length(node, read.sides(node.outputs[0], axis), [name]) for axis in (2, 3))
    x = read.call(torch.reshape, x, (batch, channels, height, block, width, block))
    x = read.call(torch.permute, x, (0, 3, 5, 1, 2, 4))
    return read.call(torch.reshape, x, (batch, channels * block**2, height, width))


MOVES: Table = {
    "Cast": _cast,
    "CastLike": _same,
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Dropout": _dropout,
    "Expand": _expand,
    "Flatten": _reshape,
    "Gather": _gather,
    "Identity": _same,
    "Pad": _pad,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _reshape,
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
}
