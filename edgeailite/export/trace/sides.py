"""What a trace compares: two sides, and the places in each whose values can be read.

A side is a torch network or a file in a runtime. A place is a tensor at the end of a block: one that only an activation
reads is no place, and where a tensor is quantized the place holds the quantized values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Grid:
    """The codes of a quantizer, from `low` to `high`; a code means (code - zero_point) x scale."""

    scale: float
    zero_point: int
    low: int
    high: int

    @property
    def bits(self) -> int:
        """Number of bits of the codes."""
        return math.ceil(math.log2(self.high - self.low + 1))

    @property
    def unsigned_zero(self) -> int:
        """The zero point of the same grid with codes counted from 0."""
        return self.zero_point + (2 ** (self.bits - 1) if self.low < 0 else 0)

    def codes(self, values: Array) -> Array:
        """Return the nearest codes of values, as float64."""
        codes = np.rint(values.astype(np.float64) / np.float32(self.scale)) + self.zero_point
        return np.clip(codes, self.low, self.high)


@dataclass(frozen=True)
class Place:
    """A tensor that a trace compares.

    `tensor` is its name on its own side, `layer` the node or module that computes it (before its activation), `weight`
    the shape of that layer's weight, if any, and `sources` are the nearest places that it is computed from.
    """

    tensor: str
    layer: str
    operator: str
    weight: tuple[int, ...] = ()
    sources: tuple[str, ...] = ()
    grid: Grid | None = None


@dataclass(frozen=True)
class Reading:
    """Float values by place, and the outputs by name: floats or label maps.

    `disturbed` is the largest change of a file's outputs when its inner tensors are read as well.
    """

    values: Mapping[str, Array]
    outputs: Mapping[str, Array]
    disturbed: float = 0.0


Read = Callable[[Sequence[Array], Sequence[str], Mapping[str, Array]], Reading]


@dataclass(frozen=True)
class Side:
    """One of the two networks or files that are compared.

    `places` are in graph order. `activated` maps a tensor to the result of its activation. `integer` says that codes
    are computed with integer arithmetic. `read(images, places, fed)` returns the values of places; a side that `feeds`
    continues with the values of `fed` instead of its own. `unread` are places that cannot be read without changing
    the result.
    """

    label: str
    places: Mapping[str, Place]
    activated: Mapping[str, str]
    integer: bool
    feeds: bool
    read: Read
    unread: tuple[str, ...] = ()


def sources_among(side: Side, name: str, known: Mapping[str, Any]) -> Iterator[str]:
    """Yield the nearest places among `known` that `name` is computed from."""
    for source in side.places[name].sources:
        if source in known:
            yield source
        elif source in side.places:
            yield from sources_among(side, source, known)
