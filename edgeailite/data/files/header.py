"""The record of a picture file's header, and the limits of its values."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

MOST_PARTS = 100_000  # chunks, segments or blocks of one file: a loop over more says nothing new and takes seconds
UNREADABLE = (struct.error, IndexError, KeyError, ValueError, OverflowError)
"""What reading the header of a file raises that ends early, lacks something or leads nowhere."""


class DamageError(ValueError):
    """An error in a picture file that was cut off or altered; `code` is a finding's code."""

    def __init__(self, problem: str, code: str = "damaged") -> None:
        super().__init__(problem)
        self.code = code


Sample = Literal["unsigned", "signed", "float", "complex"]


@dataclass(frozen=True)
class Header:
    """Facts of one file. `orientation` is EXIF's (1 = as stored); `lossy`: the stored numbers are not those written.

    `bands` counts the values of a pixel, `alpha`: the file declares the last of them as transparency, `named`: the file
    says that they are grey, or red, green and blue. `reduced`: the file's first page is marked as a small copy of
    another. `work` is the number of bytes that a decoder keeps at once if that is more than the pixels (else 0),
    `scans` how often it passes over all of them, `top` the largest value of a sample, if the file says it.
    """

    kind: str
    height: int
    width: int
    bits: int = 8
    colour: str = "rgb"
    alpha: bool = False
    animated: bool = False
    orientation: int = 1
    profile: bool = False
    lossy: bool = False
    bands: int = 3
    named: bool = True
    sample: Sample = "unsigned"
    inverted: bool = False  # 0 is white
    pages: int = 1
    reduced: bool = False
    work: int = 0
    scans: int = 1
    top: int = 0

    @property
    def pixels(self) -> int:
        """Return height times width."""
        return self.height * self.width

    @property
    def decoded_bytes(self) -> int:
        """Return the bytes that a decoder holds at once: the stored rows, the format's working memory, or 8-bit RGB."""
        stored = self.pixels * self.bands * max(self.bits, 8) // 8
        return max(stored, 3 * self.pixels, self.work)
