"""Confidence interval of the difference between two networks: a paired bootstrap over pictures.

The pictures of a split are drawn with replacement, as many as there are, for both networks alike; each draw gives a
difference, and the interval holds the middle 95 % of them (Efron, percentile method). What a draw's mIoU is made of are
sums of counts, so a draw is a row of integers times a matrix. It says what other pictures of the same kind would have
shown; frames of one drive are alike, and then it is too narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

LEVEL = 95
BLOCK = 1 << 20  # integers of the draws that are in memory at a time

Array = NDArray[np.float64]
Interval = tuple[float, float]


def times_drawn(pictures: int, draws: int, seed: int) -> Iterator[Array]:
    """Yield how often each picture is in each draw, (some draws, pictures); the same for the same seed."""
    rng = np.random.default_rng(seed)
    step = max(1, BLOCK // max(pictures, 1))
    for start in range(0, draws, step):
        chosen = rng.integers(0, pictures, (min(step, draws - start), pictures))
        offset = np.arange(len(chosen))[:, None] * pictures
        counts = np.bincount((chosen + offset).ravel(), minlength=len(chosen) * pictures)
        yield counts.reshape(len(chosen), pictures).astype(np.float64)


def differences(measure: Callable[[Array], Array], a: Array, b: Array, *, draws: int, seed: int) -> Array:
    """Return the difference B − A of every number in every draw, (draws, numbers).

    `a` and `b` are counts (pictures, columns); `measure` turns their sums (draws, columns) into numbers.
    """
    parts = [measure(times @ b) - measure(times @ a) for times in times_drawn(len(a), draws, seed)]
    return np.concatenate(parts)


def interval(values: Array) -> Interval | None:
    """Return the middle 95 % of values, NaN left out; None for fewer than two."""
    known = values[np.isfinite(values)]
    if known.size < 2:
        return None
    low, high = np.percentile(known, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return float(low), float(high)
