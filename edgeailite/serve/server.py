"""The process: waitress's loop, models loaded beside it, and an orderly end.

A signal to stop makes `/readyz` say 503 and new pictures get 503; what arrived before is finished and delivered, then
the process ends. waitress alone would cancel what waits in its queue. A second signal ends at once.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import signal
import socket
import sys
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

from edgeailite.errors import UsageError, counted, option
from edgeailite.serve.app import Service, create_app
from edgeailite.serve.budget import Budget
from edgeailite.serve.connection import Channel
from edgeailite.serve.errors import NO_DESCRIPTORS, shortage
from edgeailite.serve.lifecycle import DRAINING
from edgeailite.serve.parser import Parser
from edgeailite.serve.served_model import ServedModel

LOG = logging.getLogger("edgeailite.serve")
TICK = 0.2  # seconds between looks at deadlines and signals
ACCEPTS = 32  # connections taken at once
SAY_AGAIN = 60.0  # seconds between two lines about the same shortage
OTHER_FILES = 48  # descriptors that are no connections: model files, bodies on disk, what libraries open
SPARE_THREADS = 4  # carry health checks and refusals while all others carry pictures
MAX_HEADER = 32_768
CONNECTIONS = 512
LARGEST_ANSWER = 1 << 28  # never reached: a thread that waits for a slow client would be lost for others

Loader = Callable[[], Mapping[str, ServedModel]]


class Server(TcpWSGIServer):  # type: ignore[misc] # waitress has no types
    """waitress with deadlines, and with limits to what all connections together may hold."""

    channel_class = Channel

    def __init__(
        self, service: Service, bound: socket.socket, adjustments: Adjustments, *, client_timeout: float
    ) -> None:
        self.life, self.metrics, self.client_timeout = service.life, service.metrics, client_timeout
        self.callers, self.bodies, self.largest_answers = service.callers, Budget(service.total), service.total
        self.most = most_connections(open_files())
        self.patience = math.inf  # seconds that a request may take to arrive while draining
        self._accept_from = self._said = 0.0
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

    # --- connections

    def readable(self) -> bool:
        """Return True if a new connection can be taken: there is room, or one that can be closed for it."""
        if not super().readable() or time.monotonic() < self._accept_from:
            return False
        return len(self.active_channels) < self.most or any(
            channel.dispensable() for channel in list(self.active_channels.values())
        )

    def handle_accept(self) -> None:
        """Accept waiting connections. If there are too many, close some instead, and accept the next time.

        Not both at once: a new connection would get the number of a closed one, whose events are still to come.
        """
        if len(self.active_channels) >= self.most:
            self._close_some()
            return
        for _ in range(min(ACCEPTS, self.most - len(self.active_channels))):
            try:
                connection, address = self.socket.accept()
            except OSError as error:
                if error.errno in NO_DESCRIPTORS or error.errno in (errno.ENOBUFS, errno.ENOMEM):
                    self._no_descriptors(error)
                return
            try:
                self.set_socket_options(connection)
            except OSError:  # it is gone already
                connection.close()
                continue
            try:
                self.channel_class(self, connection, address, self.adj, map=self._map)
            except MemoryError:
                connection.close()
                raise

    def _close_some(self) -> int:
        """Close a few; how many."""
        found = [(place, channel) for channel in self.active_channels.values() if (place := channel.dispensable())]
        found.sort(key=lambda each: each[0])
        victims = found[: max(1, len(self.active_channels) // 16)]
        for _, channel in victims:
            channel.drop("crowded")
        return len(victims)

    def _no_descriptors(self, error: OSError) -> None:
        closed = self._close_some()
        now = time.monotonic()
        self._accept_from = now + (0 if closed else TICK)
        if now > self._said:
            self._said = now + SAY_AGAIN
            LOG.error("no connection can be taken (%s): closed %d that were idle", error.strerror, closed)

    def handle_error(self) -> None:
        """Log a connection that cannot be taken, and go on listening."""
        error = sys.exc_info()[1]
        LOG.error("a connection was not taken: %s", shortage(error) or repr(error))

    # --- what connections hold

    def make_room(self, count: int, asking: Parser) -> bool:
        """Take bytes for a body that arrives; if need be from the unfinished one that has held most for longest."""
        while not self.bodies.take(count):
            now = time.monotonic()
            others = [c for c in self.active_channels.values() if c.request is not None and c.request is not asking]
            others.sort(key=lambda c: c.request.held * (now - c.request.arrived), reverse=True)
            mine = (asking.held + count) * (now - asking.arrived)
            if not others or others[0].request.held * (now - others[0].request.arrived) < mine:
                return False
            if not others[0].give_way():
                return False
        return True

    def make_room_for_answers(self) -> None:
        """End connections whose answers are not taken while all answers together are too large; from any thread."""
        now = time.monotonic()
        waiting = [c for c in list(self.active_channels.values()) if c.total_outbufs_len and not c.will_close]
        waiting.sort(key=lambda c: c.total_outbufs_len * (now - (c.answering_since or now)), reverse=True)
        held = sum(channel.total_outbufs_len for channel in waiting)
        for channel in waiting:
            if held <= self.largest_answers:
                return
            held -= channel.total_outbufs_len
            channel.will_close = True
            self.metrics.count("edgeailite_connections_closed_total", "answer_not_taken")
        self.pull_trigger()

    # --- time

    def maintenance(self, now: float) -> None:
        """Enforce the deadlines of every connection, beside waitress's own rule for idle ones."""
        for channel in list(self.active_channels.values()):
            channel.expire(time.monotonic(), min(self.client_timeout, self.patience))
        super().maintenance(now)

    def owes(self, since: float) -> bool:
        """Return True if anything that began to arrive before that time (monotonic) is unfinished."""
        return any(channel.owes(since) for channel in list(self.active_channels.values()))

    def step(self) -> None:
        """Read, write and accept once."""
        try:
            wasyncore.loop(timeout=TICK, use_poll=True, map=self._map, count=1)
        except MemoryError:
            LOG.error("out_of_memory while reading from connections")
            time.sleep(TICK)
        if self.life.state == DRAINING:
            self.maintenance(time.time())

    def shut(self) -> None:
        """Close everything."""
        self.task_dispatcher.shutdown(timeout=1)
        wasyncore.close_all(self._map)


