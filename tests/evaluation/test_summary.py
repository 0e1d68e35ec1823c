"""Scores as values and rows, the same for one output as ever and by name for several."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeailite.data.source import ClassTarget, DataSource, DepthTarget, Item
from edgeailite.evaluation import ClassTally, DepthTally
from edgeailite.evaluation.summary import as_dict, confusion_csv, flat, headline, never_predicted, score_values
from edgeailite.metrics import DepthSums, Scores

COLOURS = ((0, 0, 0), (1, 1, 1))
TARGETS = {"motion": ClassTarget(("static", "moving"), COLOURS, {}), "depth": DepthTarget()}
SOURCE = DataSource("toy", "val", (Item((), {}),), TARGETS)
MOTION = ClassTally(np.array([[3, 1], [0, 4]]), np.zeros((2, 2), np.int64))
DEPTH = DepthTally((DepthSums(1.0, 8.0, 2),))


def test_scores_as_values():
    values = score_values(Scores(0.5, 0.75, (1.0, 0.0, math.nan)), ("road", "sky", "car"))
    assert values == {
        "miou": 50.0,
        "pixel_accuracy": 75.0,
        "overall": 62.5,
        "iou": {"road": 100.0, "sky": 0.0, "car": None},
    }
    assert flat(values)["IoU car, %"] == "absent"


def test_one_output_has_no_name_and_several_have():
    assert as_dict({"depth": DEPTH}, SOURCE) == {"ard": 50.0, "rmse_metres": 2.0}
    assert as_dict({"motion": MOTION}, SOURCE)["iou"] == {"static": 75.0, "moving": 80.0}
    both = as_dict({"motion": MOTION, "depth": DEPTH}, SOURCE)
    assert both == {"motion": as_dict({"motion": MOTION}, SOURCE), "depth": {"ard": 50.0, "rmse_metres": 2.0}}
    assert flat(both)["motion: IoU moving, %"] == 80.0
    assert flat(both)["depth: ARD, %"] == 50.0


def test_headline():
    assert headline({"motion": MOTION}) == {"miou": pytest.approx(0.775)}
    assert headline({"motion": MOTION, "depth": DEPTH}) == {"motion_miou": pytest.approx(0.775), "depth_ard": 0.5}


def test_classes_that_labels_have_and_predictions_lack_are_named():
    target = ClassTarget(("plate", "hole", "text", "rim"), COLOURS * 2, {})
    source = DataSource("toy", "val", (Item((), {}),), TARGETS | {"segmentation": target})

    def tally(*rows: list[int]) -> ClassTally:
        return ClassTally(np.array(rows), np.zeros((4, 2), np.int64))

    one = tally([5, 0, 0, 1], [2, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0])  # text occurs nowhere, rim is always wrong
    assert never_predicted({"segmentation": one}, source) == ["class hole was never predicted"]
    two = tally([5, 0, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0])
    both = {"segmentation": two, "depth": DEPTH, "motion": MOTION}
    assert never_predicted(both, source) == ["segmentation: classes hole, rim were never predicted"]
    names = tuple(f"c{index}" for index in range(12))
    many = DataSource("toy", "val", (Item((), {}),), {"segmentation": ClassTarget(names, COLOURS * 6, {})})
    counts = np.zeros((12, 12), np.int64)
    counts[:, 0] = 1
    found = never_predicted({"segmentation": ClassTally(counts, counts[:, :2])}, many)
    assert found == [f"classes {', '.join(names[1:9])} and 3 more were never predicted"]


def test_what_was_not_measured_is_none_which_json_has():
    assert as_dict({"depth": DepthTally()}, SOURCE) == {"ard": None, "rmse_metres": None}


def test_matrix_as_csv_quotes_names():
    rows = confusion_csv(np.array([[1, 2], [3, 4]]), ("car, parked", "sky")).decode().splitlines()
    assert rows == ['label \\ prediction,"car, parked",sky', '"car, parked",1,2', "sky,3,4"]
