"""Timing several things fairly: after a warm-up they take turns, so that what else the machine does hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from edgeailite.console import progress


@dataclass(frozen=True)
class Timing:
    """Milliseconds of every round, in order."""

    milliseconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Return the median milliseconds per round."""
        return float(np.median(self.milliseconds))

    @property
    def minimum(self) -> float:
        """Return the milliseconds of the round that was disturbed least."""
        return min(self.milliseconds)

    @property
    def spread(self) -> tuple[float, float]:
        """Return the first and last decile of the milliseconds per round."""
        low, high = np.percentile(self.milliseconds, (10, 90))
        return float(low), float(high)


def alternate(
    runs: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    warmup: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Call every function once per round, in the order given; the first `warmup` rounds do not count."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    with progress("measure", (warmup + rounds) * len(runs), still=True) as (bar, task):
        for index in range(warmup + rounds):
            for name, run in runs.items():
                began = clock()
                run()
                if index >= warmup:
                    seconds[name].append(clock() - began)
                bar.update(task, advance=1, refresh=name == next(iter(runs)))
    return {name: Timing(tuple(1e3 * value for value in values)) for name, values in seconds.items()}
