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


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int64])
def test_classes_outside_are_an_error(kind):
    good, wrong = np.zeros(2, kind), np.array([0, 3], kind)
    with pytest.raises(ValueError, match=r"prediction holds class 3, expected 0\.\.2"):
        confusion_matrix(good, wrong, 3)
    with pytest.raises(ValueError, match=r"label holds class 3, expected 0\.\.2"):
        confusion_matrix(wrong, good, 3)
    assert confusion_matrix(np.array([0, 255], np.uint8), wrong, 3).sum() == 1  # what is ignored may be anything


@pytest.mark.parametrize("value", [-1, 256, 2**40])
def test_classes_that_fit_into_no_byte_are_an_error_and_not_another_class(value):
    with pytest.raises(ValueError, match=f"prediction holds class {value}, expected"):
        confusion_matrix(np.zeros(2, np.uint8), np.array([0, value]), 3)
    with pytest.raises(ValueError, match=f"label holds class {value}, expected"):
        confusion_matrix(np.array([0, value]), np.zeros(2, np.uint8), 3)
    assert confusion_matrix(np.array([0, 255]), np.array([0, value]), 3).tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"label \(2, 3\) and prediction \(3, 2\): expected one shape"):
        confusion_matrix(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), 3)


@pytest.mark.parametrize("classes", [255, 256, 300])
def test_many_classes(classes):
    rng = np.random.default_rng(classes)
    label, prediction = (rng.integers(0, classes, (40, 50)) for _ in range(2))
    assert np.array_equal(confusion_matrix(label, prediction, classes), by_hand(label, prediction, classes))


def test_counts_stay_exact_beyond_what_float32_holds(monkeypatch):
    """2^24 + 3 pixels of one pair, in blocks; a picture that is no contiguous piece of memory."""
    label = np.zeros((2, 2**23 + 3), np.uint8)[:, ::1]
    assert confusion_matrix(label, label, 2)[0, 0] == 2**24 + 6
    monkeypatch.setattr("edgeailite.metrics.confusion.BLOCK", 7)
    rng = np.random.default_rng(0)
    label, prediction = (rng.integers(0, CLASSES, (9, 11)).astype(np.uint8)[:, ::2] for _ in range(2))
    assert np.array_equal(confusion_matrix(label, prediction, CLASSES), by_hand(label, prediction, CLASSES))


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int16, np.int32, np.int64, np.uint16])
def test_every_integer_type_counts_alike(kind):
    rng = np.random.default_rng(0)
    label, prediction = (rng.integers(0, CLASSES, (9, 11)).astype(kind) for _ in range(2))
    assert np.array_equal(confusion_matrix(label, prediction, CLASSES), by_hand(label, prediction, CLASSES))


def test_nothing_to_count():
    empty = np.zeros((0, 4), np.int64)
    assert confusion_matrix(empty, empty, 3).sum() == 0


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


@given(LABELS, PREDICTIONS, st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_scores_do_not_depend_on_how_a_split_is_divided(label, prediction, rows):
    whole = confusion_matrix(label, prediction, CLASSES)
    parts = [confusion_matrix(label[part], prediction[part], CLASSES) for part in (slice(0, rows), slice(rows, None))]
    assert np.array_equal(parts[0] + parts[1], whole)
    assert scores(parts[0] + parts[1]).miou == pytest.approx(scores(whole).miou, nan_ok=True, abs=0)


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
