"""What is read from tallies, by hand, and that merging adds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeailite.evaluation import ClassTally, DepthTally, empty, merge
from edgeailite.metrics import DepthSums

NAN = math.nan
COUNTS = np.array([[1, 2], [0, 4], [0, 0]])


def tally(*contours: list[float]) -> ClassTally:
    return ClassTally(np.diag([3, 2, 0]), COUNTS, tuple(map(np.array, contours)))


def test_boundary_iou_is_a_mean_over_classes():
    assert tally().boundary_iou() == pytest.approx((1 / 2 + 0) / 2)
    assert tally().boundary_iou(absent="zero") == pytest.approx((1 / 2 + 0) / 3)


def test_boundary_f_is_a_mean_over_pictures_then_over_classes():
    assert tally([1.0, 0.5, NAN], [0.0, NAN, NAN]).boundary_f() == pytest.approx((1 / 2 + 0.5) / 2)
    assert math.isnan(tally().boundary_f())
    assert math.isnan(tally([NAN, NAN, NAN]).boundary_f())


def test_merged_tallies_add():
    first = {"a": tally([1.0, 0.5, NAN]), "b": DepthTally((DepthSums(1.0, 2.0, 3),))}
    second = {"a": tally([0.0, NAN, NAN]), "b": DepthTally((DepthSums(4.0, 5.0, 6),))}
    merged = merge([first, empty({"a": 3, "b": None}), second])
    assert np.array_equal(merged["a"].confusion, np.diag([6, 4, 0]))
    assert np.array_equal(merged["a"].boundary, 2 * COUNTS)
    assert merged["a"].boundary_f() == tally([0.0, NAN, NAN], [1.0, 0.5, NAN]).boundary_f()
    assert merged["b"].scores().ard == pytest.approx(5 / 9)
    assert merged["b"].scores().rmse == pytest.approx(math.sqrt(7 / 9))
