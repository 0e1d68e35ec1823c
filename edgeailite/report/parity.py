"""The numbers of a contract in words, for the report: what JSON calls `equal_argmax` is a share of the same class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeailite.report.record import Grid
from edgeailite.report.text import tabulate

ROWS = {
    "data": "pictures of",
    "export": "file and what export writes",
    "integer_kernels wanted": "integer kernels: layers that need one",
    "integer_kernels float_nodes": "integer kernels: layers computed in float",
    "integer_kernels all_integer": "integer kernels: all there",
    "additions total": "additions",
    "additions tie_safe": "additions with the same bits on every kind of machine",
    "conversion layers": "conversion to integers: layers compared",
    "conversion largest_step": "conversion: largest difference in a layer, steps of a code",
    "conversion largest_shift": "conversion: largest mean difference of a layer, steps",
    "conversion agreement": "conversion: same answer as fake_quant",
    "conversion asked": "conversion: asked of it",
}
COLUMNS = {
    "equal_argmax": "same class",
    "max_difference": "largest difference",
    "mean_difference": "mean difference",
    "std": "standard deviation of the scores",
    "largest": "largest score",
}
PREFIXES = {"integer_kernels ": "integer kernels: ", "sizes ": ""}  # of names that the tables above do not have


def parity_tables(results: Mapping[str, Any]) -> tuple[list[tuple[str, str]], list[Grid]]:
    """Return rows and grids of a contract's results, named for a reader; what is not known here keeps its name."""
    rows, grids = tabulate(results)
    named = [
        Grid(
            [COLUMNS.get(name, name) for name in grid.head],
            [(_row(name), cells) for name, cells in grid.rows],
        )
        for grid in grids
    ]
    return [(_row(name), value) for name, value in rows], named


def _row(name: str) -> str:
    if name in ROWS:
        return ROWS[name]
    for prefix, words in PREFIXES.items():
        if name.startswith(prefix):
            return words + name.removeprefix(prefix)
    return name
