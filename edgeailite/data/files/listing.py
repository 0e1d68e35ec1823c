"""Which files a folder or a list names: the part of every data set that meets the file system.

Folders are read once and compared as sets of names, so that 100,000 files cost no 100,000 questions. What cannot be
meant is an error that names it: a link to nothing, a link to a folder above itself, a named pipe, two pictures of one
name, a list that leaves its folder or was written for another machine. Names are compared in Unicode's form NFC: a Mac
writes "ü" as two characters, other machines as one.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

from edgeailite.data.files.images import IMAGE_SUFFIXES
from edgeailite.errors import DataError, UsageError, option
from edgeailite.files import cannot_be_read, read_regular
from edgeailite.untrusted import printable

Files = dict[str, Path]  # name relative to the folder, with "/", -> file
DRIVE = re.compile(r"^[A-Za-z]:[\\/]|^\\\\")
LABEL = "label file"  # what belongs to a picture, mostly
LIST_BYTES = 256_000_000  # of a list file; 100,000 names are 3 MB


def check_split(name: str, split: str, splits: Iterable[str]) -> None:
    """Raise UsageError listing the splits that data set `name` has."""
    known = tuple(splits)
    if split not in known:
        raise UsageError(
            f"{option('split')} {split}: {name} has {', '.join(known)}", code="unknown-split", value=split, known=known
        )


def need_folder(name: str, folder: Path) -> Path:
    """The folder, if it is one; else DataError."""
    if not folder.is_dir():
        raise DataError(
            f"data set {name}: folder {folder} does not exist",
            value=str(folder),
            fix=f"set {option('data_path')} to the folder above it",
            code="not-found",
        )
    return folder


def files_below(folder: Path, suffixes: str | tuple[str, ...]) -> Files:
    """Files of a folder at any depth whose names end in one of `suffixes` (any case), by relative name, sorted.

    Hidden files are left out. Raises DataError for a link to nothing, a folder inside itself, a folder without leave,
    and for a named pipe or device, whose reader would wait or never end.
    """
    found: list[tuple[str, Path]] = []
    _walk(folder, "", _lower(suffixes), (os.path.realpath(folder),), found)
    return dict(sorted(found))


def _lower(suffixes: str | tuple[str, ...]) -> tuple[str, ...]:
    return (suffixes.lower(),) if isinstance(suffixes, str) else tuple(suffix.lower() for suffix in suffixes)


def _walk(
    folder: Path, prefix: str, suffixes: tuple[str, ...], above: tuple[str, ...], found: list[tuple[str, Path]]
) -> None:
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise cannot_be_read(folder, error, what="folder", fix="give leave to read it") from None
    for entry in entries:
        if entry.name.startswith("."):
            continue
        wanted = entry.name.lower().endswith(suffixes)
        if entry.is_symlink() and not Path(entry.path).exists():
            if wanted:
                target = Path(entry.path).readlink()
                raise DataError(
                    f"link to {target}, which does not exist",
                    path=entry.path,
                    fix="mend or remove the link",
                    code="dangling-link",
                )
        elif entry.is_dir():
            real = os.path.realpath(entry.path)
            if real in above:
                raise DataError(
                    f"link to {real}, a folder that it lies in (a loop)",
                    path=entry.path,
                    fix="remove the link",
                    code="link-loop",
                )
            _walk(folder / entry.name, f"{prefix}{entry.name}/", suffixes, (*above, real), found)
        elif wanted:
            if not entry.is_file():
                problem = "a named pipe, a device or a socket, not a file"
                raise DataError(problem, path=entry.path, fix="remove it", code="unreadable")
            found.append((prefix + entry.name, folder / entry.name))


def by_stem(files: Mapping[str, Path], *, suffix: str = "") -> Files:
    """Files by their name without `suffix`, or without any suffix of a picture. DataError where two share a name."""
    stems: Files = {}
    for name, path in files.items():
        stem = normal(name[: -len(suffix)] if suffix else name[: name.rfind(".")])
        other = stems.setdefault(stem, path)
        if other is not path:
            raise same_name(other, path, stem)
    return stems


def same_name(other: Path, path: Path, name: str) -> DataError:
    """Return the error of two files that are called `name`."""
    problem = f"two files of one name {name!r}"
    return DataError(problem, other=other, path=path, fix="rename or remove one of them", code="duplicate-stem")


def normal(name: str) -> str:
    """A name in Unicode's form NFC, in which equal texts are equal."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def no_pictures(name: str, what: str = "no pictures", code: str = "empty-split") -> DataError:
    """Return the error of a data set that lies elsewhere, or holds no file of the kind that is looked for."""
    return DataError(f"data set {name}: {what}", fix=f"check {option('data_path')}", code=code)


def pair(name: str, images: Files, labels: Files, *, expected: str, what: str = LABEL) -> list[tuple[Path, Path]]:
    """(picture, label file) of equal names, sorted. DataError naming a picture or a label file that is alone.

    `expected` says in messages how a label file is called, with {} for the name, and `what` what it is.
    """
    if not images:
        raise no_pictures(name)
    lone = [stem for stem in images if stem not in labels]
    if lone:
        path = images[lone[0]]
        wanted = expected.format(lone[0])
        raise DataError(
            f"no {what} {wanted}{_more(lone)}",
            path=path,
            fix=f"add it or remove the picture{_near(lone[0], images, labels)}",
            code="missing-mask" if what == LABEL else "missing-second",
        )
    if len(labels) > len(images):
        lone = [stem for stem in labels if stem not in images]
        path = labels[lone[0]]
        raise DataError(
            f"{what} without a picture{_more(lone)}",
            path=path,
            fix=f"add the picture or remove the {what}",
            code="mask-without-picture" if what == LABEL else "second-without-picture",
        )
    return [(path, labels[stem]) for stem, path in sorted(images.items())]


