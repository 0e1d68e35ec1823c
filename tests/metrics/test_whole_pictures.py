"""Places of classes of whole pictures against a stable sort, with many equal scores as int8 networks give."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeailite.metrics import Placing, placing, top


def test_the_place_is_that_of_a_stable_sort():
    rng = np.random.default_rng(0)
    for _ in range(300):
        scores, label = rng.integers(0, 6, 12).astype(np.float32), int(rng.integers(12))
        order = sorted(range(12), key=lambda index: (-scores[index], index))
        assert placing(scores, label) == Placing(label, order[0], order.index(label))


def test_shares_count_the_places_before_the_limit():
    placings = [Placing(0, 0, 0), Placing(1, 0, 4), Placing(2, 0, 5), Placing(3, 3, 0)]
    assert (top(placings, 1), top(placings, 5)) == pytest.approx((0.5, 0.75))
    assert math.isnan(top([], 1))
