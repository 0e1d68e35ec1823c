"""Admission under many threads: never more at work than slots, never more waiting than the queue, in order."""

from __future__ import annotations

import threading
import time

import pytest

from edgeailite.serve.admission import Gate
from edgeailite.serve.errors import Problem


def test_never_more_at_work_than_slots():
    gate, most, done = Gate(3, queue=100, patience=30), [0], []

    def work() -> None:
        with gate.slot():
            most[0] = max(most[0], gate.running)
            time.sleep(0.002)
        done.append(1)

    threads = [threading.Thread(target=work) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, len(done), gate.running, gate.waiting) == ([3], 60, 0, 0)


class Holder:
    """Threads that come one after the other, while the only slot is held."""

    def __init__(self, gate: Gate, count: int) -> None:
        self.order: list[int] = []
        self.refused: list[Problem] = []
        self.threads = []
        for number in range(count):
            before = gate.waiting
            thread = threading.Thread(target=self._work, args=(gate, number))
            thread.start()
            self.threads.append(thread)
            deadline = time.monotonic() + 5
            while gate.waiting == before and time.monotonic() < deadline:
                time.sleep(0.001)

    def _work(self, gate: Gate, number: int) -> None:
        try:
            with gate.slot():
                self.order.append(number)
        except Problem as problem:
            self.refused.append(problem)

    def join(self) -> None:
        for thread in self.threads:
            thread.join()


def test_first_come_first_served_and_the_rest_is_refused_at_once():
    gate = Gate(1, queue=3, patience=30)
    with gate.slot():
        holder = Holder(gate, 3)
        began = time.monotonic()
        with pytest.raises(Problem, match="3 requests are waiting") as caught, gate.slot():
            pass
        assert time.monotonic() - began < 1
        assert (caught.value.status, caught.value.retry_after) == (503, 1)
    holder.join()
    assert holder.order == [0, 1, 2]


def test_nobody_waits_for_ever():
    gate = Gate(1, queue=5, patience=0.05)
    with gate.slot():
        holder = Holder(gate, 2)
        holder.join()
    assert [str(problem) for problem in holder.refused] == ["no free worker within 0.05 s; try again"] * 2
    with gate.slot() as waited:
        assert waited < 0.05
    assert (gate.running, gate.waiting) == (0, 0)


def test_who_went_away_is_not_worked_for():
    gate = Gate(1, queue=0, patience=1)
    with pytest.raises(Problem, match="went away"), gate.slot(lambda: True):
        raise AssertionError("not reached")
    assert gate.running == 0


def test_a_slot_is_free_again_after_an_error():
    gate = Gate(1, queue=0, patience=1)
    for _ in range(3):
        with pytest.raises(ValueError, match="inside"), gate.slot():
            raise ValueError("inside")
    assert gate.running == 0
