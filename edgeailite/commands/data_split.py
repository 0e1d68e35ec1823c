"""`edgeailite data split`: lists of pictures to train on and to validate on, in a folder of one's own data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeailite.config import DataSplitConfig
from edgeailite.console import log, print_table, progress
from edgeailite.data.split import Division, split_folder
from edgeailite.untrusted import printable

TOLD = 5  # pictures that are left out


def run(config: DataSplitConfig) -> int:
    """Write the lists, print where, and how every class is divided; 1 if pictures were left out."""
    shares = {"val": config.val, **({"test": config.test} if config.test else {})}
    with progress("data split", None) as (bar, task):
        made = split_folder(
            config.data_path,
            shares,
            seed=config.seed,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    _print("data split", ["split", "pictures", "list"], rows_of(made))
    _print("share of each class's pixels, %", ["class", *made.files], classes_of(made))
    for message in made.left_out[:TOLD]:
        log(f"left out: {message}")
    if len(made.left_out) > TOLD:
        log(f"left out: {len(made.left_out) - TOLD} more; `edgeailite data check` lists all")
    return 1 if made.left_out else 0


def _print(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table

    table = Table(*head, title=title)
    for row in rows:
        table.add_row(*map(printable, row))
    print_table(table)


def rows_of(made: Division) -> list[list[str]]:
    """Return a row for each list: split, pictures, file."""
    return [[split, str(count), str(made.files[split])] for split, count in made.counts.items()]


def classes_of(made: Division) -> list[list[str]]:
    """Return a row for each class: the share of its pixels in each split; - for a class that occurs nowhere."""
    total = np.sum(list(made.pixels.values()), axis=0)
    return [
        [name, *(f"{100 * part[index] / total[index]:.1f}" if total[index] else "-" for part in made.pixels.values())]
        for index, name in enumerate(made.classes)
    ]
