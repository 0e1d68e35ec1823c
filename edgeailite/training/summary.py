"""Summary of a training that ended: last and best epoch, which weights are used, what comes next."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeailite.errors import option
from edgeailite.metrics.names import metric_of
from edgeailite.runs.folder import BEST, read_metrics
from edgeailite.runs.metric_columns import best_score, number, score_columns, score_text
from edgeailite.training.job import TrainingResult

Row = Mapping[str, Any]
TIMES = {"seconds": "seconds of this epoch", "minutes": "minutes it took"}


def last_epoch(row: Row) -> dict[str, Any]:
    """Return the last row of `metrics.csv` in words: scores are of validation, shares in per cent; no learning rate."""
    return dict(_in_words(row, column) for column in row if column != "lr")


def _in_words(row: Row, column: str) -> tuple[str, Any]:
    """Return name and value of a column for people."""
    if column in TIMES:
        return TIMES[column], row[column]
    if column not in score_columns([row]):
        kind, _, output = column.partition("_")
        return (f"{kind} of {output}" if output else column), row[column]
    output, metric = metric_of(column)
    value = number(row, column)
    name = f"val {output} {metric.words}".replace("  ", " ")
    if math.isnan(value) or not metric.per_cent:
        return name, row[column]
    return name, f"{100 * value:.2f}"


def ending(folder: Path, row: Row, *, verbs: str, following: str | None) -> dict[str, Any]:
    """Return the summary of a run: `verbs` take weights from its folder, `following` is the one that comes next."""
    told = {"run": str(folder), **last_epoch(row)}
    best = best_score(read_metrics(folder))
    if best is not None and (folder / BEST).is_file():
        column, value, epoch = best
        told["best"] = f"{score_text(column, value)} in epoch {epoch} ({BEST})"
        other = (
            "the last too" if epoch == row.get("epoch") else f"{option('weights')} last takes those of the last epoch"
        )
        told["weights"] = f"{verbs}: {BEST}; {other}"
    if following is not None:
        told["next"] = f"edgeailite {following} {folder}"
    return told


def float_summary(trained: TrainingResult) -> tuple[str, dict[str, Any]]:
    """Return title and rows of the summary of a float training."""
    if trained.dry:
        return "dry run: everything was built, one step taken, nothing kept", last_epoch(trained.last)
    following = None if trained.quantizes else "calibrate"
    return "train", ending(trained.folder, trained.last, verbs="calibrate, quantize, export", following=following)


def quantized_summary(trained: TrainingResult) -> tuple[str, dict[str, Any]]:
    """Return title and rows of the summary of a quantization-aware training."""
    if trained.dry:
        return "dry run: quantized network built, one step taken, nothing kept", last_epoch(trained.last)
    return "quantize", ending(trained.folder, trained.last, verbs="export", following="export")
