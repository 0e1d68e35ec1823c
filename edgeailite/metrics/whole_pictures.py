"""Accuracy of classes of whole pictures: top-1 and top-5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

TOP = 5  # places in which the label counts as found, besides the first


class Placing(NamedTuple):
    """A picture's labelled and found class, and how many classes have a place before the labelled one."""

    label: int
    found: int
    rank: int


def placing(scores: NDArray[Any], label: int) -> Placing:
    """Return the place of a labelled class among the scores (C,); of equal scores the first class comes first.

    >>> import numpy as np
    >>> placing(np.array([0.1, 0.7, 0.7]), 2)
    Placing(label=2, found=1, rank=1)
    """
    own = scores[label]
    before = int((scores > own).sum() + (scores[:label] == own).sum())
    return Placing(label, int(scores.argmax()), before)


def top(placings: Sequence[Placing], places: int) -> float:
    """Return the share of pictures whose label is within the first `places`; NaN of none."""
    return sum(each.rank < places for each in placings) / len(placings) if placings else float("nan")
