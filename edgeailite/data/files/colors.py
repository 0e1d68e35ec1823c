"""Colour-coded masks: exact colours to classes. Nothing is guessed: a colour without a class is an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeailite.data.files.images import REPLACE, ColourMaskError, read_image, read_label
from edgeailite.errors import DataError
from edgeailite.files import open_regular, unreadable

Colour = tuple[int, int, int]
JPEG_START = b"\xff\xd8"
SHOWN = 4  # colours named in a message


@dataclass(frozen=True)
class ColorReader:
    """`reader(path)` gives label values (H,W) of a mask with the colours `values`; DataError for any other colour.

    `names` calls the values in messages, `settings` is the file in which colours are said.
    """

    values: Mapping[Colour, int]
    names: Mapping[int, str]
    settings: Path

    def __call__(self, path: Path) -> NDArray[np.integer]:
        refuse_jpeg(path)
        codes = _codes(read_image(path))
        known = np.array(sorted((r << 16) + (g << 8) + b for r, g, b in self.values), np.int32)
        by_code = {(r << 16) + (g << 8) + b: value for (r, g, b), value in self.values.items()}
        place = np.searchsorted(known, codes).clip(max=len(known) - 1)
        wrong = known[place] != codes
        if wrong.any():
            raise self._unknown(path, codes, wrong)
        return np.array([by_code[int(code)] for code in known], np.int64)[place]

    def _unknown(self, path: Path, codes: NDArray[np.int32], wrong: NDArray[np.bool_]) -> DataError:
        y, x = np.argwhere(wrong)[0]
        code = int(codes[y, x])
        colour = (code >> 16, code >> 8 & 255, code & 255)
        near = min(self.values, key=lambda other: sum((a - b) ** 2 for a, b in zip(colour, other, strict=True)))
        return DataError(
            f"colour {colour} ({(codes == code).sum()} pixels, first at x={x} y={y}) has no class; the nearest "
            f"known is {near} ({self.names[self.values[near]]})",
            fix=(f'correct the mask, or add "{_written(colour)}: CLASS" (or ignore) to colors in {self.settings}'),
            path=path,
        )


@dataclass(frozen=True)
class IndexReader:
    """`reader(path)` returns label values (H,W) of an index mask; a colour mask raises an error that says what to
    write.

    `numbers`: the settings already say what numbers mean, so that they cannot give colours as well.
    """

    settings: Path
    numbers: bool = False

    def __call__(self, path: Path) -> NDArray[np.integer]:
        try:
            return read_label(path)
        except ColourMaskError:
            codes, counts = np.unique(_codes(read_image(path)), return_counts=True)
            colours = [(int(code) >> 16, int(code) >> 8 & 255, int(code) & 255) for code in codes[np.argsort(-counts)]]
            if all(red == green == blue for red, green, blue in colours):
                raise  # not for its colours
        what = f"colour mask ({len(colours)} colours), expected class indices"
        if self.numbers:
            fix = (
                f"{self.settings} says what numbers mean: save the mask again as class numbers, or, if all "
                "masks are in colours, give colors instead"
            )
            raise DataError(what, fix=fix, path=path, code="colour-mask")
        rows = rows_of_colours(colours[:SHOWN])
        more = f" and {len(colours) - SHOWN} more" if len(colours) > SHOWN else ""
        fix = f"say in {self.settings} which colour is which class: colors: {{{rows}}}{more}"
        raise DataError(what, fix=fix, path=path, code="colours-unclear", value=tuple(colours))


def rows_of_colours(colours: Sequence[Colour]) -> str:
    """Return the rows of `colors` in settings for these colours, whose classes are to be filled in."""
    return ", ".join(f'"{_written(colour)}": CLASS' for colour in colours)


def refuse_jpeg(path: Path) -> None:
    """Raise DataError for a JPEG: its colours are blurred."""
    try:
        with open_regular(path) as file:
            start = file.read(len(JPEG_START))
    except OSError as error:
        raise unreadable(path, error, fix=REPLACE) from None
    if start == JPEG_START:
        raise DataError("JPEG blurs label values", fix="store masks as PNG", path=path, code="lossy-mask")


def parse_colour(text: object) -> Colour | None:
    """Parse `[128, 64, 128]`, `128,64,128`, `128 64 128` or `#804080` as a colour; None for anything else."""
    if isinstance(text, str):
        plain = text.strip()
        if plain.startswith("#") and len(plain) == 7:
            try:
                number = int(plain[1:], 16)
            except ValueError:
                return None
            return number >> 16, number >> 8 & 255, number & 255
        text = [int(part) if part.isdecimal() else -1 for part in plain.strip("[]()").replace(",", " ").split()]
    if not isinstance(text, (list, tuple)) or len(text) != 3:
        return None
    if not all(type(part) is int and 0 <= part <= 255 for part in text):
        return None
    return text[0], text[1], text[2]


def _codes(image: NDArray[np.uint8]) -> NDArray[np.int32]:
    codes = image[..., 0].astype(np.int32) << 8
    codes += image[..., 1]
    codes <<= 8
    codes += image[..., 2]
    return codes


def _written(colour: Colour) -> str:
    return ",".join(map(str, colour))
