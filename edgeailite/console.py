"""Output for a person at a terminal: results on stdout, notes and progress on stderr.

No torch, and rich only where it draws: notes are shown where it is not installed, and no help waits for it.

Only verbs print results. Notes of the library go to the logger `edgeailite.notes`, so that a Python program stays
silent unless it asks; the command line asks with `show_notes`.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING, Any

from edgeailite.tables import print_entries, print_table, print_text
from edgeailite.untrusted import printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = [
    "NOTES", "exporter_silenced", "log", "print_entries", "print_json", "print_result", "print_table", "progress",
    "print_text", "show_notes",
]  # fmt: skip

NOTES = logging.getLogger("edgeailite.notes")
EXPORTER = ("torch", "onnxscript", "onnx_ir")  # loggers of torch's ONNX exporter


def print_json(values: Any) -> None:
    """Print one line of JSON to stdout."""
    print(json.dumps(values))


def print_result(title: str, values: Mapping[str, Any], *, as_json: bool = False) -> None:
    """Print named results to stdout: a two-column table, or one JSON object."""
    if as_json:
        print_json(values)
        return
    from rich.table import Table

    table = Table(title=title, show_header=False)
    for key, value in values.items():
        table.add_row(key, f"{value:.4g}" if isinstance(value, float) else printable(str(value)))
    print_table(table)


class _Stderr(logging.Handler):
    """Plain lines on stderr, control characters escaped."""

    def emit(self, record: logging.LogRecord) -> None:
        print("\n".join(map(printable, record.getMessage().split("\n"))), file=sys.stderr, flush=True)


@contextmanager
def exporter_silenced() -> Iterator[None]:
    """Keep what torch's ONNX exporter logs and prints of its own internals off the terminal; failures raise."""
    loggers = [logging.getLogger(name) for name in EXPORTER]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def show_notes() -> None:
    """Print notes and progress bars to stderr from now on, as the command line does."""
    if not _shown():
        NOTES.addHandler(_Stderr())
        NOTES.setLevel(logging.INFO)
        NOTES.propagate = False  # or a program's own handler would print them again


def _shown() -> bool:
    return any(isinstance(handler, _Stderr) for handler in NOTES.handlers)


def log(message: str) -> None:
    """Tell the user something beside the result; Python programs find it in the logger `edgeailite`."""
    NOTES.info("%s", message)


@contextmanager
def progress(description: str, total: int | None, *, still: bool = False) -> Iterator[tuple[Progress, TaskID]]:
    """Show a progress bar with the time left on stderr; where that is no terminal, a note every minute.

    `still`: the bar is drawn only when it is updated, so that no thread disturbs what is measured meanwhile.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from edgeailite.progress_lines import ProgressLines

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    if console.is_terminal and _shown():
        made = Progress(*columns, console=console, transient=True, auto_refresh=not still)
    else:
        made = ProgressLines(*columns, tell=log, console=console)
    with made as bar:
        yield bar, bar.add_task(description, total=total)
