"""Checks of torch's zip files before torch reads them: entries must be stored, complete, separate, and few.

torch writes entries without compression, one after the other. A file that departs from that was not written by torch:
entries that inflate, or thousands that share their bytes, would fill the memory from a small file.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from edgeailite.untrusted import printable

MOST_ENTRIES = 100_000
MOST_DIRECTORY = 32 << 20  # bytes that describe the entries
MOST_PICKLE = 16 << 20  # bytes of data.pkl, which tells how tensors are made of entries: some 80,000 tensors
ALTERED = "truncated or altered"
TORCHSCRIPT = "a TorchScript archive"

_END = b"PK\x05\x06"
_LOCATOR, _LOCATOR_SIZE = b"PK\x06\x07", 20
_END64, _END64_SIZE = b"PK\x06\x06", 56
_LOCAL, _LOCAL_SIZE = b"PK\x03\x04", 30
_ZIP64_EXTRA = 1


def archive_fault(path: Path) -> str | None:
    """Find a fault in a zip file before torch reads it; None if there is none. Raises OSError."""
    try:
        with path.open("rb") as file:
            fault = _end_fault(file)
            if fault is not None:
                return fault
            with zipfile.ZipFile(file) as archive:
                fault = _entries_fault(archive, file)
                altered = archive.testzip() if fault is None else None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error):
        return ALTERED
    return f"{printable(altered)[:80]} is altered" if altered is not None else fault


def _end_fault(file: BinaryIO) -> str | None:
    """The directory at the end: bounded, and read alike by Python and torch, which look for it in different ways."""
    size = file.seek(0, 2)
    file.seek(max(0, size - 22 - _LOCATOR_SIZE - _END64_SIZE))
    tail = file.read()
    if len(tail) < 22 or not tail[-22:].startswith(_END):
        return ALTERED
    length, start, end = *struct.unpack("<II", tail[-10:-2]), size - 22
    locator = tail[-22 - _LOCATOR_SIZE : -22]
    if locator.startswith(_LOCATOR):
        end -= _LOCATOR_SIZE + _END64_SIZE
        record = tail[: -22 - _LOCATOR_SIZE]
        if len(record) < _END64_SIZE or not record.startswith(_END64) or struct.unpack("<Q", locator[8:16])[0] != end:
            return ALTERED
        length, start = struct.unpack("<QQ", record[40:56])
    if start + length != end:
        return ALTERED
    return f"{length} bytes of directory, more than {MOST_DIRECTORY}" if length > MOST_DIRECTORY else None


def _entries_fault(archive: zipfile.ZipFile, file: BinaryIO) -> str | None:
    entries = archive.infolist()
    if len(entries) > MOST_ENTRIES:
        return f"{len(entries)} entries, more than {MOST_ENTRIES}"
    if len({entry.filename for entry in entries}) < len(entries):
        return "entries of one name"
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        return TORCHSCRIPT
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            return f"{printable(entry.filename)[:80]} is compressed, and torch compresses nothing"
        if entry.filename.endswith(".pkl") and entry.file_size > MOST_PICKLE:
            return f"{printable(entry.filename)[:80]} has {entry.file_size} bytes, more than {MOST_PICKLE}"
        if entry.flag_bits & 1 or _zip64_fields(entry.extra) > 1:
            return ALTERED
    return _overlap(sorted(entries, key=lambda entry: entry.header_offset), archive.start_dir, file)


def _overlap(entries: list[zipfile.ZipInfo], end: int, file: BinaryIO) -> str | None:
    """Entries that share bytes: each has to end before the next begins."""
    followers = [*(entry.header_offset for entry in entries[1:]), end]
    for entry, following in zip(entries, followers, strict=True):
        file.seek(entry.header_offset)
        header = file.read(_LOCAL_SIZE)
        if len(header) < _LOCAL_SIZE or not header.startswith(_LOCAL):
            return ALTERED
        name, extra = struct.unpack("<HH", header[26:30])
        if entry.header_offset + _LOCAL_SIZE + name + extra + entry.file_size > following:
            return f"{printable(entry.filename)[:80]} overlaps the next entry"
    return None


def _zip64_fields(extra: bytes) -> int:
    """Count the fields with sizes beyond 4 GB."""
    found = 0
    while len(extra) >= 4:
        kind, length = struct.unpack("<HH", extra[:4])
        found += kind == _ZIP64_EXTRA
        extra = extra[4 + length :]
    return found
