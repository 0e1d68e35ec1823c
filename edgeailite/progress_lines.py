"""Progress where there is no terminal: a line now and then instead of a bar."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.progress import Progress, TaskID

EVERY = 60.0  # seconds between two lines


class ProgressLines(Progress):
    """A bar that is not drawn: it tells a line every EVERY seconds, with the time left."""

    def __init__(self, *columns: Any, tell: Callable[[str], None], **options: Any) -> None:
        super().__init__(*columns, disable=True, **options)
        self._tell, self._began = tell, time.monotonic()
        self._told = self._began

    def update(self, task_id: TaskID, **options: Any) -> None:
        """Change a task, as in `rich`; tell a line if the last is long ago."""
        super().update(task_id, **options)
        self._line()

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Advance a task, as in `rich`; tell a line if the last is long ago."""
        super().advance(task_id, advance)
        self._line()

    def _line(self) -> None:
        now = time.monotonic()
        if now - self._told < EVERY:
            return
        self._told = now
        for task in self.tasks:
            self._tell(line_of(task.description, task.completed, task.total, seconds=now - self._began))


def line_of(description: str, done: float, total: float | None, *, seconds: float) -> str:
    """Return the line of a task that took `seconds` so far: `analyze: 40 of 160, about 3 min left`.

    >>> line_of("analyze", 40, 160, seconds=60)
    'analyze: 40 of 160, about 3 min left'
    """
    if not total:
        return f"{description}: {done:.0f}, {_duration(seconds)} so far"
    left = f", about {_duration(seconds * (total - done) / done)} left" if done else ""
    return f"{description}: {done:.0f} of {total:.0f}{left}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
