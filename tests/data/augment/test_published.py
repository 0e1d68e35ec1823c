"""The published pipeline: its steps by hand, picture and label together, no new label values."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeailite.data.augment.extras import BORDER, Extras
from edgeailite.data.augment.published import PublishedTransform, View
from edgeailite.data.augment.transforms import resize_image, resize_label
from edgeailite.data.source import IGNORE

SEEDS = st.integers(0, 2**32 - 1)
VIEWS = {
    "usual": PublishedTransform((48, 64), (48, 64)),
    "crop": PublishedTransform((48, 64), (32, 40)),
    "turned, linear": PublishedTransform((48, 64), (40, 60), rotation=30.0, interpolation="linear_exact"),
    "balanced": PublishedTransform((48, 64), (24, 24), balanced_crops=5, extras=Extras(cutout=0.3)),
}


def scene(height: int = 120, width: int = 180) -> tuple[np.ndarray, np.ndarray]:
    """A picture whose grey is 60 times the label: classes 0, 1, 2 and 3 as broad areas."""
    small = np.random.default_rng(5).integers(0, 4, (4, 6), np.uint8)
    label = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.repeat(label[..., None] * 60, 3, axis=2), label


def seen(view: PublishedTransform, seed: int, image: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    (picture,), targets = view((image,), {"segmentation": label}, np.random.default_rng(seed))
    return picture, targets["segmentation"]


@given(st.sampled_from(list(VIEWS.values())), SEEDS)
@settings(max_examples=80, deadline=None)
def test_pure_right_size_and_no_new_labels(view, seed):
    image, label = scene()
    picture, mask = seen(view, seed, image, label)
    again, mask_again = seen(view, seed, image, label)
    assert np.array_equal(picture, again)
    assert np.array_equal(mask, mask_again)
    assert picture.shape == (*view.crop, 3)
    assert mask.shape == view.crop
    assert picture.dtype == mask.dtype == np.uint8
    assert set(np.unique(mask)) <= {0, 1, 2, 3, IGNORE}
    assert np.array_equal(image, scene()[0])
    assert np.array_equal(label, scene()[1])


@given(st.sampled_from(list(VIEWS.values())), SEEDS)
@settings(max_examples=80, deadline=None)
def test_picture_and_label_move_together(view, seed):
    picture, mask = seen(view, seed, *scene())
    edges = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((11, 11))) > 0
    edges[[0, 1, 2, -3, -2, -1]] = edges[:, [0, 1, 2, -3, -2, -1]] = True  # beyond them another label may begin
    inside, outside = ~edges & (mask != IGNORE), ~edges & (mask == IGNORE)
    assert np.array_equal(picture[inside][:, 0], mask[inside] * 60)
    assert (picture[outside] == BORDER).all()


def test_without_rotation_and_scale_it_is_the_validation_picture_or_its_mirror():
    image = np.random.default_rng(1).integers(0, 256, (120, 180, 3), np.uint8)
    label = np.random.default_rng(2).integers(0, 9, (120, 180), np.uint8)
    still = PublishedTransform((48, 64), (48, 64), scale=(1.0, 1.0), rotation=0.0)
    expected = resize_image(image, (48, 64), "area")
    flips = set()
    for seed in range(12):
        picture, mask = seen(still, seed, image, label)
        flip = not np.array_equal(picture, expected)
        flips.add(flip)
        assert np.array_equal(picture, expected[:, ::-1] if flip else expected)
        straight = mask[:, ::-1] if flip else mask
        assert (straight == resize_label(label, (48, 64))).mean() > 0.95  # a tie between two pixels may go either way
    assert flips == {False, True}


def test_draws_have_the_published_probabilities_and_ranges():
    view = PublishedTransform((48, 64), (40, 60))
    draws = [view._draw(np.random.default_rng(seed)) for seed in range(2000)]
    sizes = np.array([draw.size for draw in draws])
    scaled = (sizes != (48, 64)).any(1)
    angles = np.degrees([draw.angle for draw in draws])
    for share in (scaled.mean(), (angles != 0).mean(), np.mean([draw.flip for draw in draws])):
        assert 0.45 < share < 0.55
    factors = sizes[scaled] / (48, 64)
    assert (factors.min(), factors.max()) == pytest.approx((1, 2), abs=0.03)
    assert abs(np.corrcoef(factors.T)[0, 1]) < 0.1, "height and width are drawn on their own"
    assert 4.8 < np.abs(angles).max() <= 5
    corners = np.array([draw.corner for draw in draws])
    assert (corners >= 0).all()
    assert (corners + view.crop <= sizes).all()


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("angle", [0.0, 0.35])
def test_geometry_by_hand(angle, flip):
    """A dot goes where rotation about the centre, scale, shift and mirror put it, in picture and label."""
    view = PublishedTransform((60, 100), (60, 100))
    image, label = np.zeros((120, 200, 3), np.uint8), np.zeros((120, 200), np.uint8)
    cv2.circle(image, (120, 70), 4, (255, 255, 255), -1)
    cv2.circle(label, (120, 70), 4, 1, -1)
    drawn = View((90, 120), (15, 10), angle, flip)
    picture, mask = view._picture(image, drawn), view._target(label, drawn, (120, 200))
    x, y = 120.5 - 100, 70.5 - 60
    x, y = np.cos(angle) * x - np.sin(angle) * y + 100, np.sin(angle) * x + np.cos(angle) * y + 60
    x, y = x * 120 / 200 - 10, y * 90 / 120 - 15
    expected = np.array([y, 100 - x if flip else x])
    for found in (picture[..., 0] > 128, mask == 1):
        assert np.abs(np.argwhere(found).mean(0) + 0.5 - expected).max() < 0.6


def test_without_flip_scale_and_rotation_a_view_is_what_validation_sees():
    image, label = scene()
    still = PublishedTransform((48, 64), (48, 64), scale=(1.0, 1.0), rotation=0.0, flip=False)
    for seed in range(8):
        picture, mask = seen(still, seed, image, label)
        assert (picture == resize_image(image, (48, 64), "area")).all()
        assert (mask == resize_label(label, (48, 64))).all()
