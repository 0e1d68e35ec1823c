"""The operators of other people's networks (`quantization.operators`) in TensorFlow Lite's form.

Continues the rules of `lowering`:
 8. A function of one value, a PReLU, and an activation that no operator fuses are tables: CAST of codes to int32, ADD
    of the place of code 0 in the table of its channel, GATHER. The codes are those of the file for onnxruntime.
 9. An average pooling without padding, or that counts it, is a DEPTHWISE_CONV_2D of ones, as AVERAGE_POOL_2D has no
    scale of its own for its result.
10. A linear layer is a CONV_2D of one pixel, between RESHAPEs.
11. What moves values is run once on the places of its input, and becomes what gives each result its place: RESHAPE and
    TRANSPOSE, SLICE, GATHER along an axis, or GATHER of single values. PixelShuffle is DEPTH_TO_SPACE behind a GATHER:
    TensorFlow Lite has another order of channels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from edgeailite.errors import UsageError
from edgeailite.quantization.codes import Codes, rounded
from edgeailite.quantization.convert import MIDDLE, CodeTotal, Constant, IntegerLinear, Quantize
from edgeailite.quantization.graph import ACTIVATIONS
from edgeailite.quantization.operator_rules import COUNT, resize_nearest, run_operator
from edgeailite.quantization.operators import MOVES, TABLES, MaxUnpool, Move, Multiply, Pad, Subtract
from edgeailite.quantization.pooling import per_axis
from edgeailite.quantization.program import Kind, Value, Window
from edgeailite.quantization.program_builder import (
    CHANNELS_FIRST,
    CHANNELS_LAST,
    PICTURE,
    ProgramBuilder,
    Waiting,
    program_shape,
    torch_shape,
)

Array = NDArray[Any]
RULE = "onnxruntime_x86"  # whose rules fill tables; functions of one value are the same in all
LOWEST = -MIDDLE  # code of int8
MOST_PLACES = 2**20  # values that a GATHER of single values may take
EXTREMES: dict[Any, Kind] = {torch.amax: "REDUCE_MAX", torch.amin: "REDUCE_MIN"}
FIX = "export the network for onnxruntime"
EIGHT_BITS = "give it and its inputs 8 bits in the plan"


def lower_operator(
    build: ProgramBuilder, name: str, module: nn.Module, arguments: Sequence[Any], options: Mapping[str, Any]
) -> Value | Waiting | None:
    """Return the form of an operator of other people's networks; None of a module that is none.

    Raises UsageError, with the operator's name, for one that has no form in TensorFlow Lite.
    """
    for kinds, form in FORMS:
        if isinstance(module, kinds):
            if any(isinstance(argument, Value) and argument.type == "int16" for argument in arguments):
                raise _refuse(name, f"{type(module).__name__} of 16 bits", EIGHT_BITS)
            found = form(build, name, module, *arguments, **options)
            return replace(found, narrow=True) if isinstance(found, Waiting) else found
    return None


def _refuse(name: str, what: str, fix: str = FIX) -> UsageError:
    return UsageError(f"{what} has no form in TensorFlow Lite here", path=name, fix=fix, code="no-integer-form")


# --- arithmetic


def constant(build: ProgramBuilder, name: str, module: Constant) -> Value:
    """Return the codes of a constant."""
    shift = MIDDLE if module.zero_point.dtype == torch.uint8 else 0
    codes = (module.codes_.to(torch.int16) - shift).to(torch.int8).numpy()
    codes = np.ascontiguousarray(codes.transpose(CHANNELS_LAST)) if codes.ndim == PICTURE else codes
    scale = np.array([float(module.scale)], np.float32)
    return build.constant(name, codes, scale=scale, zero_point=int(module.zero_point) - shift)


def elementwise(build: ProgramBuilder, kind: Kind, a: Value, b: Value) -> Waiting:
    """Return arithmetic on two tensors, of equal shapes or broadcast."""
    rank = max(len(a.shape), len(b.shape))
    operands = [_broadcast(build, value, rank) for value in (a, b)]
    return Waiting(kind, operands, np.broadcast_shapes(*(value.shape for value in operands)))


def _broadcast(build: ProgramBuilder, value: Value, rank: int) -> Value:
    """Return an operand with as many sides as the other one; torch adds them in front."""
    if len(value.shape) == rank:
        return value
    shape = program_shape((1,) * (rank - len(value.shape)) + value.shape)
    if value.data is not None:
        order = CHANNELS_LAST if rank == PICTURE else range(rank)
        data = value.data.reshape((1,) * (rank - len(value.shape)) + value.shape).transpose(tuple(order))
        return replace(value, name=build.unused(value.name), shape=shape, data=np.ascontiguousarray(data))
    return build.reshape(f"{value.name}.broadcast", value, shape)


def concatenation(parts: Sequence[Value], dim: int) -> Waiting:
    """Return a concatenation along an axis of torch's tensors."""
    axis = _axis(dim, len(parts[0].shape))
    length = sum(part.shape[axis] for part in parts)
    shape = (*parts[0].shape[:axis], length, *parts[0].shape[axis + 1 :])
    return Waiting("CONCATENATION", list(parts), shape, {"axis": axis})


