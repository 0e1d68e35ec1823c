"""What the `edgeailite data …` verbs share: which data set, which splits, how many processes, a bar of progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

from edgeailite.console import progress
from edgeailite.data import DATASETS, default_path, open_dataset
from edgeailite.data.check import Checkup, check_dataset, splits_of
from edgeailite.data.loader import worker_count
from edgeailite.errors import DataError

FEW = 64  # pictures that one process looks at sooner than others start


def locate(name: str, path: Path | None) -> Path:
    """The folder of a data set. UsageError for an unknown name, DataError if the folder is not there."""
    if name not in DATASETS:
        open_dataset(name, path, "")  # says which are known
    root = path or default_path(name)
    if not root.is_dir():
        raise DataError(f"data set {name}: folder {root} does not exist; set --data_path")
    return root


@contextmanager
def checked(verb: str, name: str, path: Path | None, split: str, workers: int | Literal["auto"]) -> Iterator[Checkup]:
    """Look at one split, or all that there are."""
    root = locate(name, path)
    read = partial(open_dataset, name)
    splits = splits_of(read, root) if split == "all" else (split,)
    with progress(verb, None) as (bar, task):

        def advance(split: str, done: int, total: int) -> None:
            bar.update(task, description=f"{verb} {split}", completed=done, total=total)

        count = processes(workers, root)
        with check_dataset(name, read, root, splits, workers=count, progress=advance) as checkup:
            yield checkup


def processes(workers: int | Literal["auto"], root: Path) -> int:
    """The given number, or one per core; none where a data set is so small that starting them takes longer."""
    if workers != "auto":
        return workers
    files = (path for path in root.rglob("*"))
    many = sum(1 for _, _ in zip(range(2 * FEW), files, strict=False)) == 2 * FEW
    return worker_count("auto") if many else 0


def table(head: list[str], rows: list[list[str]], indent: str = "  ") -> str:
    """Columns of text, the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    pad: list[Callable[[str, int], str]] = [str.ljust, *[str.rjust] * (len(head) - 1)]
    lines = ["  ".join(f(cell, w) for f, cell, w in zip(pad, row, widths, strict=True)) for row in [head, *rows]]
    return "\n".join(indent + line.rstrip() for line in lines)
