"""Two predictors on the same pictures: counts of each, picture by picture, and where they differ.

Only a few counts per class are kept of each picture, so memory does not grow with the size of pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.evaluation.evaluate import Batch, answers, only, outputs_at
from edgeailite.evaluation.tally import Tasks
from edgeailite.evaluation.values import on_host
from edgeailite.metrics import TOP, confusion_matrix, depth_sums, placing
from edgeailite.metrics.scores import mean_iou
from edgeailite.runs.predictors import Predict

IGNORE = 255
HIT, LABELLED, PREDICTED = range(3)
CLOSER = 0.01  # of the true depth: errors that differ by less are called equal

Counts = NDArray[np.int64]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Disagreement:
    """Numbers of labelled pixels (or pictures), of those where A and B differ, and of these where A or B is right."""

    pixels: int
    differ: int
    a_right: int
    b_right: int

    @property
    def neither(self) -> int:
        """Number of pixels where both differ and are wrong."""
        return self.differ - self.a_right - self.b_right

    @property
    def share(self) -> float:
        """Return the share of labelled pixels where A and B differ; 0 if nothing is labelled."""
        return self.differ / self.pixels if self.pixels else 0.0


@dataclass(frozen=True)
class Pair:
    """One output on one picture: `a` and `b` are counts (3 x C) of classes, (relative, squared, pixels) of depth, or
    (first, among the first five, pictures) of a class of the whole picture.
    """

    a: Array
    b: Array
    agreement: Disagreement


def pair_up(
    predict: tuple[Predict, Predict],
    samples: Iterable[tuple[Batch, Batch]],
    tasks: Tasks,
    *,
    on_picture: Callable[[dict[str, Pair]], None],
) -> None:
    """Run both predictors and call `on_picture` with each picture's pairs by output.

    `samples` hold each picture as A takes it and as B takes it; the labels of both are the same.
    """
    for (images_a, targets), (images_b, _) in samples:
        size = next(iter(targets.values())).shape[1:]
        found_a, found_b = (
            {
                name: answers(name, value, tasks[name])
                for name, value in outputs_at(only(one, tasks), images, (size[0], size[1])).items()
            }
            for one, images in zip(predict, (images_a, images_b), strict=True)
        )
        for index in range(len(images_a[0])):
            on_picture(
                {
                    name: pair(on_host(targets[name][index]), found_a[name][index], found_b[name][index], classes)
                    for name, classes in tasks.items()
                }
            )


def pair(target: NDArray[Any], a: NDArray[Any], b: NDArray[Any], classes: int | None) -> Pair:
    """Compare two predictions (H,W) with one target: classes, or depths where `classes` is None.

    Scores (C,) of a class of the whole picture are compared with a target (1,1).
    """
    if a.ndim == 1:
        return _whole(int(target.item()), a, b)
    if classes is None:
        return Pair(_depth_row(target, a), _depth_row(target, b), _agreement(who_is_closer(target, a, b)))
    return Pair(_class_row(target, a, classes), _class_row(target, b, classes), _agreement(who_is_right(target, a, b)))


def _whole(label: int, a: NDArray[Any], b: NDArray[Any]) -> Pair:
    first, second = placing(a, label), placing(b, label)
    rows = [np.array([one.rank < 1, one.rank < TOP, 1], np.float64) for one in (first, second)]
    differ = first.found != second.found
    right = [differ and one.found == label for one in (first, second)]
    return Pair(rows[0], rows[1], Disagreement(1, int(differ), int(right[0]), int(right[1])))


BOTH, SAME_WRONG, A_RIGHT, B_RIGHT, NEITHER, UNKNOWN = range(6)


def who_is_right(target: NDArray[np.integer], a: NDArray[np.integer], b: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Return (H,W) who is right: BOTH, SAME_WRONG (one wrong class), A_RIGHT, B_RIGHT, NEITHER, UNKNOWN (no label)."""
    hit_a, hit_b, same = a == target, b == target, a == b
    found = np.select([hit_a & hit_b, same, hit_a, hit_b], [BOTH, SAME_WRONG, A_RIGHT, B_RIGHT], NEITHER)
    return np.where(target == IGNORE, UNKNOWN, found).astype(np.uint8)


def who_is_closer(target: NDArray[np.floating], a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return (H,W) who is closer: A_RIGHT or B_RIGHT if by CLOSER of the depth, else BOTH; UNKNOWN without depth."""
    known = target > 0
    lead = (np.abs(b - target) - np.abs(a - target)) / np.where(known, target, 1)  # above 0: A is closer
    found = np.select([lead > CLOSER, lead < -CLOSER], [A_RIGHT, B_RIGHT], BOTH)
    return np.where(known, found, UNKNOWN).astype(np.uint8)


def _agreement(who: NDArray[np.uint8]) -> Disagreement:
    counts = np.bincount(who.ravel(), minlength=6)
    differ = int(counts[A_RIGHT] + counts[B_RIGHT] + counts[NEITHER])
    return Disagreement(int(who.size - counts[UNKNOWN]), differ, int(counts[A_RIGHT]), int(counts[B_RIGHT]))


def _class_row(target: NDArray[np.integer], found: NDArray[np.integer], classes: int) -> Array:
    confusion = confusion_matrix(target, found, classes)
    return np.concatenate([np.diag(confusion), confusion.sum(1), confusion.sum(0)]).astype(np.float64)


def _depth_row(target: NDArray[np.floating], found: NDArray[np.floating]) -> Array:
    sums = depth_sums(target, found)
    return np.array([sums.relative, sums.squared, sums.pixels], np.float64)


def class_numbers(sums: Array) -> Array:
    """Turn sums of counts (draws, 3 C) into mIoU, pixel accuracy and IoU by class (draws, 2 + C); NaN where absent."""
    parts = sums.reshape(len(sums), 3, -1)
    hit = parts[:, HIT]
    with np.errstate(invalid="ignore", divide="ignore"):
        iou = hit / (parts[:, LABELLED] + parts[:, PREDICTED] - hit)
        accuracy = hit.sum(1) / parts[:, LABELLED].sum(1)
    miou = np.array([mean_iou(row) for row in iou])
    return np.column_stack([miou, accuracy, iou])


def depth_numbers(sums: Array) -> Array:
    """Turn sums (draws, 3) into ARD as a share and RMSE in metres (draws, 2); NaN where nothing is known."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Array = np.column_stack([sums[:, 0] / sums[:, 2], np.sqrt(sums[:, 1] / sums[:, 2])])
    return found


def picture_numbers(sums: Array) -> Array:
    """Turn sums (draws, 3) into the shares of pictures whose label is the first answer, or among the first five."""
    found: Array = sums[:, :2] / sums[:, 2:]
    return found
