"""Summary of a training that ended: last and best epoch, which weights are used, what comes next."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeailite.errors import option
from edgeailite.runs.folder import BEST, read_metrics
from edgeailite.runs.metric_columns import best_score, metric_of, number, score_columns, score_text
from edgeailite.training.job import TrainingResult

Row = Mapping[str, Any]


def last_epoch(row: Row) -> dict[str, Any]:
    """Return the last row of `metrics.csv` for people: shares in per cent, no learning rate."""
    told = {key: value for key, value in row.items() if key != "lr"}
    for column in score_columns([{key: row[key] for key in row if key != "minutes"}]):
        if metric_of(column)[1].per_cent and not math.isnan(number(row, column)):
            told[column] = f"{100 * number(row, column):.2f}"
    return told


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
