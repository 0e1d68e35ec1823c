"""Augmentation: pure, and doing to the label what it does to the picture, which is tested with labels drawn as grey."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeailite.data.source import IGNORE
from edgeailite.data.transforms import BORDER, EvalTransform, TrainTransform, jitter_colors, resize_image, resize_label

STILL = {"scale": (1.0, 1.0), "rotation": 0.0, "color_jitter": 0.0}
VIEWS = {
    "nothing random but the flip": TrainTransform((48, 64), (48, 64), **STILL),
    "crop": TrainTransform((48, 64), (32, 40), **STILL),
    "usual": TrainTransform((48, 64), (48, 64), color_jitter=0.0),
    "smaller and turned": TrainTransform((48, 64), (40, 72), scale=(0.5, 1.5), rotation=30.0, color_jitter=0.0),
}
each_view = pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)


def scene(height: int = 60, width: int = 90) -> tuple[np.ndarray, np.ndarray]:
    """A picture whose grey is 60 times the label: classes 0, 1, 2 and 3 as broad areas."""
    small = np.random.default_rng(5).integers(0, 4, (4, 6), np.uint8)
    label = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.repeat(label[..., None] * 60, 3, axis=2), label


def seen(view, image: np.ndarray, label: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    (picture,), targets = view((image,), {"segmentation": label}, np.random.default_rng(seed))
    return picture, targets["segmentation"]


def view_of(view: TrainTransform, seed: int) -> tuple[np.ndarray, np.ndarray]:
    return seen(view, *scene(), seed)


@each_view
def test_a_view_is_a_function_of_the_seed(view):
    for seed in range(4):
        for first, second in zip(view_of(view, seed), view_of(view, seed), strict=True):
            assert np.array_equal(first, second)
    assert len({view_of(view, seed)[0].tobytes() for seed in range(12)}) > 1


@each_view
def test_the_source_is_left_alone(view):
    image, label = scene()
    seen(view, image, label, 1)
    assert np.array_equal(image, scene()[0])
    assert np.array_equal(label, scene()[1])


@given(st.sampled_from(list(VIEWS.values())), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_size_type_and_no_new_labels(view, seed):
    image, label = view_of(view, seed)
    assert image.shape == (*view.crop, 3)
    assert label.shape == view.crop
    assert image.dtype == label.dtype == np.uint8
    assert set(np.unique(label)) <= {0, 1, 2, 3, IGNORE}


@given(st.sampled_from(list(VIEWS.values())), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_picture_and_label_move_together(view, seed):
    image, label = view_of(view, seed)
    edges = cv2.morphologyEx(label, cv2.MORPH_GRADIENT, np.ones((7, 7))) > 0
    edges[[0, 1, 2, -3, -2, -1]] = edges[:, [0, 1, 2, -3, -2, -1]] = True  # beyond them another label may begin
    flat = ~edges
    inside = flat & (label != IGNORE)
    assert np.array_equal(image[inside][:, 0], label[inside] * 60)
    outside = flat & (label == IGNORE)
    assert (image[outside] == BORDER).all()


def test_without_scale_and_rotation_a_view_is_the_picture_or_its_mirror():
    image, label = scene(48, 64)
    mirrored = set()
    for seed in range(16):
        view, mask = seen(VIEWS["nothing random but the flip"], image, label, seed)
        flipped = not np.array_equal(mask, label)
        mirrored.add(flipped)
        step = -1 if flipped else 1
        assert np.array_equal(mask, label[:, ::step])
        assert np.array_equal(view, image[:, ::step])
    assert mirrored == {False, True}


def test_crops_lie_inside_and_everywhere():
    y, x = np.mgrid[:48, :64].astype(np.uint8)
    corners = set()
    for seed in range(200):
        view, label = seen(VIEWS["crop"], np.dstack([y, x, x]), y, seed)
        assert (label != IGNORE).all()
        corners.add((int(view[0, 0, 0]), int(view[..., 1].min())))
    rows, columns = zip(*corners, strict=True)
    assert (min(rows), max(rows)) == (0, 16)
    assert (min(columns), max(columns)) == (0, 24)


def test_scale_stays_in_its_range():
    """A disc's area tells the scale: the middle of 1.5 to 2 is drawn, never 1."""
    image = np.zeros((96, 96, 3), np.uint8)
    label = cv2.circle(np.zeros((96, 96), np.uint8), (48, 48), 10, 1, -1)
    view = TrainTransform((96, 96), (192, 192), scale=(1.5, 2.0), color_jitter=0.0)
    areas = [(seen(view, image, label, seed)[1] == 1).sum() / (label == 1).sum() for seed in range(60)]
    assert 1.5**2 * 0.95 < min(areas) < 1.6**2
    assert 1.9**2 < max(areas) < 2.0**2 * 1.05


# --- colours


def test_no_jitter_leaves_pictures_alone():
    image = scene()[0]
    assert np.array_equal(jitter_colors(image, 0, np.random.default_rng(1)), image)


def test_jitter_changes_pictures_within_its_amount_and_keeps_grey_grey():
    image = scene()[0]
    for seed in range(20):
        jittered = jitter_colors(image, 0.3, np.random.default_rng(seed))
        assert jittered.shape == image.shape
        assert (np.ptp(jittered.astype(int), axis=2) <= 1).all()
        # contrast moves a value by up to 0.3 of its distance from 128, brightness by up to 0.3 * 128
        limit = 0.3 * np.abs(image.astype(float) - 128) + 0.3 * 128 + 2
        assert (np.abs(jittered.astype(float) - image) <= limit).all()
    assert not np.array_equal(jittered, image)


# --- resizing


def test_validation_resizes_the_picture_only():
    image, label = scene()
    view, mask = seen(EvalTransform((32, 48)), image, label, 1)
    assert view.shape == (32, 48, 3)
    assert mask is label
    assert seen(EvalTransform((60, 90)), image, label, 1)[0] is image


@given(st.integers(1, 200), st.integers(1, 200))
@settings(max_examples=40, deadline=None)
def test_resized_labels_have_no_new_values(height, width):
    label = np.random.default_rng(1).choice(np.array([3, 11, 255], np.uint8), (40, 50))
    resized = resize_label(label, (height, width))
    assert resized.shape == (height, width)
    assert set(np.unique(resized)) <= {3, 11, 255}
    assert resize_image(scene()[0], (height, width)).shape == (height, width, 3)


def test_several_pictures_and_targets_move_together():
    image, label = scene(48, 64)
    depth = label.astype(np.float32) + 1
    for seed in range(8):
        (first, second), targets = VIEWS["usual"](
            (image, image), {"segmentation": label, "depth": depth}, np.random.default_rng(seed)
        )
        assert np.array_equal(first, second)
        known = targets["segmentation"] != IGNORE
        assert np.array_equal(targets["depth"][known], targets["segmentation"][known] + np.float32(1))
        assert (targets["depth"][~known] == 0).all()
        assert targets["depth"].dtype == np.float32


def test_colours_of_the_second_picture_are_left_alone():
    image, label = scene(48, 64)
    still = TrainTransform((48, 64), (48, 64), scale=(1.0, 1.0), rotation=0.0, color_jitter=0.3)
    (first, second), _ = still((image, image), {"segmentation": label}, np.random.default_rng(3))
    assert not np.array_equal(first, second)
    assert set(np.unique(second)) <= {0, 60, 120, 180}
