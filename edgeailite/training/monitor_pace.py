"""Speed of a training and the time that is left: arithmetic on the times at which steps ended."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

STEPS = 100  # the last so many say how long a step takes: with several loaders steps come in bursts, which a mean bears
SMOOTH = 0.95  # of the loss shown: about the last 20 steps


class Pace:
    """Position in a run and its speed. Epochs from 0, steps from 1; a resumed run starts where its first step is.

    Remaining times are in seconds, NaN as long as nothing is known. A clock that goes backwards adds nothing.
    """

    def __init__(self, epochs: int, clock: Callable[[], float]) -> None:
        self.epochs, self.clock = epochs, clock
        self.epoch, self.done, self.steps = 0, 0, 0
        self._took: deque[float] = deque(maxlen=STEPS)
        self._pauses: list[float] = []  # all of them: only every so many may hold a validation
        self._last: float | None = None
        self._loss, self._weight = 0.0, 0.0

    def step(self, epoch: int, done: int, steps: int, loss: float) -> None:
        """Note that a step has ended: number `done` of the `steps` in `epoch`."""
        now = self.clock()
        if self._last is not None:
            took = max(now - self._last, 0.0)
            if epoch == self.epoch and done == self.done + 1:
                self._took.append(took)
            elif epoch == self.epoch + 1 and self.done == self.steps:
                step = self._step_seconds() if self._took else 0.0
                self._pauses.append(max(took - step, 0.0))
        self.epoch, self.done, self.steps, self._last = epoch, done, steps, now
        if math.isfinite(loss):
            self._loss = SMOOTH * self._loss + (1 - SMOOTH) * loss
            self._weight = SMOOTH * self._weight + (1 - SMOOTH)

    @property
    def loss(self) -> float:
        """Return the mean loss of the last steps, the latest counting most; NaN before the first."""
        return self._loss / self._weight if self._weight else math.nan

    @property
    def share(self) -> float:
        """Return the share of the run that is done, from 0 to 1."""
        return (self.epoch * self.steps + self.done) / (self.epochs * self.steps) if self.steps else 0.0

    def epoch_left(self) -> float:
        """Return the seconds to the last step of this epoch."""
        left = (self.steps - self.done) * self._step_seconds() - self._since()
        return 0.0 if left < 0 else left

    def run_left(self) -> float:
        """Return the seconds to the end of the run, what comes between epochs included as soon as it was seen."""
        pause = sum(self._pauses) / len(self._pauses) if self._pauses else 0.0
        epochs_after = max(self.epochs - self.epoch - 1, 0)
        steps = (self.steps - self.done) + epochs_after * self.steps
        left = steps * self._step_seconds() + (epochs_after + 1) * pause - self._since()
        return 0.0 if left < 0 else left

    def _step_seconds(self) -> float:
        """Mean of the last steps; epochs of one step are all pause."""
        if self._took:
            return sum(self._took) / len(self._took)
        return 0.0 if self._pauses else math.nan

    def _since(self) -> float:
        """Seconds since the last step ended."""
        return 0.0 if self._last is None else max(self.clock() - self._last, 0.0)


def duration(seconds: float) -> str:
    """Return seconds as `0:07`, `12:34`, `3:02:01`, `2 days 3:02:01`; `?` if they are not known."""
    if not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    clock = f"{hours}:{minutes:02}:{rest:02}" if hours or days else f"{minutes}:{rest:02}"
    return f"{days} day{'s' if days > 1 else ''} {clock}" if days else clock
