"""What a person at a terminal reads: results on stdout, notes and progress on stderr. No torch."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from edgeailite.untrusted import printable

WIDTH = 200  # columns of a table where stdout is no terminal
RESULT_WIDTH = 160  # columns of a table of results there


def print_json(values: Any) -> None:
    """Print one line of JSON to stdout."""
    print(json.dumps(values))


def print_table(table: Table, *, width: int = WIDTH) -> None:
    """Print a table to stdout, its title on a line of its own above it, however narrow the table is."""
    console = Console(width=None if sys.stdout.isatty() else width, markup=False, emoji=False)  # names may hold [/x]
    title, table.title = table.title, None
    if title is not None:
        console.print(title, highlight=False, soft_wrap=True)
    console.print(table)


def print_result(title: str, values: Mapping[str, Any], *, as_json: bool = False) -> None:
    """Print named results to stdout: a two-column table, or one JSON object."""
    if as_json:
        print_json(values)
        return
    table = Table(title=title, show_header=False)
    for key, value in values.items():
        table.add_row(key, f"{value:.4g}" if isinstance(value, float) else printable(str(value)))
    print_table(table, width=RESULT_WIDTH)


@contextmanager
def progress(description: str, total: int | None) -> Iterator[tuple[Progress, TaskID]]:
    """Show a progress bar on stderr; nothing is shown where stderr is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        yield bar, bar.add_task(description, total=total)


def log(message: str) -> None:
    """Print plain lines to stderr, control characters escaped."""
    print("\n".join(map(printable, message.split("\n"))), file=sys.stderr, flush=True)
