"""Depth errors by hand, and sums that add up exactly however a split is divided."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeailite.metrics import DepthScores, DepthSums, depth_scores, depth_sums

SUMS = st.builds(DepthSums, st.floats(0, 1e9), st.floats(0, 1e12), st.integers(0, 10**7))


def test_errors_by_hand():
    target = np.array([[10.0, 0.0], [4.0, 2.0]], np.float32)
    prediction = np.array([[12.0, 9.0], [3.0, 2.0]], np.float32)
    result = depth_scores([depth_sums(target, prediction)])
    assert result.ard == pytest.approx((2 / 10 + 1 / 4 + 0) / 3)
    assert result.rmse == pytest.approx(math.sqrt((4 + 1 + 0) / 3))


def test_every_pixel_counts_alike():
    small, large = np.full((1, 1), 2.0, np.float32), np.full((1, 3), 4.0, np.float32)
    result = depth_scores([depth_sums(small, small + 2), depth_sums(large, large)])
    assert (result.ard, result.rmse) == (pytest.approx(1 / 4), pytest.approx(1.0))


def test_nothing_known_is_nan():
    nothing = depth_sums(np.zeros((2, 2), np.float32), np.ones((2, 2), np.float32))
    assert nothing == DepthSums(0.0, 0.0, 0)
    for result in (depth_scores([nothing]), depth_scores([])):
        assert math.isnan(result.ard)
        assert math.isnan(result.rmse)


@given(st.lists(SUMS, max_size=12), st.randoms())
@settings(max_examples=50, deadline=None)
def test_order_of_pictures_does_not_matter_to_the_last_bit(pictures, random):
    shuffled = list(pictures)
    random.shuffle(shuffled)
    before, after = depth_scores(pictures), depth_scores(shuffled)
    assert before == after or math.isnan(before.ard)


@given(st.floats(0.1, 100))
@settings(max_examples=20, deadline=None)
def test_a_perfect_prediction_has_no_error(value):
    depth = np.full((3, 4), value, np.float32)
    assert depth_scores([depth_sums(depth, depth)]) == DepthScores(0.0, 0.0)
