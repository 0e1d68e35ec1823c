"""What a trace compares: places of a network, by the name of the tensor they hold, and a side that can read them.

A side is a torch network or a file in a runtime. Its places are the ends of blocks: a tensor that is handed to an
activation alone is none, and where a tensor is quantized the place holds the quantized values.
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
    """The codes of a quantizer, `low` to `high`, and what they mean: (code - zero_point) x scale."""

    scale: float
    zero_point: int
    low: int
    high: int

    @property
    def bits(self) -> int:
        """Bits that the codes need."""
        return math.ceil(math.log2(self.high - self.low + 1))

    @property
    def unsigned_zero(self) -> int:
        """The zero point, were the codes counted from 0."""
        return self.zero_point + (2 ** (self.bits - 1) if self.low < 0 else 0)

    def codes(self, values: Array) -> Array:
        """Nearest codes, as float64."""
        codes = np.rint(values.astype(np.float64) / np.float32(self.scale)) + self.zero_point
        return np.clip(codes, self.low, self.high)


@dataclass(frozen=True)
class Place:
    """A tensor: what computes it (node or module, before its activation) and the nearest places that it is made of.

    `tensor` is its name on its own side; `weight` the shape of the layer's weight, where it has one.
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

    `disturbed` is by how much the outputs of a file change when its inner tensors are read, too.
    """

    values: Mapping[str, Array]
    outputs: Mapping[str, Array]
    disturbed: float = 0.0


Read = Callable[[Sequence[Array], Sequence[str], Mapping[str, Array]], Reading]


@dataclass(frozen=True)
class Side:
    """One of the two that are compared.

    `places` are in graph order. `activated` leads from a tensor to what its activation makes of it. `integer`: codes
    are computed with integer arithmetic. `read(images, places, fed)` gives values of the places; in torch networks
    (`feeds`) those of `fed` are handed on instead of the network's own. `unread`: places that cannot be read without
    changing what is computed.
    """

    label: str
    places: Mapping[str, Place]
    activated: Mapping[str, str]
    integer: bool
    feeds: bool
    read: Read
    unread: tuple[str, ...] = ()


def sources_among(side: Side, name: str, known: Mapping[str, Any]) -> Iterator[str]:
    """The nearest places behind `name` that are `known`."""
    for source in side.places[name].sources:
        if source in known:
            yield source
        elif source in side.places:
            yield from sources_among(side, source, known)
