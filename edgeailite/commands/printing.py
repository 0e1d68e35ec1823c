"""Results on stdout without torch: JSON, and tables as wide as the terminal, or 200 columns where there is none."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

WIDTH = 200  # columns, where there is no terminal


def print_json(values: Any) -> None:
    """One line of JSON."""
    print(json.dumps(values))


def print_table(table: Table, *, width: int = WIDTH) -> None:
    """A table for people; its title is a line of its own above it, however narrow the table is."""
    console = Console(width=None if sys.stdout.isatty() else width, markup=False, emoji=False)  # names may hold [/x]
    title, table.title = table.title, None
    if title is not None:
        console.print(title, highlight=False, soft_wrap=True)
    console.print(table)
