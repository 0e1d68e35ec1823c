"""The pipeline: order, how much is under way, and what happens when something is raised."""

from __future__ import annotations

import threading
import time
from itertools import count, islice

import pytest

from edgeailite.data.parallel_map import parallel_map


def test_order_is_that_of_the_stream():
    def slow_first(value: int) -> int:
        time.sleep(0.02 if value % 3 == 0 else 0)
        return value

    assert list(parallel_map(slow_first, range(12), threads=3, ahead=5)) == list(range(12))


@pytest.mark.parametrize("ahead", [1, 4])
def test_an_endless_stream_is_read_so_far_ahead_and_no_further(ahead):
    taken = []
    stream = (taken.append(value) or value for value in count())
    results = parallel_map(lambda value: value, stream, ahead=ahead)
    for done, value in enumerate(islice(results, 20)):
        assert value == done
        assert len(taken) <= done + ahead + 1
    results.close()


def test_what_is_raised_comes_in_turn_and_stops_the_rest():
    began, lock = [], threading.Lock()

    def third_fails(value: int) -> int:
        with lock:
            began.append(value)
        if value == 2:
            raise ValueError("third")
        return value

    results = parallel_map(third_fails, range(1000), ahead=3)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="third"):
        next(results)
    assert len(began) <= 10
