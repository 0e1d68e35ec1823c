"""Smoothing and flicker against their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeailite.errors import UsageError
from edgeailite.inference.smoothing import Flicker, Smoother


def test_the_average_is_exponential():
    frames = torch.randn(6, 1, 3, 4, 5)
    smooth, expected = Smoother(0.7), frames[0]
    for index, frame in enumerate(frames):
        expected = frame if index == 0 else 0.7 * expected + 0.3 * frame
        np.testing.assert_allclose(smooth({"x": frame})["x"], expected, atol=1e-6)


def test_without_weight_nothing_changes():
    frame = torch.randn(1, 3, 4, 5)
    smooth = Smoother(0.0)
    smooth({"x": torch.zeros(1, 3, 4, 5)})
    assert smooth({"x": frame})["x"] is frame
    assert Smoother(0.0)({"x": torch.zeros(1, 4, 5, dtype=torch.int64)})
    with pytest.raises(UsageError, match="classes already"):
        Smoother(0.5)({"x": torch.zeros(1, 4, 5, dtype=torch.int64)})


def test_flicker_is_the_mean_share_of_pixels_that_change():
    maps = [torch.tensor([[[0, 0, 1, 1]]]), torch.tensor([[[0, 1, 1, 1]]]), torch.tensor([[[1, 0, 0, 1]]])]
    logits = [torch.nn.functional.one_hot(each, 2).permute(0, 3, 1, 2).float() for each in maps]
    for frames in (maps, logits):
        flicker = Flicker(("x",))
        assert flicker.shares == {"x": 0.0}
        for frame in frames:
            flicker({"x": frame, "depth": torch.zeros(1, 1, 1, 4)})
        assert flicker.shares == {"x": (1 / 4 + 3 / 4) / 2}
