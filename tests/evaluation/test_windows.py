"""The sliding window: one window is the plain network, a pixel-wise network sees no windows, overlaps are means."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgeailite.errors import UsageError
from edgeailite.evaluation import sliding_window
from edgeailite.evaluation.windows import starts
from tests.evaluation.test_evaluate import pictures, pointwise, uneven

SIDES = st.integers(3, 20)


@given(SIDES, SIDES, st.integers(1, 20))
@settings(max_examples=30, deadline=None)
def test_one_window_is_plain(height, width, stride):
    images = pictures(2, size=(height, width), inputs=2)
    slid = sliding_window(uneven, (height, width), (stride, stride))(images)
    assert torch.equal(slid["segmentation"], uneven(images)["segmentation"])


@given(SIDES, SIDES, SIDES, SIDES, st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_a_network_that_looks_at_single_pixels_sees_no_windows(height, width, window_height, window_width, stride):
    """Also where the window is larger than the picture and is filled up."""
    images = pictures(1, size=(height, width), inputs=2)
    steps = min(stride, window_height), min(stride, window_width)
    slid = sliding_window(pointwise, (window_height, window_width), steps)(images)
    for name, value in pointwise(images).items():
        torch.testing.assert_close(slid[name], value)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60))
@settings(max_examples=80, deadline=None)
def test_windows_cover_everything_and_none_leaves_the_picture(size, window, stride):
    size, stride = max(size, window), min(stride, window)
    found = starts(size, window, stride)
    assert found == sorted(set(found))
    assert {pixel for start in found for pixel in range(start, start + window)} == set(range(size))
    assert all(later - earlier <= stride for earlier, later in pairwise(found))


def test_overlapping_logits_are_averaged():
    """Windows of 4 every 2 pixels over 6: the first two pixels are seen once, the middle two twice."""
    images = pictures(1, size=(3, 6))
    slid = sliding_window(uneven, (3, 4), (3, 2))(images)["segmentation"]
    left, right = (uneven((images[0][..., start : start + 4],))["segmentation"] for start in (0, 2))
    torch.testing.assert_close(slid[..., :2], left[..., :2])
    torch.testing.assert_close(slid[..., 2:4], (left[..., 2:] + right[..., :2]) / 2)
    torch.testing.assert_close(slid[..., 4:], right[..., 2:])


def test_class_maps_cannot_be_averaged():
    def labels(images: tuple[Tensor, ...]) -> dict[str, Tensor]:
        return {"segmentation": images[0][:, 0]}

    with pytest.raises(UsageError, match="output segmentation: a file with ArgMax"):
        sliding_window(labels, (4, 4), (4, 4))(pictures(1))
