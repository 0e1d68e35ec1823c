"""Intervals of differences: seeded, paired, and as wide as they must be."""

import numpy as np
import pytest

from edgeailite.evaluation import bootstrap
from edgeailite.evaluation.bootstrap import differences, interval, times_drawn
from edgeailite.evaluation.pairing import class_numbers
from edgeailite.metrics import scores


def means(sums: np.ndarray) -> np.ndarray:
    return sums[:, :1] / sums[:, 1:]


def rows(values: np.ndarray) -> np.ndarray:
    return np.column_stack([values, np.ones(len(values))])


def test_each_draw_has_as_many_pictures_as_there_are(monkeypatch):
    monkeypatch.setattr(bootstrap, "BLOCK", 30)  # three draws of ten at a time
    blocks = list(times_drawn(10, 8, seed=1))
    assert [len(block) for block in blocks] == [3, 3, 2]
    assert all((block.sum(1) == 10).all() for block in blocks)


def test_seeded():
    one, same, other = (next(times_drawn(20, 5, seed=seed)) for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


def test_against_the_standard_error_of_a_mean():
    """Independent oracle: for a mean the interval is about ± 1.96 standard errors of the paired differences."""
    rng = np.random.default_rng(0)
    a = rng.normal(10, 5, 400)
    b = a + rng.normal(0.5, 1, 400)
    low, high = interval(differences(means, rows(a), rows(b), draws=4000, seed=1)[:, 0])
    error = (b - a).std(ddof=1) / 20
    middle = (b - a).mean()
    assert low == pytest.approx(middle - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(middle + 1.96 * error, abs=0.15 * error)


def test_the_same_model_differs_by_exactly_nothing():
    values = rows(np.random.default_rng(0).random(30))
    assert interval(differences(means, values, values, draws=200, seed=1)[:, 0]) == (0.0, 0.0)


def test_miou_of_a_draw_is_that_of_its_pictures():
    rng = np.random.default_rng(0)
    confusions = rng.integers(0, 50, (6, 4, 4))
    confusions[:, 3] = confusions[:, :, 3] = 0  # absent
    counts = np.array([np.concatenate([np.diag(c), c.sum(1), c.sum(0)]) for c in confusions], float)
    times = next(times_drawn(6, 20, seed=3))
    found = class_numbers(times @ counts)
    for draw, numbers in zip(times.astype(int), found, strict=True):
        expected = scores(np.einsum("p,pij->ij", draw, confusions))
        np.testing.assert_allclose(numbers, [expected.miou, expected.pixel_accuracy, *expected.iou])


def test_no_interval_without_values():
    assert interval(np.array([np.nan, np.nan])) is None
    assert interval(np.array([1.0])) is None
