"""From a decoded picture to the network's input, in numpy alone: what a device has to reproduce.

Rules: (1) resize uint8 RGB to (height, width), (2) reverse channels if the order is BGR, (3) subtract `mean` and
multiply by `scale` in float32. Training does rule 1 with OpenCV; here it is written out, so that an exported file can
be checked without OpenCV. `interpolation` names how rule 1 goes:

- `linear_exact` is OpenCV's INTER_LINEAR_EXACT in integers (8 fractional bits per axis, as in its `resize_bitExact`),
  bit for bit the same. INTER_LINEAR differs between builds; this does not.
- `area` is the published recipes' rule: OpenCV's INTER_AREA when height or width shrinks, else `linear_exact`.
  OpenCV adds up in float32, in an order that may differ between builds: equal within 1 of 255. Against OpenCV 5.0 on
  x86 no value differs where nothing grows; where one side shrinks and the other grows, one value in ten does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

FRACTION_BITS = 8
CHANNEL_ORDERS = ("RGB", "BGR")
SLIVER = 1e-3  # OpenCV leaves out source pixels that a new pixel covers less than this


@dataclass(frozen=True)
class Preprocessing:
    """Steps from a picture to the input: size in pixels, `(x - mean) * scale` per channel, order, resize rule."""

    height: int
    width: int
    mean: tuple[float, float, float] = (128.0, 128.0, 128.0)
    scale: tuple[float, float, float] = (1 / 64, 1 / 64, 1 / 64)
    channel_order: str = "RGB"
    interpolation: str = "linear_exact"

    def __post_init__(self) -> None:
        if self.channel_order not in CHANNEL_ORDERS:  # or every reader would have to know what else it may be
            raise ValueError(f"channel order {self.channel_order!r}: known are {', '.join(CHANNEL_ORDERS)}")

    @property
    def size(self) -> tuple[int, int]:
        """Return height and width of the network's input in pixels."""
        return self.height, self.width

    def with_size(self, size: tuple[int, int]) -> Preprocessing:
        """Return the same rules for an input of another height and width in pixels."""
        return replace(self, height=size[0], width=size[1])

    @property
    def input_range(self) -> tuple[float, float]:
        """Return the smallest and largest value a uint8 picture can give."""
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


