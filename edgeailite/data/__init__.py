"""Data sets by name: `open_dataset(name, path, split)`.

A data set is a file with functions `(root, split) -> DataSource`, one per published form, and one row here.
"""

from __future__ import annotations

import difflib
import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from edgeailite.data.files.listing import ARCHIVES, no_folder
from edgeailite.data.lists import open_as_listed
from edgeailite.data.sets.a2d2 import A2D2
from edgeailite.data.sets.ade20k import ADE20K
from edgeailite.data.sets.camvid import CAMVID
from edgeailite.data.sets.cityscapes import CITYSCAPES, STREETS
from edgeailite.data.sets.class_folders import CLASS_FOLDERS
from edgeailite.data.sets.coco import COCO
from edgeailite.data.sets.folder import FOLDER
from edgeailite.data.sets.kitti import KITTI
from edgeailite.data.sets.voc import VOC
from edgeailite.data.source import DataSource
from edgeailite.errors import UsageError

__all__ = ["DATASETS", "DataSource", "default_path", "open_dataset"]

FAMILIES: Mapping[str, Mapping[str, Callable[[Path, str], DataSource]]] = {
    # folder below data/datasets: the forms that are read from it
    "camvid": CAMVID,
    "cityscapes_segmentation": CITYSCAPES,
    "voc": VOC,
    "ADEChallengeData2016": ADE20K,
    "coco": COCO,
    "a2d2": A2D2,
    "kitti": KITTI,
    "streets": STREETS,
    "folder": FOLDER,
    "class_folders": CLASS_FOLDERS,
}
DATASETS: dict[str, Callable[[Path, str], DataSource]] = {
    name: form for family in FAMILIES.values() for name, form in family.items()
}


def default_path(name: str) -> Path:
    """Return the folder where a data set is looked for when no path is given; all forms of a data set share one."""
    return Path("data/datasets") / next((folder for folder, forms in FAMILIES.items() if name in forms), name)


def open_dataset(name: str, path: Path | None, split: str) -> DataSource:
    """Open one split, as the lists in the data set choose its pictures (`lists`).

    Raises UsageError (unknown name or split) or DataError (files missing).
    """
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(
            "unknown data set",
            about="dataset_name",
            value=name,
            fix=f"{hint}known: {', '.join(DATASETS)}",
        )
    root = path or default_path(name)
    if root.suffix.lower() in ARCHIVES and root.is_file():
        raise no_folder(name, root)
    with _collector_paused():
        return open_as_listed(DATASETS[name], root, split)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause Python's garbage collector.

    Records of 100,000 files are made at once and none is garbage; examining them again and again would take longer than
    making them.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()
