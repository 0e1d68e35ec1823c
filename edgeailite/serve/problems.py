"""What can be wrong with a request: a code for programs and a sentence for people, never a path or a stack trace.

Answers are `application/problem+json` (RFC 9457) with `error`, `message` and `status`.
"""

from __future__ import annotations

import json

from edgeailite.errors import EdgeailiteError

PROBLEM_TYPE = "application/problem+json"

STATUS: dict[str, int] = {
    "bad_request": 400,
    "bad_parameter": 400,
    "bad_picture": 400,
    "unauthorized": 401,
    "cross_site": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "too_large": 413,
    "unsupported": 415,
    "header_too_large": 431,
    "internal": 500,
    "not_implemented": 501,
    "busy": 503,
    "starting": 503,
    "draining": 503,
}
CODES = {status: code for code, status in reversed(STATUS.items())}  # the first of each status


class Problem(EdgeailiteError):
    """A request that gets an answer other than the one it asked for; `retry_after` in seconds where waiting helps."""

    def __init__(self, error: str, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.error = error
        self.retry_after = retry_after

    @property
    def status(self) -> int:
        """The HTTP status."""
        return STATUS[self.error]


def problem_body(error: str, message: str) -> bytes:
    """The JSON of a problem."""
    return json.dumps({"error": error, "message": message, "status": STATUS[error]}).encode() + b"\n"
