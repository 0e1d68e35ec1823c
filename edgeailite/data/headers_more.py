"""The record of what a header says, and the headers of GIF, BMP, TIFF, WebP and PNM files, for `headers`.

A file that ends early raises struct.error, IndexError or ValueError here, which `headers` turns into an answer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
TIFF_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}  # BYTE, SHORT, LONG, LONG8: the types of all tags that are read here
WIDTH, HEIGHT, BITS, PHOTOMETRIC, SAMPLES, CMYK = 256, 257, 258, 262, 277, 5
OFFSETS_AND_COUNTS = ((273, 279), (324, 325))  # of strips, of tiles
ORIENTATION, ICC_PROFILE = 0x0112, 0x8773
MAX_VALUES = 65_536  # of one tag: more strips than that say nothing new


@dataclass(frozen=True)
class Header:
    """Facts of one file. `orientation` is EXIF's (1 = as stored); `lossy`: the stored numbers are not those written."""

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


def gif(data: bytes) -> Header:
    """A GIF; `animated` if it has a second frame."""
    width, height = struct.unpack_from("<HH", data, 6)
    frames = 0
    try:
        for _ in _gif_frames(data):
            frames += 1
            if frames > 1:
                break
    except (IndexError, ValueError):
        frames = max(frames, 1)
    return Header("gif", height, width, colour="palette", animated=frames > 1)


def _gif_frames(data: bytes) -> Iterator[int]:
    """Where each frame starts, up to the trailer. Raises IndexError where the file is cut off."""
    position = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while data[position] != 0x3B:
        if data[position] == 0x2C:
            yield position
            flags = data[position + 9]
            position += 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        elif data[position] == 0x21:
            position += 2
        else:
            raise ValueError("no GIF block")
        while data[position]:
            position += data[position] + 1
        position += 1


def bmp(data: bytes) -> Header:
    """A BMP of the old (OS/2) or the usual kind; a negative height means rows from the top."""
    if struct.unpack_from("<I", data, 14)[0] == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
    else:
        width, height, _, bits = struct.unpack_from("<iiHH", data, 18)
    return Header("bmp", abs(height), abs(width), min(bits, 8), "palette" if bits <= 8 else "rgb")


def tiff(data: bytes) -> Header:
    """The first page of a TIFF or BigTIFF; more pages are thumbnails or masks as a rule, and are left alone."""
    tags = tiff_tags(data)
    photometric = tags.get(PHOTOMETRIC, (2,))[0]
    samples = tags.get(SAMPLES, (1,))[0]
    colour = {0: "grey", 1: "grey", 3: "palette", CMYK: "cmyk"}.get(photometric, "rgb")
    return Header(
        "tiff",
        tags[HEIGHT][0] if HEIGHT in tags else 0,
        tags[WIDTH][0] if WIDTH in tags else 0,
        max(tags.get(BITS, (1,))),
        colour,
        alpha=colour != "cmyk" and samples in (2, 4),
        orientation=exif_orientation(data) if ORIENTATION in tags else 1,
        profile=ICC_PROFILE in tags,
    )


def exif_orientation(tiff: bytes) -> int:
    """EXIF orientation 1..8 from a TIFF structure; 1 where there is none."""
    try:
        value = tiff_tags(tiff).get(ORIENTATION, (1,))[0]
    except (struct.error, IndexError, ValueError):
        return 1
    return value if 1 <= value <= 8 else 1


