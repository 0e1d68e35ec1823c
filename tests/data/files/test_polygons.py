"""Polygons and run lengths to pixels, against masks drawn by hand and against a point-in-polygon test."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeailite.data.files.polygons import Shape, decode_counts, fill_polygon, fill_runs, paint, shape_of


def drawn(*rows: str) -> np.ndarray:
    return np.array([[character == "#" for character in row] for row in rows])


def test_rectangle_covers_the_pixels_whose_centres_are_inside():
    expected = drawn("......", ".###..", ".###..", "......")
    assert (fill_polygon(np.float32([[1, 1], [4, 1], [4, 3], [1, 3]]), 4, 6) == expected).all()
    assert (fill_polygon(np.float32([[0.6, 0.6], [4.4, 0.6], [4.4, 3.4], [0.6, 3.4]]), 4, 6) == expected).all()


def test_triangle_and_even_odd_crossing():
    assert (fill_polygon(np.float32([[0, 0], [4, 0], [0, 4]]), 4, 4) == drawn("###.", "##..", "#...", "....")).all()
    bow = np.float32([[0, 1], [6, 5], [6, 1], [0, 5]])  # two triangles that meet in the middle
    expected = drawn("......", "#....#", "##..##", "##..##", "#....#")
    assert (fill_polygon(bow, 5, 6) == expected).all()


def test_outside_and_empty():
    assert not fill_polygon(np.float32([[10, 10], [20, 10], [20, 20]]), 4, 4).any()
    assert fill_polygon(np.float32([[-5, -5], [9, -5], [9, 9], [-5, 9]]), 4, 5).all()
    assert not fill_polygon(np.float32([[1.6, 1.6], [1.9, 1.6], [1.9, 1.9]]), 4, 4).any()


points = st.lists(st.tuples(st.floats(-2, 14, width=32), st.floats(-2, 14, width=32)), min_size=3, max_size=9)


@given(points)
def test_equals_a_ray_cast_from_every_centre(corners):
    """Independent: count the edges above each centre, one at a time. On an edge, up to rounding, both answers do."""
    polygon = np.array(corners, np.float32)
    expected, on_edge = np.zeros((9, 11), bool), np.zeros((9, 11), bool)
    for y in range(9):
        for x in range(11):
            above = 0
            for (x0, y0), (x1, y1) in zip(polygon.tolist(), np.roll(polygon, -1, 0).tolist(), strict=True):
                if (x0 - 0.5 < x) != (x1 - 0.5 < x):
                    above += (y0 - 0.5) + (x - (x0 - 0.5)) * (y1 - y0) / (x1 - x0) <= y
                on_edge[y, x] |= _distance((x + 0.5, y + 0.5), (x0, y0), (x1, y1)) < 1e-4
            expected[y, x] = above % 2
    assert not ((fill_polygon(polygon, 9, 11) != expected) & ~on_edge).any()


def _distance(point: tuple[float, float], start: tuple[float, float], end: tuple[float, float]) -> float:
    """Of a point to a line segment."""
    length = (end[0] - start[0]) ** 2 + (end[1] - start[1]) ** 2
    along = (point[0] - start[0]) * (end[0] - start[0]) + (point[1] - start[1]) * (end[1] - start[1])
    share = min(max(along / length, 0.0), 1.0) if length else 0.0
    nearest = (start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1]))
    return float(np.hypot(point[0] - nearest[0], point[1] - nearest[1]))


def test_run_lengths_go_down_the_columns():
    mask = fill_runs(np.array([1, 2, 3]), 3, 2)
    assert (mask == drawn("..", "#.", "#.")).all()
    assert fill_runs(np.array([0, 6]), 3, 2).all()
    with pytest.raises(ValueError, match="add up to 5, expected 3x2 = 6"):
        fill_runs(np.array([1, 4]), 3, 2)


def test_compressed_run_lengths():
    # as COCO's own code writes them: 6, 1, 40 = 8 + 1 * 32; from the fourth on, differences to the one two before
    assert decode_counts("61X1").tolist() == [6, 1, 40]
    assert decode_counts("61X1W1").tolist() == [6, 1, 40, 40]
    assert decode_counts("61X1W1RO").tolist() == [6, 1, 40, 40, 10]
    for wrong, message in (("6X", "end in the middle"), ("6 ", "character ' '")):
        with pytest.raises(ValueError, match=message):
            decode_counts(wrong)


def test_parts_of_an_annotation_are_united():
    shape = shape_of(3, [[0, 0, 2, 0, 2, 2, 0, 2], [3, 0, 4, 0, 4, 2, 3, 2]])
    assert (shape.mask(2, 4) == drawn("##.#", "##.#")).all()


def test_the_smaller_is_on_top_in_any_order():
    ground, thing, spot = (
        shape_of(v, [[x, 0, x + w, 0, x + w, 2, x, 2]]) for v, x, w in ((1, 0, 6), (2, 1, 4), (3, 2, 1))
    )
    for order in ((ground, thing, spot), (spot, thing, ground), (thing, spot, ground)):
        assert paint(order, 2, 7, background=0, overlaps="smaller").tolist() == [[1, 2, 3, 2, 2, 1, 0]] * 2


def test_numbers_of_too_many_digits_in_compressed_run_lengths():
    with pytest.raises(ValueError, match="too many digits"):
        decode_counts("o" * 100_000)
    with pytest.raises(ValueError, match="a run of -"):
        decode_counts("@")


@pytest.mark.parametrize(
    "segmentation, message",
    [
        ([[0, 0, 1]], "even number of at least 6"),
        ([[0, 0, 1, 1, 2, 2, 3]], "even number"),
        ("text", "segmentation is str"),
        (None, "segmentation is NoneType"),
    ],
)
def test_what_is_no_segmentation(segmentation, message):
    with pytest.raises(ValueError, match=message):
        shape_of(1, segmentation)


def test_overlaps():
    left, middle, again = (shape_of(v, [[x, 0, x + 2, 0, x + 2, 1, x, 1]]) for v, x in ((1, 0), (2, 1), (1, 0)))
    assert paint([left, middle], 1, 4, background=0, overlaps="published").tolist() == [[1, 255, 2, 0]]
    assert paint([left, again], 1, 4, background=255, overlaps="published").tolist() == [[255, 255, 255, 255]]
    assert paint([left, again], 1, 4, background=9, overlaps="ignore").tolist() == [[1, 1, 9, 9]]
    assert paint([left, middle, again], 1, 4, background=9, overlaps="ignore").tolist() == [[1, 255, 2, 9]]
    assert paint([left, middle, again], 1, 4, background=9, overlaps="later").tolist() == [[1, 1, 2, 9]]
    assert paint([], 1, 2, background=255, overlaps="published").tolist() == [[255, 255]]
    assert Shape(1).mask(1, 2).tolist() == [[False, False]]
