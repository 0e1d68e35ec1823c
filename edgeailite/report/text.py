"""Numbers and nested values as text, and as tables for reading."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from edgeailite.report.record import Grid

LONGEST = 2000  # characters of a value: a report is for reading


def percent(share: float, *, digits: int = 1) -> str:
    """Write a share as per cent without the sign; a dash for NaN."""
    return "–" if math.isnan(share) else f"{100 * share:.{digits}f}"


def flatten(values: Mapping[str, Any], *, prefix: str = "") -> list[tuple[str, str]]:
    """Turn nested dicts into (dotted name, text) rows; a list of plain values is one row, one of dicts is numbered."""
    rows: list[tuple[str, str]] = []
    for key, value in _numbered(values).items():
        if isinstance(value, Mapping):
            rows += flatten(value, prefix=f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", _text(value)))
    return rows


def tabulate(values: Mapping[str, Any]) -> tuple[list[tuple[str, str]], list[Grid]]:
    """Turn nested dicts into rows and grids: dicts with the same fields become one grid, all else rows of `flatten`."""
    groups: dict[tuple[str, ...], list[tuple[str, Mapping[str, Any]]]] = {}
    for name, record in _records(values):
        groups.setdefault(tuple(record), []).append((name, record))
    rows: list[tuple[str, str]] = []
    grids = []
    for head, records in groups.items():
        if len(records) > 1:
            grids.append(Grid(head, [(name, [_text(v) for v in record.values()]) for name, record in records]))
        else:
            name, record = records[0]
            rows += flatten(record, prefix=f"{name} " if name else "")
    return rows, grids


def _records(values: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, Mapping[str, Any]]]:
    """Return (name, plain values) of every level of nested dicts that has plain values."""
    values = _numbered(values)
    plain = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    found: list[tuple[str, Mapping[str, Any]]] = [(" ".join(path), plain)] if plain else []
    for key, value in values.items():
        if isinstance(value, Mapping):
            found += _records(value, (*path, str(key)))
    return found


def _numbered(values: Mapping[str, Any]) -> dict[str, Any]:
    """Make of each list of dicts a dict by number, from 1, so that it becomes rows or a grid and no raw text."""
    return {
        key: {str(place): one for place, one in enumerate(value, start=1)}
        if isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value)
        else value
        for key, value in values.items()
    }


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, float):
        short = f"{value:.6g}"
        return repr(value) if float(short) in (0, 1) and float(short) != value else short  # never round to "all equal"
    if isinstance(value, list | tuple):
        return ", ".join(_text(part) for part in value) or "–"
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters)"
