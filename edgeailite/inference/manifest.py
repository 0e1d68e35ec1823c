"""The manifest of a job: one line per picture, sorted, and a last line with the hash of all lines before it.

A line has the picture's name below the root of the inputs, the sha256 of its bytes, of its label maps and of the model,
and the arithmetic. Nothing in it depends on who did the work, when or in which order: manifests of the same pictures
are equal in every byte. While a job runs, lines are appended to JOURNAL as pictures are finished; MANIFEST is made of
them at the end, by a sort whose memory is bounded. So a killed job goes on where its journal ends.
"""

from __future__ import annotations

import heapq
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from edgeailite.errors import DataError, option
from edgeailite.files import atomic_file, growing_sha256, open_regular, own_file, sha256_of, unreadable, unwritable
from edgeailite.untrusted import json_value

MANIFEST, JOURNAL = "manifest.jsonl", "manifest.journal"
FORMAT = "edgeailite manifest 1"
LONGEST_LINE = 1 << 17  # bytes
IN_MEMORY = 200_000  # lines that are sorted at a time
OURS = (b'{"manifest": ', b'{"name": ')  # starts of lines, the longest first
LISTED = 1000  # names that a summary holds
FIELDS = ("name", "input", "labels", "model", "arithmetic")


@dataclass(frozen=True)
class Entry:
    """The line of a picture: hashes are sha256 in hexadecimal digits; "" for `labels` that could not be made.

    `input` is "" where the file could not be read at all.
    """

    name: str
    input: str
    labels: str
    model: str
    arithmetic: str

    @property
    def failed(self) -> bool:
        """Return True if the picture has no labels."""
        return not self.labels

    def line(self) -> bytes:
        """Return the line, with its end. Equal entries have equal lines."""
        return json.dumps({name: getattr(self, name) for name in FIELDS}).encode() + b"\n"


@dataclass
class Summary:
    """What a manifest says: `sha256` is that of its lines. At most LISTED names are kept of each list.

    `doubled` are pictures with several different lines, which all stay; `repeated` counts lines that were there twice
    and stay once.
    """

    pictures: int = 0
    failed: int = 0
    repeated: int = 0
    doubled: list[str] = field(default_factory=list)
    sha256: str = ""


