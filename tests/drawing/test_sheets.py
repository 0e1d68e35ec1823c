"""Sheets: the colours of differences and depths pixel by pixel, and where they stand on the page."""

import sys

import cv2
import numpy as np
import pytest

from edgeailite.drawing import sheets
from edgeailite.drawing.sheets import (
    IGNORED,
    RIGHT,
    WRONG,
    Scale,
    class_differences,
    class_row,
    depth_colors,
    depth_differences,
    depth_row,
    depth_scale,
    encode,
    legend,
    sheet,
)

PALETTE = ((10, 20, 200), (200, 100, 50))
LABEL = np.array([[0, 1], [255, 1]]).repeat(40, 0).repeat(40, 1)  # (80,80), quarters
PREDICTION = np.array([[0, 0], [1, 1]]).repeat(40, 0).repeat(40, 1)
IMAGE = np.full((160, 160, 3), (50, 100, 150), np.uint8)
WIDTH = 160


def found(page: np.ndarray, column: int, y: float, x: float) -> tuple[int, ...]:
    """The pixel at a share of a tile's height and width, in the first row."""
    left = sheets.GAP + column * (WIDTH + sheets.GAP)
    return tuple(int(v) for v in page[2 * sheets.HEAD + int(y * WIDTH), left + int(x * WIDTH)])


def test_class_differences_tell_wrong_right_and_ignored():
    colors = class_differences(np.array([[0, 1, 255, 255]]), np.array([[0, 0, 0, 255]]))
    assert colors.tolist() == [[list(RIGHT), list(WRONG), list(IGNORED), list(IGNORED)]]
    assert colors.dtype == np.uint8


def test_depth_differences_go_from_right_to_wrong():
    colors = depth_differences(np.array([[10.0, 10.0, 10.0, 0.0, 10.0]]), np.array([[10.0, 15.0, 99.0, 5.0, np.nan]]))
    assert colors[0].tolist() == [list(RIGHT), list(WRONG), list(WRONG), list(IGNORED), list(WRONG)]
    between = depth_differences(np.array([[10.0]]), np.array([[12.5]]))[0, 0]
    assert between.tolist() == [round((a + b) / 2) for a, b in zip(RIGHT, WRONG)]


def test_depth_colors_are_bright_near_and_black_where_not_known():
    colors = depth_colors(np.array([[1.0, 50.0, 100.0, 0.0, np.nan, np.inf]]), Scale(1.0, 100.0)).astype(int).sum(-1)[0]
    assert colors[0] > colors[1] > colors[2] > 0
    assert colors[3:].tolist() == [0, 0, 0]


def test_depth_scale_is_of_what_is_known():
    depth = np.concatenate([np.zeros(1000), np.linspace(5, 25, 1001), [np.nan, np.inf]])
    scale = depth_scale([depth])
    assert (scale.low, scale.high) == pytest.approx((5.4, 24.6), abs=1e-6)
    assert depth_scale([np.zeros((2, 2))]) == depth_scale([]) == Scale(0.0, 1.0)


def test_the_page_holds_picture_label_prediction_differences():
    page = sheet([class_row("a.png", IMAGE, LABEL, PREDICTION, PALETTE)], title="epoch 1", tile_width=WIDTH)
    corners = [(0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)]
    assert np.abs(np.subtract(found(page, 0, 0.5, 0.5), (50, 100, 150))).max() <= 2
    assert [found(page, 1, *at) for at in corners] == [PALETTE[0], PALETTE[1], (0, 0, 0), PALETTE[1]]
    assert [found(page, 2, *at) for at in corners] == [PALETTE[0], PALETTE[0], PALETTE[1], PALETTE[1]]
    assert [found(page, 3, *at) for at in corners] == [RIGHT, WRONG, IGNORED, RIGHT]


def test_text_stands_beside_the_tiles_and_changes_none_of_their_pixels():
    row = class_row("a.png", IMAGE, LABEL, PREDICTION, PALETTE)
    page = sheet([row], title="epoch 1", tile_width=WIDTH)
    left = sheets.GAP + 2 * (WIDTH + sheets.GAP)
    tile = page[2 * sheets.HEAD :][:WIDTH, left : left + WIDTH]
    assert (tile == row.prediction.repeat(2, 0).repeat(2, 1)).all()
    caption = page[2 * sheets.HEAD + WIDTH :][: sheets.CAPTION, : sheets.GAP + WIDTH]
    assert (caption < 128).any(), "the name of the picture"
    assert (page[: sheets.HEAD] < 128).any(), "the title"