def tiff_tags(data: bytes) -> dict[int, tuple[int, ...]]:
    """The whole-number tags of the first directory."""
    order = "<" if data[:2] == b"II" else ">"
    if data[:4] not in TIFF_STARTS:
        raise ValueError("no TIFF")
    big = data[2:4] in (b"+\0", b"\0+")
    (start,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    (entries,) = struct.unpack_from(order + ("Q" if big else "H"), data, start)
    first, length, word = start + (8 if big else 2), 20 if big else 12, "Q" if big else "I"
    tags: dict[int, tuple[int, ...]] = {}
    for index in range(min(entries, 4096)):
        position = first + index * length
        tag, kind, count = struct.unpack_from(order + "HH" + word, data, position)
        if tag == ICC_PROFILE:
            tags[tag] = (1,)
        if kind not in TIFF_TYPES or not 0 < count <= MAX_VALUES:
            continue
        field = position + (12 if big else 8)
        if count * struct.calcsize(TIFF_TYPES[kind]) > (8 if big else 4):
            (field,) = struct.unpack_from(order + word, data, field)
        tags[tag] = struct.unpack_from(f"{order}{count}{TIFF_TYPES[kind]}", data, field)
    return tags


def webp(data: bytes) -> Header:
    """A WebP: `lossy` where its pixels are VP8 (a lossless one is VP8L)."""
    chunks = dict(_webp_chunks(data))
    extended = chunks.get(b"VP8X")
    flags = extended[0] if extended else 0
    if extended:
        width, height = (int.from_bytes(extended[at : at + 3], "little") + 1 for at in (4, 7))
    elif b"VP8L" in chunks:
        (packed,) = struct.unpack_from("<I", chunks[b"VP8L"], 1)
        width, height = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
        flags |= 0x10 if packed >> 28 & 1 else 0
    else:
        width, height = (value & 0x3FFF for value in struct.unpack_from("<HH", chunks.get(b"VP8 ", b""), 6))
    exif = chunks.get(b"EXIF", b"").removeprefix(b"Exif\0\0")
    return Header(
        "webp",
        height,
        width,
        alpha=bool(flags & 0x10),
        animated=bool(flags & 0x02),
        orientation=exif_orientation(exif),
        profile=bool(flags & 0x20),
        lossy=b"VP8L" not in chunks,
    )


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 12
    while position + 8 <= len(data):
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        yield data[position : position + 4], data[position + 8 : position + 8 + length]
        position += 8 + length + (length & 1)


def pnm(data: bytes) -> Header:
    """PBM, PGM or PPM, as text or as bytes."""
    kind, (width, height, top), _ = _pnm_head(data)
    return Header("pnm", height, width, max(top.bit_length(), 1), "rgb" if kind in b"36" else "grey")


def _pnm_head(data: bytes) -> tuple[bytes, tuple[int, int, int], int]:
    """(digit of the kind, (width, height, largest value), where the pixels start)."""
    kind, position = data[1:2], 2
    numbers: list[int] = []
    while len(numbers) < (2 if kind in b"14" else 3):
        while data[position : position + 1].isspace() or data[position] == ord("#"):
            position = data.index(b"\n", position) + 1 if data[position] == ord("#") else position + 1
        start = position
        while data[position : position + 1].isdigit():
            position += 1
        numbers.append(int(data[start : min(position, start + 12)]))
    width, height, top = [*numbers, 1][:3]
    return kind, (width, height, top), position + 1


def cut_off(data: bytes) -> bool:
    """Whether a file of one of these formats ends before its pixels do; False for another format."""
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return not list(_gif_frames(data))
    if data.startswith(b"BM"):
        head = bmp(data)
        if struct.unpack_from("<I", data, 14)[0] < 40:
            return False
        (compression,) = struct.unpack_from("<I", data, 30)
        bits, start = struct.unpack_from("<H", data, 28)[0], struct.unpack_from("<I", data, 10)[0]
        return compression in (0, 3) and start + (head.width * bits + 31) // 32 * 4 * head.height > len(data)
    if data[:4] in TIFF_STARTS:
        tags = tiff_tags(data)
        pairs = [pair for a, b in OFFSETS_AND_COUNTS for pair in zip(tags.get(a, ()), tags.get(b, ()))]
        return any(offset + count > len(data) for offset, count in pairs)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if data[:1] == b"P" and data[1:2] in b"456" and data[2:3].isspace():
        kind, (width, height, top), start = _pnm_head(data)
        row = (width + 7) // 8 if kind == b"4" else width * (3 if kind == b"6" else 1) * (2 if top > 255 else 1)
        return start + row * height > len(data)
    return False