def _multiply(build: ProgramBuilder, name: str, module: nn.Module, a: Value, b: Value) -> Waiting:
    return elementwise(build, "MUL", a, b)


def _subtract(build: ProgramBuilder, name: str, module: nn.Module, a: Value, b: Value) -> Waiting:
    return elementwise(build, "SUB", a, b)


def linear(build: ProgramBuilder, name: str, module: IntegerLinear, x: Value) -> Waiting:
    """Rule 10."""
    *rows, channels = torch_shape(x.shape)
    pixels = build.reshape(f"{name}.pixels", build.in_torch_order(name, x), (1, math.prod(rows), 1, channels))
    options = {"stride": (1, 1), "dilation": (1, 1), "padding": "VALID"}
    outputs = module.weight.shape[0]
    shape, conv = (1, math.prod(rows), 1, outputs), (name, module.as_convolution())
    finish = partial(_in_program_order, build, shape=(*rows, outputs))
    return Waiting("CONV_2D", [pixels], shape, options, conv=conv, finish=finish)


def _average(build: ProgramBuilder, name: str, module: nn.AvgPool2d, x: Value) -> Waiting:
    """Rule 9."""
    kernel, stride, padding = (per_axis(value) for value in (module.kernel_size, module.stride, module.padding))
    out = [(n + 2 * p - k) / s + 1 for n, k, s, p in zip(x.shape[1:3], kernel, stride, padding, strict=True)]
    if any(padding) and not module.count_include_pad:
        raise _refuse(name, "an average pooling that does not count its padding", "use count_include_pad=True")
    if module.ceil_mode and any(n % 1 for n in out):
        raise _refuse(name, "an average pooling that rounds its size up", "use ceil_mode=False")
    pads = [(0, 0), *((p, p) for p in padding), (0, 0)]
    x = _padded(build, name, x, pads) if any(padding) else x
    channels, count = x.shape[3], kernel[0] * kernel[1]
    scale = np.full(channels, 1 / count, np.float32)
    weight = build.constant(f"{name}.weight", np.ones((1, *kernel, channels), np.int8), scale=scale, axis=3)
    assert x.scale is not None
    bias = build.constant(f"{name}.bias", np.zeros(channels, np.int32), scale=(x.scale * scale).astype(np.float32))
    options = {"stride": stride, "dilation": (1, 1), "padding": "VALID", "depth_multiplier": 1}
    shape = (1, *(int(n) for n in out), channels)
    return Waiting("DEPTHWISE_CONV_2D", [x, weight, bias], shape, options)


