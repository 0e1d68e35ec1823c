"""Connections of waitress with what it lacks: a deadline for each request, JSON for its own errors, and a clean end.

waitress gives a connection up only when nothing moves for a while, so that one byte now and then holds it for ever;
here a request has so many seconds from its first byte, so has the taking of an answer, and a connection that says
nothing has fewer. waitress closes at once after refusing a body, which resets the connection before the client has read
why; here the rest is read and dropped for a moment. Large answers are handed on as they are, where waitress would copy
them to a temporary file. These are subclasses of waitress's own channel and tasks (3.0), replaced where it names them.
"""

from __future__ import annotations

import io
import logging
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from waitress.buffers import ReadOnlyFileBasedBuffer
from waitress.channel import HTTPChannel
from waitress.task import ErrorTask, WSGITask

from edgeailite.serve.app import ARRIVED, MAKE_ROOM, TARGET
from edgeailite.serve.errors import CODES, PROBLEM_TYPE, Problem, problem_body, shortage
from edgeailite.serve.headers import FIXED, sharing
from edgeailite.serve.lifecycle import DRAINING
from edgeailite.serve.parser import FULL, Parser, RequestError
from edgeailite.untrusted import printable

LOG = logging.getLogger("edgeailite.serve")
LINGER = 2.0  # seconds that the rest of a refused body is read
FIRST_BYTE = 5.0  # seconds that a new connection may say nothing
GRACE = 0.25  # seconds until what a new connection sent at once has been read, even by a busy server
SEND = 1 << 18  # bytes handed to the system at once; waitress reads as much as the system's buffer may ever grow to
LARGE = 1 << 16  # bytes of an answer that are not copied
SENTENCES = {
    400: "this is no valid HTTP request",
    408: "the request did not arrive in time",
    413: "the body is larger than is taken",
    431: "the headers are larger than is taken",
    500: "the service failed at this request; its log says why",
    501: "this transfer encoding is not known",
}


class Task(WSGITask):  # type: ignore[misc] # waitress has no types
    """A request for the application."""

    def get_environment(self) -> dict[str, Any]:
        """Add the time at which the request began, and what the application asks of the connections."""
        environ: dict[str, Any] = super().get_environment()
        environ[ARRIVED] = self.request.arrived
        environ[TARGET] = self.request.proxy_netloc
        environ[MAKE_ROOM] = self.channel.server.make_room_for_answers
        return environ

    def build_response_header(self) -> bytes:
        """Close the connection after the answer if the service is stopping."""
        if self.channel.server.life.state == DRAINING:
            self.set_close_on_finish()
        return bytes(super().build_response_header())

    def execute(self) -> None:
        """Answer; if memory, disk or descriptors run out, say so in the answer or, once begun, in the log."""
        try:
            super().execute()
        except (MemoryError, OSError) as error:
            problem = shortage(error)
            if problem is None:
                raise
            LOG.error("%s while answering %s", problem.error, printable(self.request.path[:200]))
            self.close_on_finish = True
            if not self.wrote_header:
                self.complete = True
                self.response_headers.clear()
                write_problem(self, problem)


class Refusal(ErrorTask):  # type: ignore[misc]
    """An error that was found before the application saw anything."""

    def execute(self) -> None:
        """Answer with the same JSON and headers as the application's own errors."""
        error = self.request.error
        if not isinstance(error, RequestError):
            code = CODES.get(error.code, "bad_request")
            error = RequestError(Problem(code, SENTENCES.get(error.code, SENTENCES[400])))
        self.channel.refused = True
        write_problem(self, error.problem)


def write_problem(task: Any, problem: Problem) -> None:
    """Write a problem as the answer of a waitress task, which has written nothing yet, and count it."""
    server = task.channel.server
    body = problem_body(problem.error, str(problem))
    server.metrics.count("edgeailite_requests_total", "other", str(problem.status))
    server.metrics.count("edgeailite_problems_total", problem.error)
    task.status = f"{problem.status} {RequestError(problem).reason}"
    shared = sharing(task.request.headers.get("ORIGIN", ""), server.callers.origins)
    fixed = {"Content-Type": PROBLEM_TYPE, "Cache-Control": "no-store", **FIXED}
    task.response_headers.extend((fixed | shared | problem.headers).items())
    task.set_close_on_finish()
    task.content_length = len(body)
    task.write(body)


