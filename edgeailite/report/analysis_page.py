"""The part of a report that shows the run's sensitivity.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeailite.drawing.html import Figure, figure
from edgeailite.errors import DataError
from edgeailite.files import read_regular, unreadable
from edgeailite.report.record import Grid
from edgeailite.runs.ranking import bars, cells, head, name_of
from edgeailite.untrusted import is_finite, is_printable, json_value, printable

LARGEST = 64 << 20  # bytes of sensitivity.json
LONGEST = 300  # characters of a name
MOST = 1e6  # decibels or points
ROWS = 20
BARS_TEXT = "Layers whose quantization alone makes most noise at an output, in dB above which the signal is."


def of_folder(folder: Path) -> tuple[Figure, Grid] | None:
    """Return bars and table of a run's sensitivity.json, None without one. Raises DataError for a damaged file."""
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
        raise unreadable(path, error, fix=again) from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: cannot be read ({printable(repr(error))[:120]}); {again}") from None


def _check_page(page: Any) -> None:
    """Raise ValueError for numbers that are not finite and for names that cannot be printed."""
    for row in [*page["sections"], *page["layers"]]:
        values = [*row["sqnr_db"].values(), *row["drop"].values()]
        if not all(value is None or (is_finite(value) and abs(value) <= MOST) for value in values):
            raise ValueError("a number out of range")
        names = (name_of(row), row["kind"], page["scheme"])
        if not all(isinstance(name, str) and len(name) <= LONGEST and is_printable(name) for name in names):
            raise ValueError("a name that cannot be printed")
