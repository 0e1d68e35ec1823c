"""Remaining times, by hand, with a clock that does what it is told."""

import math

import pytest

from edgeailite.training.monitor_pace import STEPS, Pace, duration
from tests.training.watched import Clock


def run(pace: Pace, clock: Clock, epoch: int, steps: range, *, of: int, seconds: float) -> None:
    for step in steps:
        clock.now += seconds
        pace.step(epoch, step, of, 1.0)


@pytest.fixture
def clock():
    return Clock()


def test_nothing_is_known_before_two_steps(clock):
    pace = Pace(3, clock)
    assert math.isnan(pace.run_left()) or pace.run_left() == 0
    pace.step(0, 1, 10, 1.0)
    assert math.isnan(pace.epoch_left()) and math.isnan(pace.run_left())
    assert duration(pace.epoch_left()) == "?"


def test_steps_left_times_seconds_per_step(clock):
    pace = Pace(3, clock)
    run(pace, clock, 0, range(1, 5), of=10, seconds=2.0)
    assert pace.epoch_left() == pytest.approx(6 * 2)
    assert pace.run_left() == pytest.approx((6 + 20) * 2)
    clock.now += 1.5  # within a step
    assert pace.epoch_left() == pytest.approx(6 * 2 - 1.5)
    assert pace.share == pytest.approx(4 / 30)


def test_the_wait_before_the_first_step_does_not_count(clock):
    pace = Pace(1, clock)
    clock.now += 500
    run(pace, clock, 0, range(1, 4), of=10, seconds=1.0)
    assert pace.epoch_left() == pytest.approx(7)


def test_a_resumed_run_starts_from_its_own_step(clock):
    pace = Pace(10, clock)
    run(pace, clock, 7, range(60, 71), of=100, seconds=0.5)
    assert pace.epoch_left() == pytest.approx(15)
    assert pace.run_left() == pytest.approx(15 + 200 * 0.5)
    assert pace.share == pytest.approx(0.77)


def test_validation_counts_once_it_was_seen(clock):
    pace = Pace(3, clock)
    run(pace, clock, 0, range(1, 11), of=10, seconds=1.0)
    assert pace.run_left() == pytest.approx(20)
    clock.now += 30  # validation
    run(pace, clock, 1, range(1, 11), of=10, seconds=1.0)
    assert pace.epoch_left() == 0
    assert pace.run_left() == pytest.approx(10 + 2 * 30), "the one that comes now, and the last"
    clock.now += 12
    assert pace.run_left() == pytest.approx(48 + 10)


def test_the_last_steps_say_the_speed(clock):
    pace = Pace(1, clock)
    run(pace, clock, 0, range(1, 500), of=2000, seconds=9.0)
    run(pace, clock, 0, range(500, 500 + STEPS), of=2000, seconds=0.1)
    assert pace.epoch_left() == pytest.approx((2000 - 499 - STEPS) * 0.1)


def test_bursts_of_steps_average_out(clock):
    pace = Pace(1, clock)
    for step in range(1, 101):
        clock.now += 0.0 if step % 4 else 4.0
        pace.step(0, step, 200, 1.0)
    assert pace.epoch_left() == pytest.approx(100 * 1.0, rel=0.05)


def test_a_clock_that_goes_backwards_adds_nothing(clock):
    pace = Pace(1, clock)
    run(pace, clock, 0, range(1, 6), of=10, seconds=1.0)
    clock.now -= 3600
    assert pace.epoch_left() == pytest.approx(5)
    pace.step(0, 6, 10, 1.0)
    assert pace.epoch_left() == pytest.approx(4 * 4 / 5)  # four of a second, one of none
    run(pace, clock, 0, range(7, 11), of=10, seconds=1.0)
    assert pace.epoch_left() == 0


def test_epochs_of_one_step(clock):
    pace = Pace(4, clock)
    for epoch in range(3):
        clock.now += 5
        pace.step(epoch, 1, 1, 1.0)
    assert pace.run_left() == pytest.approx(10)


def test_overdue_is_none_left(clock):
    pace = Pace(1, clock)
    run(pace, clock, 0, range(1, 5), of=5, seconds=1.0)
    clock.now += 100
    assert pace.epoch_left() == pace.run_left() == 0


def test_the_loss_shown_is_smooth_and_starts_at_the_first(clock):
    pace = Pace(1, clock)
    assert math.isnan(pace.loss)
    pace.step(0, 1, 9, 4.0)
    assert pace.loss == pytest.approx(4.0)
    pace.step(0, 2, 9, math.nan)
    assert pace.loss == pytest.approx(4.0)
    pace.step(0, 3, 9, 2.0)
    assert 2.5 < pace.loss < 3.5
    for step in range(4, 300):
        pace.step(0, step, 300, 2.0)
    assert pace.loss == pytest.approx(2.0, abs=1e-4)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"), (7.4, "0:07"), (59.6, "1:00"), (754, "12:34"), (3600, "1:00:00"), (10921, "3:02:01"),
        (86400 + 10921, "1 day 3:02:01"), (2 * 86400, "2 days 0:00:00"), (-5, "0:00"), (math.nan, "?"), (math.inf, "?"),
    ],
)  # fmt: skip
def test_durations(seconds, text):
    assert duration(seconds) == text
