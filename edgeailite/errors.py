"""Errors a user can act on, each with its exit code. Anything else that is raised is a bug.

An error has a `code` if a program could go on without a person, and the code says by which step:

    missing-file, folder-missing    make it, or name another one
    unreadable, unwritable          free disk space, change rights, or name another place
    not-ours                        name another place: a file that somebody else wrote would be lost
    busy, offline, lost-process     wait and try again
    damaged                         fetch or write the file again
    unsafe                          take a file that holds plain values
    unknown-name                    take one of `known`
    wrong-kind                      convert the file or run first: train, calibrate, quantize, export
    no-integer-form                 leave this part in float: in the plan, or the whole network
    no-fit                          take data, weights or pictures that belong to the network
    changed-data                    take the data as it was, or accept the change
    out-of-memory, over-budget      ask for less
    not-installed, no-gpu           install it, or leave out what needs it
    not-json, not-yaml, missing-value, unexpected-value     mend a record that a program wrote

Readers of data sets have the codes of `edgeailite.data.check`. A wrong value of an option has none: a person chose it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

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


def did_you_mean(name: str, known: Iterable[str], *, mark: str = "", cutoff: float = 0.6) -> str:
    """Return `; did you mean NAME?` with the known name that is nearest; "" if none is near.

    >>> did_you_mean("trian", ["train", "infer"])
    '; did you mean train?'
    """
    near = difflib.get_close_matches(name, known, n=1, cutoff=cutoff)
    return f"; did you mean {mark}{near[0]}?" if near else ""


def first_line(error: BaseException) -> str:
    """Return the first line of what another library says, or the kind of its error where it says nothing.

    >>> first_line(RuntimeError("no memory\\nat line 3")), first_line(KeyError())
    ('no memory', 'KeyError')
    """
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def counted(number: int, what: str) -> str:
    """Return a number of things in words.

    >>> counted(1, "picture"), counted(2, "picture")
    ('1 picture', '2 pictures')
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


def root_cause(error: BaseException) -> BaseException:
    """Return what an error was raised from, and so on to the first: torch's exporter wraps what failed."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


class _Options(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return option(name)


def some_of(names: Sequence[str], most: int) -> str:
    """List at most so many names, and say how many more there are.

    >>> some_of(["a", "b", "c"], 2), some_of(["a", "b"], 2)
    ('a, b and 1 more', 'a, b')
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def with_options(text: str) -> str:
    """Return a text of a table with every `{name}` in it written as `option` writes it.

    >>> with_options("a newer opset than the device knows; choose another {opset}")
    'a newer opset than the device knows; choose another opset'
    """
    return text.format_map(_Options())


class EdgeailiteError(Exception):
    """Base of all errors: printed as one line by the command line, which then exits with `exit_code`.

    The sentence is made of the fields once, here, so that a program asks the fields and never reads the sentence:
    `path: line N: problem; fix`, or `--option value: problem; fix` with the option that it is `about`. Fields:

    code: a stable name of the problem, such as "missing-file"
    path, line: where it is; other: a second file that is concerned
    value: what was found; known: what could have been given

    `code`, `known`, and `value` without `about`, are not printed; fields that are None or empty are left out.

    >>> error = DataError("no picture a.png", path="val.txt", line=3, code="missing-file", fix="take the line out")
    >>> print(error)
    val.txt: line 3: no picture a.png; take the line out
    >>> error.line, error.code
    (3, 'missing-file')
    """

    exit_code = 1

    def __init__(
        self,
        problem: str = "",
        *,
        fix: str = "",
        path: Path | str | None = None,
        other: Path | str | None = None,
        line: int | None = None,
        code: str = "",
        value: object = None,
        known: tuple[str, ...] = (),
        about: str = "",
    ) -> None:
        self.problem, self.fix, self.code, self.value, self.known = problem, fix, code, value, known
        self.path, self.other, self.line, self.about = path, other, line, about
        start = " and ".join(str(file) for file in (other, path) if file is not None)
        if about:
            start = f"{option(about)} {value}"
        super().__init__(f"{start}: {self.detail}" if start else self.detail)

    @property
    def detail(self) -> str:
        """Return the sentence without the files: `line N: problem; fix`."""
        start = "" if self.line is None else f"line {self.line}: "
        return f"{start}{self.problem}; {self.fix}" if self.fix else start + self.problem


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
