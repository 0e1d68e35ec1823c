"""The confusion matrix and what is read from it, against counts by hand and properties that any counting has."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgeailite.metrics import confusion_matrix, scores

CLASSES = 4
LABELS = arrays(np.uint8, (3, 5), elements=st.sampled_from([0, 1, 2, 3, 255]))
PREDICTIONS = arrays(np.int64, (3, 5), elements=st.integers(0, CLASSES - 1))


def by_hand(label, prediction, classes: int) -> np.ndarray:
    """Counting one pixel at a time."""
    counts = np.zeros((classes, classes), np.int64)
    for truth, guess in zip(label.ravel().tolist(), prediction.ravel().tolist(), strict=True):
        if truth != 255:
            counts[truth, guess] += 1
    return counts


def test_scores_by_hand():
    label = np.array([[0, 0, 1, 1], [2, 2, 255, 255]])
    prediction = np.array([[0, 1, 1, 1], [2, 0, 0, 1]])
    result = scores(confusion_matrix(label, prediction, 4))
    assert result.iou[:3] == pytest.approx((1 / 3, 2 / 3, 1 / 2))
    assert math.isnan(result.iou[3])
    assert result.miou == pytest.approx((1 / 3 + 2 / 3 + 1 / 2) / 3)
    assert result.pixel_accuracy == pytest.approx(4 / 6)
    assert result.overall == pytest.approx((result.miou + result.pixel_accuracy) / 2)


def test_class_that_is_only_predicted_counts_as_zero():
    result = scores(confusion_matrix(np.zeros(4, np.uint8), np.array([0, 0, 0, 1]), 3))
    assert result.iou[1] == 0
    assert result.miou == pytest.approx((3 / 4 + 0) / 2)


def test_nothing_labelled_is_nan_and_no_warning():
    result = scores(confusion_matrix(np.full((2, 2), 255), np.zeros((2, 2), np.int64), 3))
    assert math.isnan(result.miou)
    assert math.isnan(result.pixel_accuracy)


def test_prediction_outside_the_classes_is_an_error():
    with pytest.raises(ValueError, match=r"class 3, expected 0\.\.2"):
        confusion_matrix(np.zeros(2, np.uint8), np.array([0, 3]), 3)


@given(LABELS, PREDICTIONS)
@settings(max_examples=60, deadline=None)
def test_matrix_equals_counting(label, prediction):
    assert np.array_equal(confusion_matrix(label, prediction, CLASSES), by_hand(label, prediction, CLASSES))


@given(LABELS, PREDICTIONS, LABELS, PREDICTIONS)
@settings(max_examples=40, deadline=None)
def test_matrix_of_two_batches_is_the_sum(label, prediction, other_label, other_prediction):
    both = confusion_matrix(np.stack([label, other_label]), np.stack([prediction, other_prediction]), CLASSES)
    parts = confusion_matrix(label, prediction, CLASSES) + confusion_matrix(other_label, other_prediction, CLASSES)
    assert np.array_equal(both, parts)


@given(LABELS, PREDICTIONS, st.permutations(range(CLASSES)))
@settings(max_examples=40, deadline=None)
def test_scores_do_not_depend_on_the_order_of_classes(label, prediction, order):
    table = np.arange(256)
    table[:CLASSES] = order
    before = scores(confusion_matrix(label, prediction, CLASSES))
    after = scores(confusion_matrix(table[label], table[prediction], CLASSES))
    assert after.miou == pytest.approx(before.miou, nan_ok=True)
    assert after.pixel_accuracy == pytest.approx(before.pixel_accuracy, nan_ok=True)
    assert [after.iou[new] for new in order] == pytest.approx(list(before.iou), nan_ok=True)


@given(PREDICTIONS)
@settings(max_examples=20, deadline=None)
def test_a_perfect_prediction_scores_one(label):
    result = scores(confusion_matrix(label, label, CLASSES))
    assert (result.miou, result.pixel_accuracy) == (1.0, 1.0)
    assert {value for value in result.iou if not math.isnan(value)} == {1.0}
