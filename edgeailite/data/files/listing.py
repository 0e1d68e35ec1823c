"""Lists the files that a folder or a list names; every data set uses this to read the file system.

Folders are read once and compared as sets of names, so that 100,000 files do not cost 100,000 system calls. Things that
cannot be meant raise an error that names them: a link to nothing, a link to a folder above itself, a named pipe, two
pictures of one name, a list that leaves its folder or was written for another machine. Names are compared in Unicode's
form NFC: a Mac writes "ü" as two characters, other machines as one.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

from edgeailite.data.files.images import IMAGE_SUFFIXES
from edgeailite.errors import DataError, UsageError, option
from edgeailite.files import read_regular, unreadable
from edgeailite.untrusted import printable

Files = dict[str, Path]  # name relative to the folder, with "/", -> file
DRIVE = re.compile(r"^[A-Za-z]:[\\/]|^\\\\")
LIST_BYTES = 256_000_000  # of a list file; 100,000 names are 3 MB
LABEL_FILE = "label file"  # what `pair` calls a mask in messages
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".7z", ".rar")  # as labelling tools export
LISTS_FOLDER = "edgeailite_lists"  # of a data set: lists that choose pictures, whatever its layout


def check_split(name: str, split: str, splits: Iterable[str]) -> None:
    """Raise UsageError listing the splits that data set `name` has."""
    known = tuple(splits)
    if split not in known:
        raise UsageError(f"{name} has {', '.join(known)}", about="split", value=split, known=known)


def need_folder(name: str, folder: Path) -> Path:
    """Return the folder if it exists; else raise DataError."""
    if not folder.is_dir():
        fix = f"set {option('data_path')} to the folder above it"
        raise DataError(f"data set {name}: folder {folder} does not exist", fix=fix, code="folder-missing")
    return folder


def no_folder(name: str, root: Path) -> DataError:
    """Return the error of a data set whose folder is not there, or is the archive that a labelling tool wrote."""
    if root.is_file():
        unpack = f": `python -m zipfile -e {root} {root.with_suffix('')}`" if root.suffix.lower() == ".zip" else ""
        fix = f"unpack it and give {option('data_path')} the folder{unpack}"
        return DataError(f"data set {name}: {root} is a file, expected a folder", fix=fix, code="folder-missing")
    fix = f"set {option('data_path')} to yours"
    return DataError(f"data set {name}: folder {root}/ does not exist", fix=fix, code="folder-missing")


def files_below(folder: Path, suffixes: str | tuple[str, ...]) -> Files:
    """List a folder's files at any depth that end in one of `suffixes` (any case), by relative name, sorted.

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
        raise unreadable(folder, error, what="folder", fix="give leave to read it") from None
    for entry in entries:
        if entry.name.startswith("."):
            continue
        wanted = entry.name.lower().endswith(suffixes)
        if entry.is_symlink() and not Path(entry.path).exists():
            if wanted:
                target = Path(entry.path).readlink()
                problem, fix = f"link to {target}, which does not exist", "mend or remove the link"
                raise DataError(problem, fix=fix, path=entry.path, code="dangling-link")
        elif entry.is_dir():
            real = os.path.realpath(entry.path)
            if real in above:
                problem, fix = f"link to {real}, a folder that it lies in (a loop)", "remove the link"
                raise DataError(problem, fix=fix, path=entry.path, code="link-loop")
            _walk(folder / entry.name, f"{prefix}{entry.name}/", suffixes, (*above, real), found)
        elif wanted:
            if not entry.is_file():
                problem = "a named pipe, a device or a socket, not a file"
                raise DataError(problem, fix="remove it", path=entry.path, code="unreadable")
            found.append((prefix + entry.name, folder / entry.name))


def by_stem(files: Mapping[str, Path], *, suffix: str = "") -> Files:
    """Index files by their name without `suffix`, or without any suffix of a picture. DataError if two share a name."""
    stems: Files = {}
    for name, path in files.items():
        stem = normal(name[: -len(suffix)] if suffix else name[: name.rfind(".")])
        other = stems.setdefault(stem, path)
        if other is not path:
            raise two_files(other, path, f"two files of one name {stem!r}", "rename or remove one of them")
    return stems


