"""Metric counts of a split, or part of one. Merged parts equal the whole exactly.

Counts are int64; other values are kept per picture and added by `math.fsum`, which rounds once at the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeailite.metrics import Confusion, DepthScores, DepthSums, Scores, depth_scores, scores
from edgeailite.metrics.scores import mean_iou

Tasks = Mapping[str, int | None]
"""Output name -> number of classes; None for depth."""


@dataclass(frozen=True)
class ClassTally:
    """Confusion matrix (C,C) and, if asked for, boundary pixels (C,2) and each picture's contour F scores (C,)."""

    confusion: Confusion
    boundary: NDArray[np.int64]
    contours: tuple[NDArray[np.float64], ...] = ()

    def scores(self, *, absent: str = "leave_out") -> Scores:
        """Return mIoU, pixel accuracy and IoU per class."""
        return scores(self.confusion, absent=absent)

    def boundary_iou(self, *, absent: str = "leave_out") -> float:
        """Return the mean boundary IoU over the classes, from 0 to 1."""
        with np.errstate(invalid="ignore"):
            return mean_iou(self.boundary[:, 0] / self.boundary[:, 1], absent=absent)

    def boundary_f(self) -> float:
        """Return the mean boundary F score, 0 to 1: over pictures that have a class, then over classes."""
        per_class = np.array(self.contours).T.tolist() if self.contours else []
        present = [[value for value in values if not math.isnan(value)] for values in per_class]
        means = [math.fsum(values) / len(values) for values in present if values]
        return math.fsum(means) / len(means) if means else math.nan


@dataclass(frozen=True)
class DepthTally:
    """Depth errors of each picture, as sums."""

    pictures: tuple[DepthSums, ...] = ()

    def scores(self) -> DepthScores:
        """Return ARD and RMSE."""
        return depth_scores(self.pictures)


Tally = dict[str, ClassTally | DepthTally]
"""By output."""


def empty(tasks: Tasks) -> Tally:
    """Return the tally of no pictures."""
    return {
        name: DepthTally()
        if classes is None
        else ClassTally(np.zeros((classes, classes), np.int64), np.zeros((classes, 2), np.int64))
        for name, classes in tasks.items()
    }


def merge(parts: Iterable[Tally]) -> Tally:
    """Join tallies of the same outputs; the result equals the tally of all their pictures, in any order of parts.

    Raises ValueError without parts.
    """
    tallies = list(parts)
    if not tallies:
        raise ValueError("merge: no parts; give at least one tally, `empty(tasks)` of no pictures")
    return {name: _merged([tally[name] for tally in tallies]) for name in tallies[0]}


def _merged(parts: Sequence[ClassTally | DepthTally]) -> ClassTally | DepthTally:
    classes = [part for part in parts if isinstance(part, ClassTally)]
    if not classes:
        return DepthTally(tuple(sums for part in parts if isinstance(part, DepthTally) for sums in part.pictures))
    return ClassTally(
        np.sum([part.confusion for part in classes], axis=0),
        np.sum([part.boundary for part in classes], axis=0),
        tuple(scores for part in classes for scores in part.contours),
    )
