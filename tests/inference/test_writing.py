"""Result files: PNG that other readers take, told from all other files, whole or not there."""

from __future__ import annotations

import os
import resource
import signal

import cv2
import numpy as np
import pytest

from edgeailite.data.files.png import chunks
from edgeailite.errors import DataError
from edgeailite.files import write_result
from edgeailite.inference.writing import finished, foreign, is_result, png, remove_leftovers_below


@pytest.mark.parametrize("shape, dtype", [((5, 7), np.uint8), ((5, 7), np.uint16), ((5, 7, 3), np.uint8)])
def test_png(shape, dtype):
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype)
    data = png(image)
    read = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert ((read[..., ::-1] if read.ndim == 3 else read) == image).all()
    texts = [bytes(part.content) for part in chunks(data) if part.kind == b"tEXt"]  # which checks the checksums
    assert texts == [b"Software\0edgeailite infer"]
    assert is_result(data)
    assert not is_result(cv2.imencode(".png", image)[1].tobytes())


def test_states_of_files(tmp_path):
    mine, theirs, empty, none = (tmp_path / name for name in ("mine", "theirs", "empty", "none"))
    write_result(mine, png(np.zeros((4, 4), np.uint8)), "save_path")
    theirs.write_bytes(b"text")
    empty.touch()
    assert finished([mine])
    assert not any(finished([mine, other]) for other in (theirs, empty, none))
    assert foreign([mine, empty, none]) is None
    assert foreign([mine, theirs]) == theirs


def test_what_is_no_file_is_not_overwritten(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "zero", "folder"):
        assert foreign([tmp_path / name]) == tmp_path / name
    assert foreign([tmp_path / "mine.png" / "below.png"]) is None


def test_no_link_leads_the_writer_elsewhere(tmp_path):
    other = tmp_path / "other"
    other.write_text("somebody's")
    (tmp_path / "a.png.partial").symlink_to(other)
    (tmp_path / "a.png").symlink_to(other)
    write_result(tmp_path / "a.png", b"whole", "save_path")
    assert other.read_text() == "somebody's"
    assert (tmp_path / "a.png").read_bytes() == b"whole"
    assert not (tmp_path / "a.png").is_symlink()


def test_leftovers_of_a_killed_run_go_and_nothing_else(tmp_path):
    (tmp_path / "a").mkdir()
    left = ("a/.b_label.png.0123456789abcdef.partial", ".infer.json.0123456789abcdef.partial")
    kept = (".last.pt.0123456789abcdef.partial", "a/.b_label.png.partial", "a/b_label.png")
    for name in (*left, *kept):
        (tmp_path / name).touch()
    (tmp_path / ".c.png.0123456789abcdef.partial").symlink_to(tmp_path)
    remove_leftovers_below(tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == set(kept)


def test_nothing_half_written_stays(tmp_path):
    """A disk that is full behind the third byte."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    usual = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3, before[1]))
    try:
        with pytest.raises(DataError, match=r"a\.png: cannot be written \(File too large\)"):
            write_result(tmp_path / "a.png", b"whole", "save_path")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, usual)
    assert list(tmp_path.iterdir()) == []
