"""The real server in a thread of the tests' own process: nothing to start, and its limits and counters can be read."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from edgeailite.serve.admission import Gate
from edgeailite.serve.app import Service
from edgeailite.serve.served_model import Image, ServedModel
from edgeailite.serve.server import Server, listen
from tests.serve.running import Running

CLASSES = (('"quoted"\n\x1b[2J', (1, 2, 3)), ("</script><b>", (4, 5, 6)))


class Here(Running):
    """Asks a server of this process."""

    def __init__(self, server: Server) -> None:
        super().__init__(process=None, port=int(server.effective_port), log=Path(os.devnull))  # type: ignore[arg-type]
        self.server = server

    def counted(self, family: str, *labels: str) -> int:
        """A counter of the service."""
        return self.server.metrics._counts[family, labels]


def zeros(image: Image) -> Image:
    """Everything is class 0."""
    return np.zeros(image.shape[:2], np.uint8)


@contextmanager
def inside(*, labels: Callable[[Image], Image] = zeros, client_timeout: float = 5.0, **options) -> Iterator[Here]:
    """A server that is ready, and afterwards holds nothing: bodies are given back whatever clients did."""
    wanted = {"max_body": 2_000_000, "max_pixels": 4_000_000} | options
    service = Service(("zeros",), Gate(2, queue=4, patience=10), **wanted)
    service.life.loaded({"zeros": ServedModel("zeros", CLASSES, labels, {})})
    server = listen(service, host="127.0.0.1", port=0, client_timeout=client_timeout)
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            server.step()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield Here(server)
        assert until(lambda: server.bodies.used == 0, 5 + client_timeout), f"{server.bodies.used} bytes are still held"
    finally:
        over.set()
        server.pull_trigger()
        thread.join()
        server.shut()


def until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether it comes true within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
