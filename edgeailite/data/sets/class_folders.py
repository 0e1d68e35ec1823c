"""Pictures with one class each: a folder for each class, or lists of a picture and its class.

Layout, below the data path: `SPLIT/CLASS/NAME.jpg` (any depth below CLASS), or a list `SPLIT.txt` with a line
`picture<TAB>class` each, pictures relative to the list's folder; without splits `CLASS/NAME.jpg`. The data path may be
such a list itself. The classes of a split are the names in it, sorted; `of_classes` gives it those of a network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from edgeailite.data.files.images import IMAGE_SUFFIXES
from edgeailite.data.files.listing import Places, files_below, need_folder, not_there, read_lines, relative
from edgeailite.data.source import DataSource, Item, PictureTarget
from edgeailite.errors import DataError, UsageError, some_of
from edgeailite.modelcard import CLASSIFICATION
from edgeailite.untrusted import printable

NAME = "class_folders"
SPLITS = ("train", "val", "test")
NAMED = 3  # classes that an error names


def class_folders(root: Path, split: str) -> DataSource:
    """Open a split. Raises UsageError where only others exist, DataError for missing files or classes."""
    if root.is_file():
        return _source(split, _listed(root))
    if not root.is_dir():
        need_folder(NAME, root / split)
    there = tuple(name for name in SPLITS if (root / name).is_dir() or (root / f"{name}.txt").is_file())
    if (root / split).is_dir():
        return _source(split, _by_folder(root / split))
    if (root / f"{split}.txt").is_file():
        return _source(split, _listed(root / f"{split}.txt"))
    if there:
        raise UsageError(f"{root} has {', '.join(there)}", about="split", value=split, known=there)
    return _source(split, _by_folder(root))


def of_classes(source: DataSource, classes: Sequence[str]) -> DataSource:
    """Give a split the classes of a network, in its order. Raises DataError for pictures of other classes."""
    target, known = source.targets[CLASSIFICATION], set(classes)
    assert isinstance(target, PictureTarget)
    strange = [name for name in target.classes if name not in known]
    if strange:
        some = printable(some_of(strange, NAMED))[:200]
        raise DataError(
            f"data set {source.name} has pictures of {some}, which the model does not know "
            f"({printable(some_of(classes, NAMED))[:200]})",
            fix="name folders, or the classes of a list, as the model does",
            code="no-fit",
        )
    return replace(source, targets={CLASSIFICATION: PictureTarget(tuple(classes))})


def _source(split: str, pairs: Iterator[tuple[Path, str]]) -> DataSource:
    items = tuple(Item((picture,), {CLASSIFICATION: name}) for picture, name in pairs)
    classes = tuple(sorted({str(item.label) for item in items}))
    return DataSource(NAME, split, items, {CLASSIFICATION: PictureTarget(classes)})


def _by_folder(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield pictures and the name of the folder below `root` that they lie in."""
    found = files_below(root, IMAGE_SUFFIXES)
    lone = next((name for name in found if "/" not in name), None)
    if lone is not None:
        raise DataError("lies in no folder of a class", path=root / lone, fix="put it into one", code="folder-missing")
    yield from ((path, name.partition("/")[0]) for name, path in found.items())


def _listed(file: Path) -> Iterator[tuple[Path, str]]:
    """Yield the pictures and classes of a list."""
    root, places = file.parent, Places()
    for number, line in read_lines(file).items():
        name, tab, label = line.partition("\t")
        if not tab or not label.strip():
            fix = "write picture, tab, class"
            raise DataError("names no class behind a tab", path=file, line=number, fix=fix, code="listing")
        path = root / relative(name.strip(), f"{root.resolve()}/", path=file, line=number)
        picture = places.find(path)
        if picture is None:
            raise not_there(file, number, f"there is no {printable(str(path))}")
        yield picture, label.strip()


CLASS_FOLDERS = {NAME: class_folders}
