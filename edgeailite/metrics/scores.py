"""mIoU and its relatives, all from one int64 confusion matrix over every labelled pixel of a split.

mIoU is the mean over the classes that occur in label or prediction; absent classes are left out (`leave_out`). The
published edgeailite and ADE20K code counts an absent class as 0 (`zero`): the same number where every class occurs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeailite.metrics.confusion import Confusion

ABSENT = ("leave_out", "zero")


@dataclass(frozen=True)
class Scores:
    """Shares from 0 to 1; `iou` is NaN for classes that occur neither in label nor in prediction."""

    miou: float
    pixel_accuracy: float
    iou: tuple[float, ...]

    @property
    def overall(self) -> float:
        """Return the mean of mIoU and pixel accuracy (the ADE20K challenge's score)."""
        return (self.miou + self.pixel_accuracy) / 2


def scores(confusion: Confusion, *, absent: str = "leave_out") -> Scores:
    """Return mIoU, pixel accuracy and IoU per class, NaN if nothing is labelled. ValueError for an unknown `absent`."""
    hit = np.diag(confusion).astype(np.float64)
    union = confusion.sum(0) + confusion.sum(1) - hit
    with np.errstate(invalid="ignore", divide="ignore"):
        iou = hit / union
        accuracy = hit.sum() / confusion.sum()
    return Scores(mean_iou(iou, absent=absent), float(accuracy), tuple(iou.tolist()))


def mean_iou(iou: np.ndarray[tuple[int], np.dtype[np.float64]], *, absent: str = "leave_out") -> float:
    """Return the mean IoU over classes, NaN for absent ones or if all are. ValueError for an unknown `absent`."""
    if absent not in ABSENT:
        raise ValueError(f"absent {absent!r}: expected one of {', '.join(ABSENT)}")
    present = iou[~np.isnan(iou)]
    if not present.size:
        return float("nan")
    return float(present.mean() if absent == "leave_out" else present.sum() / iou.size)
