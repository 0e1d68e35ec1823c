"""How near the numbers of two models are, of outputs that have no metric: nothing says which of the two is right."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeailite.errors import UsageError
from edgeailite.evaluation.values import Values, on_host
from edgeailite.runs.predictors import Predict


@dataclass
class Nearness:
    """Sums over pictures: of the values of A, their squares, the squares of B - A, and cosines of the angle between."""

    pictures: int = 0
    values: int = 0
    total: float = 0.0
    squares: float = 0.0
    differences: float = 0.0
    largest: float = 0.0
    cosines: float = 0.0

    def add(self, a: Values, b: Values) -> None:
        """Take in the values of one picture."""
        first, second = (on_host(value).astype(np.float64).ravel() for value in (a, b))
        gap = second - first
        self.pictures += 1
        self.values += first.size
        self.total += float(first.sum())
        self.squares += float(first @ first)
        self.differences += float(gap @ gap)
        self.largest = max(self.largest, float(np.abs(gap).max()))
        lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
        self.cosines += float(first @ second) / lengths if lengths else float(not gap.any())

    @property
    def difference(self) -> float:
        """Return the root mean square of B - A."""
        return math.sqrt(self.differences / self.values)

    @property
    def deviation(self) -> float:
        """Return the standard deviation of A over all values and pictures; where that is 0, its root mean square."""
        square, mean = self.squares / self.values, self.total / self.values
        return math.sqrt(max(square - mean**2, 0.0)) or math.sqrt(square)

    def numbers(self) -> dict[str, float]:
        """Return the largest and the root mean square difference, the latter in shares of A's standard deviation, and
        the mean cosine of the angle between the two, 1 where they point the same way.
        """
        share = self.difference / self.deviation if self.deviation else (math.inf if self.differences else 0.0)
        return {
            "max_difference": self.largest,
            "rms_difference": self.difference,
            "rms_of_deviation": share,
            "cosine": self.cosines / self.pictures,
        }


def near(
    predict: tuple[Predict, Predict],
    samples: Iterable[tuple[tuple[Any, ...], tuple[Any, ...]]],
    outputs: Iterable[str],
) -> dict[str, Nearness]:
    """Run both predictors on pictures, as A and as B take them; return how near each output is.

    Raises UsageError for values of other shapes.
    """
    found = {name: Nearness() for name in outputs}
    for pictures in samples:
        answers: list[Mapping[str, Values]] = [one(given) for one, given in zip(predict, pictures, strict=True)]
        for name, nearness in found.items():
            a, b = (answer[name] for answer in answers)
            if a.shape != b.shape:
                shapes = " and ".join("x".join(map(str, value.shape[1:])) for value in (a, b))
                raise UsageError(
                    f"output {name} has values of {shapes}", fix="compare forms of one network", code="no-fit"
                )
            for index in range(len(a)):
                nearness.add(a[index], b[index])
    return found
