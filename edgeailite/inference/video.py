"""Frames of a video file or a camera, and a video of frames, through OpenCV.

What `opencv-python-headless` can write is in FORMATS: its FFmpeg has no H.264 encoder, so .mp4 is MPEG-4 part 2, which
players take and browsers do not; .webm is VP9, which browsers take. Every writer is asked whether it opened, and the
file is read back before it gets its name.
"""

from __future__ import annotations

import glob
import math
import os
import re
import secrets
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeailite.data.files.images import MAX_PIXELS
from edgeailite.errors import DataError, option
from edgeailite.files import TEMPORARY, open_regular, unreadable, unwritable

Image = NDArray[np.uint8]
FORMATS = {"mp4": "mp4v", "webm": "VP90", "avi": "MJPG"}
USUAL_RATE = 25.0
MAX_RATE = 1000.0
START_BYTES = 512
CONTAINERS = re.compile(
    rb"....(ftyp|moov|mdat|wide|free|skip|pnot)|RIFF....AVI |\x1aE\xdf\xa3|\0\0\x01[\xb3\xba]|G.{187}G|.{4}G.{191}G"
    rb"|0&\xb2u\x8ef\xcf\x11",
    re.DOTALL,
)
"""How MP4 and MOV, AVI, Matroska and WebM, MPEG and its streams, WMV start. Nothing else is opened: FFmpeg also knows
lists that lead to other files."""

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what fails is said here, in one line


@dataclass(frozen=True)
class Capture:
    """An opened video: frames per second, and how many frames its header promises (0: unknown, a camera)."""

    frames_of: cv2.VideoCapture
    rate: float
    promised: int

    def frames(self) -> Iterator[Image]:
        """Yield frames (H,W,3) uint8 RGB until the end, or one that is too large."""
        while True:
            there, frame = self.frames_of.read()
            if not there:
                return
            if frame.shape[0] * frame.shape[1] > MAX_PIXELS:  # sizes may change on the way
                return
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


@contextmanager
def opened(source: Path, camera: int | None = None) -> Iterator[Capture]:
    """Open a video file or, by number, a camera. Raises DataError if it cannot be opened or is too large."""
    if camera is None:
        _check_container(source)
    capture = cv2.VideoCapture(str(source)) if camera is None else cv2.VideoCapture(camera)
    try:
        if not capture.isOpened():
            what = (
                "not a readable video" if camera is None else "this camera cannot be opened; is it connected, and free?"
            )
            raise DataError(f"{source}: {what}")
        size = capture.get(cv2.CAP_PROP_FRAME_WIDTH) * capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        if size > MAX_PIXELS:
            raise DataError(f"{source}: frames of {size:.0f} pixels, refused; the limit is {MAX_PIXELS}, shrink it")
        promised = capture.get(cv2.CAP_PROP_FRAME_COUNT) if camera is None else 0
        yield Capture(capture, _rate(capture.get(cv2.CAP_PROP_FPS)), int(promised) if 0 < promised < 1e15 else 0)
    finally:
        capture.release()


def _check_container(source: Path) -> None:
    """Raise DataError for what is no file, or no file of a video."""
    try:
        with open_regular(source) as file:
            start = file.read(START_BYTES)
    except OSError as error:
        raise unreadable(source, error, fix="check the name and the permissions") from None
    if not CONTAINERS.match(start):
        raise DataError(f"{source}: not a readable video", code="wrong-kind")


def _rate(said: float) -> float:
    return said if math.isfinite(said) and 0 < said <= MAX_RATE else USUAL_RATE


def _writable(rate: float) -> float:
    """MPEG-4 has 16 bits for the frames of so many seconds that they are a whole number."""
    return round(rate, 3 if rate < 65 else 2 if rate < 655 else 1)


class Writer:
    """A video file; the first frame's size is that of all. It has its name only after `finish`.

    Until then it lies in a hidden folder of its own, new and closed to others, so that no link leads the writer
    elsewhere.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self.path, self.rate, self.count = path, rate, 0
        self.folder = path.with_name(f".{path.name}.{secrets.token_hex(8)}{TEMPORARY}")
        self.partial = self.folder / f"video{path.suffix}"  # writers go by the suffix
        self.writer: cv2.VideoWriter | None = None
        self.size = (0, 0)

    def add(self, frame: Image) -> None:
        """Append a frame (H,W,3) uint8 RGB. Raises DataError where the file cannot be written."""
        if self.writer is None:
            self.writer = self._open(frame)
        if (frame.shape[1], frame.shape[0]) != self.size:
            height, width = min(frame.shape[0], self.size[1]), min(frame.shape[1], self.size[0])
            fitted = np.zeros((self.size[1], self.size[0], 3), np.uint8)
            fitted[:height, :width] = frame[:height, :width]
            frame = fitted
        self.writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        self.count += 1

    def _open(self, frame: Image) -> cv2.VideoWriter:
        """Encoders want even sides: an odd one gets a black line."""
        self.size = frame.shape[1] + frame.shape[1] % 2, frame.shape[0] + frame.shape[0] % 2
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            for leftover in self.path.parent.glob(f".{glob.escape(self.path.name)}.*{TEMPORARY}"):
                shutil.rmtree(leftover, ignore_errors=True)  # of a run that was killed; never through a link
            self.folder.mkdir(mode=0o700)
        except OSError as error:
            raise unwritable(self.path, error, fix=f"choose another {option('save_path')}") from None
        code = cv2.VideoWriter.fourcc(*FORMATS[self.path.suffix[1:]])
        writer = cv2.VideoWriter(str(self.partial), code, _writable(self.rate), self.size)
        if not writer.isOpened():
            self.discard()
            raise DataError(
                f"{self.path}: this OpenCV ({cv2.__version__}) cannot write {self.path.suffix} of "
                f"{self.size[0]}x{self.size[1]}; try another {option('video_format')} ({', '.join(FORMATS)})"
            )
        return writer

    def finish(self) -> None:
        """Close the file, see that it can be read, and give it its name. Raises DataError, DataError of a full disk."""
        if self.writer is None:
            return
        self.writer.release()
        capture = cv2.VideoCapture(str(self.partial))
        readable = capture.isOpened() and capture.read()[0]
        capture.release()
        if not readable:
            self.discard()
            raise DataError(
                f"{self.path}: the video that was written cannot be read; is the disk full?", code="unwritable"
            )
        self.partial.replace(self.path)
        self.discard()

    def discard(self) -> None:
        """Leave nothing of a video that was not finished."""
        if self.writer is not None:
            self.writer.release()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def until_interrupted() -> Iterator[Callable[[], bool]]:
    """Yield a question that is true after the first Ctrl-C; the second Ctrl-C interrupts as always."""
    asked = False
    usual = signal.getsignal(signal.SIGINT)

    def stop(number: int, frame: object) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, usual)

    signal.signal(signal.SIGINT, stop)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, usual)
