"""Label maps in colour, and figures that can be decoded."""

import cv2
import numpy as np
import pytest

from edgeailite.plots import class_bars, colorize, confusion_figure, loss_curve, overlay, score_curves

PALETTE = ((10, 20, 30), (200, 100, 50))
NAN = float("nan")


def decode(png: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert min(image.shape[:2]) > 200
    return image


@pytest.mark.parametrize("kind", [np.uint8, np.int64])
def test_colorize_is_the_palette_and_black_for_the_rest(kind):
    colors = colorize(np.array([[0, 1], [255, 2]], kind), PALETTE)
    assert colors.dtype == np.uint8
    assert colors.tolist() == [[[10, 20, 30], [200, 100, 50]], [[0, 0, 0], [0, 0, 0]]]


def test_colorize_knows_255_as_a_class_where_it_is_one():
    palette = tuple((i, i, i) for i in range(256))
    assert colorize(np.array([[254, 255]]), palette)[0].tolist() == [[254] * 3, [0] * 3]
    assert colorize(np.array([[254, 255]]), palette, ignore=-1)[0].tolist() == [[254] * 3, [255] * 3]


def test_overlay_mixes():
    image, colors = np.full((2, 3, 3), 100, np.uint8), np.full((2, 3, 3), 255, np.uint8)
    assert (overlay(image, colors, 0) == image).all()
    assert (overlay(image, colors, 1) == colors).all()
    assert (overlay(image, colors, 0.25) == 139).all()  # 138.75: rounded, not cut


@pytest.mark.parametrize("loss", [[1.0], [9.0, 3.0, 0.1], [0.0, 0.0, 0.0]])
def test_curves(loss):
    epochs = list(range(1, len(loss) + 1))
    decode(loss_curve(epochs, loss))
    validated = [NAN] * (len(loss) - 1) + [0.4]
    decode(score_curves(epochs, miou=validated, pixel_accuracy=validated))


def test_curves_of_a_run_that_never_validated():
    decode(score_curves([1, 2], miou=[NAN, NAN], pixel_accuracy=[NAN, NAN]))


def test_bars_with_absent_classes_and_formula_like_names():
    decode(class_bars(("a$b$", "pole"), (NAN, 0.5), PALETTE))
    decode(class_bars(("a", "b"), (NAN, NAN), PALETTE))


@pytest.mark.parametrize("count", [2, 30])
def test_confusion_of_few_and_many_classes(count):
    confusion = np.diag(np.arange(count))  # class 0 is labelled nowhere
    decode(confusion_figure(confusion, [f"class {index}" for index in range(count)]))


def test_confusion_is_per_labelled_class():
    """A class with few pixels is as dark as one with many, where both are found."""
    image = decode(confusion_figure(np.array([[3, 0], [0, 900_000]]), ["rare", "common"]))
    blues = np.argwhere((image[..., 0] > 100) & (image[..., 2] < 20))
    assert len(blues) > 1000
    middle = blues.mean(0)
    assert ((blues < middle).all(1).sum() > 100) and ((blues > middle).all(1).sum() > 100)
