"""The pictures to label, as a stream: files, folders at any depth, patterns, videos, cameras, a list on stdin.

Folders are walked one at a time, in order, each link followed once; lists are read line by line. So memory does not
grow with the number of pictures, but for the names of the folder at hand. What is a picture is told by its name, or
else by its first bytes; other files are counted, so that nothing is left out in silence.
"""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from edgeailite.data.files.headers import known_start
from edgeailite.data.files.images import IMAGE_SUFFIXES, UNREAD_SUFFIXES
from edgeailite.errors import DataError, UsageError
from edgeailite.files import TEMPORARY, open_regular, unreadable
from edgeailite.inference.naming import VIDEO_SUFFIXES, absolute, composed, forget_names, place, result_path
from edgeailite.inference.shards import Shard

STDIN = "-"
CAMERA = re.compile(r"camera:(\d+)")
WILD = re.compile(r"[*?\[]")
START_BYTES = 32  # that tell a format
LONGEST_LINE = 65_536  # bytes: no path is that long
MOST_EMPTY = 100_000  # lines in a row


@dataclass(frozen=True)
class Input:
    """A picture, video or camera, and the path of its results relative to their folder, without kind and suffix.

    `relative` is its own path below the root of the inputs; `problem` is the reason if it is known to be unreadable.
    """

    source: Path
    target: Path
    relative: Path
    problem: str = ""

    @property
    def name(self) -> str:
        """Return the picture's name in a manifest: its path below the root, with slashes."""
        return self.relative.as_posix()

    @property
    def camera(self) -> int | None:
        """Return the number of a camera; None for a file."""
        match = CAMERA.fullmatch(str(self.source))
        return None if match is None else int(match[1])

    @property
    def moves(self) -> bool:
        """Return True for a video or a camera."""
        return self.camera is not None or self.source.suffix.lower() in VIDEO_SUFFIXES


@dataclass(frozen=True)
class Inputs:
    """The inputs that words of the command line name; results keep their sub-folders below `root`.

    `others` counts by suffix the files of the last walk that are no pictures.
    """

    words: tuple[Path, ...]
    root: Path
    apart_from: Path  # the folder of results: not looked through
    shard: Shard | None = None  # the part of a job: only its pictures are yielded
    others: Counter[str] = field(default_factory=Counter)

    @property
    def listed(self) -> bool:
        """Return True if the list comes from stdin, so that it can be read once and has no known length."""
        return any(str(word) == STDIN for word in self.words)

    def __call__(self, lines: Iterable[bytes] = ()) -> Iterator[Input]:
        """All of them in order, or those of the part; `lines` are those of stdin."""
        self.others.clear()
        every = self._every(lines)
        yield from every if self.shard is None else (found for found in every if self.shard.takes(found.name))

    def _every(self, lines: Iterable[bytes]) -> Iterator[Input]:
        for word in self.words:
            if str(word) == STDIN:
                yield from map(self._found, _paths(lines))
            elif _is_folder(word):
                yield from self._below(word)
            elif not CAMERA.fullmatch(str(word)) and not word.exists():
                yield from self._matching(str(word))
            else:
                yield self._found(word)

    def _matching(self, pattern: str) -> Iterator[Input]:
        """Pictures and videos that a pattern matches now; unless it has **, everything below matching folders too."""
        for path in map(Path, sorted(glob.iglob(pattern, recursive=True))):  # noqa: PTH207 - Path.glob knows no absolute one
            if path.is_dir():
                yield from self._below(path) if "**" not in pattern else ()
            elif _is_wanted(path, self.others):
                yield self._found(path)

    def _below(self, folder: Path) -> Iterator[Input]:
        for path, problem in walk(folder, apart_from=self.apart_from, others=self.others):
            yield self._found(path, problem)

    def _found(self, path: Path, problem: str = "") -> Input:
        camera = CAMERA.fullmatch(str(path))
        if camera is not None:
            name = Path(f"camera_{camera[1]}")
            return Input(path, name, name)
        return Input(path, result_path(path, self.root), place(path, self.root), problem)


def inputs(words: Sequence[Path], *, apart_from: Path, root: Path | None = None, shard: Shard | None = None) -> Inputs:
    """Return the inputs that words name, or the `shard` of them; their root, unless given, is their common folder.

    Raises DataError for a word that names nothing.
    """
    forget_names()
    bases = [base for word in words if (base := _base(word)) is not None]
    common = Path(os.path.commonpath([absolute(base) for base in bases])) if bases else Path()
    if any(str(word) == STDIN for word in words):
        common = Path()
        if len(words) > 1:
            raise UsageError("- (the list on stdin) stands alone; put the other inputs into the list")
    return Inputs(tuple(words), root or common, apart_from, shard)


