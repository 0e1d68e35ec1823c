"""Admission to the work: so many at once, so many waiting, first come first served, and nobody waits for ever.

The threads of waitress only carry requests; its own queue has no end. What is computed at the same time, and what may
wait for it in memory, is bounded here.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edgeailite.serve.errors import Problem

RETRY_AFTER = 1  # seconds: about when the queue has moved on


class Gate:
    """At most `slots` at work and `queue` waiting, each of them for at most `patience` seconds."""

    def __init__(self, slots: int, *, queue: int, patience: float) -> None:
        self.slots, self.queue, self.patience = slots, queue, patience
        self.running = 0
        self._line: deque[object] = deque()
        self._changed = threading.Condition()

    @property
    def waiting(self) -> int:
        """Return the number of requests that wait for a slot."""
        return len(self._line)

    @contextmanager
    def slot(self, gone: Callable[[], bool] = lambda: False) -> Iterator[float]:
        """Hold a slot during the block; gives the seconds waited. Raises Problem `busy`, also for a `gone` client."""
        began = time.monotonic()
        self._enter(gone)
        try:
            yield time.monotonic() - began
        finally:
            with self._changed:
                self.running -= 1
                self._changed.notify_all()

    def _enter(self, gone: Callable[[], bool]) -> None:
        with self._changed:
            if self.running >= self.slots or self._line:
                self._wait()
            if gone():
                self._changed.notify_all()
                raise Problem("busy", "the client went away")
            self.running += 1

    def _wait(self) -> None:
        if len(self._line) >= self.queue:
            raise Problem("busy", f"{len(self._line)} requests are waiting; try again", retry_after=RETRY_AFTER)
        ticket = object()
        self._line.append(ticket)
        try:
            came = self._changed.wait_for(
                lambda: self._line[0] is ticket and self.running < self.slots, timeout=self.patience
            )
        finally:
            self._line.remove(ticket)
            self._changed.notify_all()
        if not came:
            raise Problem("busy", f"no free worker within {self.patience:g} s; try again", retry_after=RETRY_AFTER)
