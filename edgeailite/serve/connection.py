"""What waitress leaves open, closed here: a deadline for each request, JSON for its own errors, and a clean end.

waitress gives a connection up only when nothing moves for a while, so that one byte now and then holds it for ever;
here a request has so many seconds from its first byte, and so has the taking of an answer. waitress closes at once
after refusing a body, which resets the connection before the client has read why; here the rest is read and dropped for
a moment. These are subclasses of waitress's own channel, parser and tasks (3.0), replaced where it names them itself.
"""

from __future__ import annotations

import socket
import time
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import Error

from edgeailite.serve.app import ARRIVED
from edgeailite.serve.headers import FIXED
from edgeailite.serve.life import DRAINING
from edgeailite.serve.problems import CODES, PROBLEM_TYPE, problem_body

LINGER = 2.0  # seconds that the rest of a refused body is read
SENTENCES = {
    400: "this is no valid HTTP request",
    408: "the request did not arrive in time",
    413: "the body is larger than is taken",
    431: "the headers are larger than is taken",
    500: "the service failed at this request; its log says why",
    501: "this transfer encoding is not known",
}


class TooSlow(Error):  # type: ignore[misc] # waitress has no types
    """408, in waitress's form."""

    code, reason = 408, "Request Timeout"


class Parser(HTTPRequestParser):  # type: ignore[misc]
    """Knows when its request began."""

    def __init__(self, adjustments: Any) -> None:
        super().__init__(adjustments)
        self.arrived = time.monotonic()

    def received(self, data: bytes) -> int:
        """As waitress, but who asks whether to send a body that is refused is told so at once."""
        consumed: int = super().received(data)
        if self.error is not None:
            self.expect_continue = False
        return consumed


class Task(WSGITask):  # type: ignore[misc]
    """A request for the application."""

    def get_environment(self) -> dict[str, Any]:
        """With the time at which the request began."""
        environ: dict[str, Any] = super().get_environment()
        environ[ARRIVED] = self.request.arrived
        return environ

    def build_response_header(self) -> bytes:
        """A service that stops keeps no connection."""
        if self.channel.server.life.state == DRAINING:
            self.set_close_on_finish()
        return bytes(super().build_response_header())


class Refusal(ErrorTask):  # type: ignore[misc]
    """An error that waitress found before the application saw anything."""

    def execute(self) -> None:
        """The same JSON and headers as the application's own errors."""
        status = self.request.error.code
        code = CODES.get(status, "bad_request")
        body = problem_body(code, SENTENCES.get(status, SENTENCES[400]))
        self.channel.server.metrics.count("edgeailite_requests_total", "other", str(status))
        self.channel.server.metrics.count("edgeailite_problems_total", code)
        self.status = f"{status} {self.request.error.reason}"
        self.response_headers.extend([("Content-Type", PROBLEM_TYPE), ("Cache-Control", "no-store"), *FIXED.items()])
        self.set_close_on_finish()
        self.channel.refused = True
        self.content_length = len(body)
        self.write(body)


class Channel(HTTPChannel):  # type: ignore[misc]
    """One connection."""

    task_class, error_task_class, parser_class = Task, Refusal, Parser
    request: Any
    refused = False  # its last answer was a refusal, the client may still be sending
    lingering_until: float | None = None
    answering_since: float | None = None

    @property
    def busy(self) -> bool:
        """Whether something accepted is not finished: a request that arrives, is worked at, or whose answer leaves."""
        return bool(self.request is not None or self.requests or self.total_outbufs_len or self.close_when_flushed)

    def expire(self, now: float, allowed: float) -> None:
        """Give up what takes longer than `allowed` seconds; from the thread that reads."""
        if self.lingering_until is not None and now > self.lingering_until:
            self.will_close = True
        self._expire_answer(now, allowed)
        with self.requests_lock:
            slow = self.request is not None and now - self.request.arrived > allowed
            if not slow or self.requests:
                return
            request, self.request = self.request, None
            request.error, request.completed = TooSlow(""), True
            self.requests.append(request)
            self.server.add_task(self)

    def _expire_answer(self, now: float, allowed: float) -> None:
        if self.requests or not self.total_outbufs_len:
            self.answering_since = None
        elif self.answering_since is None:
            self.answering_since = now
        elif now - self.answering_since > allowed:
            self.will_close = True

    def readable(self) -> bool:
        """Also while the rest of a refused body is dropped."""
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