def _base(word: Path) -> Path | None:
    """Return the folder that a word starts from. Raises DataError if there is none."""
    if is_stream(word):
        return None
    if _is_folder(word):
        return word
    if word.exists():
        return word.parent
    wild = next((index for index, part in enumerate(word.parts) if WILD.search(part)), None)
    if wild is None:
        raise DataError(f"{word}: no such picture or folder", code="missing-file")
    if next(glob.iglob(str(word), recursive=True), None) is None:  # noqa: PTH207 - as above
        raise DataError(f"{word}: nothing matches this pattern", code="missing-file")
    return Path(*word.parts[:wild])


def is_stream(word: Path) -> bool:
    """Return True for the list on stdin or a camera: no path."""
    return str(word) == STDIN or CAMERA.fullmatch(str(word)) is not None


def _is_folder(word: Path) -> bool:
    """Return True if a word names a folder. Raises DataError for an impossible name, or one below a closed folder."""
    try:
        return word.is_dir()
    except OSError as error:
        raise unreadable(str(word)[:200], error, fix="check the name") from None


def lines_of(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a stream as they come, none longer than LONGEST_LINE and a byte."""
    while line := stream.readline(LONGEST_LINE + 1):
        yield line


def _paths(lines: Iterable[bytes]) -> Iterator[Path]:
    """The paths of a list, one a line. Raises DataError for what is no such list."""
    empty = 0
    for number, line in enumerate(lines, start=1):
        text = line.rstrip(b"\r\n")
        empty = 0 if text else empty + 1
        if len(line) > LONGEST_LINE or empty > MOST_EMPTY:
            what = f"longer than {LONGEST_LINE} bytes" if text else f"after {MOST_EMPTY} empty ones"
            raise DataError(f"-: line {number} of the list is {what}; write one path a line")
        if b"\0" in text:
            raise DataError(f"-: line {number} of the list has a zero byte; write one path a line (no find -print0)")
        path = Path(os.fsdecode(text))
        if str(path) != ".":
            yield path


def walk(folder: Path, *, apart_from: Path, others: Counter[str] | None = None) -> Iterator[tuple[Path, str]]:
    """Yield (picture, "") of a folder at any depth, sorted; (folder, why) for one that cannot be listed.

    Hidden files, the folder `apart_from` (if it lies inside) and links to a folder above are left out. With `others`,
    videos and pictures of other suffixes are yielded, too, and every other file is counted there by its suffix.
    """
    results = os.path.realpath(apart_from)
    results = results if results != os.path.realpath(folder) else ""
    yield from _walk(folder, results, (os.path.realpath(folder),), others)


def _walk(
    folder: Path, results: str, above: tuple[str, ...], others: Counter[str] | None
) -> Iterator[tuple[Path, str]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield folder, f"folder cannot be read ({error.strerror}); give leave to read it"
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            real = os.path.realpath(entry.path)
            if real not in (results, *above):
                yield from _walk(folder / entry.name, results, (*above, real), others)
        elif _is_wanted(folder / entry.name, others):
            yield folder / entry.name, ""


def _is_wanted(path: Path, others: Counter[str] | None) -> bool:
    """Return True for a picture by its name; with `others` also for a video, or a picture by its first bytes."""
    name = path.name.lower()
    if name.endswith(IMAGE_SUFFIXES):
        return True
    if others is None:
        return False
    if name.endswith((*VIDEO_SUFFIXES, *UNREAD_SUFFIXES)) or (
        not name.endswith(TEMPORARY) and _starts_as_picture(path)
    ):
        return True
    others[path.suffix.lower() or "no suffix"] += 1
    return False


def _starts_as_picture(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            return known_start(file.read(START_BYTES))
    except OSError:
        return False


def find_pictures(source: Path, *, apart_from: Path) -> list[Path]:
    """Return the picture, or all pictures of a folder. Raises DataError if there is none."""
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise DataError(f"{source}: no such picture or folder", code="missing-file")
    pictures = [path for path, problem in walk(source, apart_from=apart_from) if not problem]
    if not pictures:
        raise DataError(f"{source}: no pictures in this folder ({', '.join(IMAGE_SUFFIXES)})", code="missing-file")
    return pictures


def companion(folder: Path, found: Input) -> Path:
    """Return the picture of another input stream that belongs to `found`. Raises DataError if there is not exactly one.

    It has the same relative name or stem, or is the only one with the same begin: the stem up to its last `_`, as in
    Cityscapes (X_leftImg8bit.png and X_flow.png).
    """
    if folder.is_file():
        return folder
    wanted = folder / found.relative
    if wanted.is_file():
        return wanted
    stem, below = composed(wanted.stem), wanted.parent
    begins = (f"{stem}.", f"{stem.rpartition('_')[0] or stem}_")
    names = sorted(entry.name for entry in os.scandir(below)) if below.is_dir() else []
    names = [name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
    for begin in begins:
        matches = [name for name in names if composed(name).startswith(begin)]
        if len(matches) == 1:
            return below / matches[0]
        if matches:
            raise DataError(f"{found.source}: {matches[0]} and {matches[1]} in {below} may belong to it; keep one")
    raise DataError(f"{found.source}: no picture of this name in {folder}; add {wanted}", code="missing-file")
