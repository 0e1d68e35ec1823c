"""Options of `edgeailite infer`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeailite.config.checks import Device, check, check_machine

Written = Literal["labels", "colors", "overlay", "side_by_side", "shares"]


@dataclass(frozen=True)
class InferConfig:
    """Label pictures and videos: label PNG, colour map, overlay, class shares, video."""

    model: Path
    """Run folder, checkpoint or .onnx file, float or int8."""
    input: tuple[Path, ...]
    """Pictures, folders (any depth), 'patterns*', videos, camera:0, or - for a list of paths on stdin."""
    save_path: Path = Path("predictions")
    """Folder to write to; results keep the names and sub-folders of the inputs."""
    write: tuple[Written, ...] = ("labels", "colors", "overlay", "shares")
    """labels (PNG of classes; 16-bit PNG of depth), colors, overlay, side_by_side; shares (of classes: CSV, JSON)."""
    original_ids: bool = False
    """Write the data set's own label values, not class indices 0, 1, ..."""
    data_path: Path | None = None
    """With --original_ids: folder of the data set, which says what they are; default as in training."""
    alpha: float = 0.5
    """Weight of the colours in the overlay."""
    beside: tuple[Path, ...] = ()
    """Of networks with several inputs: a folder for each further one, with pictures of the same names (flow, ...)."""
    camera_input: int = -1
    """With --beside: which input of the network the pictures themselves are, from 0; -1 is the last, as published."""
    root: Path | None = None
    """Folder below which sub-folders are kept; default what all inputs share, for - the current folder."""
    video: Literal["overlay", "colors", "side_by_side"] = "overlay"
    """Of videos and cameras: what the written video shows."""
    video_format: Literal["mp4", "webm", "avi"] = "mp4"
    """mp4 (MPEG-4), webm (VP9, which browsers play; slower) or avi (MJPEG)."""
    frames: bool = False
    """Of videos: write the pictures of --write for each frame too."""
    max_frames: int = 0
    """Of videos and cameras: stop after so many frames (0 = at the end; cameras: at Ctrl-C)."""
    fps: float | None = None
    """Frames per second of the written video; default the source's."""
    smooth: float = 0.0
    """Of videos: average over frames, 0 (none) to below 1; flicker is printed with and without."""
    resume: bool = False
    """Leave what an earlier run with the same model and options has finished."""
    runtime: Literal["onnxruntime", "openvino"] = "onnxruntime"
    """What computes .onnx files."""
    device: Device = "auto"
    """Where to run torch models."""
    threads: int | None = None
    """CPU threads; default all."""
    json: bool = False
    """Print one JSON object instead of a table."""

    def __post_init__(self) -> None:
        check_machine(self.threads)
        check(bool(self.input), "input", self.input, "at least one picture, folder, video or camera")
        check(bool(self.write), "write", self.write, "at least one of labels colors overlay side_by_side shares")
        check(0 <= self.alpha <= 1, "alpha", self.alpha, "0 to 1")
        check(0 <= self.smooth < 1, "smooth", self.smooth, "from 0 to below 1")
        check(self.max_frames >= 0, "max_frames", self.max_frames, "0 or more")
        check(self.fps is None or 0 < self.fps <= 1000, "fps", self.fps, "above 0, at most 1000")
        check(self.camera_input >= -1, "camera_input", self.camera_input, "-1 or the number of an input")
        check(self.data_path is None or self.original_ids, "data_path", self.data_path, "--original_ids True beside it")
