"""Times that another board gave, for `edgeailite devices fit --measured`.

JSON of `edgeailite bench` (rows of onnxruntime, whose operators are layers of the file), or a CSV with model and ms.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeailite.cost.latency import OperatorTime
from edgeailite.environment import machine_title
from edgeailite.errors import DataError, option
from edgeailite.files import read_regular
from edgeailite.untrusted import is_printable, json_value, printable

LARGEST = 64 << 20  # bytes of a file of times


@dataclass(frozen=True)
class Time:
    """Milliseconds of a network, its operators (() without a profile), and its input size if the file says it."""

    milliseconds: float
    operators: tuple[OperatorTime, ...] = ()
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class BoardTimes:
    """Times of a file by model; title and runtime of the machine that gave them, None where the file does not say."""

    path: Path
    times: Mapping[str, Time]
    title: str | None = None
    runtime: str | None = None


def read_times(path: Path) -> BoardTimes:
    """Read the times of a file. Raises DataError for a file of another form and for values that are no times."""
    try:
        text = read_regular(path, limit=LARGEST).decode("utf-8")
        rows = csv.DictReader(text.splitlines())
        found = (
            _of_bench(path, json_value(text, where=str(path)))
            if path.suffix == ".json"
            else BoardTimes(path, {_text(row["model"]): Time(float(row["ms"])) for row in rows})
        )
    except DataError:
        raise
    except (OSError, AttributeError, KeyError, TypeError, ValueError, OverflowError, csv.Error) as error:
        reason = printable(repr(error))[:160]
        raise DataError(
            f"{path}: expected JSON of `edgeailite bench`, or CSV with model and ms ({reason})", code="wrong-kind"
        ) from None
    if not found.times:
        raise DataError(
            f"{path}: no row of onnxruntime; measure there with {option('runtimes')} onnxruntime", code="wrong-kind"
        )
    for model, time in found.times.items():
        if not (math.isfinite(time.milliseconds) and time.milliseconds > 0):
            raise DataError(f"{path}: {model}: {time.milliseconds} ms; expected a time above 0")
    return found


def _of_bench(path: Path, values: Any) -> BoardTimes:
    """Raises AttributeError, KeyError, TypeError and ValueError for what `bench` does not write."""
    rows = [row for row in values["models"] if row["runtime"] == "onnxruntime"]
    times = {
        _text(row["model"]): Time(float(row["minimum_ms"]), _operators(row), _size(row.get("size"))) for row in rows
    }
    machine = values.get("machine")
    if machine is None:
        return BoardTimes(path, times)
    return BoardTimes(path, times, machine_title(machine), f"onnxruntime {machine['onnxruntime']}")


def _operators(row: Mapping[str, Any]) -> tuple[OperatorTime, ...]:
    return tuple(
        OperatorTime(
            _text(values["name"]), _text(values["kind"]), float(values["milliseconds"]), float(values["minimum"])
        )
        for values in row.get("operators", ())
    )


def _text(value: Any) -> str:
    if not isinstance(value, str) or not is_printable(value):
        raise TypeError(f"{value!r} is no name")
    return value


def _size(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    height, width = value
    return int(height), int(width)
