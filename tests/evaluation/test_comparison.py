"""Comparing two models: what is kept of each picture. The numbers are tested with the verb."""

from __future__ import annotations

import numpy as np

from edgeailite.evaluation.comparison import _Counts
from edgeailite.evaluation.pairing import pair


def test_memory_holds_counts_and_the_worst_only():
    """A picture leaves 3 x C numbers, whatever its size, and of the worst at most as many as are shown."""
    collected = _Counts()
    rng = np.random.default_rng(0)
    for index in range(20):
        label, a, b = rng.integers(0, 3, (3, 30, 40)).astype(np.uint8)
        collected.add(index, pair(label, a, np.where(rng.random(a.shape) < index / 20, b, a), 3), keep=4)
    assert {row.shape for row in collected.a + collected.b} == {(9,)}
    assert sorted(-place for _, place, _ in collected.most) == [16, 17, 18, 19]
    assert collected.total.pixels == 20 * 30 * 40
