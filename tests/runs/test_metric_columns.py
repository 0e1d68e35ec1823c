"""Rows of metrics.csv, read or just made: lines, best scores and diagrams."""

import math

import pytest

from edgeailite.runs.metric_columns import best_score, epoch_line, number, panels, score_columns

ROW = {"epoch": 3, "lr": 0.01, "loss": 0.12341, "miou": 0.45671, "pixel_accuracy": 0.8, "seconds": 12.3}
SEVERAL = {
    "epoch": "1", "lr": "0.1", "loss": "2.5", "loss_segmentation": "1.5", "loss_depth": "1.0",
    "weight_segmentation": "1.0", "weight_depth": "0.5", "segmentation_miou": "0.5", "depth_ard": "0.25",
    "motion_miou": "0.4", "seconds": "9.0",
}  # fmt: skip


def as_read(row: dict) -> dict[str, str]:
    return {key: str(value) for key, value in row.items()}


@pytest.mark.parametrize("form", [dict, as_read])
def test_the_line_of_an_epoch(form):
    assert epoch_line(form(ROW), 100) == "epoch 3/100 loss 0.1234 val mIoU 45.67 (12.3 s)"
    missing = ROW | {"miou": "", "pixel_accuracy": ""}
    assert epoch_line(form(missing), 100) == "epoch 3/100 loss 0.1234 (12.3 s)"


def test_the_line_of_several_outputs():
    scores = "segmentation mIoU 50.00, depth ARD 25.00, motion mIoU 40.00"
    assert epoch_line(SEVERAL, 2) == f"epoch 1/2 loss 2.5000 val {scores} (9.0 s)"


def test_numbers_are_nan_where_there_are_none():
    assert [number({"a": value}, "a") for value in (1, "2.5", 0.5)] == [1.0, 2.5, 0.5]
    for value in ("", None, "abc"):
        assert math.isnan(number({"a": value}, "a"))
    assert math.isnan(number({}, "a"))


def test_scores_are_the_columns_that_are_nothing_else():
    assert score_columns([ROW]) == ["miou", "pixel_accuracy"]
    assert score_columns([SEVERAL]) == ["segmentation_miou", "depth_ard", "motion_miou"]


def test_the_best_goes_by_the_first_score_and_its_direction():
    rows = [{"epoch": i + 1, "miou": v, "pixel_accuracy": 1 - i / 10} for i, v in enumerate([0.2, "", 0.5, 0.5, 0.4])]
    assert best_score(rows) == ("miou", 0.5, 3), "the first of equals, which is whose checkpoint is kept"
    depth = [{"epoch": str(i + 1), "depth_ard": str(v)} for i, v in enumerate([0.5, 0.2, 0.3])]
    assert best_score(depth) == ("depth_ard", 0.2, 2)
    assert best_score([]) is None and best_score([{"epoch": 1, "miou": ""}]) is None


def test_diagrams_of_one_output():
    rows = [ROW | {"epoch": 1, "miou": ""}, ROW | {"epoch": 2}]
    found = panels(rows)
    titles = ["Training loss", "Learning rate", "Validation, %  (best mIoU 45.67 in epoch 2)", "Seconds per epoch"]
    assert [panel.title for panel in found] == titles
    assert list(found[2].lines) == ["mIoU", "pixel accuracy"] and found[2].per_cent
    assert math.isnan(found[2].lines["mIoU"][0]) and found[2].lines["mIoU"][1] == 0.45671


def test_diagrams_of_several_outputs():
    found = {panel.title.split("  (")[0]: panel for panel in panels([SEVERAL])}
    assert list(found["Training loss"].lines) == ["all", "segmentation", "depth"]
    assert list(found["Validation, %"].lines) == ["segmentation mIoU", "motion mIoU"]
    assert list(found["Validation ARD, %"].lines) == ["depth"] and found["Validation ARD, %"].per_cent
    assert found["Weights of the losses"].lines == {"segmentation": [1.0], "depth": [0.5]}


def test_columns_that_come_later_are_nan_before():
    found = panels([{"epoch": 1, "loss": 1.0, "lr": 0.1, "seconds": 1.0}, ROW])
    assert [math.isnan(value) for value in found[2].lines["mIoU"]] == [True, False]
