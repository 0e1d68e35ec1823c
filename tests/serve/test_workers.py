"""Work in other threads: its result, its error, and never more threads than said."""

from __future__ import annotations

import threading
import time

import pytest

from edgeailite.serve.workers import WorkerPool


def test_results_and_errors_come_back():
    crew = WorkerPool(2)
    assert [crew.do(lambda n=n: n * n) for n in range(5)] == [0, 1, 4, 9, 16]
    with pytest.raises(ValueError, match="inside"):
        crew.do(lambda: int("inside"))
    assert crew.do(lambda: 7) == 7


def test_always_the_same_threads():
    crew, names = WorkerPool(2), set()

    def work() -> None:
        names.add(threading.current_thread().name)
        time.sleep(0.005)

    threads = [threading.Thread(target=crew.do, args=(work,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names == {"worker-0", "worker-1"}
