"""The ranking of a network's layers by quantization noise, as `analyze` writes it: rows of a table, and bars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeailite.drawing.plots import layer_bars
from edgeailite.metrics.names import metric_of

BARS = 30


def head(page: Mapping[str, Any]) -> list[str]:
    """Return the column names of a sensitivity.json: a row's name and kind, SQNR by output, points lost by metric."""
    row = page["layers"][0]
    points = [f"points of {_metric(name)} lost" for name in row["drop"]]
    return ["layer", "quantized", *(f"SQNR {name}, dB" for name in row["sqnr_db"]), *points]


def _metric(score: str) -> str:
    """Return `mIoU` for miou, `motion mIoU` for motion_miou."""
    output, metric = metric_of(score)
    return f"{output} {metric.name}".strip()


def cells(row: Mapping[str, Any]) -> list[str]:
    """Return the texts of one of its rows, in the order of `head`."""
    decibels = ["no noise" if value is None else f"{value:.1f}" for value in row["sqnr_db"].values()]
    points = ["–" if value is None else f"{value:+.2f}" for value in row["drop"].values()]
    return [name_of(row), "all of it" if row["kind"] == "section" else str(row["kind"]), *decibels, *points]


def bars(page: Mapping[str, Any]) -> bytes:
    """Draw a PNG: SQNR at the worst output of the noisiest layers."""
    rows = [(row, _worst(row)) for row in page["layers"][:BARS]]
    shown = [(name_of(row), row["kind"], value) for row, value in rows if value is not None]
    names, kinds, values = zip(*shown, strict=True) if shown else ((), (), ())
    title = f"SQNR at the output, dB, one layer quantized ({page['scheme']})"
    return layer_bars(names, values, title=title, kinds=kinds, size=7)


def name_of(row: Mapping[str, Any]) -> str:
    """Return the name of a row's part; a range is named as its tensor in files, which older analyses lack."""
    return str(row.get("tensor", row["name"]))


def _worst(row: Mapping[str, Any]) -> float | None:
    values = [value for value in row["sqnr_db"].values() if value is not None]
    return min(values) if values else None
