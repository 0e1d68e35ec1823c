"""Facts that a person gives about a network from elsewhere, as `card` and `import` take them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgeailite.config.foreign import Described
from edgeailite.data.files.listing import read_lines
from edgeailite.preprocessing import Preprocessing

RULES = ("mean", "scale", "channel_order", "interpolation")


def class_names(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of classes; a single word that is a text file holds one per line.

    >>> class_names(("road", "sky"))
    ('road', 'sky')
    """
    if len(words) == 1 and Path(words[0]).suffix == ".txt":
        return tuple(read_lines(Path(words[0])).values())
    return words


def colours_of(numbers: tuple[int, ...]) -> tuple[tuple[int, int, int], ...]:
    """Return the colours in a row of numbers, three each.

    >>> colours_of((255, 0, 0, 0, 0, 255))
    ((255, 0, 0), (0, 0, 255))
    """
    return tuple((numbers[i], numbers[i + 1], numbers[i + 2]) for i in range(0, len(numbers), 3))


def with_given_rules(usual: Preprocessing, given: Described) -> Preprocessing:
    """Return preprocessing with those of its rules replaced that are given; its size stays."""
    return replace(usual, **{name: getattr(given, name) for name in RULES if getattr(given, name) is not None})
