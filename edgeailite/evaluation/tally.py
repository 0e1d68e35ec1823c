"""Metric counts of a split, or part of one. Merged parts equal the whole exactly.

Counts are int64; other values are kept per picture and added by `math.fsum`, which rounds once at the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.metrics import TOP, Confusion, DepthScores, DepthSums, Placing, Scores, depth_scores, scores, top
from edgeailite.metrics.scores import mean_iou
from edgeailite.modelcard import CLASSIFICATION, task_type

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


@dataclass(frozen=True)
class PictureTally:
    """Classes of whole pictures: the number of classes, and each picture's label, answer and the label's place."""

    classes: int
    pictures: tuple[Placing, ...] = ()

    def scores(self) -> dict[str, float]:
        """Return `top1` and, of more classes than that, `top5`, as shares; NaN of no pictures."""
        places = {f"top{count}": count for count in (1, TOP) if count < self.classes}
        return {name: top(self.pictures, count) for name, count in places.items()}

    @property
    def confusion(self) -> Confusion:
        """Return counts of pictures (C,C): a row for each labelled class, a column for each answer."""
        counts = np.zeros((self.classes, self.classes), np.int64)
        np.add.at(counts, ([each.label for each in self.pictures], [each.found for each in self.pictures]), 1)
        return counts


Part = ClassTally | DepthTally | PictureTally
Tally = dict[str, Part]
"""By output."""


def of_whole_pictures(output: str, classes: int | None) -> bool:
    """Tell if an output has one class for the whole picture."""
    return classes is not None and task_type(output, classes) == CLASSIFICATION


def empty(tasks: Tasks) -> Tally:
    """Return the tally of no pictures."""
    return {name: _nothing(name, classes) for name, classes in tasks.items()}


def _nothing(output: str, classes: int | None) -> Part:
    if classes is None:
        return DepthTally()
    if of_whole_pictures(output, classes):
        return PictureTally(classes)
    return ClassTally(np.zeros((classes, classes), np.int64), np.zeros((classes, 2), np.int64))


def merge(parts: Iterable[Tally]) -> Tally:
    """Join tallies of the same outputs; the result equals the tally of all their pictures, in any order of parts.

    Raises ValueError without parts.
    """
    tallies = list(parts)
    if not tallies:
        raise ValueError("merge: no parts; give at least one tally, `empty(tasks)` of no pictures")
    return {name: _merged([tally[name] for tally in tallies]) for name in tallies[0]}


def _merged(parts: Sequence[Part]) -> Part:
    if isinstance(parts[0], PictureTally):
        placings = (each for part in parts if isinstance(part, PictureTally) for each in part.pictures)
        return PictureTally(parts[0].classes, tuple(placings))
    classes = [part for part in parts if isinstance(part, ClassTally)]
    if not classes:
        return DepthTally(tuple(sums for part in parts if isinstance(part, DepthTally) for sums in part.pictures))
    return ClassTally(
        np.sum([part.confusion for part in classes], axis=0),
        np.sum([part.boundary for part in classes], axis=0),
        tuple(scores for part in classes for scores in part.contours),
    )


def as_plain(tally: Tally) -> dict[str, Any]:
    """Return a tally as values for JSON, which keeps every bit of a float; `from_plain` makes it a tally again."""
    return {name: _plain(part) for name, part in tally.items()}


def _plain(part: Part) -> dict[str, Any]:
    if isinstance(part, PictureTally):
        return {"classes": part.classes, "placings": [list(each) for each in part.pictures]}
    if isinstance(part, DepthTally):
        return {"depth": [[sums.relative, sums.squared, sums.pixels] for sums in part.pictures]}
    contours = [values.tolist() for values in part.contours]
    return {"confusion": part.confusion.tolist(), "boundary": part.boundary.tolist(), "contours": contours}


def from_plain(values: Mapping[str, Any]) -> Tally:
    """Return the tally that `as_plain` described.

    >>> from_plain(as_plain({"depth": DepthTally((DepthSums(0.1, 0.2, 3),))}))
    {'depth': DepthTally(pictures=(DepthSums(relative=0.1, squared=0.2, pixels=3),))}
    """
    return {name: _part(part) for name, part in values.items()}


def _part(values: Mapping[str, Any]) -> Part:
    if "placings" in values:
        return PictureTally(values["classes"], tuple(Placing(*each) for each in values["placings"]))
    if "depth" in values:
        return DepthTally(tuple(DepthSums(*sums) for sums in values["depth"]))
    confusion, boundary = (np.array(values[name], np.int64) for name in ("confusion", "boundary"))
    return ClassTally(confusion, boundary, tuple(np.array(each, np.float64) for each in values["contours"]))
