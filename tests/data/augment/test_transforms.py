"""Augmentation: pure, and doing to the label what it does to the picture, which is tested with labels drawn as grey."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeailite.data.augment.extras import BORDER, Extras
from edgeailite.data.augment.transforms import EvalTransform, TrainTransform, resize_image, resize_label, warp_image
from edgeailite.data.source import IGNORE

STILL = {"scale": (1.0, 1.0), "rotation": 0.0}
VIEWS = {
    "nothing random but the flip": TrainTransform((48, 64), (48, 64), **STILL),
    "crop": TrainTransform((48, 64), (32, 40), **STILL),
    "usual": TrainTransform((48, 64), (48, 64)),
    "smaller and turned": TrainTransform((48, 64), (40, 72), scale=(0.5, 1.5), rotation=30.0),
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
    edges = cv2.morphologyEx(label, cv2.MORPH_GRADIENT, np.ones((9, 9))) > 0
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


def test_without_flip_every_view_is_the_picture():
    image, label = scene(48, 64)
    still = TrainTransform((48, 64), (48, 64), scale=(1.0, 1.0), rotation=0.0, flip=False)
    for seed in range(8):
        view, mask = seen(still, image, label, seed)
        assert np.array_equal(view, image)
        assert np.array_equal(mask, label)


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
    view = TrainTransform((96, 96), (192, 192), scale=(1.5, 2.0))
    areas = [(seen(view, image, label, seed)[1] == 1).sum() / (label == 1).sum() for seed in range(60)]
    assert 1.5**2 * 0.95 < min(areas) < 1.6**2
    assert 1.9**2 < max(areas) < 2.0**2 * 1.05


def test_balanced_crops_avoid_views_of_one_class():
    """The left three quarters are road; a crop of a quarter shows nothing else unless it is chosen."""
    label = np.repeat((np.arange(64) >= 48).astype(np.uint8)[None], 64, 0)
    image = np.repeat(label[..., None], 3, 2)
    views = {k: TrainTransform((64, 64), (32, 32), **STILL, balanced_crops=k) for k in (1, 10)}
    shares = {k: [(seen(view, image, label, s)[1] == 0).mean() for s in range(40)] for k, view in views.items()}
    assert np.mean(np.array(shares[1]) > 0.75) > 0.4
    assert np.mean(np.array(shares[10]) > 0.75) < 0.1


@given(st.integers(1, 120), st.integers(1, 120), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_a_fourth_channel_changes_no_value_of_a_warp(height, width, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (50, 70, 3), np.uint8)
    matrix = np.hstack([rng.uniform(-2, 2, (2, 2)), rng.uniform(-40, 40, (2, 1))])
    expected = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=BORDER)
    assert np.array_equal(warp_image(image, matrix, (height, width)).reshape(expected.shape), expected)


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


def test_area_averages_where_pictures_shrink_and_is_linear_where_they_grow():
    image = np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8)
    shrunk = resize_image(image, (20, 30), "area")
    assert np.abs(shrunk - image.reshape(20, 2, 30, 2, 3).mean((1, 3))).max() <= 0.5
    assert np.array_equal(resize_image(image, (80, 60), "area"), resize_image(image, (80, 60)))
    assert not np.array_equal(resize_image(image, (16, 24), "area"), resize_image(image, (16, 24)))


def test_unknown_interpolation_is_named():
    with pytest.raises(ValueError, match="interpolation 'cubic': expected one of linear_exact, area"):
        resize_image(scene()[0], (8, 8), "cubic")


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
    still = TrainTransform((48, 64), (48, 64), **STILL, extras=Extras(color_jitter=0.3))
    (first, second), _ = still((image, image), {"segmentation": label}, np.random.default_rng(3))
    assert not np.array_equal(first, second)
    assert set(np.unique(second)) <= {0, 60, 120, 180}
