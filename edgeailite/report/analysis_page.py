"""How a sensitivity.json is shown: rows of a table, bars, and the part of the report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeailite.drawing.html import Figure, figure
from edgeailite.drawing.plots import layer_bars
from edgeailite.errors import DataError
from edgeailite.files import read_regular
from edgeailite.report.record import Grid
from edgeailite.untrusted import is_finite, is_printable, json_value, printable

LARGEST = 64 << 20  # bytes of sensitivity.json
LONGEST = 300  # characters of a name
MOST = 1e6  # decibels or points
BARS = 30
ROWS = 20
BARS_TEXT = "Layers whose quantization alone makes most noise at an output, in dB above which the signal is."


def head(page: Mapping[str, Any]) -> list[str]:
    """Column names: a row's kind and name, then SQNR by output and points lost by metric."""
    row = page["layers"][0]
    return ["layer", "quantized", *(f"SQNR {name}, dB" for name in row["sqnr_db"]), *(f"{k} lost" for k in row["drop"])]


def cells(row: Mapping[str, Any]) -> list[str]:
    """The texts of a row."""
    decibels = ["no noise" if value is None else f"{value:.1f}" for value in row["sqnr_db"].values()]
    points = ["–" if value is None else f"{value:+.2f}" for value in row["drop"].values()]
    return [_shown(row), "all of it" if row["kind"] == "section" else str(row["kind"]), *decibels, *points]


def bars(page: Mapping[str, Any]) -> bytes:
    """PNG: SQNR at the worst output of the noisiest layers."""
    rows = [(row, _worst(row)) for row in page["layers"][:BARS]]
    shown = [(_shown(row), row["kind"], value) for row, value in rows if value is not None]
    names, kinds, values = zip(*shown, strict=True) if shown else ((), (), ())
    title = f"SQNR at the output, dB, one layer quantized ({page['scheme']})"
    return layer_bars(names, values, title=title, kinds=kinds, size=7)


def of_folder(folder: Path) -> tuple[Figure, Grid] | None:
    """What the report shows of a run's sensitivity.json; None without one. Raises DataError for a damaged one."""
    path = folder / "sensitivity.json"
    if not path.is_file():
        return None
    again = "run `edgeailite analyze` again"
    try:
        page = json_value(read_regular(path, limit=LARGEST), where=f"{path}: cannot be read; {again}")
        _check_page(page)
        rows = [*page["sections"], *page["layers"][:ROWS]]
        grid = Grid(head(page)[1:], [(texts[0], texts[1:]) for texts in map(cells, rows)])
        return figure(bars(page), BARS_TEXT), grid
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {again}") from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: cannot be read ({printable(repr(error))[:120]}); {again}") from None


def _check_page(page: Any) -> None:
    """Raise ValueError for numbers that are none, and names that cannot be printed."""
    for row in [*page["sections"], *page["layers"]]:
        values = [*row["sqnr_db"].values(), *row["drop"].values()]
        if not all(value is None or (is_finite(value) and abs(value) <= MOST) for value in values):
            raise ValueError("a number that is none")
        names = (_shown(row), row["kind"], page["scheme"])
        if not all(isinstance(name, str) and len(name) <= LONGEST and is_printable(name) for name in names):
            raise ValueError("a name that is none")


def _shown(row: Mapping[str, Any]) -> str:
    """A range as its tensor is called in files; analyses of before have its name in plans alone."""
    return str(row.get("tensor", row["name"]))


def _worst(row: Mapping[str, Any]) -> float | None:
    values = [value for value in row["sqnr_db"].values() if value is not None]
    return min(values) if values else None
