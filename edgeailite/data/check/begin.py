"""Beginning a check by the name of a data set: its folder, its splits, processes, a bar of progress."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

from edgeailite.console import progress
from edgeailite.data import DATASETS, default_path, open_dataset
from edgeailite.data.check import Checkup, check_dataset, splits_of
from edgeailite.data.check.survey import Spread
from edgeailite.data.files.listing import no_folder
from edgeailite.data.recognise import OWN, dataset_name_of
from edgeailite.data.samples import worker_count

FEW = 64  # pictures that one process looks at sooner than others start


def locate(given: str, path: Path | None) -> tuple[str, Path]:
    """Return name and folder of a data set; "" is what the folder holds.

    Raises UsageError for an unknown name, DataError if the folder is not there.
    """
    name = dataset_name_of(given, path, otherwise=OWN)
    if name not in DATASETS:
        open_dataset(name, path, "")  # says which are known
    root = path or default_path(name)
    if not root.is_dir():
        raise no_folder(name, root)
    return name, root


@contextmanager
def checked(
    verb: str,
    given: str,
    path: Path | None,
    split: str,
    workers: int | Literal["auto"],
    spread: Spread | None = None,
) -> Iterator[Checkup]:
    """Look at one split, or all that there are, of the data set `given`; "" is what the folder holds.

    The progress bar has gone when the result is there, so that it is not drawn amid what is printed.
    `spread` examines pictures on other machines, in place of `workers` processes here.
    """
    name, root = locate(given, path)
    read = partial(open_dataset, name)
    splits = splits_of(read, root) if split == "all" else (split,)
    count = 0 if spread is not None else processes(workers, root)
    with ExitStack() as stack:
        with progress(verb, None) as (bar, task):

            def advance(split: str, done: int, total: int) -> None:
                bar.update(task, description=f"{verb} {split}", completed=done, total=total)

            check = check_dataset(name, read, root, splits, workers=count, progress=advance, spread=spread)
            checkup = stack.enter_context(check)
        yield checkup


def processes(workers: int | Literal["auto"], root: Path) -> int:
    """Return the given number of processes, or one per core; 0 if starting them takes longer than the check."""
    if workers != "auto":
        return workers
    files = (path for path in root.rglob("*"))
    many = sum(1 for _, _ in zip(range(2 * FEW), files, strict=False)) == 2 * FEW
    return worker_count("auto") if many else 0
