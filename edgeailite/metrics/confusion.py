"""The confusion matrix: counts of pixels by their labelled and their predicted class.

Pixels are counted as pairs of bytes by OpenCV's two-dimensional histogram, which needs neither a mask nor a code per
pixel; `benchmarks/confusion.py` compares. Values that do not fit into a byte are counted by numpy instead.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Confusion = NDArray[np.int64]
BLOCK = 1 << 22  # pixels: the histogram's float32 counts are exact up to 2^24
BYTES = [256, 256]
BYTE_RANGES = [0.0, 256.0, 0.0, 256.0]


def confusion_matrix(
    label: NDArray[np.integer], prediction: NDArray[np.integer], num_classes: int, *, ignore: int = 255
) -> Confusion:
    """Count pixels as (C,C), row = label, column = prediction; pixels labelled `ignore` are left out.

    Raises ValueError for other shapes and for a prediction, or a label other than `ignore`, outside 0..C-1.
    """
    if label.shape != prediction.shape:
        raise ValueError(f"label {label.shape} and prediction {prediction.shape}: expected one shape")
    truth, guess = _as_bytes(label), _as_bytes(prediction)
    if truth is None or guess is None or not 0 <= ignore <= 255:
        return _counted(label, prediction, num_classes, ignore=ignore)
    counts = np.zeros((256, 256), np.int64)
    for start in range(0, truth.size, BLOCK):
        pair = [truth[start : start + BLOCK], guess[start : start + BLOCK]]
        counts += cv2.calcHist(pair, [0, 1], None, BYTES, BYTE_RANGES).astype(np.int64)
    counts[ignore] = 0
    _check(np.flatnonzero(counts.any(1)), "label", num_classes)
    _check(np.flatnonzero(counts.any(0)), "prediction", num_classes)
    matrix = np.zeros((num_classes, num_classes), np.int64)
    known = min(num_classes, 256)
    matrix[:known, :known] = counts[:known, :known]
    return matrix


def _as_bytes(values: NDArray[np.integer]) -> NDArray[np.uint8] | None:
    """Flat uint8 values; None if some are not in 0..255."""
    if values.dtype == np.uint8:
        return np.ravel(values).astype(np.uint8, copy=False)
    unsigned = values.view(np.dtype(f"u{values.dtype.itemsize}"))  # negative numbers are large ones: one comparison
    return None if values.size and unsigned.max() > 255 else np.ravel(values.astype(np.uint8))


def _counted(
    label: NDArray[np.integer], prediction: NDArray[np.integer], num_classes: int, *, ignore: int
) -> Confusion:
    """The same of any integers."""
    labelled = label != ignore
    truth, guess = label[labelled].astype(np.int64), prediction[labelled].astype(np.int64)
    _check(truth, "label", num_classes)
    _check(guess, "prediction", num_classes)
    return np.bincount(truth * num_classes + guess, minlength=num_classes**2).reshape(num_classes, num_classes)


def _check(classes: NDArray[np.integer], what: str, num_classes: int) -> None:
    if classes.size and (classes.min() < 0 or classes.max() >= num_classes):
        wrong = classes.min() if classes.min() < 0 else classes.max()
        raise ValueError(f"{what} holds class {wrong}, expected 0..{num_classes - 1}")