class Channel(HTTPChannel):  # type: ignore[misc]
    """One connection."""

    task_class, error_task_class = Task, Refusal
    request: Any
    requests: list[Any]
    sendbuf_len: int
    refused = False  # its last answer was a refusal, the client may still be sending
    lingering_until: float | None = None
    answering_since: float | None = None
    answers = 0

    def __init__(self, server: Any, sock: socket.socket, addr: Any, adj: Any, map: Any = None) -> None:
        self.born = self.idle_since = time.monotonic()
        super().__init__(server, sock, addr, adj, map=map)
        self.sendbuf_len = min(self.sendbuf_len, SEND)

    def parser_class(self, adjustments: Any) -> Parser:
        """Make a parser that knows this server's rules."""
        return Parser(adjustments, self.server)

    @property
    def busy(self) -> bool:
        """Return True if anything is unfinished: a request that arrives, is worked at, or whose answer leaves."""
        return bool(self.request is not None or self.requests or self.total_outbufs_len or self.close_when_flushed)

    def owes(self, until: float) -> bool:
        """Return True if a request that began to arrive before this time (monotonic) is unfinished."""
        if self.born > until:
            return False
        request, requests = self.request, list(self.requests)
        begun = any(each.arrived <= until for each in [request, *requests] if each is not None)
        return begun or bool(self.total_outbufs_len or self.close_when_flushed)

    def dispensable(self) -> tuple[int, float] | None:
        """Return the rank for closing, smallest first; None while a worker is busy for the connection.

        First come refused ones that are still read from, then silent ones, then those whose header arrives, whose body
        arrives, whose answer is not taken, and last those so new that their request may not have been read; the oldest
        of each kind first.
        """
        request = self.request
        if self.requests:
            return None
        if self.lingering_until is not None:
            return 0, self.lingering_until
        if request is not None:
            return (3 if request.headers_finished else 2), request.arrived
        if self.total_outbufs_len or self.close_when_flushed:
            return 4, self.answering_since or time.monotonic()
        return (1 if time.monotonic() - self.idle_since > GRACE else 5), self.idle_since

    def drop(self, reason: str) -> None:
        """Close at once; from the thread that reads."""
        self.server.metrics.count("edgeailite_connections_closed_total", reason)
        self.refused = False
        self.handle_close()

    def give_way(self) -> bool:
        """Refuse the request that is arriving, so that what it holds is free; from the thread that reads."""
        return self._give_up(Problem("busy", FULL, retry_after=1), lambda request: request.held > 0)

    def expire(self, now: float, allowed: float) -> None:
        """Give up what takes longer than `allowed` seconds; from the thread that reads."""
        if self.lingering_until is not None and now > self.lingering_until:
            self.will_close = True
        silent = now - self.idle_since > (allowed if self.answers else min(FIRST_BYTE, allowed))
        if silent and not self.busy and self.lingering_until is None and not self.will_close:
            self.server.metrics.count("edgeailite_connections_closed_total", "silent")
            self.will_close = True
        self._expire_answer(now, allowed)
        slow = Problem("request_timeout", SENTENCES[408])
        self._give_up(slow, lambda request: now - request.arrived > allowed and not self.requests)

    def _give_up(self, problem: Problem, if_: Callable[[Any], bool]) -> bool:
        with self.requests_lock:
            request = self.request
            if request is None or request.completed or not if_(request):
                return False
            self.request = None
            request.refuse(problem)
            self.requests.append(request)
            if len(self.requests) == 1:
                self.server.add_task(self)
            return True

    def _expire_answer(self, now: float, allowed: float) -> None:
        if self.requests or not self.total_outbufs_len:
            self.answering_since = None
        elif self.answering_since is None:
            self.answering_since = now
        elif now - self.answering_since > allowed and not self.will_close:
            self.server.metrics.count("edgeailite_connections_closed_total", "answer_not_taken")
            self.will_close = True

    def service(self) -> None:
        """Answer one request; from now on the connection may be idle."""
        try:
            super().service()
        except (MemoryError, OSError) as error:
            LOG.error("a connection was closed: %s", shortage(error) or repr(error))
            self.connected = False
            self.will_close = True
        self.answers += 1
        self.idle_since = time.monotonic()
        if not self.connected:  # nobody will ask for these: what they hold must go
            with self.requests_lock:
                rest, self.requests = self.requests, []
            for request in rest:
                request.close()

    def write_soon(self, data: Any) -> int:
        """Queue an answer; large ones without waitress's copy, which would be in $TMPDIR."""
        if isinstance(data, bytes) and len(data) >= LARGE:
            buffer = ReadOnlyFileBasedBuffer(io.BytesIO(data))
            buffer.prepare()
            data = buffer
        return int(super().write_soon(data))

    def readable(self) -> bool:
        """Return True also while the rest of a refused body is dropped."""
        return self.lingering_until is not None or bool(super().readable())

    def handle_read(self) -> None:
        """Take what came in, or drop it."""
        if self.lingering_until is None:
            super().handle_read()
            return
        try:
            self.recv(self.adj.recv_bytes)
        except OSError:
            self.handle_close()

    def handle_error(self) -> None:
        """Log one line where waitress would print all of its stack; the connection ends."""
        error = sys.exc_info()[1]
        LOG.error("a connection was closed: %s", shortage(error) or repr(error))
        self.drop("error")

    def handle_close(self) -> None:
        """Close; after a refusal first only our side, so that the client can read it."""
        if self.refused and self.lingering_until is None:
            self.lingering_until = time.monotonic() + LINGER
            self.will_close = False
            try:
                self.socket.shutdown(socket.SHUT_WR)
                return
            except OSError:
                pass  # the client is gone already
        super().handle_close()
        if self.request is not None:
            self.request.close()