def normal(name: str) -> str:
    """Return a name in Unicode's form NFC, in which equal texts are equal."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def pair(name: str, images: Files, labels: Files, *, expected: str, what: str = LABEL_FILE) -> list[tuple[Path, Path]]:
    """Pair images and label files of equal names, sorted by name. DataError naming a file without a partner.

    `expected` is the form of a label file's name in messages, with {} for the stem, and `what` the word for it.
    """
    if not images:
        raise DataError(f"data set {name}: no pictures", fix=f"check {option('data_path')}", code="empty-split")
    lone = [stem for stem in images if stem not in labels]
    if lone:
        path = images[lone[0]]
        wanted = expected.format(lone[0])
        fix = f"add it or remove the picture{_near(lone[0], images, labels)}"
        code = "missing-mask" if what == LABEL_FILE else ""
        raise DataError(f"no {what} {wanted}{_more(lone)}", fix=fix, path=path, code=code)
    if len(labels) > len(images):
        lone = [stem for stem in labels if stem not in images]
        path = labels[lone[0]]
        fix = f"add the picture or remove the {what}"
        code = "mask-without-picture" if what == LABEL_FILE else ""
        raise DataError(f"{what} without a picture{_more(lone)}", fix=fix, path=path, code=code)
    return [(path, labels[stem]) for stem, path in sorted(images.items())]


def _near(stem: str, images: Files, labels: Files) -> str:
    """Find a file with nearly the wanted name: with a word before or after it, or in another folder."""
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
    """Read the lines of a text file by number: any line ends, byte-order mark; without empty lines and # comments.

    Raises DataError for a file that cannot be read, is no UTF-8 text, or holds no line.
    """
    try:
        text = read_regular(path, limit=LIST_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise unreadable(path, error) from None
    except UnicodeDecodeError:
        raise DataError("not UTF-8 text", fix="save it as UTF-8", path=path) from None
    stripped = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    lines = {number: line for number, line in stripped if line and not line.startswith("#")}
    if not lines:
        raise DataError("an empty list", fix="write one name a line", path=path, code="empty-split")
    return lines


def read_names(path: Path, *, root: Path) -> dict[str, int]:
    """Read the names of a list file, one a line, relative to the data set, with their lines; back-slashes become "/".

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


def relative(name: str, below: str, *, path: Path, line: int | None = None, part: str = "") -> str:
    """Return a name of a list or annotation file as a path below the data set, whose resolved folder is `below` (with
    "/").

    Back-slashes become "/". Raises DataError for a path that leads elsewhere. It stands in `part` of `line` of `path`.
    """
    given = printable(name)

    def refuse(problem: str, fix: str) -> DataError:
        start = f"{part}: " if part else ""
        return DataError(f"{start}{given} {problem}", fix=fix, path=path, line=line, code="listing")

    if DRIVE.match(name):
        raise refuse("is a path of a Windows machine", "write names relative to the data set")
    name = name.replace("\\", "/")
    if name.startswith("/"):
        if not name.startswith(below):
            raise refuse("is an absolute path outside the data set", "write names relative to it")
        name = name[len(below) :]
    while name.startswith("./"):
        name = name[2:]
    if ".." in name.split("/"):
        raise refuse("leaves the data set", "write names without '..'")
    return name


def two_files(other: Path, path: Path, problem: str, fix: str, *, code: str = "duplicate-stem") -> DataError:
    """Return the error of two files where there may be one."""
    return DataError(problem, fix=fix, path=path, other=other, code=code)


def named_again(path: Path, line: int, name: str, first: int) -> DataError:
    """Return the error of a list that names something twice."""
    return DataError(
        f"{printable(name)} is named again, as in line {first}", fix="remove one", path=path, line=line, code="listing"
    )


def not_there(path: Path, line: int, problem: str) -> DataError:
    """Return the error of a line that names a file which is not there."""
    return DataError(problem, fix="add it or take the line out", path=path, line=line, code="missing-file")


def need_listed(file: Path, rows: Mapping[int, tuple[Path, ...]]) -> None:
    """Raise DataError naming the first line of a list whose files are not there."""
    missing = first_missing(path for row in rows.values() for path in row)
    if missing is not None:
        number = next(number for number, row in rows.items() if missing in row)
        raise not_there(file, number, f"there is no {printable(str(missing))}")


def first_missing(paths: Iterable[Path]) -> Path | None:
    """Return the first path that is not a file, reading each folder once."""
    places = Places()
    return next((path for path in paths if places.find(path) is None), None)


class Places:
    """Existing files, known by reading each folder once."""

    def __init__(self) -> None:
        self.folders: dict[str, dict[str, str]] = {}

    def find(self, path: Path) -> Path | None:
        """Find the file of this name, in any Unicode form; None if there is none."""
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
    """Cut the suffix of a picture, if it has one, from a name in a list."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in IMAGE_SUFFIXES else name
