"""The summary of a run: per cent as everywhere, which weights there are and are taken, what comes next."""

from __future__ import annotations

import math
from pathlib import Path

from edgeailite.runs.folder import BEST, LAST, append_metrics
from edgeailite.training.summary import ending, last_epoch


def row(epoch: int, miou: float) -> dict[str, float]:
    return {"epoch": epoch, "lr": 0.0, "loss": 0.25, "miou": miou, "pixel_accuracy": 0.9, "seconds": 3.5}


def run_of(folder: Path, *scores: float) -> Path:
    for epoch, score in enumerate(scores, 1):
        append_metrics(folder, row(epoch, score))
    for name in (LAST, BEST):
        (folder / name).touch()
    return folder


def test_the_best_epoch_and_the_weights_that_are_taken(tmp_path):
    run = run_of(tmp_path, 0.41, 0.5574, 0.5295)
    told = ending(run, row(3, 0.5295) | {"minutes": 0.2}, verbs="calibrate, export", following="calibrate")
    assert told == {
        "run": str(run), "epoch": 3, "loss": 0.25, "val mIoU, %": "52.95", "val pixel accuracy, %": "90.00",
        "seconds of this epoch": 3.5, "minutes it took": 0.2, "best": "mIoU 55.74 in epoch 2 (best.pt)",
        "weights": "calibrate, export: best.pt; --weights last takes those of the last epoch",
        "next": f"edgeailite calibrate {run}",
    }  # fmt: skip


def test_where_the_last_is_the_best(tmp_path):
    told = ending(run_of(tmp_path, 0.4, 0.5), row(2, 0.5), verbs="export", following=None)
    assert told["weights"] == "export: best.pt; the last too"
    assert "next" not in told


def test_what_was_not_measured_stays_as_it_is(tmp_path):
    assert last_epoch({"epoch": 1, "lr": 0.1, "miou": ""}) == {"epoch": 1, "val mIoU, %": ""}
    assert last_epoch({"score": 0.5, "depth_ard": 0.25, "minutes": 9.0}) == {
        "val score, %": "50.00", "val depth ARD, %": "25.00", "minutes it took": 9.0,
    }  # fmt: skip
    assert last_epoch({"loss_depth": 0.5, "weight_depth": 2.0}) == {"loss of depth": 0.5, "weight of depth": 2.0}
    run_of(tmp_path, math.nan)
    (tmp_path / BEST).unlink()
    told = ending(tmp_path, row(1, math.nan), verbs="export", following="export")
    assert "best" not in told and told["next"] == f"edgeailite export {tmp_path}"
