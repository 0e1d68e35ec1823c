"""The process: waitress's loop, models loaded beside it, and an orderly end.

A signal to stop makes `/readyz` say 503 and new pictures get 503; what arrived before is finished and delivered, then
the process ends. waitress alone would cancel what waits in its queue. A second signal ends at once.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

from edgeailite.errors import UsageError
from edgeailite.serve.app import Service, create_app
from edgeailite.serve.connection import Channel
from edgeailite.serve.life import DRAINING
from edgeailite.serve.served import Served

TICK = 0.2  # seconds between looks at deadlines and signals
SPARE_THREADS = 4  # carry health checks and refusals while all others carry pictures
MAX_HEADER = 32_768
CONNECTIONS = 512
LARGEST_ANSWER = 1 << 28  # never reached: a thread that waits for a slow client would be lost for others

Loader = Callable[[], Mapping[str, Served]]


class Server(TcpWSGIServer):  # type: ignore[misc] # waitress has no types
    """waitress with deadlines."""

    channel_class = Channel

    def __init__(
        self, service: Service, bound: socket.socket, adjustments: Adjustments, *, client_timeout: float
    ) -> None:
        self.life, self.metrics, self.client_timeout = service.life, service.metrics, client_timeout
        dispatcher = ThreadedTaskDispatcher()
        dispatcher.set_thread_count(adjustments.threads)
        about = (bound.family, bound.type, bound.proto, bound.getsockname())
        super().__init__(
            create_app(service),
            {},
            True,
            bound,
            dispatcher=dispatcher,
            adj=adjustments,
            sockinfo=about,
            bind_socket=False,
        )

    def maintenance(self, now: float) -> None:
        """Deadlines of every connection, beside waitress's own rule for idle ones."""
        for channel in list(self.active_channels.values()):
            channel.expire(time.monotonic(), self.client_timeout)
        super().maintenance(now)

    @property
    def busy(self) -> bool:
        """Whether anything accepted is unfinished."""
        return any(channel.busy for channel in list(self.active_channels.values()))

    def step(self) -> None:
        """Read, write and accept once."""
        wasyncore.loop(timeout=TICK, use_poll=True, map=self._map, count=1)
        if self.life.state == DRAINING:
            self.maintenance(time.time())

    def shut(self) -> None:
        """Close everything."""
        self.task_dispatcher.shutdown(timeout=1)
        wasyncore.close_all(self._map)


def listen(service: Service, *, host: str, port: int, client_timeout: float) -> Server:
    """Bind and listen; port 0 takes a free one. Raises UsageError for an address that cannot be had."""
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # our gate refuses in time; waitress warns at one
    try:
        tempfile.TemporaryFile().close()
    except OSError as error:
        raise UsageError(
            f"no folder for temporary files ({error.strerror}), which large uploads need; mount a tmpfs at /tmp or set "
            "TMPDIR"
        ) from None
    bound = _bind(host, port)
    adjustments = Adjustments(
        sockets=[bound],
        threads=service.gate.slots + service.gate.queue + SPARE_THREADS,
        ident="edgeailite",
        connection_limit=CONNECTIONS,
        max_request_header_size=MAX_HEADER,
        max_request_body_size=service.max_body + 1,  # waitress refuses from this size on
        outbuf_high_watermark=LARGEST_ANSWER,
        channel_request_lookahead=1,  # a client that goes away is noticed while it waits
        channel_timeout=int(client_timeout) + 2,  # connections that say nothing
        cleanup_interval=1,
        log_socket_errors=False,
    )
    return Server(service, bound, adjustments, client_timeout=client_timeout)


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise UsageError(f"--host {host} --port {port}: cannot listen there ({reason})") from None


def serve(
    server: Server,
    load: Loader,
    *,
    drain_timeout: float,
    on_ready: Callable[[], None],
    on_stopped: Callable[[str], None] = lambda line: None,
) -> int:
    """Serve until a signal; 0 after SIGTERM, 130 after Ctrl-C, 1 with work unfinished. Raises what `load` raises.

    `on_stopped` gets a line about the end: the signal, and how many pictures were labelled.
    """
    life = server.life

    def loading() -> None:
        try:
            life.loaded(load())
            on_ready()
        except BaseException as error:  # noqa: BLE001 - it is raised again by the thread that serves
            life.failure = error

    threading.Thread(target=loading, name="loading", daemon=True).start()
    with _signals() as caught:
        while not caught and life.failure is None:
            server.step()
        unfinished = _drain(server, caught, drain_timeout) if life.failure is None else False
    server.shut()
    if life.failure is not None:
        raise life.failure
    on_stopped(_farewell(server, caught[0], unfinished=unfinished))
    return 1 if unfinished else 130 if caught[0] == signal.SIGINT else 0


def _farewell(server: Server, number: int, *, unfinished: bool) -> str:
    """`stopped by SIGTERM, 12 pictures labelled`."""
    count = server.metrics.total("edgeailite_predictions_total")
    line = f"stopped by {signal.Signals(number).name}, {count} picture{'' if count == 1 else 's'} labelled"
    return f"{line}, some requests unfinished" if unfinished else line


def _drain(server: Server, caught: list[int], drain_timeout: float) -> bool:
    """Finish what arrived; whether something is left at the deadline, or at a second signal."""
    server.step()  # takes in what had reached the sockets before the signal
    server.life.drain()
    deadline = time.monotonic() + drain_timeout
    while server.busy and time.monotonic() < deadline and len(caught) < 2:
        server.step()
    return server.busy


@contextmanager
def _signals() -> Iterator[list[int]]:
    """The signals to stop that came meanwhile."""
    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)

    before: dict[int, Any] = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
