"""What a predictor answers, as numpy arrays of a file or torch tensors of a network: the operations that both need.

Tensors stay on their device. torch is not imported for arrays, so that a file has one accuracy whether or not it is
installed; the numpy versions give torch's values within rounding (tests/evaluation/test_values.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Values = Any
"""A numpy array, or a torch tensor on any device."""


def is_class_map(value: Values) -> bool:
    """Return True for whole numbers: the class map of a file with ArgMax, which cannot be averaged."""
    return value.dtype.kind in "iub" if isinstance(value, np.ndarray) else not value.is_floating_point()


def on_host(value: Values) -> Array:
    """Return the array of a value; of a tensor in the CPU's memory a view."""
    return value if isinstance(value, np.ndarray) else value.cpu().numpy()


def alike(array: Array, like: Values) -> Values:
    """Return an array in the form of `like`, and where that is."""
    if isinstance(like, np.ndarray):
        return array
    import torch

    return torch.from_numpy(np.ascontiguousarray(array)).to(like.device)


def resized(value: Values, size: tuple[int, int]) -> Values:
    """Resize to `size` (height, width): logits (N,C,H,W) bilinearly, class maps (N,H,W) by nearest neighbour."""
    if tuple(value.shape[-2:]) == size:
        return value
    if isinstance(value, np.ndarray):
        return _nearest(value, size) if is_class_map(value) else _bilinear(value, size)
    from torch.nn.functional import interpolate

    if is_class_map(value):
        return interpolate(value[:, None].float(), size, mode="nearest")[:, 0].long()
    return interpolate(value, size, mode="bilinear", align_corners=False)


def mirrored(value: Values) -> Values:
    """Turn pictures or outputs (N,C,H,W) left to right."""
    return np.ascontiguousarray(value[..., ::-1]) if isinstance(value, np.ndarray) else value.flip(3)


def softmax(value: Values) -> Values:
    """Return the shares of the classes (N,C,H,W), which add up to 1 over C."""
    if not isinstance(value, np.ndarray):
        return value.softmax(1)
    powers = np.exp(value - value.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def zeros(like: Values, shape: tuple[int, ...]) -> Values:
    """Return zeros of a shape, of the type of `like` and where it is."""
    return np.zeros(shape, like.dtype) if isinstance(like, np.ndarray) else like.new_zeros(shape)


def _places(old: int, new: int) -> tuple[Array, Array, Array, Array]:
    """Return for each of `new` places the two old ones between which it lies, and their weights in float32."""
    step = np.float32(old) / np.float32(new)
    place = np.maximum(step * (np.arange(new, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5), np.float32(0))
    first = np.minimum(place.astype(np.int64), old - 1)
    weight = np.clip(place - first.astype(np.float32), np.float32(0), np.float32(1))
    return first, np.minimum(first + 1, old - 1), np.float32(1) - weight, weight


def _bilinear(value: Array, size: tuple[int, int]) -> Array:
    """Resize float32 (N,C,H,W) as `interpolate(mode="bilinear", align_corners=False)`: columns first, then rows.

    Each product and sum is rounded by itself, so that every machine gives the same bits; torch's may differ.
    """
    across, down = _places(value.shape[3], size[1]), _places(value.shape[2], size[0])
    resized = np.empty((*value.shape[:2], *size), np.float32)
    for index in np.ndindex(value.shape[:2]):  # plane by plane, which stay in the cache
        resized[index] = _between(_between(value[index], across, 1), down, 0)
    return resized


def _between(plane: Array, places: tuple[Array, Array, Array, Array], axis: int) -> Array:
    """Return the weighted sums of neighbours (H,W) along an axis."""
    first, second, near, far = places
    shape = (-1, 1) if axis == 0 else (1, -1)
    total, other = np.take(plane, first, axis=axis), np.take(plane, second, axis=axis)
    total *= near.reshape(shape)
    other *= far.reshape(shape)
    total += other
    return total


def _nearest(value: Array, size: tuple[int, int]) -> Array:
    """Resize class maps (N,H,W) as `interpolate(mode="nearest")`."""
    rows, columns = (
        np.minimum(np.floor(np.arange(new, dtype=np.float32) * (np.float32(old) / np.float32(new))), old - 1)
        for old, new in zip(value.shape[1:], size, strict=True)
    )
    return value[:, rows.astype(np.int64)][:, :, columns.astype(np.int64)].astype(np.int64)
