"""Displays of a training: bars or lines, curves, sheets of pictures, TensorBoard.

    with Watch(folder, title="camvid", epochs=100, palettes={"segmentation": card.palette}) as watch:
        watch.step(step)               after each optimizer step
        watch.checked(done, total)     while validating
        watch.pictures(3, [...])       some pictures of the validation split, after validating
        watch.epoch(row)               the row of metrics.csv, at the end of the epoch

In the run folder: `curves.png`, `overlays/epoch_0003_segmentation.png`, `tensorboard/`. A training does not end because
one of these cannot be written: that is said once, and the rest goes on.
"""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import matplotlib.figure  # noqa: F401  here, before there are loader processes: the death of one must not end this import
import numpy as np
from numpy.typing import NDArray

from edgeailite.drawing.plots import Palette, panels_figure
from edgeailite.drawing.sheets import class_row, depth_row, depth_scale, encode
from edgeailite.files import remove_leftovers, write_atomic
from edgeailite.runs.folder import read_metrics
from edgeailite.runs.metric_columns import (
    LOSS,
    WEIGHT,
    best_score,
    epoch_line,
    number,
    panels,
    score_columns,
    score_text,
)
from edgeailite.training.monitor_display import Display, State, make_display
from edgeailite.training.monitor_pace import Pace, duration
from edgeailite.training.step import Step
from edgeailite.training.tensorboard import FOLDER as TENSORBOARD
from edgeailite.training.tensorboard import Mode, Tracker, tensorboard_writer

CURVES, OVERLAYS = "curves.png", "overlays"
SHEET_BYTES = 400_000  # at most, of one sheet
LATEST, SPREAD = 3, 10  # sheets kept of an output: the latest, and the first of each tenth of the run
CURVES_EVERY = 10.0  # seconds: short epochs are not spent on drawing
TRACK_EVERY = 50  # steps between the points of TensorBoard
DURATION_AFTER, LONG = 10, 60.0  # steps seen before the run's length is said; seconds above which it is

Picture = tuple[str, NDArray[np.uint8], NDArray[Any] | None, NDArray[Any]]


