"""Chooses the weights that a verb takes from a run folder: of the best validation, or of the last epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgeailite.config import Weights
from edgeailite.console import log
from edgeailite.errors import option
from edgeailite.runs.folder import BEST, LAST, find_checkpoint, read_metrics
from edgeailite.runs.metric_columns import best_score, number, score_text


def chosen_weights(source: Path, weights: Weights = "best", *, told: bool = True) -> Path:
    """Return the checkpoint file to take from a run folder, and tell in a note which it is; other paths stay.

    "best" is `best.pt`, or `last.pt` of a run that was not validated yet; "last" is `last.pt`. Without `told` there is
    no note. A folder without checkpoints stays as well: who opens it says so. Raises DataError for a run without the
    weights that were asked for.

    >>> chosen_weights(Path("runs/night")).as_posix(), chosen_weights(Path("runs/night/model.onnx")).name
    ('runs/night/best.pt', 'model.onnx')
    """
    if not any((source / name).is_file() for name in (BEST, LAST)):
        return source
    file = find_checkpoint(source, prefer=(BEST, LAST) if weights == "best" else (LAST,))
    if told:
        both = (source / BEST).is_file() and (source / LAST).is_file()
        log(f"weights: {file}{_of_epoch(file.name, read_metrics(source)) if both else ''}")
    return file


def _of_epoch(name: str, rows: Sequence[Mapping[str, str]]) -> str:
    """Return the epoch and score of `best.pt` or `last.pt` for the note, and those of the other; "" if unknown."""
    best = best_score(rows)
    if best is None:
        return ""
    column, value, epoch = best
    final, its = int(rows[-1]["epoch"]), number(rows[-1], column)
    if epoch == final:
        return f", of epoch {epoch} ({score_text(column, value)}), the best and the last"
    parts = {
        BEST: f"epoch {epoch} ({score_text(column, value)})",
        LAST: f"epoch {final}" + ("" if math.isnan(its) else f" ({score_text(column, its)})"),
    }
    if name == BEST:
        return f", of the best {parts[BEST]}; {option('weights')} last takes {parts[LAST]}"
    return f", of the last {parts[LAST]}; {option('weights')} best takes {parts[BEST]}"
