"""Lists that choose the pictures of a split, in a folder `edgeailite_lists` of a data set of any layout.

`edgeailite data split` and `data check` write them, one `SPLIT.txt` each; every verb that opens the data set takes only
what they name. A line is the name of a picture below the data set's folder; a mask's name may follow it. Of a split
that the data set itself does not have, the list chooses among the pictures of `train`, or of its only split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from edgeailite.data.files.listing import LISTS_FOLDER, not_there, read_lines, relative
from edgeailite.data.sets.folder_files import TWO_NAMES
from edgeailite.data.source import DataSource, Item
from edgeailite.errors import UsageError
from edgeailite.files import unwritable, write_atomic
from edgeailite.untrusted import printable

Open = Callable[[Path, str], DataSource]


def list_file(root: Path, split: str) -> Path:
    """Return the file of a data set that may name the pictures of a split."""
    return root / LISTS_FOLDER / f"{split}.txt"


def open_as_listed(read: Open, root: Path, split: str) -> DataSource:
    """Open a split with its reader; where the data set has a list of it, only the pictures that the list names.

    Raises the reader's errors, with the splits that only lists name among those that are known; DataError for a line
    that names no picture.
    """
    file = list_file(root, split)
    listed = file.is_file()
    try:
        source = read(root, split)
    except UsageError as error:
        pool = _pool(error.known)
        if listed and pool is not None:
            source = replace(read(root, pool), split=split)
        else:
            raise _with_lists(error, root, split) from None
    return _chosen(source, file, root) if listed else source


def _pool(known: Sequence[str]) -> str | None:
    """Return the split among whose pictures a list chooses that is of another."""
    return "train" if "train" in known else known[0] if len(known) == 1 else None


def _with_lists(error: UsageError, root: Path, split: str) -> UsageError:
    """Return the error of an unknown split with the lists' among those that are known."""
    names = sorted(path.stem for path in (root / LISTS_FOLDER).glob("*.txt"))
    if not error.known or set(names) <= set(error.known):
        return error
    known = tuple(dict.fromkeys([*error.known, *names]))
    return UsageError(f"{root} has {printable(', '.join(known))}", about="split", value=split, known=known)


def _chosen(source: DataSource, file: Path, root: Path) -> DataSource:
    below, items = f"{root.resolve()}/", {name_below(item, root): item for item in source.items}
    chosen = []
    for number, line in read_lines(file).items():
        both = TWO_NAMES.match(line)
        name = relative(both[1] if both else line, below, path=file, line=number)
        if name not in items:
            raise not_there(file, number, f"no picture {printable(name)} in split {source.split} of {source.name}")
        chosen.append(items.pop(name))
    return replace(source, items=tuple(chosen))


def name_below(item: Item, root: Path) -> str:
    """Return the name of an item's picture below the data set's folder."""
    path = Path(item.image)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def line_of(item: Item, root: Path) -> str:
    """Return the line of a list that names an item: its picture, and its mask where it has one file alone."""
    names = [name_below(item, root)]
    labels = list(item.labels.values())
    if len(item.images) == 1 and len(labels) == 1 and isinstance(labels[0], Path) and labels[0].is_relative_to(root):
        names.append(labels[0].relative_to(root).as_posix())
    return " ".join(names)


def write_list(path: Path, lines: Iterable[str], *, over: bool = False) -> None:
    """Write a list. Raises DataError where that cannot be, and unless `over` UsageError where there is one already."""
    if path.exists() and not over:
        raise UsageError(f"{path.parent}: {path.name} is there already", fix="remove it", code="not-ours")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, "".join(f"{line}\n" for line in lines).encode("utf-8", errors="surrogateescape"))
    except OSError as error:
        raise unwritable(path, error, fix="give leave to write there, or make room") from None
