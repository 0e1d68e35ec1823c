"""Class shares of every picture: rows of `shares.csv` as they come, and `shares.json` made of it at the end.

A row holds the picture, its height and width, and for each class the share of pixels: columns are class names, with
`OUTPUT/` before them where a network has several outputs. Rows are written through at once; a row that was cut off, by
a kill, is dropped when the file is opened again.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.errors import DataError
from edgeailite.inference.drawing import Output

CSV, JSON = "shares.csv", "shares.json"
FIXED = ("picture", "height", "width")
DIGITS = 6
ENCODING: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}


def class_shares(output: Output, labels: NDArray[np.integer]) -> list[float]:
    """The share of the pixels that each class has."""
    counts = np.bincount(labels.ravel(), minlength=len(output.classes))
    return [round(float(count) / labels.size, DIGITS) for count in counts]


class Table:
    """A CSV file that rows are appended to. Raises DataError where it cannot be written or is somebody else's."""

    def __init__(self, path: Path, columns: Sequence[str], *, go_on: bool = False) -> None:
        self.path, self.columns = path, tuple(columns)
        self.known: set[str] = set()
        head = self._line(self.columns)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _check_ours(path, self.columns)
            if go_on and path.is_file():
                self.known = _mend(path, head)
            else:
                path.write_text(head, **ENCODING)
            self.file = path.open("a", **ENCODING)
        except OSError as error:
            raise self._unwritable(error) from None

    def add(self, values: Sequence[object]) -> None:
        """Write a row, unless one with the same first value is there."""
        if str(values[0]) in self.known:
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
        csv.writer(text, lineterminator="\n").writerow(values)
        return text.getvalue()

    def _unwritable(self, error: OSError) -> DataError:
        return DataError(f"{self.path}: cannot be written ({error.strerror}); choose another --save_path")


def _check_ours(path: Path, columns: Sequence[str]) -> None:
    """Raise DataError for a file of this name with other contents than `infer` writes."""
    if not path.is_file() or not path.stat().st_size:
        return
    with path.open(**ENCODING) as file:
        found = next(csv.reader(file), [])
    if found[:1] != [columns[0]]:
        raise DataError(f"{path}: not written by infer (no column {columns[0]!r}); choose another --save_path")


def _mend(path: Path, head: str) -> set[str]:
    """First values of the whole rows; what follows the last of them is cut off. Another header starts anew."""
    known: set[str] = set()
    whole = 0
    with path.open("rb") as file:
        if file.readline().decode(errors="surrogateescape") != head:
            path.write_text(head, **ENCODING)
            return known
        whole = file.tell()
        for line in file:
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            known.add(next(csv.reader([line.decode(errors="surrogateescape")]))[0])
    with path.open("r+b") as file:
        file.truncate(whole)
    return known


def share_columns(outputs: Sequence[Output]) -> list[str]:
    """The header of `shares.csv`."""
    names = [f"{o.key}/{name}" if o.name else name for o in outputs if not o.is_depth for name in o.classes]
    return [*FIXED, *names]


def write_json(table: Path, path: Path, outputs: Sequence[Output]) -> None:
    """`shares.csv` as a JSON list, row by row: `{"picture", "height", "width", "shares": {output: {class: share}}}`."""
    partial = path.with_name(path.name + ".partial")
    try:
        with table.open(**ENCODING) as rows, partial.open("w", encoding="utf-8") as file:
            reader = csv.reader(rows)
            next(reader)
            before = "["
            for row in reader:
                file.write(f"{before}\n{json.dumps(_as_dict(row, outputs))}")
                before = ","
            file.write("\n]\n" if before == "," else "[]\n")
        partial.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); choose another --save_path") from None


def _as_dict(row: Sequence[str], outputs: Sequence[Output]) -> Mapping[str, Any]:
    values: Iterator[float] = map(float, row[len(FIXED) :])
    shares = {o.key: dict(zip(o.classes, values, strict=False)) for o in outputs if not o.is_depth}
    return {"picture": row[0], "height": int(row[1]), "width": int(row[2]), "shares": shares}
