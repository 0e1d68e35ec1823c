"""Two predictions against one label, counted by hand."""

import numpy as np
import pytest

from edgeailite.evaluation.pairing import class_numbers, depth_numbers, pair, who_is_closer, who_is_right
from edgeailite.metrics import confusion_matrix, depth_scores, depth_sums, scores

LABEL = np.array([[0, 0, 1, 1, 255, 2]], np.uint8)
A = np.array([[0, 1, 1, 0, 1, 0]], np.uint8)
B = np.array([[0, 0, 2, 0, 2, 1]], np.uint8)


def test_who_is_right():
    assert who_is_right(LABEL, A, B).tolist() == [[0, 3, 2, 1, 5, 4]]
    found = pair(LABEL, A, B, 3).agreement
    assert (found.pixels, found.differ, found.a_right, found.b_right, found.neither) == (5, 3, 1, 1, 1)
    assert found.share == 0.6


def test_numbers_are_those_of_the_confusion_matrix():
    found = pair(LABEL, A, B, 3)
    for counts, prediction in ((found.a, A), (found.b, B)):
        expected = scores(confusion_matrix(LABEL, prediction, 3))
        numbers = class_numbers(counts[None])[0]
        np.testing.assert_allclose(numbers, [expected.miou, expected.pixel_accuracy, *expected.iou])


def test_depth():
    target = np.array([[10, 10, 10, 0, 20]], np.float32)
    a = np.array([[10, 11, 12, 5, 20.1]], np.float32)
    b = np.array([[12, 11, 11, 9, 20]], np.float32)
    assert who_is_closer(target, a, b).tolist() == [[2, 0, 3, 5, 0]]  # 0.5 % of the depth is no lead
    found = pair(target, a, b, None)
    assert (found.agreement.pixels, found.agreement.a_right, found.agreement.b_right) == (4, 1, 1)
    expected = depth_scores([depth_sums(target, a)])
    assert depth_numbers(found.a[None])[0] == pytest.approx([expected.ard, expected.rmse])


def test_nothing_labelled():
    nothing = np.full((2, 2), 255, np.uint8)
    found = pair(nothing, np.zeros((2, 2), np.uint8), np.ones((2, 2), np.uint8), 3)
    assert found.agreement.share == 0
    assert np.isnan(class_numbers(found.a[None])).all()
