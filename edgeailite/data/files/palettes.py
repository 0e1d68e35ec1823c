"""Checks that masks with palettes use each number for the same colour.

A label is the index into the palette. Programs that make a palette for each file anew (the colours by how often they
occur, say) give one class another number in every mask, and nothing in the numbers shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeailite.data.files.colors import Colour
from edgeailite.errors import DataError
from edgeailite.files import open_regular

START = b"\x89PNG\r\n\x1a\n"
HEAD_BYTES = 65536  # of a file in which its palette is looked for
MASKS_READ, PALETTES_READ = 3, 40  # masks of each palette whose numbers are looked at, and palettes


class Clash(NamedTuple):
    """A label with two colours, and a mask of each; `values` and `colours` are all that were seen."""

    label: int
    colour: Colour
    mask: Path
    other_colour: Colour
    other_mask: Path
    values: tuple[int, ...]
    colours: tuple[Colour, ...]


def palette_clash(masks: Sequence[Path], read: Callable[[Any], NDArray[np.integer]]) -> Clash | None:
    """Find the first label that has one colour in one mask and another colour in another.

    Only labels that occur count, and masks are decoded only where their palettes differ.
    """
    groups: dict[bytes, list[Path]] = {}
    for mask in masks:
        palette = palette_of(mask)
        if palette:
            groups.setdefault(palette, []).append(mask)
    if len(groups) < 2:
        return None
    seen: dict[int, tuple[Colour, Path]] = {}
    clash: tuple[int, Colour, Path] | None = None
    colours: set[Colour] = set()
    for palette, files in list(groups.items())[:PALETTES_READ]:
        for mask in files[:MASKS_READ]:
            for label in _labels(mask, read):
                red, green, blue = palette[3 * label : 3 * label + 3].ljust(3, b"\0")
                colour = (red, green, blue)
                colours.add(colour)
                if seen.setdefault(label, (colour, mask))[0] != colour and clash is None:
                    clash = label, colour, mask
    if clash is None:
        return None
    label, colour, mask = clash
    return Clash(label, *seen[label], colour, mask, tuple(sorted(seen)), tuple(sorted(colours)))


def palette_of(path: Path) -> bytes:
    """Return the palette of a PNG file, three bytes a colour; empty for other files and those that cannot be read."""
    try:
        with open_regular(path) as file:
            data = file.read(HEAD_BYTES)
    except OSError:
        return b""
    if not data.startswith(START) or data[25:26] != b"\x03":  # the colour type of palettes
        return b""
    position = len(START)
    while position + 8 <= len(data):
        end = position + 8 + int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        if kind in (b"PLTE", b"IDAT"):
            return data[position + 8 : end] if kind == b"PLTE" else b""
        position = end + 4
    return b""


def _labels(mask: Path, read: Callable[[Any], NDArray[np.integer]]) -> list[int]:
    try:
        return [int(label) for label in np.unique(read(mask))]
    except DataError:
        return []  # said when it is read for itself
