"""Calmer labels in videos, and how much they flicker.

Smoothing is an exponential average of the network's outputs over the frames, s * before + (1 - s) * now: of logits, and
of depths. It is taken at the network's own size; as resizing is linear, labels are those of the average at any size,
and with s = 0 those of the single picture. An object that moves is followed later, the more the nearer s is to 1.

Flicker is the share of pixels whose class differs from that in the frame before, averaged over all frames but the
first, at the size of the network's output. It counts what moves, too: compare the two figures of one video, not videos.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgeailite.errors import UsageError, option
from edgeailite.evaluation.values import Array, Values, is_class_map, on_host


class Smoother:
    """Call it with each frame's outputs (1,C,H,W); it gives the averages so far."""

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self.average: dict[str, Array] = {}

    def __call__(self, outputs: Mapping[str, Values]) -> dict[str, Values]:
        """Raises UsageError for class maps, which have no average."""
        if not self.weight:
            return dict(outputs)
        for name, value in outputs.items():
            if is_class_map(value):
                raise UsageError(
                    f"{option('smooth')}: the file's output {name} is classes already; export it with "
                    f"{option('argmax')} none",
                    code="wrong-kind",
                )
            now, before = on_host(value), self.average.get(name)
            same = before is not None and before.shape == now.shape
            self.average[name] = _between(now, before, self.weight) if same and before is not None else now
        return dict(self.average)


def _between(now: Array, before: Array, weight: float) -> Array:
    """Return `(1 - weight) * now + weight * before` in float32, from the nearer end."""
    step, share = before - now, np.float32(weight)
    return now + share * step if weight < 0.5 else before - step * (np.float32(1) - share)


class Flicker:
    """Call it with the outputs of each frame; `shares` are the figures so far, by output with classes."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        self.keys = keys
        self.before: dict[str, Array] = {}
        self.total = dict.fromkeys(keys, 0.0)
        self.pairs = 0

    def __call__(self, outputs: Mapping[str, Values]) -> None:
        """Compare a frame with the one before."""
        now = {key: _classes(outputs[key]) for key in self.keys}
        for key, before in self.before.items():
            self.total[key] += float((now[key] != before).mean())
        self.pairs += bool(self.before)
        self.before = now

    @property
    def shares(self) -> dict[str, float]:
        """Return the mean share of pixels that change from frame to frame; 0 for a single frame."""
        return {key: total / max(self.pairs, 1) for key, total in self.total.items()}


def _classes(value: Values) -> Array:
    found = on_host(value)
    return found.argmax(1) if found.ndim == 4 else found
