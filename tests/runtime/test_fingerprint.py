"""Fingerprints written out in numpy, and the edges of what departs; sums and their factors: test_contract.py."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from edgeailite.runtime.contract import _pack
from edgeailite.runtime.contract_file import FLOAT_TOLERANCE, SAMPLE, SUMS
from edgeailite.runtime.fingerprint import (
    departs,
    equal_labels,
    fingerprint,
    float_departs,
    is_near,
    labels_of,
    nearly_all_equal,
    seed_of,
    sums_of,
)

VALUES = np.random.default_rng(3).normal(2.0, 1.5, (1, 4, 30, 20)).astype(np.float32)
PLACES = np.random.default_rng(VALUES.size).integers(0, VALUES.size, 64)


def test_a_fingerprint_is_the_one_written_out():
    """Places of the sample follow from the size: contracts are read by other programs, too."""
    found = fingerprint(VALUES)
    assert found["shape"] == [1, 4, 30, 20]
    assert found["sha256"] == hashlib.sha256(VALUES.tobytes()).hexdigest()
    assert found["std"] == pytest.approx(VALUES.astype(float).std(), rel=1e-9)
    assert found["sample"] == [float(v) for v in VALUES.ravel()[PLACES]]
    assert len(fingerprint(VALUES[:, :, :1, :5])["sample"]) == 20
    assert (SAMPLE, SUMS) == (64, 64)


def test_the_seed_is_of_the_first_digits():
    assert seed_of("00000000000000ff" + "3" * 48) == 255


def test_sums_are_written_out_for_every_length():
    for size in (1, 5, 64, 65, 700):
        values = VALUES.ravel()[:size].astype(np.float32)
        factors = [sums_of(np.eye(1, size, place).ravel(), 9)[place % 64] for place in range(size)]
        counts = [len(range(start, size, 64)) for start in range(64)]
        expected = [sum(values[i] * factors[i] for i in range(b, size, 64)) for b in range(64)]
        np.testing.assert_allclose(sums_of(values, 9), expected, atol=1e-9)
        assert all(abs(f) * np.sqrt(counts[i % 64]) <= np.sqrt(3) + 1e-9 for i, f in enumerate(factors))


def test_bits_depart_or_values_by_more_than_the_tolerance():
    known = fingerprint(VALUES)
    other = VALUES.copy()
    other.ravel()[PLACES[7]] += 1e-5
    assert not departs(VALUES, known, exact=True)
    assert departs(other, known, exact=True)
    assert not departs(other, known, exact=False)
    allowed = FLOAT_TOLERANCE * known["std"] + 1e-6 * np.abs(known["sample"]).max()
    for share, expected in ((0.9, False), (1.2, True)):
        other = VALUES.copy()
        other.ravel()[PLACES[7]] += share * allowed
        assert departs(other, known, exact=False) is expected
    for exact in (True, False):
        assert departs(VALUES.reshape(1, 4, 20, 30), known, exact=exact)
    nothing = np.zeros((1, 2, 5, 5), np.float32)  # of tiny values, a millionth counts
    assert not departs(nothing + np.float32(9e-7), fingerprint(nothing), exact=False)
    assert departs(nothing + np.float32(2e-6), fingerprint(nothing), exact=False)


def test_a_wider_deviation_of_either_side_widens_nothing():
    known = fingerprint(VALUES)
    other = VALUES.copy()
    other.ravel()[PLACES[3]] += 0.01
    assert departs(other, known | {"std": 1e6}, exact=False)
    spread = VALUES.copy()
    spread.ravel()[[i for i in range(VALUES.size) if i not in PLACES][:50]] = 1e7  # its own deviation is large
    spread.ravel()[PLACES[3]] += 0.01
    assert departs(spread, known, exact=False)


def test_labels_are_of_the_largest_score_the_first_of_equal_ones():
    scores = np.array([[[[0.0, 2.0]], [[1.0, 2.0]], [[0.5, -1.0]]]], np.float32)
    assert labels_of(scores).tolist() == [[[1, 0]]]
    assert labels_of(scores[:, :2]).tolist() == [[[1, 0]]]
    assert labels_of(scores[:, :1]) is None
    assert labels_of(np.array([[[3, 4]]], np.uint8)).tolist() == [[[3, 4]]]
    assert labels_of(scores).dtype == np.uint8


def packed(labels: np.ndarray) -> dict:
    return {"labels": _pack(labels)}


def test_equal_labels_are_counted_and_none_of_another_shape():
    labels = labels_of(VALUES)
    other = labels.copy()
    other[0, :3] = (other[0, :3] + 1) % 4
    assert equal_labels(VALUES, packed(labels)) == 1.0
    assert equal_labels(VALUES, packed(other)) == 0.9
    assert equal_labels(VALUES, packed(labels[:, :29])) == 0.0
    assert equal_labels(VALUES, {}) == 0.0
    assert equal_labels(VALUES[:, :1], packed(labels)) is None


def test_a_float_output_departs_by_its_labels_or_its_scores():
    known = fingerprint(VALUES)
    labels = labels_of(VALUES)
    assert not float_departs(VALUES, known | packed(labels))
    wrong = labels.copy()
    wrong[0, 0, :2] += 1
    assert float_departs(VALUES, known | packed(wrong))
    assert float_departs(VALUES + np.float32(0.1), known | packed(labels))


def test_all_labels_but_ties_are_a_thousandth_or_one():
    assert nearly_all_equal(1 - 9 / 10_000, 10_000)
    assert not nearly_all_equal(1 - 11 / 10_000, 10_000)
    assert nearly_all_equal(0.99, 100)
    assert not nearly_all_equal(0.98, 100)


def test_values_without_classes_are_near_by_the_mean_of_their_sample():
    values = VALUES[:, :1]
    known = fingerprint(values)
    assert is_near(values, known)
    assert is_near(values + np.float32(0.09 * known["std"]), known)
    assert not is_near(values + np.float32(0.11 * known["std"]), known)
    few = values.copy()
    few.ravel()[np.random.default_rng(values.size).integers(0, values.size, 64)[:30]] += 10
    assert not is_near(few, known)
    assert not is_near(values.reshape(1, 1, 20, 30), known)
    assert not is_near(values + np.float32(0.5 * known["std"]), known | {"std": 1e6})
    assert not is_near(values * np.float32(5), known)
