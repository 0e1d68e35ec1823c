"""Kernels of TensorFlow Lite that copy codes, the same in every runtime: `kernel(op, *values)` (rule 10)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.quantization.program import Operator

Array = NDArray[Any]


def _nearest(op: Operator, codes: Array, size: Array) -> Array:
    rows, columns = (
        np.floor(np.arange(int(new)).astype(np.float32) * (np.float32(old) / np.float32(new))).astype(np.int64)
        for old, new in zip(codes.shape[1:3], size, strict=True)
    )
    return codes[:, rows.clip(max=codes.shape[1] - 1)][:, :, columns.clip(max=codes.shape[2] - 1)]


def _concatenate(op: Operator, *parts: Array) -> Array:
    return np.concatenate(parts, op.options["axis"])


def _slice(op: Operator, codes: Array, begin: Array, size: Array) -> Array:
    return codes[tuple(slice(first, first + count) for first, count in zip(begin, size, strict=True))]


def _gather(op: Operator, codes: Array, places: Array) -> Array:
    return codes.take(places, op.options["axis"])


def _pad(op: Operator, codes: Array, pads: Array) -> Array:
    return np.pad(codes, pads.tolist(), constant_values=op.output.zero_point)


def _mirror_pad(op: Operator, codes: Array, pads: Array) -> Array:
    return np.pad(codes, pads.tolist(), mode=op.options["mode"].lower())


def _arg_max(op: Operator, codes: Array, axis: Array) -> Array:
    return codes.argmax(int(axis[0]))


def _reshape(op: Operator, codes: Array, shape: Array) -> Array:
    return codes.reshape(tuple(shape))


def _transpose(op: Operator, codes: Array, order: Array) -> Array:
    return np.ascontiguousarray(codes.transpose(tuple(order)))


def _depth_to_space(op: Operator, codes: Array) -> Array:
    block, (_, height, width, channels) = op.options["block_size"], codes.shape
    parts = codes.reshape(height, width, block, block, channels // block**2)
    return np.ascontiguousarray(parts.transpose(0, 2, 1, 3, 4)).reshape(op.output.shape)


def _space_to_depth(op: Operator, codes: Array) -> Array:
    block, (_, height, width, channels) = op.options["block_size"], codes.shape
    parts = codes.reshape(height // block, block, width // block, block, channels)
    return np.ascontiguousarray(parts.transpose(0, 2, 1, 3, 4)).reshape(op.output.shape)


def _largest(op: Operator, codes: Array, axes: Array) -> Array:
    return codes.max(tuple(axes), keepdims=True)


def _smallest(op: Operator, codes: Array, axes: Array) -> Array:
    return codes.min(tuple(axes), keepdims=True)


def _cast(op: Operator, codes: Array) -> Array:
    return codes.astype(op.output.type)


COPIES: Mapping[str, Callable[..., Array]] = {
    "ARG_MAX": _arg_max,
    "CAST": _cast,
    "CONCATENATION": _concatenate,
    "DEPTH_TO_SPACE": _depth_to_space,
    "GATHER": _gather,
    "MIRROR_PAD": _mirror_pad,
    "PAD": _pad,
    "REDUCE_MAX": _largest,
    "REDUCE_MIN": _smallest,
    "RESHAPE": _reshape,
    "RESIZE_NEAREST_NEIGHBOR": _nearest,
    "SLICE": _slice,
    "SPACE_TO_DEPTH": _space_to_depth,
    "TRANSPOSE": _transpose,
}
"""By TensorFlow Lite's names."""
