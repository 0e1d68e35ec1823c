"""A pool of the threads that compute: as many as pictures are labelled at once, always the same.

The threads of waitress are many more, and what is allocated in a thread stays with it: if each of them decoded and
labelled in its turn, memory would grow until every one had held a picture.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

Result = TypeVar("Result")


class WorkerPool:
    """`do(work)` gives what `work()` gives, computed by one of `count` threads; they end with the process."""

    def __init__(self, count: int) -> None:
        self._tasks: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        for number in range(count):
            threading.Thread(target=self._work, name=f"worker-{number}", daemon=True).start()

    def do(self, work: Callable[[], Result]) -> Result:
        """Wait for it; raises what it raises."""
        future: Future[Result] = Future()
        self._tasks.put((work, future))
        return future.result()

    def _work(self) -> None:
        while True:
            work, future = self._tasks.get()
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 - it is raised again by the thread that waits
                future.set_exception(error)
            del work, future  # or the last picture would be held until the next one