def open_files() -> int | None:
    """Return how many files this process may open; None where there is no limit, as on Windows."""
    try:
        import resource
    except ImportError:
        return None
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if most == resource.RLIM_INFINITY else most


def most_connections(descriptors: int | None) -> int:
    """Return the largest number of connections for a process that may open so many files; None is no limit."""
    return CONNECTIONS if descriptors is None else max(8, min(CONNECTIONS, descriptors - OTHER_FILES))


def listen(service: Service, *, host: str, port: int, client_timeout: float) -> Server:
    """Bind and listen; port 0 takes a free one. Raises UsageError for an address that cannot be had."""
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # our gate refuses in time; waitress warns at one
    try:
        tempfile.TemporaryFile().close()
    except OSError as error:
        raise UsageError(
            f"no folder for temporary files ({error.strerror}), which large uploads need; mount a tmpfs at /tmp or set "
            "TMPDIR",
            code="unwritable",
        ) from None
    bound = _bind(host, port)
    adjustments = Adjustments(
        sockets=[bound],
        threads=service.gate.slots + service.gate.queue + SPARE_THREADS,
        ident="edgeailite",
        connection_limit=1 << 20,  # never reached: ours closes idle ones, waitress's would only wait
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
        raise UsageError(
            f"{option('host')} {host} {option('port')} {port}: cannot listen there ({reason})", code="busy"
        ) from None


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
        """Load the models in a thread; keep the error for the thread that serves."""
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
    line = f"stopped by {signal.Signals(number).name}, {counted(count, 'picture')} labelled"
    return f"{line}, some requests unfinished" if unfinished else line


def _drain(server: Server, caught: list[int], drain_timeout: float) -> bool:
    """Finish what arrived; return True if something is left at the deadline, or at a second signal.

    A request that begins to arrive after the signal is refused. One that arrives too slowly for the
    deadline is refused before it, where there is time enough to say so.
    """
    server.step()  # takes in what had reached the sockets before the signal
    server.life.drain()
    began = time.monotonic()
    if drain_timeout > 10 * TICK:
        server.patience = drain_timeout - 5 * TICK
    while server.owes(began) and time.monotonic() < began + drain_timeout and len(caught) < 2:
        server.step()
    return server.owes(began)


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
