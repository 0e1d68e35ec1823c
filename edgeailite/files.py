"""Files, written whole or not at all, and read only if they are files of a bounded size.

A new file is written under a random name beside its target (created exclusively, links are not followed) and renamed
when it is whole, so that a reader or a killed process never sees half of one and no link leads the writer elsewhere.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from edgeailite import errors
from edgeailite.errors import DataError

TEMPORARY = ".partial"
LONGEST_NAME = 255  # bytes, on the usual file systems
PART = 1 << 24  # bytes read at a time beyond the size that a file states


@contextlib.contextmanager
def atomic_file(path: Path, *, sync: bool = False) -> Iterator[BinaryIO]:
    """Yield a binary file whose content replaces `path` when the block ends; an error in the block leaves it as it was.

    `sync` waits until the bytes are on the disk, for files that must survive a power cut. Raises OSError.
    """
    temporary = _temporary_name(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(temporary, flags, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def write_atomic(path: Path, data: bytes | str, *, sync: bool = False) -> None:
    """Replace `path` by these bytes (text as UTF-8), whole or not at all. Raises OSError."""
    with atomic_file(path, sync=sync) as file:
        file.write(data.encode("utf-8") if isinstance(data, str) else data)


def unreadable(path: Path | str, error: Exception, *, what: str = "", fix: str = "") -> DataError:
    """Return the error of a file that cannot be opened: `missing-file`, `link-loop` (a link to itself) or `unreadable`.

    `what` is the file's part in a sentence, `fix` the advice. ValueError: of a name with a zero byte.
    """
    reason = getattr(error, "strerror", None) or error
    codes = {errno.ENOENT: "missing-file", errno.ELOOP: "link-loop"}
    code = codes.get(getattr(error, "errno", None) or 0, "unreadable")
    return DataError(f"{what} cannot be read ({reason})".lstrip(), fix=fix, path=path, code=code)


def unwritable(path: Path | str, error: OSError, *, fix: str) -> DataError:
    """Return the error of a file that cannot be written."""
    return DataError(f"cannot be written ({error.strerror or error})", fix=fix, path=path, code="unwritable")


def write_result(path: Path, data: str | bytes, option: str) -> None:
    """Write a file (text as UTF-8), whole or not at all, and the folders above it.

    Raises DataError, naming the `option` to change.
    """
    try:
        if path.exists() and not path.is_file():  # a device or a pipe, such as /dev/stdout: nothing to replace
            path.write_bytes(data.encode() if isinstance(data, str) else data)
            return
        try:
            write_atomic(path, data)
        except FileNotFoundError:  # mostly the folder is there: of a million files, asking first costs a million times
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, data)
    except OSError as error:
        raise unwritable(path, error, fix=f"choose another {errors.option(option)}") from None


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files that killed writers of `path` left; call it only where nobody else writes `path`."""
    start = f".{_shortened(path.name)}."
    with contextlib.suppress(OSError):
        for entry in os.scandir(path.parent):
            if entry.name.startswith(start) and entry.name.endswith(TEMPORARY):
                with contextlib.suppress(OSError):
                    Path(entry.path).unlink()


def read_regular(path: Path, *, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes.

    Raises OSError, with a reason in `strerror`, for what is missing, longer, or no regular file: a named pipe or a
    device would make the reader wait, or never end.
    """
    descriptor = _descriptor(path)
    try:
        size = os.fstat(descriptor).st_size
        data = os.read(descriptor, size + 1) if size <= limit else b""  # more would set so much memory aside
        while size <= limit and len(data) <= limit and (more := os.read(descriptor, min(limit + 1 - len(data), PART))):
            data += more  # of a file that grows, or does not know its size
    finally:
        os.close(descriptor)
    if size > limit or len(data) > limit:
        raise OSError(errno.EFBIG, f"{max(size, len(data))} bytes, more than the {limit} that are read", str(path))
    return data


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading. Raises OSError for anything else, without waiting for a pipe's other end."""
    return os.fdopen(_descriptor(path), "rb")


def _descriptor(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, f"{_kind(mode)}, not a file", str(path))
    return descriptor


def own_file(path: Path) -> int:
    """Open a file for reading and writing, made if it is not there; return its descriptor.

    Raises OSError for a link, since what it leads to would be written, and for what is no file.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a file")
    return descriptor


def sha256_of(source: Path | bytes | Iterable[bytes]) -> str:
    """Return the SHA-256 of a file, of bytes, or of bytes that come in parts, in hexadecimal digits. Raises OSError."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    for part in [source] if isinstance(source, bytes) else source:
        digest.update(part)
    return digest.hexdigest()


def growing_sha256() -> hashlib._Hash:
    """Return a SHA-256 of nothing yet: `update` adds bytes or an array's data, `hexdigest` gives the digits so far."""
    return hashlib.sha256()


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a special file")


def _temporary_name(path: Path) -> Path:
    return path.with_name(f".{_shortened(path.name)}.{secrets.token_hex(8)}{TEMPORARY}")


def _shortened(name: str) -> str:
    """The name, cut so that with what is added it is still a name the file system takes."""
    room = LONGEST_NAME - 18 - len(TEMPORARY)
    return os.fsdecode(os.fsencode(name)[:room])
