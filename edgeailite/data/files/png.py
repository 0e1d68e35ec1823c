"""PNG files, checked and unpacked here, so that libpng only copies rows: bounded, and sooner.

libpng inflates a file's pixels to their end, also where they are a thousand times the rows that its header promises,
and compressed texts and profiles besides. So the rows are inflated here, at most one byte more than they have, and
handed on stored uncompressed with nothing but the chunks that pixels need. Only a few kilobytes, which cannot inflate
to much, are handed on as they are: label files would take a tenth longer otherwise. Where `isal` is installed (Intel's
ISA-L) inflating is several times as fast as with zlib; it takes two thirds of the time that a photograph takes.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from edgeailite.data.files.header import MOST_PARTS, DamageError

try:
    isal_zlib: Any = importlib.import_module("isal.isal_zlib")
except ImportError:  # optional: everything works without it
    isal_zlib = None

START = b"\x89PNG\r\n\x1a\n"
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # values per pixel by PNG colour type
KINDS = {(colour, bits) for colour in SAMPLES for bits in (1, 2, 4, 8, 16) if bits >= 8 or colour in (0, 3)} - {(3, 16)}
GREY = 0
BLOCK = 0xFFFF  # the largest stored block of deflate
RATIO = 1032  # the most bytes that deflate makes of one
SMALL, FACTOR = 1 << 24, 64  # bytes, and times its rows: what a file may inflate to unseen; libpng takes 10 ms for it
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
WANTED = (b"PLTE", b"tRNS")
NEEDED = (b"IHDR", *WANTED, b"IDAT", b"IEND")


@dataclass(frozen=True)
class Chunk:
    """A part of a file: its kind, and the bytes of its length, kind, content and checksum."""

    kind: bytes
    whole: memoryview

    @property
    def content(self) -> memoryview:
        """Return the content of the chunk, without length, kind and checksum."""
        return self.whole[8:-4]


def chunks(data: bytes) -> Iterator[Chunk]:
    """Yield every chunk up to the end. Raises ValueError if one is cut off, or a necessary one is altered."""
    checksum = zlib.crc32 if isal_zlib is None else isal_zlib.crc32
    view, position, kind = memoryview(data), len(START), b""
    for _ in range(MOST_PARTS):
        end = position + 12 + int.from_bytes(view[position : position + 4], "big")
        if end > len(data):
            raise DamageError("truncated picture", "truncated")
        kind = data[position + 4 : position + 8]
        if kind[:1].isupper() and checksum(view[position + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise DamageError("damaged picture, wrong checksum")
        yield Chunk(kind, view[position:end])
        if kind == b"IEND":
            return
        position = end
    raise DamageError(f"damaged picture, more than {MOST_PARTS} parts")


def unpacked(data: bytes, *, indices: bool = False) -> bytes:
    """Return the file with its rows uncompressed, and without the chunks that pixels do not need.

    With `indices` the numbers of a palette are grey values. Raises ValueError for a damaged file, also for one whose
    pixels inflate to more than its rows.
    """
    parts = list(chunks(data))
    head = bytes(parts[0].content)
    if parts[0].kind != b"IHDR" or len(head) != 13 or (head[9], head[8]) not in KINDS or head[10:12] != b"\0\0":
        raise DamageError("damaged picture, no header of a PNG")
    unknown = next((part.kind for part in parts if part.kind[:1].isupper() and part.kind not in NEEDED), None)
    if unknown is not None or head[12] > 1:
        raise DamageError(f"damaged picture, a part {unknown!r} that PNG does not have")
    size, packed = row_bytes(head), sum(len(part.content) for part in parts if part.kind == b"IDAT")
    harmless = packed * RATIO <= min(SMALL, FACTOR * size)
    grey = indices and head[9] == 3
    if harmless and not grey and all(part.kind in NEEDED for part in parts):
        return data
    first = next((place for place, part in enumerate(parts) if part.kind == b"IDAT"), len(parts))
    kept = [part.whole for part in parts[1:first] if part.kind in WANTED and not grey]
    pixels: Iterable[bytes | memoryview] = [part.whole for part in parts if part.kind == b"IDAT"]
    if not harmless:
        rows = _inflated(b"".join(part.content for part in parts if part.kind == b"IDAT"), size)
        pixels = _chunk(b"IDAT", *_stored(rows))
    if grey:
        head = head[:9] + bytes([GREY]) + head[10:]
    return b"".join([START, *_chunk(b"IHDR", head), *kept, *pixels, *_chunk(b"IEND")])


def row_bytes(head: bytes) -> int:
    """Return the bytes of all rows and their filters that a header (the content of IHDR) promises."""
    width, height = int.from_bytes(head[0:4], "big"), int.from_bytes(head[4:8], "big")
    bits = SAMPLES[head[9]] * head[8]
    if not head[12]:
        return height * (1 + -(-width * bits // 8))
    total = 0
    for left, top, across, down in PASSES:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        total += rows * (1 + -(-columns * bits // 8)) if columns > 0 and rows > 0 else 0
    return total


def _inflated(packed: bytes, size: int) -> bytes:
    """Inflate the rows. Data that ISA-L refuses is tried with zlib, which libpng uses."""
    for module in (isal_zlib, zlib):
        if module is None:
            continue
        try:
            inflate = module.decompressobj()
            rows: bytes = inflate.decompress(packed, size + 1)
        except module.error:
            continue
        if len(rows) > size or (len(rows) == size and inflate.unconsumed_tail):
            raise DamageError(f"damaged picture, its pixels inflate to more than the {size} bytes of its rows")
        if len(rows) < size:
            raise DamageError(f"damaged picture, {len(rows)} of the {size} bytes of its rows")
        return rows
    raise DamageError("damaged picture, its pixels cannot be inflated")


def _chunk(kind: bytes, *content: bytes | memoryview) -> Iterator[bytes | memoryview]:
    checksum = zlib.crc32 if isal_zlib is None else isal_zlib.crc32
    yield sum(map(len, content)).to_bytes(4, "big")
    yield kind
    value = checksum(kind)
    for part in content:
        value = checksum(part, value)
        yield part
    yield value.to_bytes(4, "big")


def _stored(rows: bytes) -> Iterator[bytes | memoryview]:
    """A zlib stream of stored blocks."""
    view = memoryview(rows)
    yield b"\x78\x01"
    for start in range(0, len(rows), BLOCK):
        part = view[start : start + BLOCK]
        last = start + BLOCK >= len(rows)
        yield bytes([last]) + len(part).to_bytes(2, "little") + (len(part) ^ 0xFFFF).to_bytes(2, "little")
        yield part
    adler = zlib.adler32 if isal_zlib is None else isal_zlib.adler32
    yield adler(rows).to_bytes(4, "big")
