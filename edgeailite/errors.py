"""Errors a user can act on, each with its exit code. Anything else that is raised is a bug."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

_DASHES = ""  # before a name; the command line sets "--"


def spell_options_as_flags() -> None:
    """Write options in messages as the command line has them: `--opset`, not `opset`."""
    global _DASHES
    _DASHES = "--"


def option(name: str) -> str:
    """Return an option's name as the caller writes it: `opset` in Python, `--opset` on the command line.

    >>> f"{option('opset')} 3: must be 17 to 21"
    'opset 3: must be 17 to 21'
    """
    return f"{_DASHES}{name}"


class EdgeailiteError(Exception):
    """Base: printed as one line by the command line, which then exits with `exit_code`.

    The sentence is made here, once, from the fields; whoever handles an error reads the fields and never the sentence.

        >>> error = DataError("truncated picture", path="a.png", fix="replace it", code="truncated")
        >>> str(error)
        'a.png: truncated picture; replace it'
        >>> error.code, error.path, error.fix
        ('truncated', 'a.png', 'replace it')

    Args:
        problem: What is wrong; the whole sentence where no other field adds to it.
        code: A stable name of the kind of error, in kebab-case; each class has one for its usual errors.
        path: The file or folder that the sentence begins with.
        line: The line of that file; follows it in the sentence.
        value: The value that was refused.
        fix: What to do; ends the sentence.
        other: A second file that `path` collides with; stands before it in the sentence.
        known: What could have been given instead of `value`.
        fix_in: The file in which the fix is written, where that is not `path`.
    """

    exit_code = 1
    code = "error"

    def __init__(
        self,
        problem: str = "",
        *,
        code: str | None = None,
        path: Path | str | None = None,
        line: int | None = None,
        value: Any = None,
        fix: str = "",
        other: Path | str | None = None,
        known: Iterable[str] = (),
        fix_in: Path | None = None,
    ) -> None:
        self.code = code or type(self).code
        self.problem, self.fix, self.line, self.value = problem, fix, line, value
        self.path, self.other, self.fix_in = None if path is None else str(path), other and str(other), fix_in
        self.known = tuple(known)
        place = "" if line is None else f"line {line}: "
        self.details = f"{place}{problem}" + (f"; {fix}" if fix else "")  # the sentence without its files
        super().__init__(": ".join(part for part in (self.subject, self.details) if part))

    @property
    def subject(self) -> str:
        """The files that the sentence begins with; "" without `path`."""
        return " and ".join(part for part in (self.other, self.path) if part)


class UsageError(EdgeailiteError, ValueError):
    """A flag, name or combination that cannot work (exit 2)."""

    exit_code = 2
    code = "usage"


class DataError(EdgeailiteError, ValueError):
    """A file that is missing, damaged or does not mean what was declared (exit 3)."""

    exit_code = 3
    code = "bad-file"


class ParityError(EdgeailiteError):
    """An exported file departs from the model, or an accuracy gate failed (exit 4)."""

    exit_code = 4
    code = "parity"


class DivergedError(EdgeailiteError):
    """Training produced a loss that is not finite (exit 5)."""

    exit_code = 5
    code = "diverged"


class LostProcessError(EdgeailiteError):
    """Another of the processes that train together is gone (exit 1)."""

    code = "lost-process"


class Interrupted(EdgeailiteError):
    """Stopped by the user after the state was saved (exit 130)."""

    exit_code = 130
    code = "interrupted"
