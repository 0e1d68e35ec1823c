"""TIFF files written by hand: any bands, samples, pages and tags, in the order of a little-endian file of one strip."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np

Tags = dict[int, Sequence[int]]
SIZES = {3: 2, 4: 4}
SHORT, LONG = 3, 4
FORMATS = {"u": 1, "i": 2, "f": 3}


def tiff(
    image: np.ndarray,
    *,
    photometric: int | None = None,
    extra: Sequence[int] = (),
    compression: int = 1,
    tags: Tags | None = None,
    data: bytes | None = None,
    pages: Sequence[Tags] = (),
) -> bytes:
    """A file of (H,W) or (H,W,bands) numbers; `tags` replace some, add some or (empty) leave some out, and `pages` are
    tags of further pages.

    Bands above those of the colour are what `extra` says (0: nothing is said of them, 2: transparency).
    """
    image = image if image.ndim == 3 else image[..., None]
    height, width, bands = image.shape
    packed = image.tobytes() if data is None else data
    packed = zlib.compress(packed) if compression == 8 and data is None else packed
    photometric = (2 if bands >= 3 else 1) if photometric is None else photometric
    common: Tags = {
        256: [width], 257: [height], 258: [image.dtype.itemsize * 8] * bands, 259: [compression], 262: [photometric],
        273: [8], 277: [bands], 278: [height], 279: [len(packed)], 284: [1], 339: [FORMATS[image.dtype.kind]] * bands,
    }  # fmt: skip
    if extra:
        common[338] = list(extra)
    body = struct.pack("<2sHI", b"II", 42, 0) + packed
    body += bytes(len(body) % 2)
    place = 4  # where the offset of the next directory belongs
    for further in ({}, *pages):
        body = body[:place] + struct.pack("<I", len(body)) + body[place + 4 :]
        directory, place = _directory({**common, **(tags or {}), **further}, len(body))
        body += directory
    return body


def _directory(tags: Tags, start: int) -> tuple[bytes, int]:
    """The bytes of a directory that starts there, and where the offset of the next one is."""
    tags = {tag: values for tag, values in tags.items() if values}
    end = start + 2 + 12 * len(tags) + 4
    rows, longer = b"", b""
    for tag, values in sorted(tags.items()):
        kind = LONG if tag in (254, 256, 257, 273, 278, 279, 322, 323, 324, 325) else SHORT
        raw = struct.pack(f"<{len(values)}{'H' if kind == SHORT else 'I'}", *values)
        if len(raw) > 4:
            raw, longer = struct.pack("<I", end + len(longer)), longer + raw + bytes(len(raw) % 2)
        rows += struct.pack("<HHI", tag, kind, len(values)) + raw.ljust(4, b"\0")
    return struct.pack("<H", len(tags)) + rows + bytes(4) + longer, end - 4