def _total(build: ProgramBuilder, name: str, module: CodeTotal, x: Value) -> Waiting:
    if not module.mean:
        raise _refuse(name, "a sum over axes")
    rank = len(x.shape)
    axes = [_axis(dim, rank) for dim in module.dims]
    shape = tuple(1 if axis in axes else side for axis, side in enumerate(x.shape))
    places = build.constant(f"{name}.axes", np.array(sorted(axes), np.int32))
    finish = None if module.keepdim else partial(_reshaped, build, shape=_without(x, axes))
    return Waiting("MEAN", [x, places], shape, {"keep_dims": True}, finish=finish)


def _axis(dim: int, rank: int) -> int:
    """Return the program's axis of an axis of torch's tensor."""
    return CHANNELS_LAST.index(dim % rank) if rank == PICTURE else dim % rank


def _without(x: Value, axes: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of torch's tensor without some axes, given as the program's."""
    order = CHANNELS_FIRST if len(x.shape) == PICTURE else range(len(x.shape))
    return tuple(x.shape[axis] for axis in order if axis not in axes)


# --- tables


def table(build: ProgramBuilder, name: str, module: nn.Module, x: Value) -> Waiting:
    """Rule 8."""
    if isinstance(module, nn.PReLU) and module.num_parameters > 1 and len(x.shape) not in (2, PICTURE):
        raise _refuse(name, f"PReLU on {len(x.shape)} sides")
    return Waiting("TABLE", [x], x.shape, table=module)


def append_table(build: ProgramBuilder, module: nn.Module, x: Value, output: Value, quantize: Quantize) -> Value:
    """Append the operators of a table whose result has the codes of `quantize`."""
    name, codes = output.name, table_codes(module, x, quantize)
    offsets = np.arange(len(codes), dtype=np.int32) * COUNT - LOWEST
    sides = (1,) * (len(x.shape) - 1)
    start = build.constant(f"{name}.start", offsets.reshape((*sides, len(codes))))
    numbers, places = (Value(build.unused(f"{name}.{part}"), x.shape, "int32") for part in ("codes", "places"))
    build.append("CAST", [x], numbers)
    build.append("ADD", [numbers, start], places, activation="NONE")
    entries = build.constant(f"{name}.table", codes.reshape(-1), scale=output.scale, zero_point=output.zero_point)
    return build.append("GATHER", [entries, places], output, axis=0)


def table_codes(module: nn.Module, x: Value, quantize: Quantize) -> Array:
    """Return a function's int8 codes (channels, 256) for all codes of x, from -128 on; one row if all are alike."""
    channels = module.weight.numel() if isinstance(module, nn.PReLU) else 1
    codes = (torch.arange(COUNT).float() + LOWEST).expand(1, channels, 1, COUNT)
    given = Codes(codes, torch.from_numpy(x.scale)[0], torch.tensor(float(x.zero_point)), low=LOWEST)
    if isinstance(module, ACTIVATIONS):
        found = rounded(module(given.dequantize()), quantize)
    else:
        finish = run_operator(module, [given], {}, RULE)
        assert callable(finish)
        found = finish(quantize)
    shift = MIDDLE if quantize.zero_point.dtype == torch.uint8 else 0
    clamped = found.detach().clamp(*quantize.codes()) - shift
    return clamped.to(torch.int8).reshape(channels, COUNT).numpy()


# --- what moves values


def _move(build: ProgramBuilder, name: str, module: nn.Module, x: Value, *arguments: Any, **options: Any) -> Value:
    if isinstance(module, Move) and module.function in EXTREMES:
        return _extreme(build, name, EXTREMES[module.function], x, *arguments, **options)
    if isinstance(module, nn.PixelShuffle | nn.PixelUnshuffle):
        return _shuffle(build, name, module, x)
    if isinstance(module, nn.AdaptiveMaxPool2d):
        raise _refuse(name, "an adaptive maximum pooling", "use a maximum pooling with a window")
    if isinstance(module, MaxUnpool):
        raise _refuse(name, "a maximum unpooling", "enlarge by a resize or a transposed convolution")
    if isinstance(module, Pad) and module.mode == "constant":
        return _pad(build, name, x, *arguments)
    return moved(build, name, x, lambda places: module(places, *arguments, **options))


def nearest(build: ProgramBuilder, name: str, x: Value, size: tuple[int, int]) -> Value:
    """Resize to the nearest neighbour, where onnxruntime takes it too."""
    if all(new % old == 0 for old, new in zip(x.shape[1:3], size, strict=True)):
        sides = build.constant(f"{name}.size", np.array(size, np.int32))
        how = {"align_corners": False, "half_pixel_centers": False}
        return build.copied("RESIZE_NEAREST_NEIGHBOR", name, [x, sides], (1, *size, x.shape[3]), **how)
    return moved(build, name, x, lambda places: resize_nearest(places, size))


def more_rows(build: ProgramBuilder, name: str, x: Value, window: Window) -> Value:
    """Repeat the last row and column as often as a maximum pooling that rounds its size up reaches beyond them."""
    more = []
    for n, k, s, p in zip(x.shape[1:3], window.kernel, window.stride, window.padding, strict=True):
        count = -(-(n + 2 * p - k) // s) + 1
        count -= (count - 1) * s >= n + p  # as torch: a window begins in the picture
        more.append(max((count - 1) * s + k - n - 2 * p, 0))
    ends = (0, more[1], 0, more[0])
    return moved(build, f"{name}.more", x, lambda places: F.pad(places, ends, "replicate")) if any(more) else x


def moved(build: ProgramBuilder, name: str, x: Value, function: Callable[[Tensor], Tensor]) -> Value:
    """Append what gives every value the place that `function` gives it (rule 11)."""
    before = torch_shape(x.shape)
    count = math.prod(before)
    places = function(torch.arange(count).reshape(before).double()).long().numpy()
    after = places.shape
    if np.array_equal(places.reshape(-1), np.arange(count)):
        return _reshaped(build, name, x, after)
    found = _along_axes(places, before) if len(after) == len(before) else None
    if found is not None:
        return _picked(build, name, x, found)
    order = _order(places, before)
    if order is not None:
        if len(order) == PICTURE:
            order = tuple(CHANNELS_LAST.index(order[axis]) for axis in CHANNELS_LAST)
        return build.transpose(name, x, order)
    if places.size > MOST_PLACES:
        raise _refuse(name, f"a move of {places.size} single values")
    flat = build.reshape(f"{name}.flat", build.in_torch_order(name, x), (count,))
    return _in_program_order(build, name, build.gather(f"{name}.values", flat, places.reshape(-1), 0), after)


def _reshaped(build: ProgramBuilder, name: str, x: Value, shape: Sequence[int]) -> Value:
    """Give a tensor another shape in torch's order of values."""
    if program_shape(shape) == x.shape:
        return x
    return _in_program_order(build, name, build.in_torch_order(name, x), shape)


def _in_program_order(build: ProgramBuilder, name: str, x: Value, shape: Sequence[int]) -> Value:
    if len(shape) != PICTURE:
        return build.reshape(name, x, shape)
    return build.transpose(name, build.reshape(f"{name}.sides", x, shape), CHANNELS_LAST)


def _along_axes(places: Array, before: tuple[int, ...]) -> list[Array] | None:
    """Return the places along each axis, where the axes do not depend on each other; None else."""
    found = []
    for axis, coordinate in enumerate(np.unravel_index(places, before)):
        line = np.moveaxis(coordinate, axis, 0).reshape(places.shape[axis], -1)
        if line.size == 0 or (line != line[:, :1]).any():
            return None
        found.append(line[:, 0])
    return found


def _picked(build: ProgramBuilder, name: str, x: Value, along: list[Array]) -> Value:
    """Take places along each axis: one SLICE for those that follow each other, a GATHER for every other axis."""
    axes = CHANNELS_LAST if len(along) == PICTURE else tuple(range(len(along)))
    for axis, places in enumerate(along[i] for i in axes):
        if not _follow(places):
            x = build.gather(f"{name}.{axis}", x, places, axis)
    begins = [int(places[0]) if _follow(places) else 0 for places in (along[i] for i in axes)]
    shape = tuple(len(along[i]) for i in axes)
    return x if shape == x.shape else build.slice(name, x, begins, shape)


def _follow(places: Array) -> bool:
    return bool((np.diff(places) == 1).all())


def _order(places: Array, before: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the order of axes that gives these places; None where none does."""
    source = np.arange(math.prod(before)).reshape(before)
    orders = itertools.permutations(range(len(before))) if len(before) == places.ndim else ()
    return next((o for o in orders if np.array_equal(source.transpose(o), places)), None)


def _extreme(
    build: ProgramBuilder, name: str, kind: Kind, x: Value, dim: int | Sequence[int] = (), keepdim: bool = False
) -> Value:
    rank, dims = len(x.shape), [dim] if isinstance(dim, int) else list(dim)
    axes = sorted(_axis(axis, rank) for axis in dims or range(rank))
    shape = tuple(1 if axis in axes else side for axis, side in enumerate(x.shape))
    places = build.constant(f"{name}.axes", np.array(axes, np.int32))
    found = build.copied(kind, f"{name}.found", [x, places], shape, keep_dims=True)
    return found if keepdim else _reshaped(build, name, found, _without(x, axes))


def _pad(build: ProgramBuilder, name: str, x: Value, pads: Sequence[int], value: float = 0.0) -> Value:
    """Add zeros; negative amounts cut off."""
    if value:
        raise _refuse(name, f"a padding with {value:g}", "pad with 0")
    cut, added = [min(int(n), 0) for n in pads], [max(int(n), 0) for n in pads]
    if any(cut):
        x = moved(build, f"{name}.cut", x, lambda places: F.pad(places, cut))
    rank = len(x.shape)
    ends = [(0, 0)] * rank
    for index in range(len(added) // 2):
        ends[_axis(rank - 1 - index, rank)] = (added[2 * index], added[2 * index + 1])
    return _padded(build, name, x, ends) if any(added) else x


def _padded(build: ProgramBuilder, name: str, x: Value, ends: Sequence[tuple[int, int]]) -> Value:
    rows = build.constant(f"{name}.pads", np.array(ends, np.int32))
    shape = [side + sum(end) for side, end in zip(x.shape, ends, strict=True)]
    return build.copied("PAD", f"{name}.padded", [x, rows], shape)


def _shuffle(build: ProgramBuilder, name: str, module: nn.PixelShuffle | nn.PixelUnshuffle, x: Value) -> Value:
    """Torch's order of channels is (channel, row, column), TensorFlow Lite's (row, column, channel)."""
    _, height, width, channels = x.shape
    if isinstance(module, nn.PixelShuffle):
        block = module.upscale_factor
        few = channels // block**2
        places = np.arange(channels).reshape(few, block**2).T.reshape(-1)
        x = build.gather(f"{name}.channels", x, places, 3)
        shape = (1, height * block, width * block, few)
        return build.copied("DEPTH_TO_SPACE", name, [x], shape, block_size=block)
    block = module.downscale_factor
    shape = (1, height // block, width // block, channels * block**2)
    deep = build.copied("SPACE_TO_DEPTH", name, [x], shape, block_size=block)
    return build.gather(f"{name}.channels", deep, np.arange(shape[3]).reshape(block**2, channels).T.reshape(-1), 3)


FORMS: tuple[tuple[Any, Callable[..., Value | Waiting]], ...] = (
    (MOVES, _move),
    ((*TABLES, nn.PReLU), table),
    (Multiply, _multiply),
    (Subtract, _subtract),
    (IntegerLinear, linear),
    (nn.AvgPool2d, _average),
    (CodeTotal, _total),
)
