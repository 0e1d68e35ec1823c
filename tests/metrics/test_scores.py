"""mIoU and its relatives by hand, and the published ADE20K convention against numbers of the original code."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from edgeailite.metrics import confusion_matrix, scores

GOLDEN = Path(__file__).parents[1] / "reference/csail/metrics.npz"


def test_absent_classes_are_left_out_or_zero():
    confusion = np.array([[3, 1, 0, 0], [0, 4, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert scores(confusion).miou == pytest.approx((3 / 4 + 4 / 5) / 2)
    assert scores(confusion, absent="zero").miou == pytest.approx((3 / 4 + 4 / 5) / 4)
    assert scores(confusion, absent="zero").overall == pytest.approx((7 / 8 + (3 / 4 + 4 / 5) / 4) / 2)
    assert math.isnan(scores(confusion, absent="zero").iou[3])


def test_nothing_labelled_is_nan_either_way():
    for absent in ("leave_out", "zero"):
        assert math.isnan(scores(np.zeros((3, 3), np.int64), absent=absent).miou)


def test_unknown_convention():
    with pytest.raises(ValueError, match="absent 'none': expected one of leave_out, zero"):
        scores(np.eye(2, dtype=np.int64), absent="none")


def test_numbers_of_the_published_ade20k_code():
    """Labels are -1 where ignored; I, U and accuracy over valid pixels; absent classes count as 0."""
    golden = np.load(GOLDEN)
    confusion = confusion_matrix(golden["label"], golden["pred"], 150, ignore=-1)
    result = scores(confusion, absent="zero")
    hit = np.diag(confusion)
    assert np.array_equal(hit, golden["intersection"])
    assert np.array_equal(confusion.sum(0) + confusion.sum(1) - hit, golden["union"])
    assert result.pixel_accuracy == pytest.approx(float(golden["acc"]), abs=1e-6)
    assert result.miou == pytest.approx(float(golden["miou"]), abs=1e-6)
    assert scores(confusion).miou == pytest.approx(float(golden["miou_nonempty"]), abs=1e-6)
