"""Video files: rates that writers take, what is refused, and that nothing stays of what failed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeailite.errors import DataError
from edgeailite.inference import video
from edgeailite.inference.video import FORMATS, Writer, opened, until_interrupted

FRAME = np.full((32, 48, 3), 90, np.uint8)


@pytest.mark.parametrize("rate", [2, 29.97002997, 1000 / 3])
@pytest.mark.parametrize("kind", FORMATS)
def test_rates(tmp_path, kind, rate):
    writer = Writer(tmp_path / f"a.{kind}", rate)
    for _ in range(3):
        writer.add(FRAME)
    writer.finish()
    with opened(writer.path) as capture:
        frames = list(capture.frames())
    assert len(frames) == 3
    assert abs(frames[0].astype(int) - 90).max() <= 4
    if (kind, rate > 300) != ("webm", True):  # its clock counts milliseconds
        assert capture.rate == pytest.approx(rate, abs=0.01)


def test_frames_of_another_size_are_fitted(tmp_path):
    writer = Writer(tmp_path / "a.avi", 5)
    for frame in (FRAME, FRAME[:20], np.repeat(FRAME, 2, 1)):
        writer.add(frame)
    writer.finish()
    with opened(writer.path) as capture:
        assert [frame.shape for frame in capture.frames()] == [FRAME.shape] * 3


def test_a_format_that_opencv_lacks(tmp_path, monkeypatch):
    monkeypatch.setitem(FORMATS, "mp4", "avc1")
    with pytest.raises(DataError, match=r"a\.mp4: this OpenCV .* cannot write \.mp4 of 48x32; try another"):
        Writer(tmp_path / "a.mp4", 5).add(FRAME)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        Writer(tmp_path / "file/a.mp4", 5).add(FRAME)


def test_a_video_that_cannot_be_read_back_is_no_result(tmp_path):
    writer = Writer(tmp_path / "a.mp4", 5)
    writer.add(FRAME)
    assert writer.writer is not None
    writer.writer.release()
    writer.partial.write_bytes(b"")  # as on a full disk
    with pytest.raises(DataError, match="cannot be read; is the disk full"):
        writer.finish()
    assert list(tmp_path.iterdir()) == []


def test_huge_frames_are_refused(tmp_path, monkeypatch):
    writer = Writer(tmp_path / "a.avi", 5)
    writer.add(FRAME)
    writer.finish()
    monkeypatch.setattr(video, "MAX_PIXELS", 1000)
    with pytest.raises(DataError, match=r"a\.avi: frames of 1536 pixels, refused"), opened(writer.path):
        pass


def test_a_file_that_is_not_there():
    with pytest.raises(DataError, match=r"nowhere\.mp4: cannot be read"), opened(Path("nowhere.mp4")):
        pass


@pytest.mark.parametrize(
    "name, data",
    [
        ("list.mp4", b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"),
        ("list.avi", b"ffconcat version 1.0\nfile /dev/zero\n"),
        ("text.mkv", b"no video"),
        ("empty.webm", b""),
        ("picture.mp4", b"\x89PNG\r\n\x1a\n" + bytes(600)),
    ],
)
def test_only_files_of_videos_are_opened(tmp_path, monkeypatch, name, data):
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: pytest.fail("opened"))
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=f"{name}: not a readable video"), opened(tmp_path / name):
        pass


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").symlink_to("/dev/zero")
    for name, kind in (("a.mp4", "a named pipe"), ("b.mp4", "a device")):
        with pytest.raises(DataError, match=f"{kind}, not a file"), opened(tmp_path / name):
            pass


def test_no_link_leads_the_writer_elsewhere_and_leftovers_go(tmp_path):
    other = tmp_path / "other"
    other.write_text("somebody's")
    for name in ("a.partial.avi", "a.avi", ".a.avi.0123.partial"):
        (tmp_path / name).symlink_to(other)
    (tmp_path / ".a.avi.4567.partial").mkdir()
    (tmp_path / ".a.avi.4567.partial/video.avi").write_text("half")
    writer = Writer(tmp_path / "a.avi", 5)
    writer.add(FRAME)
    writer.finish()
    assert other.read_text() == "somebody's"
    assert not (tmp_path / "a.avi").is_symlink()
    assert not (tmp_path / ".a.avi.4567.partial").exists()


def test_the_first_interruption_asks_and_the_second_stops():
    before = signal.getsignal(signal.SIGINT)
    with until_interrupted() as stopped:
        assert not stopped()
        os.kill(os.getpid(), signal.SIGINT)
        assert stopped()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
