"""Describes in one sentence a folder that cannot be read as a data set, and says what to do."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from edgeailite.data.files.images import IMAGE_SUFFIXES
from edgeailite.errors import DataError, counted
from edgeailite.files import read_regular
from edgeailite.untrusted import json_value, printable

LOOKED_AT = 5000  # files
JSON_BYTES = 20_000_000  # of a file that is looked into
FOLDERS_SHOWN = 6
POLYGONS_OF_YOLO = "polygons of YOLO are not read; export masks, or polygons in COCO's form"
LABELME = "polygons of Labelme; make masks of them with labelme2voc.py, which comes with it"
OTHERS = "not read; save them as PNG"
KINDS = {
    ".txt": POLYGONS_OF_YOLO,
    ".json": LABELME,
    ".xml": "boxes or polygons in XML; export masks",
    ".npy": "arrays of numpy; save them as PNG",
    ".npz": "arrays of numpy; save them as PNG",
    ".mat": "files of Matlab; save the masks as PNG",
}


def unread(folder: Path, fix: str) -> str:
    """Describe the files of a folder without readable pictures or masks, as the end of a message; or return `fix`."""
    names = [path.name for path in _files(folder) if path.suffix.lower() not in IMAGE_SUFFIXES]
    if not names:
        return f"; {fix}"
    suffix, count = Counter(Path(name).suffix.lower() for name in names).most_common(1)[0]
    name = next(name for name in names if Path(name).suffix.lower() == suffix)
    return f", but {counted(count, 'file')} such as {printable(name)}: {KINDS.get(suffix, OTHERS)}"


def what_lies_there(root: Path, images: Sequence[str], labels: Sequence[str]) -> str:
    """Describe the contents of a folder that has none of the layouts, as the end of a message; "" for an empty one."""
    counts = _pictures_by_folder(root)
    flat = [next((name for name in names if counts[name]), "") for names in (images, labels)]
    if all(flat):
        return (
            f"; {counts[flat[0]]} pictures are in {flat[0]} and {counts[flat[1]]} masks in {flat[1]}, not split: "
            f"`edgeailite data split {printable(str(root))}` divides them into train and val"
        )
    odd = _odd_file(root)
    if odd:
        return f"; {odd}"
    found = [f"{printable(name)} ({count} pictures)" for name, count in counts.most_common(FOLDERS_SHOWN)]
    more = f" and {len(counts) - FOLDERS_SHOWN} more folders" if len(counts) > FOLDERS_SHOWN else ""
    return f"; found are {', '.join(found)}{more}: rename them so" if found else ""


def _odd_file(root: Path) -> str:
    """Name a file in the format of another tool, and say what to do."""
    for path in _files(root):
        name = printable(path.relative_to(root).as_posix())
        if path.name == "annotations.xml":
            return f'{name} is CVAT\'s own form, which is not read; export "Segmentation mask 1.1" there'
        if path.suffix.lower() != ".json":
            continue
        try:
            content = json_value(read_regular(path, limit=JSON_BYTES), where=name)
        except (OSError, DataError):
            continue
        if isinstance(content, dict) and isinstance(content.get("shapes"), list):
            return f"{name} has {LABELME}"
        if isinstance(content, dict) and {"images", "annotations", "categories"} <= set(content):
            return f"{name} has polygons in COCO's form; move it to annotations/instances_train.json (or _val.json)"
    return ""


def _pictures_by_folder(root: Path) -> Counter[str]:
    """Count the pictures of each folder, by its name below the root."""
    pictures = (path for path in _files(root) if path.suffix.lower() in IMAGE_SUFFIXES)
    return Counter(path.parent.relative_to(root).as_posix() for path in pictures)


def _files(folder: Path) -> Iterator[Path]:
    """The first files at any depth, but hidden ones."""

    def walk() -> Iterator[Path]:
        for place, folders, names in os.walk(folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from (Path(place) / name for name in sorted(names) if not name.startswith("."))

    return islice(walk(), LOOKED_AT)
