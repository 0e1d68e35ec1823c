"""A request while it arrives: who calls is checked at the header, before a body is kept, and bodies are counted.

waitress keeps a whole body before the application sees anything of the request. Here the caller of a request that
announces a body is checked as soon as the header is there, so that who may not call cannot fill memory or disk; and
what all connections hold together has a limit. A subclass of waitress's own parser (3.0).
"""

from __future__ import annotations

import contextlib
import logging
import time
from http import HTTPStatus
from typing import Any, Protocol

from waitress.parser import HTTPRequestParser
from waitress.utilities import Error

from edgeailite.serve.budget import Budget
from edgeailite.serve.callers import Call, Callers
from edgeailite.serve.errors import Problem, shortage

LOG = logging.getLogger("edgeailite.serve")
MAX_CHUNK_LINE = 4096  # bytes of one chunk's length and extensions; waitress has no limit
MAX_TRAILER = 32_768
FREE_FRAMING = 65_536  # bytes of chunk lengths and ends that every body may have
FULL = "too many bytes are arriving at once; try again"


class RequestError(Error):  # type: ignore[misc] # waitress has no types
    """A problem in waitress's form."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem
        self.code, self.reason = problem.status, HTTPStatus(problem.status).phrase


class Door(Protocol):
    """The parts of the server that a request's parser needs."""

    callers: Callers
    bodies: Budget

    def make_room(self, count: int, asking: Parser) -> bool:
        """Take so many bytes for a request, from another one if need be; False where that cannot be."""


class Parser(HTTPRequestParser):  # type: ignore[misc]
    """One request; `arrived` is when its first byte came (monotonic), `held` how many bytes of its body count."""

    error: Error | None
    completed: bool
    headers: dict[str, str]

    def __init__(self, adjustments: Any, door: Door) -> None:
        super().__init__(adjustments)
        self.arrived = time.monotonic()
        self.held = 0
        self._door = door
        self._admitted = self._closed = False

    def call(self) -> Call:
        """Return the caller, as the header describes it."""
        get = self.headers.get
        target = getattr(self, "proxy_netloc", "")
        origin, site = get("ORIGIN"), get("SEC_FETCH_SITE")
        return Call(self.version, get("HOST"), target, origin, site, get("AUTHORIZATION", ""))

    def received(self, data: bytes) -> int:
        """Parse more bytes; drop those after an error, and answer at once if the client asks whether to send a body."""
        if self._closed:  # its connection ended while this was under way
            return len(data)
        try:
            consumed: int = super().received(data)
            if self.error is None and self.headers_finished and not self.empty:
                self._look()
        except Problem as problem:
            self.refuse(problem)
        except (OSError, MemoryError) as error:
            short = shortage(error)
            LOG.error("a request was refused while it arrived: %s", short or repr(error))
            self.refuse(short or Problem("internal", "the service failed at this request; its log says why"))
        if self.error is None:
            return consumed
        self.expect_continue = False
        return len(data)

    def refuse(self, problem: Problem) -> None:
        """Give it up: it becomes an answer with this problem, and its body goes."""
        self.error, self.completed = RequestError(problem), True
        self.close()

    def close(self) -> None:
        """Let go of the body; what still arrives of it is not kept."""
        self._closed = True
        self._door.bodies.give_back(self.held)
        self.held = 0
        with contextlib.suppress(OSError):  # bytes that could not be written to a full disk are not needed any more
            super().close()

    def _look(self) -> None:
        if not self._admitted:
            self._check_framing()
            if self.body_rcv is not None:
                self._door.callers.check(self.call())
            self._admitted = True
        if self.chunked:
            self._check_chunks()
        more = self.body_bytes_received - self.held
        if more and not self._door.make_room(more, self):
            raise Problem("busy", FULL, retry_after=1)
        self.held += more

    def _check_framing(self) -> None:
        """Two ways to say where a body ends are how requests are smuggled past a proxy."""
        if self.chunked and "CONTENT_LENGTH" in self.headers:
            raise Problem("bad_request", "Content-Length and Transfer-Encoding are both given, expected one")
        if "TRANSFER_ENCODING" in self.headers:  # waitress takes it out in HTTP/1.1
            raise Problem("bad_request", "HTTP/1.0 has no Transfer-Encoding; send Content-Length")

    def _check_chunks(self) -> None:
        """Endless lines, and chunks of a few bytes each, would keep the thread that reads for all connections busy."""
        body = self.body_rcv
        if len(body.control_line) > MAX_CHUNK_LINE or len(body.trailer) > MAX_TRAILER:
            raise Problem("bad_request", "the length or the trailer of a chunk has no end")
        framing = self.body_bytes_received - len(body)
        if framing > FREE_FRAMING + len(body) // 8:
            raise Problem("bad_request", "the chunks are too small; send at least 64 bytes in each")
