"""What `test.py` writes: where, so that no picture's result replaces another's."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeailite.compat.ade20k_testing import result_paths


@pytest.mark.parametrize(
    "pictures, expected",
    [
        (["x.jpg", "a/y.jpg"], ["x.png", "y.png"]),
        (["1.jpg", "a/1.jpg", "b/1.jpg"], ["1.png", "a/1.png", "b/1.png"]),
        (["a/1.jpg", "a/1.png", "b/1.JPG"], ["a/1.jpg.png", "a/1.png.png", "b/1.png"]),
        (["a/1.jpg", "b/1.jpg", "x.jpg"], ["a/1.png", "b/1.png", "x.png"]),
        (["1.jpg", "1.png", "a/1.jpg.png"], ["1.jpg.png", "1.png.png", "a/1.jpg.png"]),
    ],
)
def test_results_are_flat_as_published_but_where_they_would_meet(pictures, expected):
    source, result = Path("imgs"), Path("out")
    found = result_paths([source / picture for picture in pictures], source, result)
    assert found == [result / path for path in expected]
    assert len(set(found)) == len(pictures)


def test_one_picture(tmp_path):
    picture = tmp_path / "x.jpg"
    picture.touch()
    assert result_paths([picture], picture, Path("out")) == [Path("out/x.png")]
