"""The Pareto front: which networks nobody beats in cost and accuracy at once."""

from __future__ import annotations

from collections.abc import Sequence


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the points (cost, accuracy) that no other point beats, cheapest first.

    A point is beaten by one that costs no more and is at least as accurate, and better in one of the two; of equal
    points the first stays.
    """
    order = sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1], index))
    front: list[int] = []
    for index in order:
        if not front or points[index][1] > points[front[-1]][1]:
            front.append(index)
    return front