def labels_sha256(labels: Mapping[str, NDArray[Any]]) -> str:
    """Hash the label maps of a picture: for each output its name, type and size, then its values row by row."""
    digest = growing_sha256()
    for name, values in labels.items():
        digest.update(f"{name} {values.dtype.str} {values.shape[0]} {values.shape[1]}\n".encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def parsed(line: bytes, *, where: str) -> Entry:
    """Return the entry of a line. Raises DataError for anything that `Entry.line` does not write."""
    values = json_value(line, where=where)
    if not isinstance(values, dict) or tuple(values) != FIELDS or not all(isinstance(v, str) for v in values.values()):
        raise DataError(f"{where}: no line of a manifest; make the manifest again", code="damaged")
    return Entry(**values)


class Journal:
    """The lines of a job that is under way. `known` are the pictures that an earlier part of the job labelled.

    Raises DataError if the folder cannot be written.
    """

    def __init__(self, folder: Path, *, go_on: bool = False) -> None:
        self.folder, self.path = folder, folder / JOURNAL
        self.known: set[str] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name in (JOURNAL, MANIFEST):
                _check_ours(folder / name)
            if go_on:
                self._take_up()
            else:
                for name in (JOURNAL, MANIFEST):
                    (folder / name).unlink(missing_ok=True)
            self._file: BinaryIO = os.fdopen(own_file(self.path), "r+b")
            self._file.seek(0, os.SEEK_END)
        except OSError as error:
            raise unwritable(self.path, error, fix=f"choose another {option('save_path')}") from None

    def add(self, entry: Entry) -> None:
        """Write the line of a picture through."""
        try:
            self._file.write(entry.line())
            self._file.flush()
        except OSError as error:
            raise unwritable(self.path, error, fix=f"choose another {option('save_path')}") from None

    def close(self) -> None:
        """Close the file; the job can go on later."""
        self._file.close()

    def finish(self) -> Summary:
        """Write the manifest of all lines, and remove the journal."""
        self.close()
        summary = write_manifest(self.folder / MANIFEST, sorted_lines(self.path))
        self.path.unlink()
        return summary

    def _take_up(self) -> None:
        """Begin with what is there: whole lines of the journal, after those of a finished manifest."""
        earlier = self.folder / MANIFEST
        if earlier.exists() and not self.path.exists():
            with atomic_file(self.path) as file:
                for entry in read_manifest(earlier):
                    file.write(entry.line())
            earlier.unlink()
        if not self.path.exists():
            return
        whole = 0
        with os.fdopen(own_file(self.path), "r+b") as journal:
            while (line := journal.readline(LONGEST_LINE)).endswith(b"\n"):
                try:
                    entry = parsed(line, where=str(self.path))
                except DataError:
                    break
                whole += len(line)
                if not entry.failed:
                    self.known.add(entry.name)
            journal.truncate(whole)


def _check_ours(path: Path) -> None:
    """Raise DataError for a file of this name that infer did not write."""
    try:
        with open_regular(path) as file:
            start = file.read(len(OURS[0]))
    except FileNotFoundError:
        return
    if start and not any(start.startswith(own) for own in OURS):
        problem = "not written by infer"
        raise DataError(problem, fix=f"choose another {option('save_path')}", path=path, code="not-ours")


def sorted_lines(path: Path, *, in_memory: int = IN_MEMORY) -> Iterator[bytes]:
    """Yield the lines of a file in order of their bytes; no more than `in_memory` are in memory at a time."""
    with path.open("rb") as file, tempfile.TemporaryDirectory() as folder:
        runs: list[Path] = []
        while lines := sorted(islice(file, in_memory)):
            if len(lines) < in_memory and not runs:
                yield from lines
                return
            runs.append(Path(folder, str(len(runs))))
            runs[-1].write_bytes(b"".join(lines))
            del lines
        yield from merged_lines(runs)


def merged_lines(paths: Sequence[Path]) -> Iterator[bytes]:
    """Yield the lines of sorted files in order of their bytes."""
    files = [path.open("rb") for path in paths]
    try:
        yield from heapq.merge(*files)
    finally:
        for file in files:
            file.close()


def write_manifest(path: Path, lines: Iterable[bytes]) -> Summary:
    """Write sorted lines as a manifest: each once, failed ones only of pictures that nobody labelled."""
    summary, digest = Summary(), growing_sha256()
    try:
        with atomic_file(path) as file:
            for line in _condensed(lines, summary, where=str(path)):
                digest.update(line)
                file.write(line)
            summary.sha256 = digest.hexdigest()
            file.write(_last_line(summary))
    except OSError as error:
        raise unwritable(path, error, fix=f"choose another {option('save_path')}") from None
    return summary


def _condensed(lines: Iterable[bytes], summary: Summary, *, where: str) -> Iterator[bytes]:
    entries = ((parsed(line, where=where), line) for line in lines)
    for name, group in groupby(entries, key=lambda pair: pair[0].name):
        kept: dict[bytes, bool] = {}
        count = 0
        for entry, line in group:
            kept[line] = entry.failed
            count += 1
        done = [line for line, failed in kept.items() if not failed]
        summary.pictures += 1
        if not done:
            summary.failed += 1
            yield next(iter(kept))
            continue
        summary.repeated += count - len(kept)
        if len(done) > 1 and len(summary.doubled) < LISTED:
            summary.doubled.append(name)
        yield from done


def _last_line(summary: Summary) -> bytes:
    values = {"manifest": FORMAT, "pictures": summary.pictures, "failed": summary.failed, "sha256": summary.sha256}
    return json.dumps(values).encode() + b"\n"


def read_manifest(path: Path) -> Iterator[Entry]:
    """Yield the entries of a manifest. Raises DataError for a file that is none, was cut off or was changed."""
    digest, last = growing_sha256(), b""
    try:
        with open_regular(path) as file:
            number = 0
            while line := file.readline(LONGEST_LINE):
                number += 1
                if last:
                    digest.update(last)
                    yield parsed(last, where=f"{path}:{number - 1}")
                last = line
    except OSError as error:
        raise unreadable(path, error, fix="give the manifest.jsonl of a job") from None
    end = json_value(last, where=str(path)) if last else None
    if not isinstance(end, dict) or end.get("manifest") != FORMAT:
        raise DataError("its last line is no end of a manifest", fix="finish the job with its resume option", path=path)
    if end.get("sha256") != digest.hexdigest():
        raise DataError("its lines are not those of its last line's sha256", fix="make it again", path=path)


def sampled(entries: Iterable[Entry], share: float, seed: int) -> list[Entry]:
    """Return about this share of the entries that have labels, at least one; which, depends on name and seed alone."""
    least, first = 1.0, None
    chosen = []
    for entry in entries:
        if entry.failed:
            continue
        place = part_of_name(f"{seed}/{entry.name}")
        if place < share or share >= 1:
            chosen.append(entry)
        elif not chosen and place < least:
            least, first = place, entry
    return chosen or ([first] if first is not None else [])


def part_of_name(name: str) -> float:
    """Return a number from 0 to below 1 that depends on a name alone, evenly spread over names."""
    return int(sha256_of(name.encode(errors="surrogateescape"))[:12], 16) / 2**48
