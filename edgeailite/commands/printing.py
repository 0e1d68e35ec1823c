"""Results on stdout without torch: JSON, and tables as wide as the terminal, or 200 columns where there is none."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

WIDTH = 200


def print_json(values: Any) -> None:
    """One line of JSON."""
    print(json.dumps(values))


def print_table(table: Table) -> None:
    """A table for people."""
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)
