"""Class shares of every picture: rows of `shares.csv` as they come, and `shares.json` made of it at the end.

A row holds the picture, its height and width, and for each class the share of pixels: columns are class names, with
`OUTPUT/` before them where a network has several outputs. Rows are written through at once; a row that was cut off, by
a kill, is dropped when the file is opened again.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from edgeailite.errors import DataError, option
from edgeailite.files import atomic_file, open_regular, own_file, unwritable
from edgeailite.inference.drawing import Output
from edgeailite.untrusted import printable

CSV, JSON = "shares.csv", "shares.json"
FIXED = ("picture", "height", "width")
DIGITS = 6
LONGEST_HEAD, LONGEST_ROW = 1 << 20, 1 << 20  # bytes
ENCODING: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}


def class_shares(output: Output, labels: NDArray[np.integer]) -> list[float]:
    """Return the share of the pixels that each class has."""
    counts = np.bincount(labels.ravel(), minlength=len(output.classes))
    return [round(float(count) / labels.size, DIGITS) for count in counts]


def cell(text: str) -> str:
    """Return a name for a table: on one line, control characters escaped; bytes that are no text stay, as in the file.

    >>> cell("a\\nb")
    'a\\\\nb'
    """
    return "".join(part if "\udc80" <= part <= "\udcff" else printable(part) for part in text)


class Table:
    """A CSV file that rows are appended to. Raises DataError if it cannot be written or was written by another program.

    Its name is never a link: what it leads to would be written.
    """

    def __init__(self, path: Path, columns: Sequence[str], *, go_on: bool = False) -> None:
        self.path, self.columns = path, tuple(columns)
        self.known: set[str] = set()
        head = self._line(self.columns)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _check_ours(path, self.columns)
            self.file = os.fdopen(own_file(path), "r+", **ENCODING)
            if go_on:
                self.known = _mend(self.file.buffer, head)
            else:
                self.file.truncate(0)
            self.file.seek(0, os.SEEK_END)
            if not self.file.tell():
                self.file.write(head)
                self.file.flush()
        except OSError as error:
            raise self._unwritable(error) from None

    def add(self, values: Sequence[object]) -> None:
        """Write a row, unless one with the same first value is there."""
        if cell(str(values[0])) in self.known:
            return
        try:
            self.file.write(self._line(values))
            self.file.flush()
        except OSError as error:
            raise self._unwritable(error) from None

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def _line(self, values: Sequence[object]) -> str:
        text = io.StringIO()
        cells = [cell(str(value)) for value in values]
        csv.writer(text, lineterminator="\n").writerow(cells)
        return text.getvalue()

    def _unwritable(self, error: OSError) -> DataError:
        return DataError(f"{self.path}: cannot be written ({error.strerror}); choose another {option('save_path')}")


def _check_ours(path: Path, columns: Sequence[str]) -> None:
    """Raise DataError for a file of this name with other contents than `infer` writes."""
    try:
        with open_regular(path) as file:
            start = file.readline(LONGEST_HEAD).decode(errors="surrogateescape")
    except FileNotFoundError:
        return
    if start and _first_cell(start) != columns[0]:
        raise DataError(
            f"{path}: not written by infer (no column {columns[0]!r}); choose another {option('save_path')}",
            code="not-ours",
        )


def _mend(file: BinaryIO, head: str) -> set[str]:
    """Return the pictures of the whole rows and cut off what follows them, from the first damaged row on.

    A table with another header is emptied.
    """
    known: set[str] = set()
    columns = next(csv.reader([head]))
    whole = len(head.encode(errors="surrogateescape"))
    if file.readline(whole + 1).decode(errors="surrogateescape") != head:
        file.truncate(0)
        return known
    while line := file.readline(LONGEST_ROW):
        first = _picture_of(line.decode(errors="surrogateescape"), columns)
        if not line.endswith(b"\n") or not first:
            break
        whole += len(line)
        known.add(first)
    file.truncate(whole)
    return known


def _picture_of(line: str, columns: Sequence[str]) -> str:
    """Return the picture that a row is about; "" for a row that `infer` does not write."""
    try:
        cells = next(csv.reader([line]))
        if len(cells) != len(columns):
            return ""
        if tuple(columns[: len(FIXED)]) == FIXED:
            sizes, shares = map(int, cells[1 : len(FIXED)]), map(float, cells[len(FIXED) :])
            if min(sizes) < 1 or not all(0 <= share <= 1 for share in shares):
                return ""
        return cells[0]
    except (csv.Error, ValueError, StopIteration):
        return ""


def _first_cell(line: str) -> str:
    try:
        return next(csv.reader([line]), [""])[0]
    except (csv.Error, IndexError):  # a cell that is too long; an empty line
        return ""


def share_columns(outputs: Sequence[Output]) -> list[str]:
    """Return the header of `shares.csv`."""
    names = [f"{o.key}/{name}" if o.name else name for o in outputs if not o.is_depth for name in o.classes]
    return [*FIXED, *names]


def write_json(table: Path, path: Path, outputs: Sequence[Output]) -> None:
    """Write `shares.csv` as a JSON list, row by row: `{"picture", "height", "width", "shares": {output: {class:
    share}}}`.
    """
    try:
        with table.open(**ENCODING) as rows, atomic_file(path) as file:
            reader = csv.reader(rows)
            next(reader)
            before = "["
            for row in reader:
                file.write(f"{before}\n{json.dumps(_as_dict(row, outputs))}".encode())
                before = ","
            file.write(b"\n]\n" if before == "," else b"[]\n")
    except OSError as error:
        raise unwritable(path, error, fix=f"choose another {option('save_path')}") from None


def _as_dict(row: Sequence[str], outputs: Sequence[Output]) -> Mapping[str, Any]:
    values: Iterator[float] = map(float, row[len(FIXED) :])
    shares = {o.key: dict(zip(o.classes, values, strict=False)) for o in outputs if not o.is_depth}
    return {"picture": row[0], "height": int(row[1]), "width": int(row[2]), "shares": shares}
