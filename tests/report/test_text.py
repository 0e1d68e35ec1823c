"""Numbers and nested values as text."""

import pytest

from edgeailite.report.text import flatten, percent, tabulate

LEVEL = {"pictures": 8, "equal_argmax": 1.0}


def test_records_with_the_same_fields_become_one_grid():
    rows, grids = tabulate({"data": "x", "ALL": LEVEL, "kernels": {"wanted": 7}, "sizes": {"96x160": LEVEL}})
    assert rows == [("data", "x"), ("kernels wanted", "7")]
    assert [grid.head for grid in grids] == [("pictures", "equal_argmax")]
    assert grids[0].rows == [("ALL", ["8", "1"]), ("sizes 96x160", ["8", "1"])]


def test_flatten():
    nested = {"a": {"b": {"c": [1, 2]}, "d": None}, "e": True, "f": [], "g": 0.1 + 0.2}
    assert flatten(nested) == [("a.b.c", "1, 2"), ("a.d", "–"), ("e", "yes"), ("f", "–"), ("g", "0.3")]


@pytest.mark.parametrize("value", [0.99999999, 1e-320])
def test_nearly_all_is_not_shown_as_all(value):
    assert float(flatten({"equal": value})[0][1]) == value


def test_percent():
    assert (percent(0.12345), percent(1, digits=2), percent(float("nan"))) == ("12.3", "100.00", "–")


def test_long_texts_are_cut():
    [(_, text)] = flatten({"note": "x" * 10_000})
    assert len(text) < 2_100
    assert "10,000 characters" in text


def test_lists_of_records_are_a_grid_and_no_raw_text():
    values = {"machine": "x", "devices": [{"name": "a", "memory": 1}, {"name": "b", "memory": 2}]}
    assert flatten(values) == [
        ("machine", "x"), ("devices.1.name", "a"), ("devices.1.memory", "1"), ("devices.2.name", "b"),
        ("devices.2.memory", "2"),
    ]  # fmt: skip
    rows, [grid] = tabulate(values)
    assert rows == [("machine", "x")]
    assert (grid.head, grid.rows) == (("name", "memory"), [("devices 1", ["a", "1"]), ("devices 2", ["b", "2"])])
