"""The columns of `metrics.csv`, for displays of a training.

    epoch, lr, loss, seconds          always
    loss_<output>                     part of the training loss
    weight_<output>                   weight of an output in the loss of several
    anything else                     a validation score: `<metric>` or `<output>_<metric>`

A value is a number, or "" where the epoch was not validated; rows that were read from the file hold text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from edgeailite.drawing.plots import Panel
from edgeailite.metrics.names import metric_of

Row = Mapping[str, Any]

LARGEST = 1e100  # diagrams square what they draw
FIXED = ("epoch", "lr", "loss", "seconds")
LOSS, WEIGHT = "loss_", "weight_"


BESIDE = "pixel accuracy"  # drawn, but not repeated in every line of an epoch


def number(row: Row, column: str) -> float:
    """Return a value of a row; NaN where it is missing, empty, or no number that can be drawn."""
    try:
        value = float(row.get(column, ""))
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return value if abs(value) <= LARGEST else math.nan


def score_columns(rows: Sequence[Row]) -> list[str]:
    """Return the columns with validation scores, in the order of the rows."""
    columns = dict.fromkeys(column for row in rows for column in row)
    return [column for column in columns if column not in FIXED and not column.startswith((LOSS, WEIGHT))]


def score_text(column: str, value: float) -> str:
    """Return a score as it is written: `mIoU 45.67`, `depth ARD 21.30`."""
    output, metric = metric_of(column)
    text = f"{100 * value:.2f}" if metric.per_cent else f"{value:.4f}"
    return f"{output} {metric.name} {text}".strip()


def epoch_line(row: Row, epochs: int) -> str:
    """Return the line of a finished epoch: `epoch 3/100 loss 0.1234 val mIoU 45.67 (12.3 s)`."""
    measured = {column: number(row, column) for column in score_columns([row])}
    scores = [
        score_text(column, value)
        for column, value in measured.items()
        if not math.isnan(value) and metric_of(column)[1].name != BESIDE
    ]
    val = f" val {', '.join(scores)}" if scores else ""
    return f"epoch {int(row['epoch'])}/{epochs} loss {number(row, 'loss'):.4f}{val} ({number(row, 'seconds'):.1f} s)"


def best_score(rows: Sequence[Row]) -> tuple[str, float, int] | None:
    """Return (column, value, epoch) of the best first score, which chooses the best checkpoint; None without one."""
    for column in score_columns(rows):
        measured = [(number(row, column), int(row["epoch"])) for row in rows]
        measured = [(value, epoch) for value, epoch in measured if not math.isnan(value)]
        if measured:
            sign = -1 if metric_of(column)[1].lower else 1
            value, epoch = max(measured, key=lambda one: (sign * one[0], -one[1]))
            return column, value, epoch
    return None


def panels(rows: Sequence[Row]) -> list[Panel]:
    """Return the diagrams of `curves.png`: loss, learning rate, scores by metric, time, several outputs' weights."""
    columns = dict.fromkeys(column for row in rows for column in row)

    def values(column: str) -> list[float]:
        return [number(row, column) for row in rows]

    def starting(prefix: str) -> dict[str, list[float]]:
        return {c.removeprefix(prefix): values(c) for c in columns if c.startswith(prefix)}

    parts = starting(LOSS)
    loss = Panel("Training loss", {"all" if parts else "loss": values("loss"), **parts}, log=True)
    found = [loss, Panel("Learning rate", {"lr": values("lr")}, log=True)]
    found += _score_panels(rows)
    found.append(Panel("Seconds per epoch", {"seconds": values("seconds")}))
    weights = starting(WEIGHT)
    return [*found, Panel("Weights of the losses", weights)] if weights else found


def _score_panels(rows: Sequence[Row]) -> list[Panel]:
    """One for all shares (higher is better), one for each other metric."""
    fields: dict[str, dict[str, list[float]]] = {}
    shares: dict[str, bool] = {}
    for column in score_columns(rows):
        output, metric = metric_of(column)
        shared = metric.per_cent and not metric.lower
        title = "Validation, %" if shared else f"Validation {metric.words}"
        name = f"{output} {metric.name}".strip() if shared else output or metric.name
        fields.setdefault(title, {})[name] = [number(row, column) for row in rows]
        shares[title] = metric.per_cent
    return [Panel(_with_best(title, rows), lines, per_cent=shares[title]) for title, lines in fields.items()]


def _with_best(title: str, rows: Sequence[Row]) -> str:
    """The title, with where the best of the first score was if this is its field."""
    best = best_score(rows)
    if best is None:
        return title
    column, value, epoch = best
    metric = metric_of(column)[1]
    if not title.startswith("Validation, %" if metric.per_cent and not metric.lower else f"Validation {metric.name}"):
        return title
    return f"{title}  (best {score_text(column, value)} in epoch {epoch})"
