"""What several verbs need: opening a trained network, printing results, progress on stderr."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from edgeailite.commands.printing import print_json, print_table
from edgeailite.config import TrainConfig
from edgeailite.config.stored import stored_config
from edgeailite.untrusted import printable

RESULT_WIDTH = 160  # columns, where there is no terminal


def set_threads(count: int | None) -> None:
    """Limit torch's CPU threads."""
    if count is not None:
        torch.set_num_threads(max(count, 1))


def plain(config: Any) -> dict[str, Any]:
    """A configuration as values that YAML and checkpoints can hold."""
    return {key: _plain_value(value) for key, value in dataclasses.asdict(config).items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return [_plain_value(v) for v in value] if isinstance(value, tuple) else value


def train_config(values: Mapping[str, Any], *, where: str = "the checkpoint's options") -> TrainConfig:
    """Inverse of `plain` for a training configuration; unknown keys of other versions are left out.

    Raises DataError for values that are none of `train`, naming `where` they stand.
    """
    older = dict(values)
    if isinstance(older.get("pretrained"), str):  # as older runs wrote it
        older["pretrained"] = [older["pretrained"]]
    if "workers" in older and older["workers"] is None:  # as older runs wrote it
        older["workers"] = "auto"
    return stored_config(TrainConfig, older, where=where)


def print_result(title: str, values: Mapping[str, Any], *, as_json: bool = False) -> None:
    """Results go to stdout: a two-column table, or one JSON object."""
    if as_json:
        print_json(values)
        return
    table = Table(title=title, show_header=False)
    for key, value in values.items():
        table.add_row(key, f"{value:.4g}" if isinstance(value, float) else printable(str(value)))
    print_table(table, width=RESULT_WIDTH)


@contextmanager
def progress(description: str, total: int | None) -> Iterator[tuple[Progress, TaskID]]:
    """A bar on stderr; nothing but the caller's own lines where stderr is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        yield bar, bar.add_task(description, total=total)


def log(message: str) -> None:
    """Plain lines on stderr."""
    print("\n".join(map(printable, message.split("\n"))), file=sys.stderr, flush=True)
