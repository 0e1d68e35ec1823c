"""Data sets by name: `open_dataset(name, path, split)`.

A data set is one file with a function `(root, split) -> DataSource`, and one row here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgeailite.data.camvid import camvid
from edgeailite.data.cityscapes import cityscapes_segmentation, streets
from edgeailite.data.source import DataSource
from edgeailite.errors import UsageError

__all__ = ["DATASETS", "DataSource", "default_path", "open_dataset"]

DATASETS: dict[str, Callable[[Path, str], DataSource]] = {
    "camvid": camvid,
    "cityscapes_segmentation": cityscapes_segmentation,
    "streets": streets,
}


def default_path(name: str) -> Path:
    """Where a data set is looked for when no path is given."""
    return Path("data/datasets") / name


def open_dataset(name: str, path: Path | None, split: str) -> DataSource:
    """The files and labels of one split. Raises UsageError (unknown name) or DataError (files missing)."""
    if name not in DATASETS:
        raise UsageError(f"--dataset_name {name}: unknown data set; known: {', '.join(sorted(DATASETS))}")
    return DATASETS[name](path or default_path(name), split)