@dataclass
class Watch:
    """Shows a training of `epochs` epochs. Enter it after `metrics.csv` was cut to where a resumed run goes on.

    `overlays` is the most pictures of a sheet, 0 for none. `quiet` leaves out bars and lines, not notes. Raises
    UsageError if made with tensorboard="on" where that is not installed.
    """

    folder: Path
    title: str
    epochs: int
    tensorboard: Mode = "auto"
    overlays: int = 4
    palettes: Mapping[str, Palette] = field(default_factory=dict)
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    quiet: bool = False
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self.remarks: list[str] = []  # on the latest validation, to be said at the end
        self._writer = tensorboard_writer(self.tensorboard)
        self._tracker: Tracker | None = None
        self._rows: list[Mapping[str, Any]] = []
        self._warned: set[str] = set()
        self._state = State(self.title, Pace(self.epochs, self.clock))
        self._display: Display | None = None
        self._seen = 0  # steps
        self._curves_at, self._curves_of = -math.inf, 0  # when and of how many rows they were drawn

    def __enter__(self) -> Watch:
        self._rows = list(read_metrics(self.folder))
        self._curves_of = len(self._rows)
        self._state.best = self._best()
        self._display = make_display(self._state, quiet=self.quiet, clock=self.clock)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._curves_of != len(self._rows):
                self._draw_curves()
            if self._tracker is not None:
                with self._optional(TENSORBOARD):
                    self._tracker.close()
        finally:
            self._shown().close()

    def step(self, step: Step) -> None:
        """Show that an optimizer step has ended."""
        state = self._state
        state.pace.step(step.epoch, step.step, step.steps, step.loss)
        state.lr, state.parts, state.images_per_second = step.lr, step.parts, step.images_per_second
        state.checked = None
        self._shown().moved()
        self._say_duration()
        if self._tracks:
            self._track_step(step)

    def _say_duration(self) -> None:
        """Say once, as soon as some steps were seen, how long the run will take, if that is more than a minute."""
        self._seen += 1
        if self._seen != DURATION_AFTER or self.quiet:
            return
        pace = self._state.pace
        left = pace.run_left()
        if left > LONG:
            each = f"{self.epochs - pace.epoch} epochs of {pace.steps} updates"
            self.note(f"takes about {duration(left)} and the validations: {each}")

    def checked(self, done: int, total: int) -> None:
        """Show that `done` of `total` pictures are validated."""
        self._state.checked = done, total
        self._shown().moved()

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Show that an epoch has ended, by its row of `metrics.csv` ("epoch" counts from 1)."""
        epoch = int(row["epoch"])
        self._rows = [old for old in self._rows if int(old["epoch"]) < epoch] + [dict(row)]
        self._state.best, self._state.checked = self._best(), None
        if not self.quiet:
            self.note(epoch_line(row, self.epochs))
        if epoch == self.epochs or self.clock() - self._curves_at >= CURVES_EVERY:
            self._draw_curves()
        if self._tracks:
            self._track_epoch(row)

    def pictures(
        self, epoch: int, pictures: Sequence[Picture], *, output: str, kind: Literal["segmentation", "depth"]
    ) -> None:
        """Write a sheet of (name, image (H,W,3) uint8 RGB, label or None, prediction); `epoch` counts from 1.

        Label and prediction have one size: classes (H,W) with 255 = ignore, coloured by `palettes[output]`; or depths
        (H,W) in metres with 0 = not known. Pictures past `overlays` are left out.
        """
        chosen = pictures[: self.overlays]
        if not chosen:
            return
        scale = None
        if kind == "depth":
            scale = depth_scale([prediction if label is None else label for _, _, label, prediction in chosen])
            rows = [depth_row(name, image, label, prediction, scale) for name, image, label, prediction in chosen]
        else:
            palette = self.palettes[output]
            rows = [class_row(name, image, label, prediction, palette) for name, image, label, prediction in chosen]
        names = () if kind == "depth" else tuple(zip(self.classes.get(output, ()), self.palettes[output], strict=False))
        title = f"{output}, epoch {epoch} of {self.epochs}"
        page, png = encode(rows, title=title, scale=scale, classes=names, limit=SHEET_BYTES)
        with self._optional(OVERLAYS):
            _write(self.folder / OVERLAYS / f"epoch_{epoch:04}_{output}.png", png)
            _thin_out(self.folder / OVERLAYS, output, epoch=epoch, epochs=self.epochs)
        if self._tracks:
            with self._optional(TENSORBOARD):
                self._tracked().picture(f"pictures/{output}", page, self._steps_done)

    def note(self, text: str) -> None:
        """Show a line that stays, above the bars."""
        self._shown().line(text)

    def _shown(self) -> Display:
        if self._display is None:
            raise RuntimeError("a Watch shows something inside its `with` block only")
        return self._display

    def _best(self) -> str:
        best = best_score(self._rows)
        return "" if best is None else f"best {score_text(best[0], best[1])} in epoch {best[2]}"

    def _draw_curves(self) -> None:
        epochs = [int(row["epoch"]) for row in self._rows]
        with self._optional(CURVES):
            _write(self.folder / CURVES, panels_figure(epochs, panels(self._rows), title=self.title))
        self._curves_at, self._curves_of = self.clock(), len(self._rows)

    @property
    def _tracks(self) -> bool:
        """Is there a TensorBoard to write to, and a step to say where? Before it, points would void a resumed run's."""
        return self._writer is not None and self._state.pace.steps > 0

    @property
    def _steps_done(self) -> int:
        pace = self._state.pace
        return pace.epoch * pace.steps + pace.done

    def _tracked(self) -> Tracker:
        """The tracker, opened at the first point: what older processes wrote from there on is void."""
        if self._tracker is None:
            self._tracker = Tracker(self._writer, self.folder, purge=self._steps_done)
        return self._tracker

    def _track_step(self, step: Step) -> None:
        if self._tracker is None or self._steps_done % TRACK_EVERY == 0:
            values = {"training/loss_step": self._state.pace.loss, "training/learning_rate": step.lr}
            values["training/images_per_second"] = step.images_per_second
            values |= {f"training/loss_step_{name}": value for name, value in step.parts.items()}
            with self._optional(TENSORBOARD):
                self._tracked().scalars(values, self._steps_done)

    def _track_epoch(self, row: Mapping[str, Any]) -> None:
        with self._optional(TENSORBOARD):
            self._tracked().scalars(tags(row), self._steps_done)
            self._tracked().flush()

    @contextlib.contextmanager
    def _optional(self, name: str) -> Iterator[None]:
        """Run a block that may fail without ending the training; the failure is said once for each name."""
        try:
            yield
        except OSError as error:
            if name not in self._warned:
                self._warned.add(name)
                reason = error.strerror or str(error)
                what = f"{self.folder / name}: cannot be written ({reason})"
                self._shown().line(
                    f"warning: {what}; the training goes on without it, free disk space or change rights"
                )


def tags(row: Mapping[str, Any]) -> dict[str, float]:
    """Return TensorBoard's points of an epoch, by tag."""
    found = {"training/loss_epoch": number(row, "loss"), "training/seconds_epoch": number(row, "seconds")}
    for column in row:
        if column.startswith(LOSS):
            found[f"training/loss_epoch_{column.removeprefix(LOSS)}"] = number(row, column)
        if column.startswith(WEIGHT):
            found[f"training/weight_{column.removeprefix(WEIGHT)}"] = number(row, column)
    return found | {f"validation/{column}": number(row, column) for column in score_columns([row])}


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    remove_leftovers(path)  # the folder is this process's
    write_atomic(path, data)


def _thin_out(folder: Path, output: str, *, epoch: int, epochs: int) -> None:
    """Keep the latest sheets of an output and the first of each tenth of the run; drop those of later epochs.

    Sheets of later epochs are of an earlier process that came further than where this one resumed.
    """
    pattern = re.compile(rf"epoch_(\d{{4,}})_{re.escape(output)}\.png")
    found = {int(match[1]): path for path in folder.iterdir() if (match := pattern.fullmatch(path.name))}
    past = sorted(one for one in found if one <= epoch)
    firsts = {(one - 1) * SPREAD // epochs: one for one in reversed(past)}
    for one in set(found) - set(past[-LATEST:]) - set(firsts.values()):
        found[one].unlink(missing_ok=True)
