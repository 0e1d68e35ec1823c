"""Results files: which accuracy a network reached, from JSON of `edgeailite validate` or from a table of one's own.

JSON: an object, a list of objects, or one object a line, as `edgeailite validate --json True` prints. CSV: a header
and a row per result. Fields: `network` (a name of `edgeailite models`), `miou` in per cent (of a network with several
outputs that of `segmentation`); if known `size` (JSON [H, W], CSV HxW), the input size that the accuracy belongs to,
`data` and `classes` (JSON: those of `iou`) that it was measured on, and `type`, float or int8. Others are left alone.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeailite.errors import DataError
from edgeailite.files import read_regular, unreadable
from edgeailite.models import ALIASES, MODELS
from edgeailite.untrusted import is_printable, json_value, printable, shown

LARGEST = 64 << 20  # bytes of a results file


@dataclass(frozen=True)
class Accuracy:
    """MIoU in per cent of a network at an input size (height, width), on a data set; None where a file does not say."""

    network: str
    miou: float
    size: tuple[int, int] | None
    data: str | None = None
    classes: int | None = None
    arithmetic: str | None = None


def read_accuracies(path: Path) -> list[Accuracy]:
    """Read all results of a file. Raises DataError naming the record that cannot be used."""
    try:
        text = read_regular(path, limit=LARGEST).decode("utf-8")
        records = list(csv.DictReader(text.splitlines())) if path.suffix == ".csv" else _json_records(text, path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise unreadable(path, error, fix="give JSON or CSV with network and miou") from None
    if not records:
        raise DataError(
            f"{path}: holds no results; write them with `edgeailite validate RUN --json True`", code="wrong-kind"
        )
    return [_accuracy(record, f"{path}: result {number}") for number, record in enumerate(records, start=1)]


def _json_records(text: str, path: Path) -> list[Any]:
    """One value, or one a line."""
    try:
        values = json_value(text, where=str(path))
    except DataError as whole:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2:
            raise DataError(f"{whole}; name a table *.csv") from None
        values = [json_value(line, where=f"{path}: line {number}") for number, line in enumerate(lines, start=1)]
    return values if isinstance(values, list) else [values]


def _accuracy(record: Any, where: str) -> Accuracy:
    scores = _scores(record)
    if not isinstance(record, Mapping) or not record.get("network") or scores.get("miou") in (None, ""):
        raise DataError(f"{where}: expected network and miou, found {_fields(record)}")
    name = ALIASES.get(str(record["network"]), str(record["network"]))
    if name not in MODELS:
        raise DataError(f"{where}: network {name!r} is none of those that `edgeailite models` lists")
    try:
        miou = float(scores["miou"])
        size = _size(record.get("size"))
        classes = int(record["classes"]) if record.get("classes") else len(scores.get("iou") or ()) or None
    except (TypeError, ValueError, OverflowError):
        given = ", ".join(
            f"{name} {shown(value)}"
            for name, value in (("miou", scores["miou"]), *((name, record.get(name)) for name in ("size", "classes")))
        )
        raise DataError(f"{where}: {given}: expected a number, [H, W] or HxW, and a number") from None
    if not 0 <= miou <= 100:
        raise DataError(f"{where}: miou {miou}: expected per cent, 0 to 100")
    arithmetic = record.get("type") or None
    if arithmetic not in (None, "float", "int8"):
        raise DataError(f"{where}: type {arithmetic!r}: expected float or int8")
    data = record.get("data") or None
    if data is not None and not (isinstance(data, str) and is_printable(data)):
        raise DataError(f"{where}: data {shown(data)}: expected the name of a data set")
    return Accuracy(name, miou, size, data, classes, arithmetic)


def _scores(record: Any) -> Mapping[str, Any]:
    """The part of a record that holds the mIoU: of several outputs the segmentation's."""
    if not isinstance(record, Mapping):
        return {}
    nested = record.get("segmentation")
    return nested if "miou" not in record and isinstance(nested, Mapping) else record


def _size(value: Any) -> tuple[int, int] | None:
    if value in (None, ""):
        return None
    height, width = value.split("x") if isinstance(value, str) else value
    return int(height), int(width)


def _fields(record: Any) -> str:
    return printable(", ".join(map(str, record)))[:200] if isinstance(record, Mapping) else type(record).__name__
