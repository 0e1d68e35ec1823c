"""Reads polygons in COCO's form as the labels of a folder: chooses the classes, and the annotation on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeailite.data.sets.coco import drawings, load_annotations, target_of
from edgeailite.data.sets.folder_settings import IGNORE, IGNORE_WORDS, Settings, check_names
from edgeailite.data.sets.voc import voc_colours
from edgeailite.data.source import SEGMENTATION, DataSource
from edgeailite.errors import DataError
from edgeailite.untrusted import printable, shown

BACKGROUND = "background"
BACKGROUNDS = (BACKGROUND, "_background_", "__background__")


@dataclass(frozen=True)
class Category:
    """A row of the file's categories."""

    number: int | str
    name: str
    above: str = field(compare=False)  # the name of its supercategory


def polygons(
    name: str, split: str, file: Path, settings: Settings, *, root: Path, train: Path | None, folders: Sequence[Path]
) -> DataSource:
    """Open a split drawn from the annotations of `file`. `train` is the training split's file, if that is another.

    The classes are class 0 "background", for pixels without annotation, then the categories in the order of their ids.
    A category named "background" without annotations is that class 0. A category 0 without annotations that others have
    as their supercategory (the root that Roboflow writes) is no class, and one called "ignore" is ignored.
    """
    if settings.classes or settings.label_map or settings.colors or settings.reduce_zero_label or settings.ignore:
        raise DataError(
            f"{file} names the classes",
            fix="only palette, background and overlaps may be given with it",
            path=settings.file,
        )
    content = load_annotations(file)
    rows = _categories(content, file)
    learned = content if train is None else load_annotations(train)
    if train is not None and _categories(learned, train) != rows:
        raise DataError(f"its categories are not those of {train}", fix="give both the same", path=file)
    names, class_of, unlabelled = _classes(rows, _used(learned), file, background=settings.background)
    palette = settings.palette or voc_colours(len(names))
    if len(palette) != len(names):
        raise DataError(f"palette has {len(palette)} colours but {file} has {len(names)} classes", path=settings.file)
    items = drawings(content, file, folders, class_of, root=root, whole=True)
    target = target_of(names, palette, unlabelled, overlaps=settings.overlaps, settings=file)
    return DataSource(name, split, items, {SEGMENTATION: target})


def _classes(
    rows: Sequence[Category], used: set[Any], file: Path, *, background: bool
) -> tuple[tuple[str, ...], Mapping[Any, int], int]:
    """Names, the class of each category, and the class of pixels without annotation."""
    supers = {row.above for row in rows if row.number != 0}
    kept = [row for row in rows if not (row.number == 0 and row.number not in used and row.name in supers)]
    ground = next((row for row in kept if row.name.casefold() in BACKGROUNDS), None)
    names: list[str] = []
    class_of: dict[Any, int] = {}
    unlabelled = IGNORE
    if background and (ground is None or ground.number not in used):
        names.append(BACKGROUND if ground is None else ground.name)
        unlabelled = 0
        if ground is not None:
            class_of[ground.number] = 0
    for row in kept:
        if row.number in class_of:
            continue
        if row.name.lower() in IGNORE_WORDS:
            class_of[row.number] = IGNORE
        else:
            class_of[row.number] = len(names)
            names.append(row.name)
    return check_names(file, names), class_of, unlabelled


def _used(content: Mapping[str, Any]) -> set[Any]:
    """Categories that annotations have; wrong annotations are named where they are read."""
    found = (entry.get("category_id") for entry in content["annotations"] if isinstance(entry, dict))
    return {number for number in found if isinstance(number, int | str)}


def _categories(content: Mapping[str, Any], file: Path) -> list[Category]:
    rows: dict[int | str, Category] = {}
    for row in content["categories"]:
        number, name = (row.get("id"), row.get("name")) if isinstance(row, dict) else (None, None)
        if not isinstance(number, int | str) or not isinstance(name, str):
            raise DataError(f"a category without id or name ({shown(row)})", fix="mend it", path=file)
        if number in rows:
            raise DataError(
                f"categories {printable(rows[number].name)} and {printable(name)} have one id, {shown(number)}",
                fix="give each its own",
                path=file,
            )
        above = row.get("supercategory")
        rows[number] = Category(number, name, above if isinstance(above, str) else "")
    if not 0 < len(rows) < IGNORE:
        raise DataError(f"{len(rows)} categories, expected 1 to 254", path=file)
    return sorted(rows.values(), key=lambda row: (isinstance(row.number, str), row.number))