def _near(stem: str, images: Files, labels: Files) -> str:
    """What lies there under nearly the name that is looked for: with a word before or behind, or in another folder."""
    name = stem.rpartition("/")[2].casefold()
    for other, path in labels.items():
        found = other.rpartition("/")[2].casefold()
        start, _, end = found.partition(name)
        apart = (not start or start[-1] in "_-. ") and (not end or end[0] in "_-. ")
        word = not start + end or any(character.isalpha() for character in start + end)
        if other not in images and name in found and apart and word:
            return f" ({path} is there: names have to be equal but for the suffix, folders included)"
    return ""


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def read_lines(path: Path) -> dict[int, str]:
    """Lines of a text file by number: any line ends, byte-order mark; without empty lines and # comments.

    Raises DataError for a file that cannot be read, is no UTF-8 text, or holds no line.
    """
    try:
        text = read_regular(path, limit=LIST_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise cannot_be_read(path, error) from None
    except UnicodeDecodeError:
        raise DataError("not UTF-8 text", path=path, fix="save it as UTF-8", code="not-utf-8") from None
    stripped = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    lines = {number: line for number, line in stripped if line and not line.startswith("#")}
    if not lines:
        raise DataError("an empty list", path=path, fix="write one name a line", code="empty-split")
    return lines


def read_names(path: Path, *, root: Path) -> dict[str, int]:
    """Names of a list file, one a line, relative to the data set, with their lines; back-slashes become "/".

    Absolute paths are taken if they lie below `root`. Raises DataError naming the line for a Windows drive, another
    absolute path, a path with "..", a name given twice.
    """
    names: dict[str, int] = {}
    below = f"{root.resolve()}/"
    for number, line in read_lines(path).items():
        name = relative(line, below, path=path, line=number)
        if name in names:
            raise named_again(path, number, name, names[name])
        names[name] = number
    return names


def named_again(path: Path, line: int, name: str, before: int) -> DataError:
    """Return the error of a list that names in `line` what the line `before` names already."""
    problem = f"line {line} names {printable(name)} again, as line {before}"
    error = DataError(problem, path=path, fix="remove one", code="named-again", value=name)
    error.line = line  # stands in the sentence already
    return error


def relative(name: str, below: str, *, path: Path, line: int | None = None, entry: str = "") -> str:
    """A name of a list or annotation file as a path below the data set, whose resolved folder is `below` (with "/").

    Back-slashes become "/". Raises DataError, which names the list `path`, its line or `entry`, for a path that leads
    elsewhere.
    """
    shown = f"{entry}: {printable(name)}" if entry else printable(name)

    def refused(problem: str, fix: str) -> DataError:
        return DataError(f"{shown} {problem}", path=path, line=line, fix=fix, code="path-outside", value=given)

    given = name
    if DRIVE.match(name):
        raise refused("is a path of a Windows machine", "write names relative to the data set")
    name = name.replace("\\", "/")
    if name.startswith("/"):
        if not name.startswith(below):
            raise refused("is an absolute path outside the data set", "write names relative to it")
        name = name[len(below) :]
    while name.startswith("./"):
        name = name[2:]
    if ".." in name.split("/"):
        raise refused("leaves the data set", "write names without '..'")
    return name


def need_listed(file: Path, rows: Mapping[int, tuple[Path, ...]]) -> None:
    """Raise DataError naming the first line of a list whose files are not there."""
    missing = first_missing(path for row in rows.values() for path in row)
    if missing is not None:
        number = next(number for number, row in rows.items() if missing in row)
        raise DataError(
            f"there is no {printable(str(missing))}",
            path=file,
            line=number,
            value=str(missing),
            fix="add it or take the line out",
            code="missing-file",
        )


def first_missing(paths: Iterable[Path]) -> Path | None:
    """The first path that is no file, asking each folder once."""
    places = Places()
    return next((path for path in paths if places.find(path) is None), None)


class Places:
    """Which files there are, asking each folder once."""

    def __init__(self) -> None:
        self.folders: dict[str, dict[str, str]] = {}

    def find(self, path: Path) -> Path | None:
        """The file of this name, in whatever form of Unicode it is written; None if there is none."""
        folder, _, file = str(path).rpartition("/")
        if folder not in self.folders:
            self.folders[folder] = {normal(name): name for name in _names(folder or ".")}
        found = self.folders[folder].get(normal(file))
        return None if found is None else path if found == file else path.with_name(found)


def _names(folder: str) -> set[str]:
    try:
        return {entry.name for entry in os.scandir(folder) if _is_file(entry)}
    except (OSError, ValueError):  # also names that no file can have
        return set()


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


def without_suffix(name: str) -> str:
    """A name of a list without the suffix of a picture, if it has one."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in IMAGE_SUFFIXES else name
