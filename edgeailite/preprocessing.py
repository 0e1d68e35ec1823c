"""From a decoded picture to the network's input, in numpy alone: what a device has to reproduce.

Rules: (1) resize uint8 RGB to (height, width) with OpenCV's INTER_LINEAR_EXACT, (2) reverse channels if the
order is BGR, (3) subtract `mean` and multiply by `scale` in float32. Training does rule 1 with OpenCV; here it
is written out in integers (8 fractional bits per axis, as in OpenCV's `resize_bitExact`), bit for bit the same,
so that an exported file can be checked without OpenCV. INTER_LINEAR differs between builds; this does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FRACTION_BITS = 8


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes input: size in pixels, `(x - mean) * scale` per channel, channel order."""

    height: int
    width: int
    mean: tuple[float, float, float] = (128.0, 128.0, 128.0)
    scale: tuple[float, float, float] = (1 / 64, 1 / 64, 1 / 64)
    channel_order: str = "RGB"
    interpolation: str = "linear_exact"

    @property
    def input_range(self) -> tuple[float, float]:
        """Smallest and largest value a uint8 picture can give."""
        ends = [(v - m) * s for m, s in zip(self.mean, self.scale, strict=True) for v in (0.0, 255.0)]
        return min(ends), max(ends)


def resize_linear_exact(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize (H,W,C) uint8 to (height,width,C), equal to cv2.resize(..., INTER_LINEAR_EXACT) in every byte."""
    if image.shape[:2] == (height, width):
        return image
    left, right, right_weight = _axis(image.shape[1], width)
    top, bottom, bottom_weight = _axis(image.shape[0], height)
    one = np.uint32(1 << FRACTION_BITS)
    wide = image.astype(np.uint32)
    rows = wide[:, left] * (one - right_weight)[:, None] + wide[:, right] * right_weight[:, None]
    total = rows[top] * (one - bottom_weight)[:, None, None] + rows[bottom] * bottom_weight[:, None, None]
    half = np.uint32(1 << (2 * FRACTION_BITS - 1))
    return ((total + half) // np.uint32(1 << (2 * FRACTION_BITS))).astype(np.uint8)


def normalize(image: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """(H,W,3) uint8 RGB of the right size -> (3,H,W) float32."""
    ordered = image[..., ::-1] if preprocessing.channel_order == "BGR" else image
    mean, scale = np.array(preprocessing.mean, np.float32), np.array(preprocessing.scale, np.float32)
    values: NDArray[np.float32] = (ordered.astype(np.float32) - mean) * scale
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def preprocess(image: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """A picture (H,W,3) uint8 RGB of any size -> network input (1,3,height,width) float32."""
    if preprocessing.interpolation != "linear_exact":
        raise ValueError(f"interpolation {preprocessing.interpolation!r}: only linear_exact can be reproduced")
    return normalize(resize_linear_exact(image, preprocessing.height, preprocessing.width), preprocessing)[None]


def _axis(size: int, new_size: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint32]]:
    """Neighbours and the fixed-point weight of the second one, for every new position."""
    step = 1.0 / (new_size / size)  # as OpenCV rounds it; size / new_size may be the next float, and its weight too
    centre = step * (np.arange(new_size) + 0.5) - 0.5
    first = np.floor(centre).astype(np.int64)
    weight = np.rint((centre - first) * (1 << FRACTION_BITS)).astype(np.uint32)
    inside = (first >= 0) & (first < size - 1)
    first = np.clip(first, 0, size - 1)
    return first, np.minimum(first + 1, size - 1), np.where(inside, weight, 0).astype(np.uint32)
