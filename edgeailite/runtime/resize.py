"""Bilinear resizing of values with numpy, as torch and an ONNX file do it: for files that end at the decoder's size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def resize_bilinear(values: NDArray[np.float32], size: tuple[int, int], *, align_corners: bool) -> NDArray[np.float32]:
    """Resize float32 (N,H,W,C) to `size` (height, width).

    Pixels are squares, and the edge's centre goes on to the edge; with `align_corners` corner centres meet instead.
    """
    (y0, y1, down), (x0, x1, right) = (
        _axis(before, after, align_corners=align_corners) for before, after in zip(values.shape[1:3], size, strict=True)
    )
    rows = values[:, y0] + (values[:, y1] - values[:, y0]) * down[:, None, None]
    return rows[:, :, x0] + (rows[:, :, x1] - rows[:, :, x0]) * right[:, None]


def _axis(before: int, after: int, *, align_corners: bool) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float32]]:
    """The two neighbours of each new pixel along an axis, and how far it is from the first to the second."""
    if align_corners:
        place = np.arange(after) * ((before - 1) / max(after - 1, 1))
    else:
        place = np.maximum((np.arange(after) + 0.5) * (before / after) - 0.5, 0)
    first = np.minimum(place.astype(np.int64), before - 1)
    return first, np.minimum(first + 1, before - 1), (place - first).astype(np.float32)
