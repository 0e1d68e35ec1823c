"""Edges of simple shapes counted by hand, and by a search over all pairs of pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgeailite.metrics import boundary_counts, confusion_matrix, contour_scores
from edgeailite.metrics.boundary import BOUNDARY_RATIO, CONTOUR_RATIO

MAPS = arrays(np.uint8, (12, 16), elements=st.integers(0, 2))
SIZE = (60, 80)  # a diagonal of 100: boundary distance 2, contour distance 1


def square(y: int, x: int, side: int) -> np.ndarray:
    label = np.zeros(SIZE, np.uint8)
    label[y : y + side, x : x + side] = 1
    return label


def ring(mask: np.ndarray, distance: int) -> np.ndarray:
    """Pixels of a mask with one outside of it, or the outside of the picture, at most `distance` away on both axes."""
    height, width = mask.shape
    found = np.zeros_like(mask)
    for y, x in np.argwhere(mask):
        top, left = y - distance, x - distance
        inside = top >= 0 and left >= 0 and y + distance < height and x + distance < width
        found[y, x] = not (inside and mask[top : y + distance + 1, left : x + distance + 1].all())
    return found


def test_boundary_iou_of_a_shifted_square():
    label, prediction = square(20, 30, 20), square(20, 33, 20)
    counts = boundary_counts(label, prediction, 3)
    rings = ring(label == 1, 2), ring(prediction == 1, 2)
    assert counts[1].tolist() == [(rings[0] & rings[1]).sum(), (rings[0] | rings[1]).sum()]
    assert 0 < counts[1, 0] < counts[1, 1]
    assert counts[2].tolist() == [0, 0]


@given(MAPS, MAPS)
@settings(max_examples=40, deadline=None)
def test_boundary_counts_equal_a_search(label, prediction):
    distance = max(1, round(BOUNDARY_RATIO * math.hypot(*label.shape)))
    counts = boundary_counts(label, prediction, 3)
    for index in range(3):
        rings = ring(label == index, distance), ring(prediction == index, distance)
        assert counts[index].tolist() == [(rings[0] & rings[1]).sum(), (rings[0] | rings[1]).sum()]


def test_a_distance_beyond_everything_is_plain_iou(monkeypatch):
    monkeypatch.setattr("edgeailite.metrics.boundary.BOUNDARY_RATIO", 2.0)
    rng = np.random.default_rng(0)
    label, prediction = (rng.integers(0, 3, (20, 30)).astype(np.uint8) for _ in range(2))
    confusion = confusion_matrix(label, prediction, 3)
    hit = np.diag(confusion)
    expected = np.stack([hit, confusion.sum(0) + confusion.sum(1) - hit], 1)
    assert np.array_equal(boundary_counts(label, prediction, 3), expected)


@pytest.mark.parametrize("shift, met", [(0, 80), (1, 80), (8, 30)])
def test_contour_score_of_a_shifted_square(shift, met):
    """The contour has 80 pixels and the tolerance is 0.75 of 100, rounded to 1. After a shift of 8, the two horizontal
    edges meet on 14 pixels each, and the vertical one inside touches them with one at either end.
    """
    result = contour_scores(square(20, 30, 20), square(20, 30 + shift, 20), 3)
    assert result[1] == pytest.approx(met / 80)
    assert math.isnan(result[2])


@given(MAPS, MAPS)
@settings(max_examples=40, deadline=None)
def test_contour_scores_equal_a_search(label, prediction):
    distance = max(1, round(CONTOUR_RATIO * math.hypot(*label.shape)))
    result = contour_scores(label, prediction, 3)
    for index in range(3):
        points = [outline(values == index) for values in (label, prediction)]
        if not (label == index).any() and not (prediction == index).any():
            assert math.isnan(result[index])
            continue
        recall, precision = share_near(points[0], points[1], distance), share_near(points[1], points[0], distance)
        expected = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        assert result[index] == pytest.approx(expected)


def outline(mask: np.ndarray) -> np.ndarray:
    """Pixels that differ from the one to the right, below or diagonally between, inside the picture."""
    height, width = mask.shape
    return np.array(
        [
            (y, x)
            for y in range(height)
            for x in range(width)
            if any(
                mask[min(y + down, height - 1), min(x + right, width - 1)] != mask[y, x]
                for down, right in ((0, 1), (1, 0), (1, 1))
            )
        ]
    ).reshape(-1, 2)


def share_near(points: np.ndarray, others: np.ndarray, distance: int) -> float:
    if not len(points):
        return 0.0 if len(others) else 1.0
    if not len(others):
        return 0.0
    gaps = ((points[:, None] - others[None]) ** 2).sum(-1).min(1)
    return float((gaps <= distance**2).mean())


@given(MAPS)
@settings(max_examples=20, deadline=None)
def test_a_perfect_prediction_scores_one(label):
    counts, contours = boundary_counts(label, label, 3), contour_scores(label, label, 3)
    assert np.array_equal(counts[:, 0], counts[:, 1])
    assert {value for value in contours.tolist() if not math.isnan(value)} == {1.0}


def test_ignored_pixels_belong_to_no_class():
    label, prediction = np.full(SIZE, 255, np.uint8), square(20, 30, 20)
    assert boundary_counts(label, prediction, 3).sum() == 0
    assert np.isnan(contour_scores(label, prediction, 3)).all()
