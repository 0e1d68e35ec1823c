"""Errors a user can act on, each with its exit code. Anything else that is raised is a bug."""

from __future__ import annotations

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


class _Options(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return option(name)


def with_options(text: str) -> str:
    """Return a text of a table with every `{name}` in it written as `option` writes it.

    >>> with_options("a newer opset than the device knows; choose another {opset}")
    'a newer opset than the device knows; choose another opset'
    """
    return text.format_map(_Options())


class EdgeailiteError(Exception):
    """Base: printed as one line by the command line, which then exits with `exit_code`."""

    exit_code = 1


class UsageError(EdgeailiteError, ValueError):
    """A flag, name or combination that cannot work (exit 2)."""

    exit_code = 2


class DataError(EdgeailiteError, ValueError):
    """A file that is missing, damaged or does not mean what was declared (exit 3)."""

    exit_code = 3


class ParityError(EdgeailiteError):
    """An exported file departs from the model, or an accuracy gate failed (exit 4)."""

    exit_code = 4


class DivergedError(EdgeailiteError):
    """Training produced a loss that is not finite (exit 5)."""

    exit_code = 5


class LostProcessError(EdgeailiteError):
    """Another of the processes that train together is gone (exit 1)."""


class Interrupted(EdgeailiteError):
    """Stopped by the user after the state was saved (exit 130)."""

    exit_code = 130
