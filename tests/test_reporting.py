"""Errors are one line, whatever stands in them and however the memory, the stack or the disk ends."""

import errno
import io
import sys

import pytest

from edgeailite.__main__ import reporting
from edgeailite.errors import DataError, DivergedError, Interrupted, ParityError, UsageError

ENDS = {
    "data": (DataError("a.png: damaged"), 3, "error: a.png: damaged"),
    "usage": (UsageError("--x 1"), 2, "error: --x 1"),
    "parity": (ParityError("x"), 4, "error: x"),
    "diverged": (DivergedError("x"), 5, "error: x"),
    "stopped": (Interrupted("stopped"), 130, "error: stopped"),
    "interrupted": (KeyboardInterrupt(), 130, "interrupted"),
    "names of strangers": (DataError("class 'a\x1b[2J\nerror: b'"), 3, r"error: class 'a\x1b[2J\nerror: b'"),
    "memory": (MemoryError(), 1, "error: not enough memory for this input"),
    "memory of torch": (RuntimeError("[enforce fail] can't allocate memory: 1"), 1, "error: not enough memory"),
    "stack": (RecursionError(), 3, "error: values of a file are nested too deeply"),
    "disk": (OSError(errno.ENOSPC, "No space left on device", "out\n.png"), 3, r"error: out\n.png: No space left"),
}


@pytest.mark.parametrize("kind", ENDS)
def test_errors_are_one_line(capsys, kind):
    error, code, line = ENDS[kind]

    def fail() -> int:
        raise error

    assert reporting(fail) == code
    (found,) = capsys.readouterr().err.splitlines()
    assert found.startswith(line)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), ValueError("a bug"), OSError("a bug"), KeyError("a")])
def test_bugs_are_not_hidden(error):
    def fail() -> int:
        raise error

    with pytest.raises(type(error)):
        reporting(fail)


def test_a_terminal_that_lacks_characters(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)

    def say() -> int:
        print("Straße, \udcff")
        return 0

    assert reporting(say) == 0
    stream.flush()
    assert stream.buffer.getvalue() == b"Stra\\xdfe, \\udcff\n"


def test_the_middle_of_an_endless_error_is_left_out(capsys):
    def action() -> int:
        raise DataError(f"{'x' * 10**6}.png: cannot be read; give another picture")

    assert reporting(action) == 3
    line = capsys.readouterr().err
    assert len(line) < 2000 and line.startswith("error: xxx") and line.endswith("give another picture\n")
