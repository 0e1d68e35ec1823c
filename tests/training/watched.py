"""A training that is watched: steps, rows, a clock that does what it is told. For the tests of watching."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgeailite.training.monitor import Watch

PALETTE = ((10, 20, 200), (200, 100, 50))
LABEL = np.array([[0, 1], [255, 1]]).repeat(16, 0).repeat(16, 1)
IMAGE = np.full((32, 32, 3), 90, np.uint8)


@dataclass(frozen=True)
class Step:
    """What the engine reports after a step."""

    epoch: int
    step: int
    steps: int
    loss: float
    total: float = 0.0
    lr: float = 0.01
    parts: Mapping[str, float] = field(default_factory=dict)
    images_per_second: float = math.nan


class Clock:
    """Seconds that pass only when somebody says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def row(epoch: int, miou: float | str = "", loss: float = 0.1234, seconds: float = 12.3) -> dict:
    """A row of metrics.csv."""
    accuracy = "" if miou == "" else 0.9
    values = {"epoch": epoch, "lr": 0.01, "loss": loss, "miou": miou, "pixel_accuracy": accuracy}
    return values | {"seconds": seconds}


def make(folder: Path, *, epochs: int = 3, clock: Callable[[], float] | None = None, **more) -> Watch:
    """A Watch without TensorBoard."""
    clocks = {"clock": clock} if clock else {}
    values = {"tensorboard": "off", "palettes": {"segmentation": PALETTE}, **clocks, **more}
    return Watch(folder, title="streets", epochs=epochs, **values)


def train(watch: Watch, epochs: range, *, steps: int = 4, after_step: Callable[[], None] = lambda: None) -> None:
    for epoch in epochs:
        for step in range(1, steps + 1):
            watch.step(
                Step(epoch, step, steps, 1 / (epoch + step), parts={"a": 0.5, "b": 0.1}, images_per_second=1234.4)
            )
            after_step()
        watch.epoch(row(epoch + 1, 0.4567 if epoch % 2 == 0 else ""))


def show(watch: Watch, epoch: int, *, count: int = 1, output: str = "segmentation") -> None:
    """A sheet of pictures whose prediction is class 0 everywhere: half of it is wrong."""
    pictures = [(f"{index}.png", IMAGE, LABEL, np.zeros_like(LABEL)) for index in range(count)]
    watch.pictures(epoch, pictures, output=output, kind="segmentation")
