"""Files and lists: links, loops, list files from other machines, and 100,000 names."""

import os
import time
from pathlib import Path

import pytest

from edgeailite.data.files.listing import by_stem, check_split, files_below, first_missing, read_names
from edgeailite.errors import DataError, UsageError


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_files_at_any_depth_sorted_without_hidden_ones(tmp_path):
    touch(*(tmp_path / name for name in ("b.png", "a/b.PNG", "a/a.png", ".x.png", ".trash/x.png", "c.txt")))
    assert list(files_below(tmp_path, ".png")) == ["a/a.png", "a/b.PNG", "b.png"]
    assert list(files_below(tmp_path, (".txt", ".jpg"))) == ["c.txt"]


def test_links_are_followed_and_those_to_nothing_named(tmp_path):
    touch(tmp_path / "real/a.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/linked").symlink_to(tmp_path / "real")
    (tmp_path / "set/readme").symlink_to(tmp_path / "gone.txt")  # not a picture
    assert list(files_below(tmp_path / "set", ".png")) == ["linked/a.png"]
    (tmp_path / "set/b.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"set/b\.png: link to .*gone\.png, which does not exist; mend"):
        files_below(tmp_path / "set", ".png")


@pytest.mark.parametrize("name", ["a.png", "a"])
def test_link_to_itself(tmp_path, name):
    (tmp_path / name).symlink_to(tmp_path / name)
    if name == "a":
        assert files_below(tmp_path, ".png") == {}
        return
    with pytest.raises(DataError, match=r"a\.png: link to .*a\.png, which does not exist"):
        files_below(tmp_path, ".png")


def test_loop_of_folders_is_named(tmp_path):
    touch(tmp_path / "a/b/c.png")
    (tmp_path / "a/b/again").symlink_to(tmp_path / "a")
    with pytest.raises(DataError, match=r"a/b/again: link to .*/a, a folder that it lies in \(a loop\)"):
        files_below(tmp_path, ".png")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_folder_without_leave(tmp_path):
    (tmp_path / "a").mkdir(mode=0)
    with pytest.raises(DataError, match=r"a: folder cannot be read \(Permission denied\)"):
        files_below(tmp_path, ".png")


def test_two_files_of_one_name_are_both_named(tmp_path):
    touch(tmp_path / "a/x.jpg", tmp_path / "a/x.png", tmp_path / "b/x.png")
    with pytest.raises(DataError, match=r"a/x\.jpg and .*a/x\.png: two files of one name 'a/x'"):
        by_stem(files_below(tmp_path, (".jpg", ".png")))


def test_lists_of_any_machine(tmp_path):
    path = tmp_path / "train.txt"
    lines = ["# a list", "", "  a/1  ", "a\\2", "./b 3.png", f"{tmp_path.resolve()}/c/4"]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    assert read_names(path, root=tmp_path) == {"a/1": 3, "a/2": 4, "b 3.png": 5, "c/4": 6}


@pytest.mark.parametrize(
    "line, message",
    [
        ("C:\\data\\a.png", "line 2: C:\\\\data\\\\a.png is a path of a Windows machine"),
        ("D:/data/a.png", "line 2: D:/data/a.png is a path of a Windows machine"),
        ("\\\\server\\share\\a.png", "is a path of a Windows machine"),
        ("/somewhere/a.png", "line 2: /somewhere/a.png is an absolute path outside the data set"),
        ("a/../../b", r"line 2: a/\.\./\.\./b leaves the data set"),
        ("first", "line 2: first is named again, as in line 1"),
    ],
)
def test_lines_that_cannot_be_meant(tmp_path, line, message):
    path = tmp_path / "train.txt"
    path.write_text(f"first\n{line}\n")
    with pytest.raises(DataError, match=message):
        read_names(path, root=tmp_path)


def test_lists_that_are_none(tmp_path):
    path = tmp_path / "train.txt"
    with pytest.raises(DataError, match=r"train\.txt: cannot be read \(No such file"):
        read_names(path, root=tmp_path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"train\.txt: not UTF-8 text"):
        read_names(path, root=tmp_path)
    path.write_text("# nothing\n\n")
    with pytest.raises(DataError, match=r"train\.txt: an empty list"):
        read_names(path, root=tmp_path)


def test_unknown_split_lists_the_known():
    with pytest.raises(UsageError, match="--split dev: toy has train, val"):
        check_split("toy", "dev", ("train", "val"))


def test_hundred_thousand_names_in_seconds(tmp_path):
    """Reading the list and asking for the files: no question to the file system per name."""
    count = 100_000
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(0, count, 50):  # few real files: the rest is asked for in vain
        (folder / f"{number:06d}.png").touch()
    path = tmp_path / "train.txt"
    path.write_text("".join(f"{number:06d}\n" for number in range(count)))
    began = time.process_time()
    names = read_names(path, root=tmp_path)
    missing = first_missing(folder / f"{name}.png" for name in names)
    assert time.process_time() - began < 2
    assert len(names) == count
    assert missing == folder / "000001.png"
