"""Pairing the places of two sides: by name, or where names differ by order and shape through the graph.

By name: (1) a tensor that one side holds in front of an activation and the other behind it is compared behind it, since
a quantizer may stand for the activation; (2) else equal names are one place. If that finds less than half of the places
of the smaller side, the names are those of another exporter: then (3) inputs are paired in order, and the longest
common sequence of (operator, shape of the weight, shape of the tensor) is taken, each side in its own graph order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeailite.export.trace.sides import Side

BY_NAME, BY_ORDER = "name", "order and shape"
ENOUGH = 0.5  # of the smaller side's places
Signature = tuple[str, tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Matching:
    """Pairs (place of the first, place of the second) in the second's graph order, and the places without a partner."""

    pairs: tuple[tuple[str, str], ...]
    by: str
    unmatched: tuple[tuple[str, ...], tuple[str, ...]]


def match(first: Side, second: Side, shapes: Sequence[Mapping[str, tuple[int, ...]]]) -> Matching:
    """Pair the places of two sides, given the shapes of their tensors."""
    pairs, by = _by_name(first, second, shapes), BY_NAME
    if len(pairs) < ENOUGH * min(len(first.places), len(second.places)):
        in_order = _by_order(first, second, shapes)
        if len(in_order) > len(pairs):
            pairs, by = in_order, BY_ORDER
    order = {name: index for index, name in enumerate(second.places)}
    pairs = sorted(pairs, key=lambda pair: order[pair[1]])
    left = ({a for a, _ in pairs}, {b for _, b in pairs})
    unread = {*first.unread, *second.unread}
    alone = [
        tuple(name for name in side.places if name not in known and name not in unread)
        for side, known in zip((first, second), left, strict=True)
    ]
    return Matching(tuple(pairs), by, (alone[0], alone[1]))


def _by_name(first: Side, second: Side, shapes: Sequence[Mapping[str, tuple[int, ...]]]) -> list[tuple[str, str]]:
    """Pair by rules 1 and 2, tensors of equal shape only."""
    pairs = [(_activated(name, second, first), name) for name in second.places]
    pairs += [(name, _activated(name, first, second)) for name in first.places]
    found = [pair for pair in pairs if pair[0] and pair[1]]
    used = ({a for a, _ in found}, {b for _, b in found})
    found += [(n, n) for n in second.places if n in first.places and n not in used[0] and n not in used[1]]
    return [(a, b) for a, b in found if shapes[0].get(a) == shapes[1].get(b)]


def _activated(name: str, own: Side, other: Side) -> str:
    """Return the other side's place after the activation of `name` (rule 1); "" where `own` has that place too."""
    end = other.activated.get(name, "")
    return end if end in other.places and end not in own.places else ""


def _by_order(first: Side, second: Side, shapes: Sequence[Mapping[str, tuple[int, ...]]]) -> list[tuple[str, str]]:
    """Pair by rule 3."""
    signatures = [
        {name: signature for name in side.places if (signature := _signature(side, name, shapes[index])) is not None}
        for index, side in enumerate((first, second))
    ]
    return longest_common(signatures[0], signatures[1])


def _signature(side: Side, name: str, shapes: Mapping[str, tuple[int, ...]]) -> Signature | None:
    place = side.places[name]
    return (place.operator, place.weight, shapes[name]) if name in shapes else None


def longest_common(first: Mapping[str, Signature], second: Mapping[str, Signature]) -> list[tuple[str, str]]:
    """Return the longest common subsequence of two sequences of signatures, as pairs of names."""
    a, b = list(first.items()), list(second.items())
    length = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in reversed(range(len(a))):
        for j in reversed(range(len(b))):
            same = a[i][1] == b[j][1]
            length[i][j] = length[i + 1][j + 1] + 1 if same else max(length[i + 1][j], length[i][j + 1])
    pairs, i, j = [], 0, 0
    while i < len(a) and j < len(b):
        if a[i][1] == b[j][1]:
            pairs.append((a[i][0], b[j][0]))
            i, j = i + 1, j + 1
        elif length[i + 1][j] >= length[i][j + 1]:
            i += 1
        else:
            j += 1
    return pairs
