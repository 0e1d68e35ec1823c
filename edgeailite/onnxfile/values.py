"""Values of small tensors that do not depend on pictures, as far as sizes are computed from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.onnxfile.call import Call, Shape
from edgeailite.onnxfile.constants import TYPES

Array = NDArray[Any]
Compute = Callable[[Call, Shape], Array]
"""The value of a node whose inputs are known; its shape is known before."""


def _divide(a: Array, b: Array) -> Array:
    """Whole numbers are cut towards zero."""
    if a.dtype.kind == "f":
        return np.divide(a, b)
    return (np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))).astype(a.dtype)


def _of_one(function: Callable[[Array], Array]) -> Compute:
    return lambda call, shape: function(call.value(0))


def _of_two(function: Callable[[Array, Array], Array]) -> Compute:
    return lambda call, shape: function(call.value(0), call.value(1))


def _reshaped(call: Call, shape: Shape) -> Array:
    return call.value(0).reshape(shape)


def _sliced(call: Call, shape: Shape) -> Array:
    data = call.value(0)
    starts, ends = call.numbers(1, "starts") or [], call.numbers(2, "ends") or []
    axes = call.numbers(3, "axes") or list(range(len(starts)))
    steps = call.numbers(4, "steps") or [1] * len(starts)
    index: list[slice] = [slice(None)] * data.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        index[axis] = slice(start, None if step < 0 and end < -data.shape[axis] else end, step)
    return data[tuple(index)]


def _ranged(call: Call, shape: Shape) -> Array:
    start, step = call.value(0), call.value(2)
    return (start + np.arange(shape[0]) * step).astype(start.dtype)


def _filled(call: Call, shape: Shape) -> Array:
    return np.full(shape, call.filling().reshape(()))


def _clipped(call: Call, shape: Shape) -> Array:
    """Limits are inputs, or attributes as in older opsets."""
    given = [index < len(call.shapes) and call.shapes[index] is not None for index in (1, 2)]
    low, high = (
        call.value(index) if known else call.attribute(name, None)
        for index, name, known in zip((1, 2), ("min", "max"), given, strict=True)
    )
    data = call.value(0)
    return data if low is None and high is None else np.clip(data, low, high).astype(data.dtype)


VALUES: dict[str, Compute] = {
    "Abs": _of_one(np.abs),
    "Add": _of_two(np.add),
    "And": _of_two(np.logical_and),
    "Cast": lambda call, shape: call.value(0).astype(TYPES[call.node.attributes["to"]]),
    "CastLike": lambda call, shape: call.value(0).astype(call.value(1).dtype),
    "Ceil": _of_one(np.ceil),
    "Clip": _clipped,
    "Concat": lambda call, shape: np.concatenate(
        [call.value(index) for index in range(len(call.values))], call.node.attributes["axis"]
    ),
    "Constant": lambda call, shape: call.constant(),
    "ConstantOfShape": _filled,
    "Div": _of_two(_divide),
    "Equal": _of_two(np.equal),
    "Expand": lambda call, shape: np.broadcast_to(call.value(0), shape),
    "Floor": _of_one(np.floor),
    "Gather": lambda call, shape: np.take(call.value(0), call.value(1), call.attribute("axis", 0)),
    "Greater": _of_two(np.greater),
    "GreaterOrEqual": _of_two(np.greater_equal),
    "Identity": _of_one(np.asarray),
    "Less": _of_two(np.less),
    "LessOrEqual": _of_two(np.less_equal),
    "Max": _of_two(np.maximum),
    "Min": _of_two(np.minimum),
    "Mod": lambda call, shape: (np.fmod if call.attribute("fmod", 0) else np.mod)(call.value(0), call.value(1)),
    "Mul": _of_two(np.multiply),
    "Neg": _of_one(np.negative),
    "Not": _of_one(np.logical_not),
    "Or": _of_two(np.logical_or),
    "Range": _ranged,
    "ReduceProd": lambda call, shape: np.prod(call.value(0)).reshape(shape).astype(call.value(0).dtype),
    "Reshape": _reshaped,
    "Sign": _of_one(np.sign),
    "Shape": lambda call, shape: np.array(call.sides(), np.int64),
    "Slice": _sliced,
    "Sqrt": _of_one(np.sqrt),
    "Squeeze": _reshaped,
    "Sub": _of_two(np.subtract),
    "Transpose": lambda call, shape: call.value(0).transpose(call.attribute("perm", None)),
    "Unsqueeze": _reshaped,
    "Where": lambda call, shape: np.where(call.value(0), call.value(1), call.value(2)),
}
KNOWN_WITHOUT_VALUES = ("Shape", "Constant")
