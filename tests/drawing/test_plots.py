"""Label maps in colour, and figures that can be decoded."""

import cv2
import numpy as np
import pytest

from edgeailite.drawing.plots import (
    SEVERAL,
    Panel,
    background,
    class_bars,
    colorize,
    confusion_figure,
    growth_curve,
    layer_bars,
    overlay,
    panels_figure,
    tint,
)

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


def test_marks_are_drawn_in_every_panel():
    panels = [Panel("a", {"x": [1.0, 2.0]}), Panel("b", {"x": [2.0, 1.0]}), Panel("c", {})]
    plain, marked = (decode(panels_figure([1, 2], panels, marks=marks)) for marks in (None, {"fixed": 1.5}))
    changed = (plain != marked).any(2)
    height, width = changed.shape
    fields = changed[: height // 2, : width // 2], changed[: height // 2, width // 2 :], changed[height // 2 :]
    assert all(field.any() for field in fields)


def test_bars_with_absent_classes_and_formula_like_names():
    decode(class_bars(("a$b$", "pole"), (NAN, 0.5), PALETTE))
    decode(class_bars(("a", "b"), (NAN, NAN), PALETTE))
    kinds = ("weights", "activations", "weights")
    decode(layer_bars(("a$b$", "c", "d"), (-3.0, 40.0, 41.0), title="SQNR", kinds=kinds))
    decode(layer_bars(("a", "b", "c"), (1.0, 2.0, 3.0), title="MACs"))


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


def pixels_of(png: bytes, color: str) -> int:
    """Pixels in (about) a colour given as #rrggbb."""
    rgb = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
    return int((np.abs(decode(png)[..., ::-1].astype(int) - rgb).sum(-1) < 12).sum())


@pytest.mark.parametrize(("count", "columns"), [(1, 2), (4, 2), (5, 3), (7, 3)])
def test_panels_stand_in_rows_of_two_or_three(count, columns):
    image = decode(panels_figure([1, 2], [Panel("loss", {"loss": [2.0, 1.0]}, log=True)] * count))
    assert image.shape == (-(-count // columns) * 432, columns * 640, 3)


def test_panels_draw_the_values_there_are_and_no_line_without():
    epochs = [1, 2, 3, 4]
    full = panels_figure(epochs, [Panel("score", {"a": [0.1, 0.5, 0.6, 0.7], "b": [NAN] * 4}, per_cent=True)])
    gaps = panels_figure(epochs, [Panel("score", {"a": [NAN, 0.5, NAN, 0.7]}, per_cent=True)])
    assert pixels_of(full, SEVERAL[0]) > pixels_of(gaps, SEVERAL[0]) > 500, "a line joins the values there are"
    assert pixels_of(full, SEVERAL[1]) == 0
    assert pixels_of(panels_figure([1], [Panel("score", {"a": [0.5]})]), SEVERAL[0]) > 20, "one value is a dot"


@pytest.mark.parametrize("values", [[NAN, NAN], [0.0, 0.0], [-1.0, 2.0], [1e-9, 1e9], [float("inf"), 1.0]])
@pytest.mark.parametrize("log", [False, True])
def test_panels_of_odd_values(values, log):
    decode(panels_figure([1, 2], [Panel("a$b", {"$x$": values, "y": values}, log=log)], title="$t$"))


def test_the_growth_curve_leaves_out_equal_tensors_and_draws_without_any():
    points = [("", None), ("stem_$0", 41.5), ("", 38.0), ("head", 20.25)]
    assert growth_curve(points, title="a against b", departure=1).startswith(b"\x89PNG")
    assert growth_curve([("", None)], title="equal").startswith(b"\x89PNG")


def test_background_and_what_is_ignored_are_not_tinted():
    image = np.full((1, 5, 3), 200, np.uint8)
    labels = np.array([[0, 1, 2, 255, 7]])
    palette = ((10, 10, 10), (100, 0, 0), (0, 0, 0))
    plain = background(("Background", "road", "sky"), palette)
    assert plain == {0, 2}
    mixed = tint(image, labels, palette, alpha=0.5, plain=plain)
    assert mixed[0].tolist() == [[200] * 3, [150, 100, 100], *[[200] * 3] * 3]
    assert tint(image, labels, palette, alpha=0.5)[0, 0].tolist() == [105] * 3  # asked for
    assert background((), ()) == frozenset()