def test_captions_count_wrong_pixels_among_the_labelled():
    assert class_row("a", IMAGE, LABEL, PREDICTION, PALETTE).captions == ("a", "75 % labelled", "", "33.3 % wrong")
    nothing = class_row("a", IMAGE, np.full_like(LABEL, 255), PREDICTION, PALETTE)
    assert nothing.captions[3] == "nothing labelled"
    label, prediction = np.array([[10.0, 0.0]]), np.array([[8.0, 1.0]])
    assert depth_row("a", IMAGE, label, prediction, Scale(1, 9)).captions == ("a", "50 % known", "", "20.0 % off")
    assert depth_row("a", IMAGE, label * 0, prediction, Scale(1, 9)).captions[3] == "nothing known"


def test_a_picture_without_a_label_has_empty_fields():
    rows = [
        class_row("a", IMAGE, None, PREDICTION, PALETTE),
        depth_row("b", IMAGE, None, np.ones((8, 8)), Scale(0.5, 2)),
    ]
    page = sheet(rows, title="x", tile_width=WIDTH)
    assert found(page, 1, 0.5, 0.5) == found(page, 3, 0.5, 0.5) == RIGHT
    assert found(page, 2, 0.25, 0.25) == PALETTE[0]


def test_a_depth_sheet_has_the_bar_of_its_range():
    row = depth_row("a", IMAGE, np.full((8, 8), 2.0), np.full((8, 8), 3.0), Scale(1.0, 5.0))
    with_bar, without = (sheet([row], title="x", scale=scale, tile_width=WIDTH) for scale in (Scale(1.0, 5.0), None))
    assert len(with_bar) == len(without) + sheets.FOOT
    foot = with_bar[-sheets.FOOT // 2]
    for depth in (1.0, 3.0, 5.0):
        color = depth_colors(np.array([[depth]]), Scale(1.0, 5.0))[0, 0].astype(int)
        assert np.abs(foot.astype(int) - color).sum(-1).min() <= 6


def test_a_page_is_scaled_down_to_its_limit():
    noise = np.random.default_rng(0).integers(0, 255, (200, 300, 3)).astype(np.uint8)
    rows = [class_row("noise", noise, LABEL, PREDICTION, PALETTE)] * 4
    wide, _ = encode(rows, title="x", limit=10_000_000)
    page, png = encode(rows, title="x", limit=400_000)
    assert len(png) <= 400_000 and page.shape[1] < wide.shape[1]
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert (image[..., ::-1] == page).all()
    narrowest, _ = encode(rows, title="x", limit=10)
    assert narrowest.shape[1] == sheets.GAP + 4 * (sheets.LEAST_WIDTH + sheets.GAP)


def test_a_long_or_formula_like_name_still_fits():
    row = class_row("folder/" + "long_" * 60 + "$a_b$.png", IMAGE, LABEL, PREDICTION, PALETTE)
    page = sheet([row], title="$x$", tile_width=WIDTH)
    gap = page[2 * sheets.HEAD + WIDTH :][: sheets.CAPTION, sheets.GAP + WIDTH : 2 * sheets.GAP + WIDTH]
    assert (gap > 240).all(), "the name does not run into the next field"


def test_a_legend_has_a_field_of_every_class_however_many():
    classes = [(f"class {index}", (index, 255 - index, 7)) for index in range(40)]
    strip = legend(classes, width=300)
    assert strip.shape[1:] == (300, 3) and strip.shape[0] % sheets.FOOT == 0 and strip.shape[0] > 3 * sheets.FOOT
    found = {tuple(pixel) for pixel in strip.reshape(-1, 3).tolist()}
    assert {color for _, color in classes} <= found
    image = np.full((20, 30, 3), 90, np.uint8)
    rows = [class_row("a", image, None, np.zeros((20, 30), np.int64), ((9, 8, 7),))]
    plain, named = sheet(rows, title="t"), sheet(rows, title="t", classes=[("road", (9, 8, 7))])
    assert named.shape[0] == plain.shape[0] + sheets.FOOT and (named[: plain.shape[0]] == plain).all()


def test_texts_are_written_without_matplotlib_too(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    strip = legend([("road", (128, 64, 128)), ("Straße", (0, 0, 142))], width=200)
    assert ((strip[:, 30:60] < 128).all(2)).any()
