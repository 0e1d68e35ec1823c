"""Numbers of two networks against numpy, over all values at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeailite.errors import UsageError
from edgeailite.evaluation.nearness import Nearness, near


def test_the_numbers_are_those_of_all_values():
    rng = np.random.default_rng(0)
    a = rng.normal(3, 2, (7, 5, 1, 1)).astype(np.float32)
    b = a + rng.normal(0, 0.1, a.shape).astype(np.float32)
    samples = (((part,), (part,)) for part in np.split(np.arange(7), [3]))
    numbers = near((lambda x: {"f": a[x[0]]}, lambda x: {"f": torch.from_numpy(b[x[0]])}), samples, ["f"])[
        "f"
    ].numbers()
    gap = b.astype(np.float64) - a
    cosines = [np.vdot(x, y) / np.linalg.norm(x) / np.linalg.norm(y) for x, y in zip(a, b, strict=True)]
    assert numbers == pytest.approx(
        {
            "max_difference": np.abs(gap).max(),
            "rms_difference": np.sqrt((gap**2).mean()),
            "rms_of_deviation": np.sqrt((gap**2).mean()) / a.astype(np.float64).std(),
            "cosine": np.mean(cosines),
        },
        rel=1e-6,
    )


@pytest.mark.parametrize(("a", "b", "share"), [(0.0, 0.0, 0.0), (0.0, 1.0, float("inf")), (2.0, 3.0, 0.5)])
def test_values_that_are_all_alike_have_a_size(a, b, share):
    nearness = Nearness()
    nearness.add(np.full((1, 1, 1), a), np.full((1, 1, 1), b))
    assert nearness.numbers()["rms_of_deviation"] == share


def test_other_shapes_are_refused():
    values = [np.zeros((1, count, 1, 1), np.float32) for count in (3, 4)]
    with pytest.raises(UsageError, match="values of 3x1x1 and 4x1x1"):
        near((lambda x: {"f": values[0]}, lambda x: {"f": values[1]}), [((0,), (0,))], ["f"])
