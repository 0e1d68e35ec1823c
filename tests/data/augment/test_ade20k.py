"""The ADE20K pipeline: published sizes, padding that is ignored, labels at the decoder's resolution."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeailite.data.augment.ade20k import Ade20kTransform, PaddedBatch, scaled_size
from edgeailite.data.augment.extras import BORDER, Extras
from edgeailite.data.source import IGNORE

# width, height, multiple -> (width, height) by short edge with long edges up to 1000: measured on the published code
PUBLISHED = [
    (683, 512, 8, {300: (400, 304), 375: (504, 376), 450: (600, 456), 525: (704, 528), 600: (800, 600)}),
    (683, 512, 32, {300: (416, 320), 375: (512, 384), 450: (608, 480), 525: (704, 544), 600: (800, 608)}),
    (500, 364, 8, {300: (416, 304), 375: (520, 376), 450: (624, 456), 525: (728, 528), 600: (824, 600)}),
    (512, 683, 8, {300: (304, 400), 375: (376, 504), 450: (456, 600), 525: (528, 704), 600: (600, 800)}),
    (739, 512, 32, {300: (448, 320), 375: (544, 384), 450: (672, 480), 525: (768, 544), 600: (896, 608)}),
    (2048, 1024, 8, {300: (600, 304), 375: (752, 376), 450: (904, 456), 525: (1000, 504), 600: (1000, 504)}),
    (1024, 2048, 32, {300: (320, 608), 375: (384, 768), 450: (480, 928), 525: (512, 1024), 600: (512, 1024)}),
    (256, 256, 8, {300: (304, 304), 375: (376, 376), 450: (456, 456), 525: (528, 528), 600: (600, 600)}),
    (1000, 200, 32, {300: (1024, 224), 450: (1024, 224), 600: (1024, 224)}),
    (300, 301, 8, {300: (304, 304), 450: (456, 456), 600: (600, 608)}),
    (3264, 2448, 8, {300: (400, 304), 375: (504, 376), 450: (600, 456), 525: (704, 528), 600: (800, 600)}),
]


@pytest.mark.parametrize("width, height, multiple, expected", PUBLISHED)
def test_sizes_are_the_published_ones(width, height, multiple, expected):
    for edge, (new_width, new_height) in expected.items():
        size = [-(-side // multiple) * multiple for side in scaled_size((height, width), edge, 1000)]
        assert size == [new_height, new_width], edge


def scene(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    small = np.random.default_rng(5).integers(0, 4, (4, 6), np.uint8)
    label = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.repeat(label[..., None] * 60, 3, axis=2), label


@given(st.integers(20, 90), st.integers(20, 90), st.integers(16, 64), st.floats(0, 1), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_pure_scaled_and_no_new_labels(height, width, edge, cutout, seed):
    image, label = scene(height, width)
    transform = Ade20kTransform((edge,), 80, extras=Extras(cutout=cutout))
    seen = [
        transform((image,), {"segmentation": label}, np.random.default_rng(seed)),
        transform.at(edge)((image,), {"segmentation": label}, np.random.default_rng(seed)),
    ]
    (picture,), targets = seen[1]
    size = scaled_size((height, width), edge, 80)
    assert max(size) <= 80
    assert picture.shape == (*size, 3)
    assert targets["segmentation"].shape == size
    assert set(np.unique(targets["segmentation"])) <= {0, 1, 2, 3, IGNORE}
    assert np.array_equal(
        transform.at(edge)((image,), {"segmentation": label}, np.random.default_rng(seed))[0][0], picture
    )
    assert np.array_equal(image, scene(height, width)[0])


def test_half_of_the_pictures_are_mirrored_with_their_label_and_depth():
    image, label = scene(40, 60)
    depth = label.astype(np.float32)
    flips = []
    for seed in range(40):
        (picture,), targets = Ade20kTransform((40,)).at(40)(
            (image,), {"segmentation": label, "depth": depth}, np.random.default_rng(seed)
        )
        flips.append(not np.array_equal(picture, image))
        straight = slice(None, None, -1 if flips[-1] else 1)
        assert np.array_equal(picture[:, straight], image)
        assert np.array_equal(targets["segmentation"][:, straight], label)
        assert np.array_equal(targets["depth"][:, straight], depth)
    assert 10 < sum(flips) < 30


def sample(height: int, width: int):
    image = torch.full((3, height, width), 7, dtype=torch.uint8)
    return (image,), {
        "segmentation": torch.full((height, width), 3, dtype=torch.int64),
        "depth": torch.full((height, width), 2.0),
    }


@pytest.mark.parametrize("rate", [1, 4, 8])
def test_padding_is_grey_and_ignored(rate):
    """The published code labels padding as class 0."""
    (images,), targets = PaddedBatch(8, rate)([sample(30, 40), sample(17, 50)])
    assert images.shape == (2, 3, 32, 56)
    assert images.dtype == torch.uint8
    for index, (height, width) in enumerate([(30, 40), (17, 50)]):
        inside = torch.zeros(32, 56, dtype=torch.bool)
        inside[:height, :width] = True
        assert (images[index][:, inside] == 7).all()
        assert (images[index][:, ~inside] == BORDER[0]).all()
        small = inside[rate // 2 :: rate, rate // 2 :: rate]
        assert targets["segmentation"].shape == (2, 32 // rate, 56 // rate)
        assert torch.equal(targets["segmentation"][index] == 3, small)
        assert (targets["segmentation"][index][~small] == IGNORE).all()
        assert (targets["depth"][index][~small] == 0).all()


def test_equal_sizes_that_fit_are_only_stacked():
    first, second = sample(16, 24), sample(16, 24)
    (images,), targets = PaddedBatch(8)([first, second])
    assert torch.equal(images, torch.stack([first[0][0], second[0][0]]))
    assert torch.equal(targets["segmentation"], torch.stack([first[1]["segmentation"]] * 2))


def test_without_flip_no_picture_is_mirrored():
    image, label = scene(40, 60)
    for seed in range(8):
        (picture,), targets = Ade20kTransform((40,), 80, flip=False)(
            (image,), {"a": label}, np.random.default_rng(seed)
        )
        assert np.array_equal(picture, image)
        assert np.array_equal(targets["a"], label)
