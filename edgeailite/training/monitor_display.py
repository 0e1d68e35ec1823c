"""Display of a training on stderr: bars in a terminal, plain lines elsewhere, nothing if quiet was asked for."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from edgeailite.console import log
from edgeailite.training.monitor_pace import Pace, duration

DRAW_EVERY = 0.25  # seconds: bars move at most four times a second
LINE_EVERY = 60.0  # seconds: without bars, a sign of life in long epochs
MOST_PARTS = 4  # outputs whose losses fit in a line


@dataclass
class State:
    """Progress that is known now. `best` is text; `checked` is (done, all) pictures while validating."""

    title: str
    pace: Pace
    lr: float = math.nan
    parts: Mapping[str, float] = field(default_factory=dict)
    images_per_second: float = math.nan
    best: str = ""
    checked: tuple[int, int] | None = None


class Display:
    """Shows no progress; lines are still printed. `moved` is called after each step."""

    def moved(self) -> None:
        """Do nothing."""

    def line(self, text: str) -> None:
        """Log a plain line."""
        log(text)

    def close(self) -> None:
        """Do nothing."""


def make_display(state: State, *, quiet: bool, clock: Callable[[], float] = time.monotonic) -> Display:
    """Return bars if stderr is a terminal that can move its cursor, else lines."""
    if quiet:
        return Display()
    console = Console(stderr=True, highlight=False)
    movable = os.environ.get("TERM", "") not in ("", "dumb", "unknown")
    if sys.stderr.isatty() and console.is_terminal and movable:
        return Bars(state, console, clock)
    return Lines(state, clock)


class Lines(Display):
    """Plain lines, for log files: one where progress has gone without any for a minute."""

    def __init__(self, state: State, clock: Callable[[], float]) -> None:
        self.state, self.clock = state, clock
        self._last = clock()

    def moved(self) -> None:
        """Log a line about where the run is, once a minute."""
        now = self.clock()
        if now < self._last:
            self._last = now
        if now - self._last >= LINE_EVERY:
            self.line(progress_line(self.state))

    def line(self, text: str) -> None:
        """Log a plain line."""
        self._last = self.clock()
        log(text)


class Bars(Display):
    """Bars for the epoch and the run, drawn by the training's own thread; lines go above them and stay."""

    def __init__(self, state: State, console: Console, clock: Callable[[], float]) -> None:
        self.state, self.clock = state, clock
        self._drawn = -math.inf
        self._live = Live(
            console=console,
            get_renderable=lambda: bars(state),
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,  # stdout is for results
        )
        self._live.start()

    def moved(self) -> None:
        """Draw again, if the last time is long enough ago."""
        now = self.clock()
        if not 0 <= now - self._drawn < DRAW_EVERY:
            self._drawn = now
            self._live.refresh()

    def line(self, text: str) -> None:
        """Log a line above the bars."""
        log(text)  # stderr is Live's while it runs

    def close(self) -> None:
        """Take the bars away and give the cursor back."""
        self._live.stop()


def progress_line(state: State) -> str:
    """Return `epoch 3/100 step 120/340 loss 0.1234 (0:41 left in the epoch, 1:23:45 in the run)`.

    Without the times where they are not known yet.
    """
    pace = state.pace
    place, known = f"epoch {pace.epoch + 1}/{pace.epochs}", math.isfinite(pace.run_left())
    if state.checked is not None:
        left = f" ({duration(pace.run_left())} left in the run)" if known else ""
        return f"{place} validation {state.checked[0]}/{state.checked[1]}{left}"
    left = (
        f" ({duration(pace.epoch_left())} left in the epoch, {duration(pace.run_left())} in the run)" if known else ""
    )
    return f"{place} step {pace.done}/{pace.steps} loss {pace.loss:.4f}{left}"


def bars(state: State) -> RenderableType:
    """Draw title and best score; the epoch, or the validation in its place; the run; the figures of the last step."""
    head = Table.grid(expand=True, padding=(0, 2, 0, 0))
    head.add_column(no_wrap=True, overflow="ellipsis")
    head.add_column(no_wrap=True, justify="right")
    head.add_row(Text(state.title, style="bold"), Text(state.best, style="green"))
    pace = state.pace
    body = Table.grid(expand=True, padding=(0, 2, 0, 0))
    body.add_column(no_wrap=True)
    body.add_column(ratio=1)
    body.add_column(no_wrap=True, justify="right")
    body.add_column(no_wrap=True, justify="right")
    if state.checked is None:
        name, done, total, left = f"epoch {pace.epoch + 1}/{pace.epochs}", pace.done, pace.steps, pace.epoch_left()
    else:
        name, (done, total), left = "validation", state.checked, math.nan
    remaining = "" if math.isnan(left) else f"{duration(left)} left"
    body.add_row(name, ProgressBar(total=max(total, 1), completed=done), f"{done}/{total}", remaining)
    run = f"{duration(pace.run_left())} left"
    body.add_row("run", ProgressBar(total=1.0, completed=pace.share), f"{100 * pace.share:.1f} %", run)
    return Group(head, body, Text(_numbers(state), style="dim", no_wrap=True, overflow="ellipsis"))


def _numbers(state: State) -> str:
    """`loss 0.1234 (depth 0.02, motion 0.10)   lr 1.0e-02   812 images/s`."""
    found = []
    if not math.isnan(state.pace.loss):
        parts = [f"{name} {value:.3g}" for name, value in list(state.parts.items())[:MOST_PARTS]]
        found.append(f"loss {state.pace.loss:.4f}" + (f" ({', '.join(parts)})" if len(parts) > 1 else ""))
    if not math.isnan(state.lr):
        found.append(f"lr {state.lr:.1e}")
    if not math.isnan(state.images_per_second):
        speed = state.images_per_second
        found.append(f"{speed:.0f} images/s" if speed >= 100 else f"{speed:.1f} images/s")
    return "   ".join(found)
