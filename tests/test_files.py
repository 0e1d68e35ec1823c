"""Writing whole files and reading bounded ones."""

import os
import stat
from pathlib import Path

import pytest

from edgeailite.files import atomic_file, read_regular, remove_leftovers, sha256_of, write_atomic


def names(folder):
    return [path.name for path in folder.iterdir()]


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "a.json"
    write_atomic(path, "old")
    write_atomic(path, b"new", sync=True)
    assert path.read_bytes() == b"new" and names(tmp_path) == ["a.json"]


def test_rights_are_those_of_an_ordinary_new_file(tmp_path):
    write_atomic(tmp_path / "ours", "")
    (tmp_path / "theirs").write_text("")
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE((tmp_path / "theirs").stat().st_mode)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a"
    write_atomic(path, "old")
    with pytest.raises(error), atomic_file(path) as file:
        file.write(b"half")
        raise error
    assert path.read_text() == "old" and names(tmp_path) == ["a"]


def test_links_lead_the_writer_nowhere(tmp_path):
    """The fixed temporary name of earlier versions could be laid as a link; a link at the target is replaced itself."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "a.partial").symlink_to(victim)
    (tmp_path / "b").symlink_to(victim)
    write_atomic(tmp_path / "a", "x")
    write_atomic(tmp_path / "b", "x")
    assert victim.read_text() == "mine" and not (tmp_path / "b").is_symlink()


@pytest.mark.parametrize("name", ["n" * 255, "ü" * 127])
def test_the_longest_names_can_be_written(tmp_path, name):
    write_atomic(tmp_path / name, "x")
    assert names(tmp_path) == [name]


def test_leftovers_of_killed_writers_go(tmp_path):
    path = tmp_path / "last.pt"
    (tmp_path / ".last.pt.0123456789abcdef.partial").write_text("half")
    (tmp_path / ".best.pt.0123456789abcdef.partial").write_text("somebody else's")
    remove_leftovers(path)
    assert names(tmp_path) == [".best.pt.0123456789abcdef.partial"]


def test_only_regular_files_of_bounded_size_are_read(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    assert read_regular(tmp_path / "file", limit=5) == b"12345"
    if Path("/proc/self/status").exists():  # which says that it has no byte
        assert read_regular(Path("/proc/self/status"), limit=100_000).startswith(b"Name:")
        with pytest.raises(OSError, match="more than the 9"):
            read_regular(Path("/proc/self/status"), limit=9)
    with pytest.raises(OSError, match="5 bytes, more than the 4"):
        read_regular(tmp_path / "file", limit=4)
    with pytest.raises(OSError, match="a named pipe, not a file"):
        read_regular(tmp_path / "pipe", limit=5)
    with pytest.raises(OSError, match="a device, not a file"):
        read_regular(tmp_path / "zero", limit=5)
    with pytest.raises(OSError, match="a folder, not a file"):
        read_regular(tmp_path, limit=5)
    with pytest.raises(OSError, match="No such file"):
        read_regular(tmp_path / "none", limit=5)


def test_a_hash_of_a_file_is_that_of_its_bytes(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    assert sha256_of(tmp_path / "file") == sha256_of(b"12345")
    assert sha256_of(b"").startswith("e3b0c44298fc1c14")
