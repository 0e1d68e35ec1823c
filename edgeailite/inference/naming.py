"""Names for the results of a picture: after the picture, in the same sub-folder, no two alike.

A name is the stem, or the whole file name where pictures of a folder share a stem. It depends on what lies in the
picture's folder and on nothing else: the same picture gets the same name in a list, in a pattern and when a run is
resumed, and only one folder's names are held in memory.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain, count
from pathlib import Path

from edgeailite.data.files.images import IMAGE_SUFFIXES
from edgeailite.files import sha256_of

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
OUTSIDE = "outside_of_root"
LONGEST = 200  # bytes of a name: file systems take 255, and the kind of the result is appended
FOLDERS_KEPT = 4


def result_path(file: Path, root: Path) -> Path:
    """Return the path of a file's results, relative to the folder of all results, without `_label.png` and the like."""
    name = _names(file.parent).get(file.name, f"{file.name}~")  # ~: no name of the table has it
    return place(file, root).with_name(_short(name))


def place(file: Path, root: Path) -> Path:
    """Return the file relative to `root`; for a file elsewhere the whole path, below OUTSIDE."""
    whole, above = absolute(file), absolute(root)
    if whole.is_relative_to(above):
        relative = whole.relative_to(above)
        if relative.parts[:1] != (OUTSIDE,):
            return relative
    return Path(OUTSIDE, *whole.parts[1:])


def absolute(path: Path) -> Path:
    """Return the path from the root, without `..`; links stay links."""
    return Path(os.path.normpath(path.absolute()))


def result_names(files: Sequence[Path]) -> list[str]:
    """Return a name for each file's results, unique in its folder whatever the case or form of accents."""
    stems = Counter(_key(file, file.stem) for file in files)
    taken: set[str] = set()
    names = []
    for file in files:
        alone = stems[_key(file, file.stem)] == 1
        choices = chain([file.stem] if alone else [], [file.name], (f"{file.name}_{n}" for n in count(2)))
        name = next(choice for choice in choices if _key(file, choice) not in taken)
        taken.add(_key(file, name))
        names.append(name)
    return names


@lru_cache(FOLDERS_KEPT)
def _names(folder: Path) -> Mapping[str, str]:
    """Result name by file name, of all pictures and videos of a folder; none of a folder that cannot be listed."""
    try:
        found = sorted(entry.name for entry in os.scandir(folder))
    except OSError:
        return {}
    files = [folder / name for name in found if name.lower().endswith((*IMAGE_SUFFIXES, *VIDEO_SUFFIXES))]
    return {file.name: name for file, name in zip(files, result_names(files), strict=True)}


def forget_names() -> None:
    """Look at folders anew."""
    _names.cache_clear()


def _key(file: Path, name: str) -> str:
    """Return the form of a name that file systems may take for the same: whatever case and form of accents."""
    return composed(str(file.with_name(name))).casefold()


def composed(name: str) -> str:
    """Return the name with each accent in its letter (NFC); file systems and archives write some apart (NFD)."""
    return unicodedata.normalize("NFC", name)


def _short(name: str) -> str:
    """The name, or its beginning with a hash where it would leave no room for what follows."""
    data = os.fsencode(name)
    if len(data) <= LONGEST:
        return name
    return f"{data[: LONGEST - 18].decode(errors='ignore')}~{sha256_of(data)[:16]}"
