"""Problems of a request: a code for programs and a sentence for people, never a path or a stack trace.

Answers are `application/problem+json` (RFC 9457) with `error`, `message` and `status`.
"""

from __future__ import annotations

import errno
import json

from edgeailite.errors import EdgeailiteError

PROBLEM_TYPE = "application/problem+json"

STATUS: dict[str, int] = {
    "bad_request": 400,
    "bad_parameter": 400,
    "bad_picture": 400,
    "unauthorized": 401,
    "cross_site": 403,
    "wrong_host": 403,
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
    "out_of_memory": 503,
    "out_of_space": 507,
}
CODES = {status: code for code, status in reversed(STATUS.items())}  # the first of each status

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
# How onnxruntime, torch and OpenCV say it, each in an error of its own.
NO_MEMORY_WORDS = ("bad_alloc", "bad allocation", "allocate memory", "insufficient memory", "out of memory")


class Problem(EdgeailiteError):
    """A request that gets an answer other than the one it asked for; `retry_after` in seconds where waiting helps."""

    def __init__(self, error: str, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.error = error
        self.retry_after = retry_after

    @property
    def status(self) -> int:
        """Return the HTTP status."""
        return STATUS[self.error]

    @property
    def headers(self) -> dict[str, str]:
        """Return the problem's own headers: when to try again, and how to authenticate."""
        found = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return found | ({"WWW-Authenticate": "Bearer"} if self.error == "unauthorized" else {})


def problem_body(error: str, message: str) -> bytes:
    """Return the JSON of a problem."""
    return json.dumps({"error": error, "message": message, "status": STATUS[error]}).encode() + b"\n"


def shortage(error: BaseException | None) -> Problem | None:
    """Return the problem to answer if this machine ran out of memory, disk or descriptors; None for any other error.

    Errors that were raised while another one was handled are looked at, too.
    """
    for _ in range(8):
        if error is None:
            return None
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            return Problem("out_of_space", "there is no room for the picture in $TMPDIR; try again", retry_after=5)
        if isinstance(error, OSError) and error.errno in NO_DESCRIPTORS:
            return Problem("busy", "too many files and connections are open; try again", retry_after=1)
        no_memory = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        if no_memory or any(words in str(error).lower() for words in NO_MEMORY_WORDS):
            return Problem("out_of_memory", "there is not enough memory for this now; try again", retry_after=5)
        error = error.__cause__ or error.__context__
    return None
