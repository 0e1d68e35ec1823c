"""Extras: amounts keep their promise, labels gain no values but ignore, and 0 is off."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeailite.data.augment.extras import BORDER, Extras, balanced, blurred, jitter_colors, largest_share
from edgeailite.data.source import IGNORE

SEEDS = st.integers(0, 2**32 - 1)


def scene(height: int = 60, width: int = 90) -> tuple[np.ndarray, np.ndarray]:
    """A picture whose grey is 60 times the label: classes 0, 1, 2 and 3 as broad areas."""
    small = np.random.default_rng(5).integers(0, 4, (4, 6), np.uint8)
    label = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.repeat(label[..., None] * 60, 3, axis=2), label


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_all_off_gives_back_what_came_and_draws_nothing():
    image, label = scene()
    rng = rng_of(1)
    (view,), targets = Extras()((image,), {"segmentation": label}, rng)
    assert view is image
    assert targets["segmentation"] is label
    assert rng.random() == rng_of(1).random()


def test_jitter_changes_pictures_within_its_amount_and_keeps_grey_grey():
    image = scene()[0]
    for seed in range(20):
        jittered = jitter_colors(image, 0.3, rng_of(seed))
        assert jittered.shape == image.shape
        assert (np.ptp(jittered.astype(int), axis=2) <= 1).all()
        # contrast moves a value by up to 0.3 of its distance from 128, brightness by up to 0.3 * 128
        limit = 0.3 * np.abs(image.astype(float) - 128) + 0.3 * 128 + 2
        assert (np.abs(jittered.astype(float) - image) <= limit).all()
    assert not np.array_equal(jittered, image)


def test_jitter_by_hand():
    """One matrix is contrast and brightness per value, then saturation about the grey value."""
    image = np.random.default_rng(2).integers(90, 166, (8, 9, 3), np.uint8)  # nothing is cut off at 0 or 255
    rng = rng_of(7)
    contrast, saturation = rng.uniform(0.8, 1.2, 2)
    toned = (image - 128.0) * contrast + 128 + rng.uniform(-0.2, 0.2) * 128
    grey = toned @ np.array([0.299, 0.587, 0.114])
    expected = saturation * toned + (1 - saturation) * grey[..., None]
    assert np.abs(jitter_colors(image, 0.2, rng_of(7)) - expected).max() < 1  # OpenCV: 10-bit fixed point


def test_blur_is_in_half_of_the_pictures_and_keeps_the_mean():
    image = scene()[0]
    views = [blurred(image, 2.0, rng_of(seed)) for seed in range(40)]
    changed = [view for view in views if not np.array_equal(view, image)]
    assert 10 < len(changed) < 30
    assert all(abs(view.mean() - image.mean()) < 2 for view in changed)


@given(st.floats(0.01, 1.0), SEEDS)
@settings(max_examples=60, deadline=None)
def test_cutout_is_one_grey_ignored_rectangle_of_at_most_its_share(share, seed):
    image, label = scene()
    depth = label.astype(np.float32) + 1
    (view, flow), targets = Extras(cutout=share)((image, image), {"segmentation": label, "depth": depth}, rng_of(seed))
    hole = targets["depth"] == 0
    rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
    assert hole.sum() == len(rows) * len(columns)
    assert len(rows) <= np.ceil(share * 60)
    assert len(columns) <= np.ceil(share * 90)
    assert (targets["segmentation"][hole] == IGNORE).all()
    assert np.array_equal(targets["segmentation"][~hole], label[~hole])
    assert (view[hole] == BORDER).all()
    assert np.array_equal(view[~hole], image[~hole])
    assert np.array_equal(view, flow)
    assert np.array_equal(image, scene()[0]), "the source was written to"
    assert np.array_equal(label, scene()[1]), "the source was written to"


@given(st.floats(0, 0.9), st.floats(0, 3), st.floats(0, 1), SEEDS)
@settings(max_examples=60, deadline=None)
def test_extras_are_a_function_of_the_seed_and_add_no_label_values(jitter, blur, cutout, seed):
    image, label = scene()
    extras = Extras(jitter, blur, cutout)
    (first,), targets = extras((image,), {"segmentation": label}, rng_of(seed))
    (again,), others = extras((image,), {"segmentation": label}, rng_of(seed))
    assert np.array_equal(first, again)
    assert np.array_equal(targets["segmentation"], others["segmentation"])
    assert (first.shape, first.dtype) == (image.shape, np.uint8)
    assert set(np.unique(targets["segmentation"])) <= {0, 1, 2, 3, IGNORE}


# --- the choice among crops


def chosen(labels: list[np.ndarray], candidates: int) -> tuple[int, int]:
    """(number of the view that was taken, how many were drawn)."""
    drawn = iter(range(len(labels)))
    count = 0

    def draw() -> int:
        nonlocal count
        count += 1
        return next(drawn)

    return balanced(draw, lambda view: labels[view], candidates)[0], count


def of_share(share: float) -> np.ndarray:
    return (np.arange(100) >= 100 * share).astype(np.uint8)[None]


@pytest.mark.parametrize(
    "shares, candidates, expected",
    [
        ([1.0, 0.5], 1, (0, 1)),  # off: the first, unseen
        ([0.7, 0.5], 5, (0, 1)),  # good enough
        ([1.0, 0.9, 0.6, 0.5], 5, (2, 3)),  # the first that is good enough
        ([1.0, 0.8, 0.9], 3, (1, 3)),  # none is: the best
        ([0.75], 2, (0, 1)),
    ],
)
def test_balanced_takes_the_first_view_without_a_dominant_class(shares, candidates, expected):
    assert chosen([of_share(share) for share in shares], candidates) == expected


def test_largest_share_counts_labelled_pixels_only():
    label = np.array([[1, 1, 2, IGNORE, IGNORE, IGNORE]], np.uint8)
    assert largest_share(label) == pytest.approx(2 / 3)
    assert largest_share(np.full((2, 2), IGNORE, np.uint8)) == 1.0


def test_without_classes_the_first_view_is_taken():
    assert balanced(lambda: "first", lambda view: None, 4) == ("first", None)
