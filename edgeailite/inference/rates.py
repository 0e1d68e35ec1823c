"""How far a job is: done, failed, rate and time left, for a bar and as Prometheus text.

The text is a file that the textfile collector of Prometheus' node exporter reads, or anything that serves files.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edgeailite.files import write_result

EVERY = 2.0  # seconds between two files

METRICS = {
    "edgeailite_pictures_done_total": ("counter", "Pictures that were labelled, or counted as failed."),
    "edgeailite_pictures_failed_total": ("counter", "Pictures that could not be labelled."),
    "edgeailite_pictures": ("gauge", "Pictures of the job; NaN while unknown."),
    "edgeailite_pictures_per_second": ("gauge", "Pictures done per second since the start."),
    "edgeailite_seconds_left": ("gauge", "Seconds until the end at this rate; NaN while unknown."),
    "edgeailite_finished": ("gauge", "1 when the job has ended."),
}


@dataclass
class Rates:
    """Counts of a job. `work` of `units` are done; a unit is a picture, or a shard with many. None: not known."""

    units: float | None
    pictures: int | None = None
    path: Path | None = None
    clock: Callable[[], float] = time.monotonic
    done: int = 0
    failed: int = 0
    work: float = 0.0
    began: float = field(default=0.0, init=False)
    told: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.began = self.clock()
        self.told = self.began - EVERY

    def add(self, *, failed: bool, work: float = 1.0) -> None:
        """Count a picture; write the file if the last is long ago."""
        self.done += 1
        self.failed += failed
        self.work += work
        if self.path is not None and self.clock() - self.told >= EVERY:
            self.write()

    @property
    def per_second(self) -> float:
        """Return the pictures per second since the start."""
        return self.done / max(self.clock() - self.began, 1e-9)

    @property
    def seconds_left(self) -> float:
        """Return the seconds until all units are done at the rate so far; NaN if that is not known."""
        if self.units is None or not self.work:
            return float("nan")
        return (self.clock() - self.began) * max(self.units - self.work, 0) / self.work

    def words(self) -> str:
        """Return failed pictures and rate, for beside a bar.

        >>> Rates(None, clock=lambda: 0.0).words()
        '0 failed, 0.0 per second'
        """
        return f"{self.failed} failed, {self.per_second:.1f} per second"

    def text(self, *, finished: bool = False) -> str:
        """Return all counts in Prometheus' text format."""
        total = float("nan") if self.pictures is None else float(self.pictures)
        left = 0.0 if finished else self.seconds_left
        values = (self.done, self.failed, total, self.per_second, left, int(finished))
        lines = []
        for (name, (kind, about)), value in zip(METRICS.items(), values, strict=True):
            shown = "NaN" if value != value else f"{value:.10g}"
            lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}", f"{name} {shown}"]
        return "\n".join(lines) + "\n"

    def write(self, *, finished: bool = False) -> None:
        """Write the file, if there is one."""
        if self.path is not None:
            self.told = self.clock()
            write_result(self.path, self.text(finished=finished), "metrics")
