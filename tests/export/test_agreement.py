"""How near two answers are, and what is promised of a file, on numbers written down."""

from __future__ import annotations

import numpy as np
import pytest

from edgeailite.export.agreement import Agreement, combine, compare, holds


def test_one_picture_s_numbers_are_the_ones_written_out():
    reference = np.array([[[[0.0, 1.0, 2.0, -9.0]], [[1.0, 0.0, 5.0, -8.0]]]], np.float32)  # labels 1 0 1 1
    candidate = np.array([[[[0.5, 1.0, 6.0, -9.0]], [[1.0, 0.25, 5.0, -8.0]]]], np.float32)  # labels 1 0 0 1
    found = compare(reference, candidate)
    assert (found.pictures, found.equal_argmax, found.max_difference) == (1, 0.75, 4.0)
    assert found.mean_difference == pytest.approx((0.5 + 4 + 0.25) / 8)
    assert found.std == pytest.approx(np.std([0, 1, 2, -9, 1, 0, 5, -8]))
    assert found.largest == 9.0


def test_differences_are_those_of_the_values_in_float64_and_of_label_maps():
    big, other = np.full((1, 1, 1, 2), 2.0**24, np.float32), np.array([[[[2.0**24 + 1, 2.0**24]]]])
    assert compare(big, other).max_difference == 1.0  # float32 has no such value
    assert compare(big, other).equal_argmax is None  # one channel has no classes
    assert compare(np.zeros((1, 1, 3), np.uint8), np.ones((1, 1, 3), np.uint8)).max_difference == 1.0
    labels, others = np.array([[[0, 3, 255]]], np.uint8), np.array([[[0, 4, 0]]], np.uint8)
    found = compare(labels, others)
    assert (found.equal_argmax, found.max_difference) == (pytest.approx(1 / 3), 255.0)


def test_pictures_are_averaged_but_for_the_largest():
    parts = [
        Agreement(2, 0.5, 1.0, 0.25, 3.0, 7.0),
        Agreement(1, None, 4.0, 0.75, 1.0, 2.0),
        Agreement(1, 1.0, 0, 0, 2, 9),
    ]
    found = combine(parts)
    assert (found.pictures, found.equal_argmax, found.max_difference, found.largest) == (4, 0.75, 4.0, 9)
    assert found.mean_difference == pytest.approx(1 / 3)
    assert found.std == 2.0
    assert combine(parts[1:2]).equal_argmax is None


def result(*, share: float | None = 1.0, largest: float = 0.0, mean: float = 0.0, std: float = 1.0, top: float = 1.0):
    return Agreement(1, share, largest, mean, std, top)


def test_an_int8_file_is_exact_or_it_is_not():
    assert holds(result(), "int8")
    assert not holds(result(largest=1e-9, mean=1e-12), "int8")
    assert not holds(result(share=0.9999, largest=1.0), "int8", label_map=10**6)


def test_a_float_file_s_scores_are_within_a_thousandth_of_their_deviation():
    assert holds(result(largest=0.00199, std=2.0), "float")
    assert not holds(result(largest=0.00201, std=2.0, top=0.0), "float")
    assert holds(result(largest=1.9e-3, std=0.0, top=2000.0), "float")  # what float32 cannot tell apart
    assert not holds(result(largest=2.1e-3, std=0.0, top=2000.0), "float")
    assert not holds(result(share=None, largest=0.5), "float", label_map=10**6)


def test_a_float_file_s_label_map_may_differ_in_ties_alone():
    assert holds(result(share=0.9991, largest=7.0), "float", label_map=10**6)
    assert not holds(result(share=0.9989, largest=7.0), "float", label_map=10**6)
    assert not holds(result(share=0.9991, largest=7.0), "float")


def test_a_wide_file_has_most_labels_or_near_values():
    for kind in ("int8", "float"):
        assert holds(result(share=0.99, largest=9.0, mean=9.0), kind, wide=True)
        assert not holds(result(share=0.9899), kind, wide=True)
        assert holds(result(share=None, largest=9.0, mean=0.19, std=2.0), kind, wide=True)
        assert not holds(result(share=None, mean=0.21, std=2.0), kind, wide=True)
