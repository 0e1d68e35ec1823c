"""The part of `edgeailite infer` for videos and cameras: frames to labels, smoothed over time, to a video.

NAME_overlay.mp4 (of several outputs one each) and NAME_video.json with the number of frames and the flicker; the latter
says when the video is finished. With `frames True` also the pictures of each frame, in NAME_frames/.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.config import InferConfig
from edgeailite.console import log
from edgeailite.data.parallel_map import parallel_map
from edgeailite.errors import DataError, UsageError
from edgeailite.evaluation import results_at
from edgeailite.evaluation.values import Values
from edgeailite.inference.drawing import draw
from edgeailite.inference.pictures import ResultSettings, as_input, shares_of, write
from edgeailite.inference.results import Results, is_video_result, read_record, write_record
from edgeailite.inference.smoothing import Flicker, Smoother
from edgeailite.inference.sources import Input
from edgeailite.inference.video import Capture, Writer, opened, until_interrupted
from edgeailite.runs.open import OpenModel
from edgeailite.untrusted import printable

Image = NDArray[np.uint8]
LEAST_PART = 0.9  # of the frames that a header promises: headers are not exact


@dataclass(frozen=True)
class _Opening:
    """A video that is open, the file to write for each output, and whom to tell of each frame."""

    capture: Capture
    files: list[Path]
    on_frame: Callable[..., None]


@dataclass(frozen=True)
class DrawnFrame:
    """A frame when its files are written: the blend of each output, its shares."""

    blends: Mapping[str, Image]
    size: tuple[int, ...]
    shares: list[float]


def label_video(
    config: InferConfig,
    network: OpenModel,
    settings: ResultSettings,
    found: Input,
    results: Results,
    *,
    on_frame: Callable[..., None] = lambda **progress: None,
) -> None:
    """Label a video or a camera's pictures; skip what cannot be opened, and report a video that ends early.

    `on_frame(completed=, total=)` is called with the number of frames so far and that in the header (None: unknown).
    """
    if found.camera is None and is_video_result(found.source):
        results.left_out += 1
        return
    if len(network.card.inputs) > 1:
        raise UsageError(
            f"infer {found.source}: the network takes several pictures at a time; save frames as pictures",
            code="no-fit",
        )
    record = (settings.folder / found.target).with_name(f"{found.target.name}_video.json")
    files = [
        output.path(settings.folder / found.target, config.video, config.video_format) for output in settings.outputs
    ]
    before = read_record(record)
    if config.resume and before is not None and before.get("finished") and all(file.is_file() for file in files):
        results.finished += 1
        return
    with ExitStack() as stack:
        try:
            _check_free(found, record, files, ours=before is not None)
            capture = stack.enter_context(opened(found.source, found.camera))
        except DataError as error:
            log(printable(f"skipped {error}"))
            results.skip(found.source, str(error))
            return
        write_record(record, {"finished": False})
        made = _label(config, network, settings, found, results, _Opening(capture, files, on_frame))
    problem = _problem(found, made["frames"], capture, config.max_frames)
    if problem:
        log(printable(f"skipped {problem}"))
        results.skip(found.source, problem)
    if made["frames"]:
        results.labelled += 1
        results.videos[str(found.source)] = made
        write_record(record, {"finished": True, **made})


def _check_free(found: Input, record: Path, files: list[Path], *, ours: bool) -> None:
    """Raises DataError where a file is in the way that infer did not write."""
    taken = [record, *files] if not ours else [file for file in files if _same(file, found.source)]
    for file in taken:
        if file.exists():
            raise DataError(
                f"{found.source}: {file} is there and no result of infer; it is not overwritten", code="not-ours"
            )


def _same(file: Path, other: Path) -> bool:
    return file.exists() and other.exists() and file.samefile(other)


def _label(
    config: InferConfig, network: OpenModel, settings: ResultSettings, found: Input, results: Results, opening: _Opening
) -> dict[str, Any]:
    """Write the videos, rows of shares and frames; gives what the record says."""
    capture, files = opening.capture, opening.files
    film = _Film(config, network, settings, found.target, found.camera is not None)
    writers = {o.key: Writer(file, config.fps or capture.rate) for o, file in zip(settings.outputs, files, strict=True)}
    began, count = time.perf_counter(), 0
    with _finished(writers.values()):
        for drawn in parallel_map(film.drawn, film.predicted(capture)):
            for key, writer in writers.items():
                writer.add(drawn.blends[key])
            results.done(f"{found.source}#{count:06d}", drawn.size, drawn.shares)
            count += 1
            opening.on_frame(completed=count, total=config.max_frames or capture.promised or None)
    seconds = time.perf_counter() - began
    return {
        "frames": count,
        "frames_per_second": round(count / max(seconds, 1e-9), 2),
        "smooth": config.smooth,
        **film.flicker(),
        "files": [str(file) for file in files],
    }


class _Film:
    """The frames of one video on their way: predicted one after the other, drawn by several threads."""

    def __init__(
        self, config: InferConfig, network: OpenModel, settings: ResultSettings, target: Path, live: bool
    ) -> None:
        self.config, self.network, self.settings, self.live = config, network, settings, live
        self.folder = target.with_name(f"{target.name}_frames")
        keys = tuple(output.key for output in settings.outputs if not output.is_depth)
        self.plain, self.calm, self.smooth = Flicker(keys), Flicker(keys), Smoother(config.smooth)

    def predicted(self, capture: Capture) -> Iterator[tuple[int, Image, dict[str, Values]]]:
        """Number, frame and (averaged) outputs."""
        pre = self.network.card.preprocessing
        prepared = parallel_map(
            lambda frame: (frame, as_input(frame, pre)), _frames(capture, self.config, live=self.live)
        )
        for index, (frame, picture) in enumerate(prepared):
            outputs = self.network.predict((picture,))
            averaged = self.smooth(outputs)
            self.plain(outputs)
            if self.config.smooth:
                self.calm(averaged)
            yield index, frame, averaged

    def drawn(self, step: tuple[int, Image, dict[str, Values]]) -> DrawnFrame:
        """Draw what the video shows of a frame; write the frame's own pictures."""
        index, frame, outputs = step
        found = results_at(outputs, frame.shape[:2])
        if self.config.frames:
            write(self.settings, self.folder / f"{index:06d}", frame, found)
        kind = self.config.video
        blends = {
            output.key: draw(output, found[output.key], frame, (kind,), alpha=self.settings.alpha)[kind]
            for output in self.settings.outputs
        }
        return DrawnFrame(blends, frame.shape[:2], shares_of(self.settings.outputs, found))

    def flicker(self) -> dict[str, dict[str, float]]:
        """The figures, with those of the averages where there is an average."""
        calm = {"flicker_smoothed": self.calm.shares} if self.config.smooth else {}
        return {"flicker": self.plain.shares, **calm}


@contextmanager
def _finished(writers: Iterable[Writer]) -> Iterator[None]:
    """Videos get their names with the end of the block; nothing stays of them where it raises."""
    try:
        yield
        for writer in writers:
            writer.finish()
    except BaseException:
        for writer in writers:
            writer.discard()
        raise


def _frames(capture: Capture, config: InferConfig, *, live: bool) -> Iterator[Image]:
    """The frames asked for; of a camera until Ctrl-C."""
    frames = islice(capture.frames(), config.max_frames or None)
    if not live:
        yield from frames
        return
    log("Ctrl-C ends the recording")
    with until_interrupted() as stopped:
        for frame in frames:
            yield frame
            if stopped():
                return


def _problem(found: Input, frames: int, capture: Capture, limit: int) -> str:
    """Return the problem of a video that ended early; "" if there is none."""
    expected = min(capture.promised, limit) if limit else capture.promised
    if not frames:
        return f"{found.source}: no frame can be read"
    if found.camera is None and frames < LEAST_PART * expected:
        return f"{found.source}: ends after {frames} of {expected} frames; is it cut off? The rest is missing"
    return ""
