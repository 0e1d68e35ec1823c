"""Metrics of edges: boundary IoU and the boundary F score. Both cost far more than a confusion matrix.

Boundary IoU (Cheng et al., "Boundary IoU", CVPR 2021, https://arxiv.org/abs/2103.16562): the IoU of the parts of both
masks of a class that lie within a distance of the mask's own edge, `BOUNDARY_RATIO` of the picture's diagonal. The
picture's border counts as an edge, as in the authors' code; distances are those of repeated 3x3 erosion.

Boundary F score (Csurka et al., BMVC 2013; the tolerance and thin contours of DAVIS, Perazzi et al., CVPR 2016): share
of a class's contour pixels, predicted and labelled, that have one of the other within `CONTOUR_RATIO` of the diagonal,
as harmonic mean; per class and picture. Ignored pixels belong to no class on either side.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

BOUNDARY_RATIO = 0.02
CONTOUR_RATIO = 0.0075

Mask = NDArray[np.uint8]
_SQUARE = np.ones((3, 3), np.uint8)


def boundary_counts(
    label: NDArray[np.integer], prediction: NDArray[np.integer], num_classes: int, *, ignore: int = 255
) -> NDArray[np.int64]:
    """Count, per class of one picture (H,W), the pixels in intersection and union of both boundary parts: (C,2)."""
    distance = _pixels(label.shape, BOUNDARY_RATIO)
    counts = np.zeros((num_classes, 2), np.int64)
    for index, truth, guess in _masks(label, prediction, num_classes, ignore=ignore):
        edges = _boundary(truth, distance), _boundary(guess, distance)
        counts[index] = np.count_nonzero(edges[0] & edges[1]), np.count_nonzero(edges[0] | edges[1])
    return counts


def contour_scores(
    label: NDArray[np.integer], prediction: NDArray[np.integer], num_classes: int, *, ignore: int = 255
) -> NDArray[np.float64]:
    """Return the boundary F score of one picture (H,W) per class, (C,); NaN for a class that occurs on neither side."""
    distance = _pixels(label.shape, CONTOUR_RATIO)
    result = np.full(num_classes, np.nan)
    for index, truth, guess in _masks(label, prediction, num_classes, ignore=ignore):
        edges = _contour(truth), _contour(guess)
        recall, precision = _met(edges[0], edges[1], distance), _met(edges[1], edges[0], distance)
        result[index] = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return result


def _pixels(shape: tuple[int, ...], ratio: float) -> int:
    """A share of the diagonal in whole pixels, at least one."""
    return max(1, round(ratio * math.hypot(*shape)))


def _masks(
    label: NDArray[np.integer], prediction: NDArray[np.integer], num_classes: int, *, ignore: int
) -> Iterator[tuple[int, Mask, Mask]]:
    """(class, labelled mask, predicted mask) of the classes that one of them has."""
    labelled = label != ignore
    for index in np.union1d(label[labelled], prediction[labelled]).tolist():
        if 0 <= index < num_classes:
            yield index, (label == index).astype(np.uint8), ((prediction == index) & labelled).astype(np.uint8)


def _boundary(mask: Mask, distance: int) -> Mask:
    """The part of a mask within `distance` of its edge; outside of the picture there is nothing of it."""
    inner: NDArray[Any] = cv2.erode(mask, _SQUARE, iterations=distance, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return mask - inner


def _contour(mask: Mask) -> Mask:
    """Pixels of a mask beside one (right, below, or diagonally between) that is outside; the border is no contour."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    here = padded[:-1, :-1]
    return (here ^ padded[:-1, 1:]) | (here ^ padded[1:, :-1]) | (here ^ padded[1:, 1:])


def _met(contour: Mask, other: Mask, distance: int) -> float:
    """Share of `contour` within `distance` (a disk) of `other`; 1 if there is nothing on either side, 0 on one."""
    total = int(np.count_nonzero(contour))
    if not total:
        return 0.0 if other.any() else 1.0
    y, x = np.mgrid[-distance : distance + 1, -distance : distance + 1]
    disk = (x * x + y * y <= distance * distance).astype(np.uint8)
    near: NDArray[Any] = cv2.dilate(other, disk)
    return int(np.count_nonzero(contour & near)) / total
