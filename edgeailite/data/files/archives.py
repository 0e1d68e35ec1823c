"""Unpacks untrusted zip and tar files so that nothing outside the folder is touched and no half-written file remains.

`install(archive, root, moves)` unpacks into a hidden folder inside `root` and renames what is whole to its place; a
process that is killed leaves only that hidden folder, which the next one removes. Rules:

1. Names of all members are checked before one byte is written: no absolute path, no `..`, no drive, no control
   character. One bad name refuses the archive.
2. Only wanted members are written, and of these only plain files: a link, device or pipe among them refuses the
   archive. Data sets have none, and a link that stays inside today may be followed to the outside tomorrow.
3. No file is written twice and none gets more bytes than it declares; all together may be at most `MAX_RATIO` times
   the archive's size (a decompression bomb), and have to fit the disk.
"""

from __future__ import annotations

import fcntl
import lzma
import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from edgeailite.errors import DataError, option

CHUNK = 1 << 20
MAX_RATIO, SLACK = 100, 64 << 20  # text packs about ten to one, masks of one class up to a thousand to one
PART, LOCK = ".get.part", ".get.lock"
BAD_NAME = re.compile(r"^/|^[A-Za-z]:|(^|/)\.\.(/|$)|[\x00-\x1f\x7f]")
DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError,
    NotImplementedError, RuntimeError, ValueError,
)  # fmt: skip
Advance = Callable[[int, int], None]  # bytes written, bytes in all
Moves = Sequence[tuple[str, str]]  # path in the archive, path below the root


class ArchiveError(DataError):
    """An archive that is damaged, or that contains things no data set needs."""


@dataclass(frozen=True)
class _Member:
    """An entry of an archive: `kind` is file, folder, or the name of another kind."""

    name: str
    size: int
    kind: str
    open: Callable[[], IO[bytes]]


def install(archive: Path, root: Path, moves: Moves, *, advance: Advance = lambda done, total: None) -> None:
    """Put parts of an archive to their places below `root`; those that are there already are left as they are.

    Raises ArchiveError for a bad archive, DataError where `root` cannot be written or the disk is full.
    """
    with writing(root), _alone(root) as part:
        todo = [(source, root / place) for source, place in moves if not (root / place).exists()]
        if not todo:
            return
        unpack(archive, part, [source for source, _ in todo], advance=advance)
        absent = [source for source, _ in todo if not (part / source).exists()]
        if absent:
            raise ArchiveError(
                f"has no {', '.join(absent)}", fix="it is not the archive that is expected", path=archive
            )
        for source, place in todo:
            place.parent.mkdir(parents=True, exist_ok=True)
            (part / source).rename(place)


def install_file(file: Path, root: Path, place: str) -> None:
    """Copy a single file to its place below `root`, whole or not at all; one that is there is left."""
    with writing(root), _alone(root) as part:
        if (root / place).exists():
            return
        part.mkdir()
        shutil.copyfile(file, part / "file")
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (part / "file").rename(root / place)


def unpack(archive: Path, folder: Path, wanted: Sequence[str], *, advance: Advance = lambda done, total: None) -> None:
    """Write the members that are, or lie below, one of `wanted` into a new folder. Raises ArchiveError."""
    try:
        with _members(archive) as members:
            chosen = _chosen(archive, members, wanted)
            total = sum(member.size for _, member in chosen)
            folder.mkdir(parents=True)
            _need_space(archive, folder, total)
            done = 0
            for path, member in chosen:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                _write(member, folder / path)
                done += member.size
                advance(done, total)
    except FileExistsError as error:
        raise ArchiveError(f"holds {error.filename} twice", path=archive) from None
    except NotADirectoryError as error:
        raise ArchiveError(f"holds a file and a folder of one name ({error.filename})", path=archive) from None
    except DataError:
        raise
    except DAMAGE as error:
        raise ArchiveError(f"damaged or cut short ({str(error) or type(error).__name__})", path=archive) from None
    except OSError as error:
        if error.errno is not None:
            raise  # the disk
        raise ArchiveError(f"damaged or cut short ({error})", path=archive) from None  # gzip and bz2 say it so


