"""A model as the service knows it, and what it says of it: nothing about files or folders of this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.data.files.images import encode_png
from edgeailite.drawing.plots import background

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class ServedModel:
    """A loaded model: `labels` gives class indices (H,W) of a picture (H,W,3) RGB, as `edgeailite infer` does.

    `classes` pairs a name with its RGB colour; `facts` is what `GET /model` adds to that; `png` is how
    results are written.
    """

    name: str
    classes: tuple[tuple[str, tuple[int, int, int]], ...]
    labels: Callable[[Image], Image]
    facts: Mapping[str, Any]
    png: Callable[[Image], bytes] = encode_png

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """Return the colours by class index."""
        return tuple(color for _, color in self.classes)

    @property
    def background(self) -> frozenset[int]:
        """Return the classes that pictures are not tinted with."""
        return background([name for name, _ in self.classes], self.palette)

    def description(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        classes = [
            {"index": index, "name": name, "color": list(color), "background": index in self.background}
            for index, (name, color) in enumerate(self.classes)
        ]
        return {"name": self.name, **self.facts, "classes": classes}
