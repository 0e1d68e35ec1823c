"""Names of results: unique, in the same place whoever names the picture, never outside the folder of results."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeailite.inference.naming import OUTSIDE, place, result_names, result_path


def test_one_stem_twice_is_two_results():
    folder = Path("x")
    pictures = [folder / name for name in ("A.png", "a.jpg", "a.jpg.png", "a.png", "b.png")] + [folder / "y/a.png"]
    assert result_names(pictures) == ["A.png", "a.jpg", "a.jpg.png", "a.png_2", "b", "a"]


def test_accents_apart_are_the_same_name():
    """MacOS takes both for one file, and archives made there hold the second form."""
    pictures = [Path("x/\u00fc.png"), Path("x/u\u0308.png")]
    assert result_names(pictures) == ["\u00fc.png", "u\u0308.png_2"]


def test_a_name_does_not_depend_on_what_else_is_asked_for(tmp_path):
    """Files without a known suffix, which only a list can name, get a name that no other has."""
    for name in ("a.png", "a.jpg", "b.png", "b", "c.mp4", "c.png"):
        (tmp_path / name).touch()
    names = {path.name: result_path(path, tmp_path).name for path in tmp_path.iterdir()}
    expected = {"a.png": "a.png", "a.jpg": "a.jpg", "b.png": "b", "b": "b~", "c.mp4": "c.mp4", "c.png": "c.png"}
    assert names == expected
    assert result_path(tmp_path / "gone.png", tmp_path).name == "gone.png~"


@pytest.mark.parametrize(
    "file, expected",
    [
        ("/r/a/b.png", "a/b.png"),
        ("/r/a/../../x/b.png", f"{OUTSIDE}/x/b.png"),
        ("/x/b.png", f"{OUTSIDE}/x/b.png"),
        (f"/r/{OUTSIDE}/x/b.png", f"{OUTSIDE}/r/{OUTSIDE}/x/b.png"),
        ("/rr/b.png", f"{OUTSIDE}/rr/b.png"),
    ],
)
def test_places(file, expected):
    assert place(Path(file), Path("/r")) == Path(expected)


def test_long_names_are_cut_and_stay_apart(tmp_path):
    names = ["ü" * 125 + end + ".png" for end in ("a", "b")]
    for name in names:
        (tmp_path / name).touch()
    short = [result_path(tmp_path / name, tmp_path).name for name in names]
    assert len(set(short)) == 2
    assert max(len(name.encode()) for name in short) <= 200