def _chosen(archive: Path, members: list[_Member], wanted: Sequence[str]) -> list[tuple[str, _Member]]:
    """The files to write by their path. All names are checked, wanted or not."""
    chosen: list[tuple[str, _Member]] = []
    for member in members:
        name = member.name.replace("\\", "/")
        if BAD_NAME.search(name):
            raise ArchiveError(f"refused, member {member.name!r} would be written outside of the folder", path=archive)
        path = "/".join(word for word in name.split("/") if word not in ("", "."))
        if not any(path == prefix or path.startswith(f"{prefix}/") for prefix in wanted):
            continue
        if member.kind not in ("file", "folder"):
            raise ArchiveError(
                f"refused, member {member.name!r} is a {member.kind}", fix="only files are unpacked", path=archive
            )
        if member.kind == "file":
            chosen.append((path, member))
    _need_modest(archive, sum(member.size for _, member in chosen))
    return chosen


def _need_modest(archive: Path, total: int) -> None:
    most = MAX_RATIO * archive.stat().st_size + SLACK
    if total > most:
        raise ArchiveError(f"refused, it would unpack to {total} bytes, more than {most}", path=archive)


def _write(member: _Member, path: Path) -> None:
    written = 0
    with member.open() as source, path.open("xb") as file:
        while data := source.read(CHUNK):
            written += len(data)
            if written > member.size:
                break
            file.write(data)
    if written != member.size:
        raise EOFError(f"{member.name} does not have the {member.size} bytes that it declares")


# --- what is in an archive


@contextmanager
def _members(archive: Path) -> Iterator[list[_Member]]:
    """The entries of a zip or tar file, which stays open."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            yield [_zip_member(packed, info) for info in packed.infolist()]
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as rolled:
            members, total = [], 0
            for info in rolled:  # headers come one by one, before what they declare is unpacked to be passed over
                total += info.size
                _need_modest(archive, total)
                members.append(_tar_member(rolled, info))
            _need_end(archive)
            yield members
    else:
        with archive.open("rb") as file:
            start = file.read(512).lstrip().lower()
        what = "a web page, perhaps of a sign-in" if start.startswith((b"<!doctype", b"<html")) else "cut short?"
        raise ArchiveError(f"no zip or tar archive ({what})", path=archive)


def _zip_member(packed: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    mode = info.external_attr >> 16
    if info.is_dir():
        kind = "folder"
    elif stat.S_ISLNK(mode):
        kind = "link"
    else:
        kind = "file" if stat.S_IFMT(mode) in (0, stat.S_IFREG) else "device"
    return _Member(info.filename, info.file_size, kind, lambda: packed.open(info))


def _tar_member(rolled: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    if info.isdir():
        kind = "folder"
    elif info.issym() or info.islnk():
        kind = "link"
    else:
        kind = "file" if info.isfile() else "device"
    return _Member(info.name, info.size, kind, lambda: cast(IO[bytes], rolled.extractfile(info)))


def _need_end(archive: Path) -> None:
    """A tar file that is cut between two members reads as a shorter one; but a whole one ends in zeros."""
    with archive.open("rb") as file:
        file.seek(257)
        if file.read(5) != b"ustar":
            return  # compressed, and that finds a cut by itself
        file.seek(-1024, os.SEEK_END)
        if any(file.read()):
            raise EOFError("the end of the archive is missing")


# --- the folder


@contextmanager
def writing(root: Path) -> Iterator[None]:
    """Turn errors of the disk inside the block into DataErrors that say what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise DataError(
            f"cannot be written ({reason})",
            path=error.filename or root,
            fix=f"free disk space, or set {option('data_path')} elsewhere",
            code="unwritable",
        ) from None


def _need_space(archive: Path, folder: Path, total: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < total:
        raise DataError(
            f"{archive.name} needs {total / 1e9:.1f} GB and {free / 1e9:.1f} GB are free",
            path=folder.parent,
            fix=f"free disk space, or set {option('data_path')} elsewhere",
            code="unwritable",
        )


@contextmanager
def _alone(root: Path) -> Iterator[Path]:
    """Make a temporary path in `root` for this process alone; a second process waits."""
    root.mkdir(parents=True, exist_ok=True)
    part, lock = root / PART, root / LOCK
    while True:
        with lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                held = os.path.samestat(os.fstat(file.fileno()), lock.stat())
            except FileNotFoundError:  # the process before removed it
                held = False
            if not held:
                continue
            try:
                _remove(part)  # of a process that was killed
                yield part
                return
            finally:
                _remove(part)
                lock.unlink(missing_ok=True)


def _remove(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part)
