"""What words stand for: order, what is left out, what is an error, and pictures that belong together."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgeailite.errors import DataError, UsageError
from edgeailite.inference.sources import Input, companion, find_pictures, inputs, lines_of, walk

NOWHERE = Path("nowhere")


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def named(words: list[Path], **options: object) -> list[str]:
    return [str(found.target) for found in inputs(words, **{"apart_from": NOWHERE, **options})()]


def test_folders_are_walked_in_order_without_hidden_files_and_results(tmp_path):
    touch(tmp_path, "b/2.PNG", "b/1.jpg", "a.tiff", ".hidden/x.png", ".y.png", "out/z.png", "note.txt", "c/film.mp4")
    assert named([tmp_path], apart_from=tmp_path / "out") == ["a", "b/1", "b/2", "c/film"]


def test_what_words_have_in_common_is_left_out(tmp_path):
    touch(tmp_path, "a/1.png", "a/b/2.png", "c/film.mp4")
    assert named([tmp_path / "a/1.png"]) == ["1"]
    assert named([tmp_path / "a/b", tmp_path / "a/1.png"]) == ["b/2", "1"]
    assert named([tmp_path / "a", tmp_path / "c/film.mp4", Path("camera:0")]) == ["a/1", "a/b/2", "c/film", "camera_0"]
    assert named([tmp_path / "a"], root=tmp_path.parent) == [f"{tmp_path.name}/a/1", f"{tmp_path.name}/a/b/2"]


def test_nothing_is_left_out_in_silence(tmp_path):
    """Pictures of other names are told by their first bytes, known names of pictures are always listed."""
    touch(tmp_path, "a.JFIF", "b.gif", "c.HEIC", "d.dng", "e.pgm", "f.txt", "g.txt", "h", "i.png.partial", "k.bmw")
    (tmp_path / "l.data").write_bytes(b"\xff\xd8\xff\xe0 a picture of a camera")
    (tmp_path / "m.dat").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "k.bmw").write_bytes(b"BMW 320")
    os.mkfifo(tmp_path / "n.pipe")
    os.mkfifo(tmp_path / "o.png")
    found = inputs([tmp_path], apart_from=NOWHERE)
    names = [each.source.name for each in found()]
    assert names == ["a.JFIF", "b.gif", "c.HEIC", "d.dng", "e.pgm", "l.data", "m.dat", "o.png"]
    assert found.others == {".txt": 2, ".partial": 1, "no suffix": 1, ".bmw": 1, ".pipe": 1}
    assert [each.source.name for each in found()] == names  # and is counted anew each time
    assert found.others[".txt"] == 2
    assert named([tmp_path / "*.HEIC"]) == ["c.HEIC~"]


@pytest.mark.parametrize(
    "lines, message",
    [
        ([b"a.png\0b.png\0"], "line 1 of the list has a zero byte"),
        ([b"x\n", b"y" * 65_537], "line 2 of the list is longer than 65536 bytes"),
        ([b"\n"] * 100_001, "line 100001 of the list is after 100000 empty ones"),
    ],
)
def test_what_is_no_list(lines, message):
    with pytest.raises(DataError, match=message):
        list(inputs([Path("-")], apart_from=NOWHERE)(lines))


def test_an_endless_line_is_read_in_part():
    with Path("/dev/zero").open("rb") as endless:
        assert len(next(lines_of(endless))) == 65_537


def test_names_that_no_file_can_have(tmp_path):
    with pytest.raises(DataError, match="File name too long"):
        inputs([tmp_path / ("x" * 300)], apart_from=NOWHERE)


def test_a_double_star_finds_each_once(tmp_path):
    touch(tmp_path, "a/1.png", "a/b/2.png", "a/b/3.txt")
    assert named([tmp_path / "**/*"]) == ["a/1", "a/b/2"]
    assert named([tmp_path / "a*"]) == ["a/1", "a/b/2"]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path):
    touch(tmp_path, "a[1].png", "a1.png")
    assert named([tmp_path / "a[1].png"]) == ["a[1]"]


def test_lists_are_read_line_by_line(tmp_path):
    touch(tmp_path, "a.png")
    taken = []

    def lines():
        for name in (b"a.png\n", b"\n", os.fsencode("\udcff.png") + b"\r\n"):
            taken.append(name)
            yield os.fsencode(tmp_path) + b"/" + name if name.strip() else name

    stream = inputs([Path("-")], apart_from=NOWHERE, root=tmp_path)(lines())
    assert next(stream).target == Path("a")
    assert len(taken) == 1
    assert [str(found.source.name) for found in stream] == ["\udcff.png"]


@pytest.mark.parametrize(
    "words, error, message",
    [
        (["nowhere"], DataError, "nowhere: no such picture or folder"),
        (["nowhere/*.png"], DataError, "nothing matches this pattern"),
        (["-", "-"], UsageError, "stands alone"),
    ],
)
def test_words_that_name_nothing(words, error, message):
    with pytest.raises(error, match=message):
        inputs([Path(word) for word in words], apart_from=NOWHERE)


def test_a_folder_that_cannot_be_listed_is_said(tmp_path, monkeypatch):
    touch(tmp_path, "a/1.png", "b/2.png")
    scandir = os.scandir

    def closed(path):
        if Path(path).name == "a":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    (folder, why), (picture, fine) = walk(tmp_path, apart_from=NOWHERE)
    assert (folder.name, picture.name, fine) == ("a", "2.png", "")
    assert why.startswith("folder cannot be read (Permission denied)")


def test_companions(tmp_path):
    def of(name: str) -> str:
        return companion(tmp_path, Input(Path("in") / name, Path("x"), Path(name))).name

    touch(
        tmp_path,
        "a/1.png",
        "a/2.jpg",
        "u\u0308_flow.png",
        "s_0_left.png",
        "s_0_flow.png",
        "s_1_flow.png",
        "t.png",
        "t.jpg",
    )
    assert of("a/1.png") == "1.png"
    assert of("a/2.png") == "2.jpg"
    assert of("\u00fc_left.png") == "u\u0308_flow.png"
    assert of("s_1_left.png") == "s_1_flow.png"
    with pytest.raises(DataError, match="no picture of this name"):
        of("a/3.png")
    with pytest.raises(DataError, match=r"s_0_flow\.png and s_0_left\.png .* may belong to it"):
        of("s_0_right.png")
    with pytest.raises(DataError, match=r"t\.jpg and t\.png"):
        of("t.webp")


def test_find_pictures(tmp_path):
    touch(tmp_path, "a.png", "b/c.jpg")
    assert [path.name for path in find_pictures(tmp_path, apart_from=NOWHERE)] == ["a.png", "c.jpg"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no pictures in this folder"):
        find_pictures(tmp_path / "empty", apart_from=NOWHERE)
