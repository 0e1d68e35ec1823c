"""Turns and numbers of the stopwatch, with a clock by hand."""

from __future__ import annotations

import pytest

from edgeailite.cost.latency import Timing, alternate


class Clock:
    """Time that only passes when something runs."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def work(self, name: str, seconds: list[float]):
        """A function that takes the next of these seconds each time."""

        def run() -> None:
            self.calls.append(name)
            self.now += seconds.pop(0)

        return run


def test_runs_take_turns_and_the_warm_up_does_not_count():
    clock = Clock()
    runs = {"a": clock.work("a", [9, 0.001, 0.002, 0.003]), "b": clock.work("b", [9, 0.01, 0.02, 0.03])}
    found = alternate(runs, rounds=3, warmup=1, clock=lambda: clock.now)
    assert "".join(clock.calls) == "abababab"
    assert found["a"].milliseconds == pytest.approx((1, 2, 3))
    assert found["b"].milliseconds == pytest.approx((10, 20, 30))


def test_summary_of_rounds():
    timing = Timing(tuple(float(value) for value in range(1, 12)))
    assert (timing.median, timing.minimum, timing.spread) == (6.0, 1.0, (2.0, 10.0))
