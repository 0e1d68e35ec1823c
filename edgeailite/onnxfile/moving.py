"""Rules of the operators that move or pick elements."""

from __future__ import annotations

from math import ceil, prod

from edgeailite.onnxfile.call import Call, Rule, RuleResult, Shape, as_text, joined, one


def _axis(call: Call, rank: int, default: int | None = None) -> int:
    axis = call.node.attributes.get("axis", default)
    if not isinstance(axis, int) or not -rank <= axis < rank:
        raise ValueError(f"axis {axis} of {rank}")
    return axis % rank


def _concat(call: Call) -> RuleResult:
    parts = [call.shape(index) for index in range(len(call.shapes))]
    axis = _axis(call, len(parts[0]))
    if any(len(part) != len(parts[0]) for part in parts) or len({(*p[:axis], *p[axis + 1 :]) for p in parts}) != 1:
        raise ValueError("parts of different shape")
    return one((*parts[0][:axis], sum(part[axis] for part in parts), *parts[0][axis + 1 :]))


def _split(call: Call) -> RuleResult:
    data, count = call.shape(0), len(call.node.outputs)
    axis = _axis(call, len(data), 0)
    step = -(-data[axis] // count)
    sides = call.numbers(1, "split") or [min(step, data[axis] - index * step) for index in range(count)]
    if len(sides) != count or sum(sides) != data[axis]:
        raise ValueError(f"parts of {sides} for {data[axis]}")
    return [(*data[:axis], side, *data[axis + 1 :]) for side in sides], prod(data)


def _reshape(call: Call) -> RuleResult:
    data, wanted = call.shape(0), call.numbers(1, "shape")
    if wanted is None:
        raise ValueError("without a shape")
    zero = call.attribute("allowzero", 0)
    sides = [data[i] if side == 0 and not zero else side for i, side in enumerate(wanted)]
    rest = prod(side for side in sides if side != -1)
    shape = tuple(prod(data) // rest if side == -1 else side for side in sides)
    if prod(shape) != prod(data) or min(shape, default=1) < 1:
        raise ValueError(f"{as_text(data)} as {sides}")
    return one(shape)


def _flatten(call: Call) -> RuleResult:
    data, axis = call.shape(0), call.attribute("axis", 1)
    return one((prod(data[:axis]), prod(data[axis:])))


def _squeeze(call: Call) -> RuleResult:
    data, axes = call.shape(0), call.numbers(1, "axes")
    gone = {i for i, side in enumerate(data) if side == 1} if axes is None else {axis % len(data) for axis in axes}
    if any(data[axis] != 1 for axis in gone):
        raise ValueError(f"{as_text(data)} without sides {sorted(gone)}")
    return one(tuple(side for i, side in enumerate(data) if i not in gone))


def _unsqueeze(call: Call) -> RuleResult:
    data, axes = call.shape(0), call.numbers(1, "axes") or []
    rank = len(data) + len(axes)
    new, left = {axis % rank for axis in axes}, iter(data)
    if len(new) != len(axes):
        raise ValueError(f"one side twice, {axes}")
    return one(tuple(1 if index in new else next(left) for index in range(rank)))


def _transpose(call: Call) -> RuleResult:
    data = call.shape(0)
    order = tuple(call.attribute("perm", range(len(data))[::-1]))
    if sorted(order) != list(range(len(data))):
        raise ValueError(f"sides in order {order}")
    return one(tuple(data[axis] for axis in order))


def _slice(call: Call) -> RuleResult:
    data, starts, ends = list(call.shape(0)), call.numbers(1, "starts"), call.numbers(2, "ends")
    if starts is None or ends is None:
        raise ValueError("without starts or ends")
    axes = call.numbers(3, "axes") or list(range(len(starts)))
    steps = call.numbers(4, "steps") or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        side = data[axis]
        last = None if step < 0 and end < -side else end  # before the first element
        data[axis] = len(range(*slice(start, last, step).indices(side)))
    return one(tuple(data))


def _gather(call: Call) -> RuleResult:
    data, index = call.shape(0), call.shape(1)
    axis = _axis(call, len(data), 0)
    return one((*data[:axis], *index, *data[axis + 1 :]))


def _depth_to_space(call: Call) -> RuleResult:
    (batch, channels, height, width), block = call.shape(0), call.node.attributes["blocksize"]
    if channels % block**2:
        raise ValueError(f"{channels} channels in blocks of {block}")
    return one((batch, channels // block**2, height * block, width * block))


def _space_to_depth(call: Call) -> RuleResult:
    (batch, channels, height, width), block = call.shape(0), call.node.attributes["blocksize"]
    return one((batch, channels * block**2, height // block, width // block), call.elements(0))


def _reduce(call: Call) -> RuleResult:
    data, axes = call.shape(0), call.numbers(1, "axes")
    if not axes and call.attribute("noop_with_empty_axes", 0):
        return one(data)
    gone = set(range(len(data))) if not axes else {axis % len(data) for axis in axes}
    return one(_without(data, gone, keep=call.attribute("keepdims", 1)), call.elements(0))


def _argmax(call: Call) -> RuleResult:
    data = call.shape(0)
    return one(_without(data, {_axis(call, len(data), 0)}, keep=call.attribute("keepdims", 1)), call.elements(0))


def _without(data: Shape, gone: set[int], *, keep: int) -> Shape:
    kept = [(1 if axis in gone else side) for axis, side in enumerate(data) if keep or axis not in gone]
    return tuple(kept)


def _shape(call: Call) -> RuleResult:
    return one((len(call.sides()),))


def _constant(call: Call) -> RuleResult:
    return one(call.constant().shape)


def _range(call: Call) -> RuleResult:
    start, limit, step = (call.value(index).item() for index in range(3))
    return one((max(0, ceil((limit - start) / step)),))


def _expand(call: Call) -> RuleResult:
    return one(joined(call.shape(0), tuple(call.numbers(1, "shape") or ())))


def _constant_of_shape(call: Call) -> RuleResult:
    return one(tuple(call.numbers(0, "shape") or ()))


def _tile(call: Call) -> RuleResult:
    data, repeats = call.shape(0), call.numbers(1, "repeats") or []
    return one(tuple(side * times for side, times in zip(data, repeats, strict=True)))


def _pad(call: Call) -> RuleResult:
    data, pads = list(call.shape(0)), call.numbers(1, "pads") or []
    axes = call.numbers(3, "axes") or list(range(len(data)))
    for axis, before, behind in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        data[axis] += before + behind
    return one(tuple(data))


MOVING: dict[str, Rule] = {
    **dict.fromkeys(("ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum"), _reduce),
    **dict.fromkeys(("ArgMax", "ArgMin"), _argmax),
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