def resize_area(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize (H,W,C) uint8 to (height,width,C) as cv2.resize(..., INTER_AREA) does within 1; see the module."""
    old_height, old_width = image.shape[:2]
    if height >= old_height and width >= old_width:
        return resize_linear_exact(image, height, width)
    if old_height % height == 0 and old_width % width == 0:
        return _whole_cells(image, height, width)
    axis = _area_axis if height <= old_height and width <= old_width else _mixed_axis
    columns, column_weights = axis(old_width, width)
    rows, row_weights = axis(old_height, height)
    wide = np.zeros((old_height, width, image.shape[2]), np.float32)
    for index, weight in zip(columns.T, column_weights.T, strict=True):
        wide += image[:, index] * weight[:, None]
    total = np.zeros((height, width, image.shape[2]), np.float32)
    for index, weight in zip(rows.T, row_weights.T, strict=True):
        total += wide[index] * weight[:, None, None]
    return np.clip(np.rint(total), 0, 255).astype(np.uint8)


RESIZES = {"linear_exact": resize_linear_exact, "area": resize_area}


def normalize(image: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Normalise (H,W,3) uint8 RGB of the right size to (3,H,W) float32."""
    ordered = image[..., ::-1] if preprocessing.channel_order == "BGR" else image
    mean, scale = np.array(preprocessing.mean, np.float32), np.array(preprocessing.scale, np.float32)
    values: NDArray[np.float32] = (ordered.astype(np.float32) - mean) * scale
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def normalize_batch(images: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Normalise (N,3,H,W) uint8 RGB of the right size to float32 of the same shape."""
    ordered = images[:, ::-1] if preprocessing.channel_order == "BGR" else images
    mean, scale = (np.array(part, np.float32)[:, None, None] for part in (preprocessing.mean, preprocessing.scale))
    values: NDArray[np.float32] = (ordered.astype(np.float32) - mean) * scale
    return values


def preprocess(image: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Resize and normalise a picture (H,W,3) uint8 RGB to a network input (1,3,height,width) float32."""
    if preprocessing.interpolation not in RESIZES:
        raise ValueError(f"interpolation {preprocessing.interpolation!r}: only {', '.join(RESIZES)} can be reproduced")
    resized = RESIZES[preprocessing.interpolation](image, *preprocessing.size)
    return normalize(resized, preprocessing)[None]


def quantized_input(image: NDArray[np.float32], scale: Any, zero_point: Any, kind: str) -> NDArray[Any]:
    """Return the codes (N,H,W,C), channels last, of a network's input (N,C,H,W): those of an integer file's input.

    `scale` and `zero_point` are the input's, `kind` is its element type. Halves go to even; what is beyond the ends of
    the type is cut off.

    >>> quantized_input(np.float32([[[[0.5, 1.5]], [[-9, 9]]]]), 1 / 16, 0, "int8").tolist()
    [[[[8, -128], [24, 127]]]]
    """
    limits = np.iinfo(kind)
    codes = np.rint(image.transpose(0, 2, 3, 1) / scale) + zero_point
    return np.clip(codes, limits.min, limits.max).astype(kind)


def _axis(size: int, new_size: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint32]]:
    """Neighbours and the fixed-point weight of the second one, for every new position."""
    step = 1.0 / (new_size / size)  # as OpenCV rounds it; size / new_size may be the next float, and its weight too
    centre = step * (np.arange(new_size) + 0.5) - 0.5
    first = np.floor(centre).astype(np.int64)
    weight = np.rint((centre - first) * (1 << FRACTION_BITS)).astype(np.uint32)
    inside = (first >= 0) & (first < size - 1)
    first = np.clip(first, 0, size - 1)
    return first, np.minimum(first + 1, size - 1), np.where(inside, weight, 0).astype(np.uint32)


def _whole_cells(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Mean of cells of whole pixels; OpenCV rounds those of 2x2 up at one half, others to even."""
    down, across = image.shape[0] // height, image.shape[1] // width
    total = image.reshape(height, down, width, across, -1).sum(axis=(1, 3), dtype=np.int64)
    if (down, across) == (2, 2):
        return ((total + 2) // 4).astype(np.uint8)
    return np.rint(total.astype(np.float32) * np.float32(1 / (down * across))).astype(np.uint8)


def _area_axis(size: int, new_size: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Source pixels (new_size, k) that each new pixel covers, and their shares; share 0 fills up."""
    step = 1.0 / (new_size / size)
    start = np.arange(new_size) * step
    end = np.minimum(start + step, size)
    index = np.floor(start).astype(np.int64)[:, None] + np.arange(int(np.ceil(step)) + 1)
    cover = np.minimum(index + 1, end[:, None]) - np.maximum(index, start[:, None])
    share = np.where(cover > SLIVER, cover, 0) / (end - start)[:, None]
    return np.minimum(index, size - 1), share.astype(np.float32)


def _mixed_axis(size: int, new_size: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The two neighbours and weights that INTER_AREA takes on both axes when one shrinks and the other grows."""
    ratio = new_size / size
    position = np.arange(new_size)
    first = np.floor(position * (1.0 / ratio)).astype(np.int64)
    reach = ((position + 1) - (first + 1) * ratio).astype(np.float32)
    second = np.where((reach <= 0) | (first >= size - 1), 0, reach - np.floor(reach))
    first = np.clip(first, 0, size - 1)
    index = np.stack([first, np.minimum(first + 1, size - 1)], 1)
    return index, np.stack([1 - second, second], 1).astype(np.float32)
