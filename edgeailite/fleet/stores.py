"""Files that lie elsewhere: `s3://`, `gs://` and whatever pyarrow or fsspec can open, and files of this machine.

pyarrow is imported where an address or a Parquet file is used, and not before.
"""

from __future__ import annotations

import fnmatch
import re
import shutil
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from edgeailite.data.files.images import MAX_FILE
from edgeailite.errors import DataError, UsageError, first_line
from edgeailite.files import PART, open_regular, unreadable, write_result

SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):/{1,3}(?=[^/])")
PARTS = re.compile(r"([a-z0-9+.-]+)://([^/?]*)([^?]*)(\?.*)?")
AT_ONCE = 1 << 22  # bytes by one request; tarfile asks for 10 kB at a time
DELAYED = "allow_delayed_open"  # pyarrow's option
WILD = re.compile(r"[*?\[]")
INSTALL = 'pip install "edgeailite[ray]"'


def address_of(path: Path | str) -> str | None:
    """Return the address that a word of the command line is; None for a path of this machine.

    >>> address_of(Path("s3://bucket/pictures")), address_of("pictures")
    ('s3://bucket/pictures', None)
    """
    text = str(path)  # a Path has lost one of the two slashes
    match = SCHEME.match(text)
    if match is None:
        return None
    return f"{match[1]}://{'/' if match[1] == 'file' else ''}{text[match.end() :]}"


def pyarrow(module: str) -> Any:
    """Import a module of pyarrow. Raises UsageError where it is not installed."""
    from importlib import import_module

    try:
        return import_module(f"pyarrow.{module}")
    except ImportError:
        raise UsageError(f"pyarrow is not installed; {INSTALL}", code="not-installed") from None


def open_store(address: str) -> tuple[Any, str]:
    """Return the file system of an address, and the path in it. Raises UsageError for one that nobody can open."""
    match = PARTS.fullmatch(address)
    if match is None:
        raise UsageError(f"{address}: no address such as s3://bucket/folder")
    scheme, bucket, path, options = match[1], match[2], match[3], match[4] or ""
    if scheme == "file":
        return _system("file:///"), path
    if scheme == "s3" and DELAYED not in options:  # a small object is written by one request in place of three
        options += f"{'&' if options else '?'}{DELAYED}=true"
    return _system(f"{scheme}://{bucket}{options}"), f"{bucket}{path}"


@lru_cache(32)
def _system(address: str) -> Any:
    """Return the file system of a bucket, opened once."""
    fs = pyarrow("fs")
    try:
        return fs.FileSystem.from_uri(address)[0]
    except (ValueError, OSError) as error:
        try:
            import fsspec

            return fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem(address.partition("://")[0])))
        except (ImportError, ValueError):
            raise UsageError(f"{address}: cannot be opened ({first_line(error)[:160]})") from None


def read_bytes(place: str) -> bytes:
    """Read a file of at most MAX_FILE bytes. Raises DataError."""
    try:
        with open_stream(place) as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise unreadable(place, error, fix="try again, or leave it out") from None
    if len(data) > MAX_FILE:
        raise DataError(f"more than the {MAX_FILE} bytes that are read of a picture", path=place)
    return bytes(data)


def fetch(place: str, path: Path) -> None:
    """Copy a file to this machine, a part at a time. Raises DataError."""
    try:
        with open_stream(place) as source, path.open("wb") as file:
            shutil.copyfileobj(source, file, PART)
    except OSError as error:
        raise unreadable(place, error, fix="try again") from None


def open_stream(place: str) -> IO[bytes]:
    """Open a file for reading from its begin to its end. Raises OSError."""
    address = address_of(place)
    if address is None:
        return open_regular(Path(place))
    system, path = open_store(address)
    return system.open_input_stream(path, buffer_size=AT_ONCE)


def open_random(place: str) -> Any:
    """Open a file for reading anywhere, as Parquet needs it. Raises OSError."""
    address = address_of(place)
    if address is None:
        return pyarrow("lib").OSFile(place)
    system, path = open_store(address)
    return system.open_input_file(path)


def write_bytes(place: str, data: bytes) -> None:
    """Write a file, whole or not at all, and the folders above it. Raises DataError."""
    address = address_of(place)
    if address is None:
        write_result(Path(place), data, "save_path")
        return
    try:
        system, path = open_store(address)
        if system.type_name == "local" or system.type_name.startswith("py::fsspec"):
            system.create_dir(path.rpartition("/")[0], recursive=True)
        with system.open_output_stream(path) as file:  # an object appears when the stream is closed
            file.write(data)
    except OSError as error:
        raise DataError(f"cannot be written ({error})", path=place, code="unwritable") from None


def write_files(folder: Path, names: Iterable[str], address: str) -> None:
    """Copy those of the named files that a folder has to an address, in this order. Raises DataError."""
    for name in names:
        if (folder / name).is_file():
            write_bytes(join(address, name), (folder / name).read_bytes())


def join(place: str, name: str) -> str:
    """Return the file of this name below a folder or an address, before its `?options`; "" is the folder itself.

    >>> join("s3://bucket/labels?region=eu-north-1", "a.png"), join("labels", "")
    ('s3://bucket/labels/a.png?region=eu-north-1', 'labels')
    """
    if address_of(place) is None:
        return str(Path(place, name))
    folder, mark, options = place.partition("?")
    return f"{folder.rstrip('/')}{'/' if name else ''}{name}{mark}{options}"


def found_below(address: str) -> Iterator[tuple[str, str]]:
    """Yield (address, name below the folder) of the files that an address names: one, a pattern's or a folder's.

    Sorted by name; names that start with a dot are left out. Raises DataError if there is none.
    """
    place, mark, options = address.partition("?") if "://" in address else (address, "", "")
    head, pattern = _split(place)
    fs = pyarrow("fs")
    try:
        system, base = open_store(head + mark + options)
        info = system.get_file_info(base)
        if info.type == fs.FileType.File:
            files = [base]
            base = base.rpartition("/")[0]
        else:
            selector = fs.FileSelector(base, recursive=True)
            files = sorted(one.path for one in system.get_file_info(selector) if one.type == fs.FileType.File)
    except OSError as error:
        raise DataError(f"cannot be read ({error})", path=address, code="unreadable") from None
    kept = 0
    for file in files:
        name = file[len(base) :].lstrip("/")
        hidden = any(part.startswith(".") for part in name.split("/"))
        if not hidden and (not pattern or fnmatch.fnmatchcase(name, pattern)):
            kept += 1
            yield head.partition("://")[0] + "://" + file + mark + options, name
    if not kept:
        raise DataError("no such file or folder", path=address, code="missing-file")


def _split(place: str) -> tuple[str, str]:
    """Return the folder above the first part with * ? or [, and the rest."""
    parts = place.split("/")
    wild = next((index for index, part in enumerate(parts) if WILD.search(part)), len(parts))
    return "/".join(parts[:wild]), "/".join(parts[wild:])
