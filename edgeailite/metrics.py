"""Segmentation metrics, all from one int64 confusion matrix over every labelled pixel of a split.

mIoU is the mean over the classes that occur in label or prediction; absent classes are left out, not counted as 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Confusion = NDArray[np.int64]


def confusion_matrix(
    label: NDArray[np.integer], prediction: NDArray[np.integer], num_classes: int, *, ignore: int = 255
) -> Confusion:
    """(C,C) counts, row = label, column = prediction, for arrays of one shape; pixels labelled `ignore` are left out.

    Raises ValueError for a prediction outside 0..C-1.
    """
    labelled = label != ignore
    truth, guess = label[labelled].astype(np.int64), prediction[labelled].astype(np.int64)
    if guess.size and (guess.min() < 0 or guess.max() >= num_classes):
        raise ValueError(f"prediction holds class {guess.max()}, expected 0..{num_classes - 1}")
    counts = np.bincount(truth * num_classes + guess, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


@dataclass(frozen=True)
class Scores:
    """Shares from 0 to 1; `iou` is NaN for classes that occur neither in label nor in prediction."""

    miou: float
    pixel_accuracy: float
    iou: tuple[float, ...]

    @property
    def overall(self) -> float:
        """Mean of mIoU and pixel accuracy (the ADE20K challenge's score)."""
        return (self.miou + self.pixel_accuracy) / 2


def scores(confusion: Confusion) -> Scores:
    """mIoU, pixel accuracy and IoU per class; NaN where nothing was labelled."""
    hit = np.diag(confusion).astype(np.float64)
    union = confusion.sum(0) + confusion.sum(1) - hit
    with np.errstate(invalid="ignore", divide="ignore"):
        iou = hit / union
        accuracy = hit.sum() / confusion.sum()
    present = iou[union > 0]
    return Scores(float(present.mean()) if present.size else float("nan"), float(accuracy), tuple(iou.tolist()))
