"""The headers of GIF, BMP, WebP and PNM files, for `headers`.

A damaged file raises one of `header.UNREADABLE` here, which `headers` turns into an answer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from edgeailite.data.files.header import MOST_PARTS, Header
from edgeailite.data.files.headers_tiff import TIFF_STARTS, exif_orientation, tiff_cut_off

LONGEST_PNM_HEAD = 65_536  # bytes: numbers, spaces and comments


def gif(data: bytes) -> Header:
    """Read the header of a GIF; `animated` if it has a second frame."""
    width, height = struct.unpack_from("<HH", data, 6)
    frames = 0
    try:
        for _ in _gif_frames(data):
            frames += 1
            if frames > 1:
                break
    except (IndexError, ValueError):
        frames = max(frames, 1)
    return Header("gif", height, width, colour="palette", animated=frames > 1, bands=4)


def _gif_frames(data: bytes) -> Iterator[int]:
    """Yield the start of each frame, up to the trailer. Raises IndexError if the file is cut off."""
    position, parts = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0), 0
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
            parts += 1
        position += 1
        parts += 1
        if parts > MOST_PARTS + len(data) // 128:  # writers fill blocks of 255 bytes
            raise ValueError("too many blocks")


def bmp(data: bytes) -> Header:
    """Read the header of a BMP of the old (OS/2) or the usual kind; a negative height means rows from the top."""
    if struct.unpack_from("<I", data, 14)[0] == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
    else:
        width, height, _, bits = struct.unpack_from("<iiHH", data, 18)
    colour, bands = ("palette", 1) if bits <= 8 else ("rgb", 4 if bits == 32 else 3)
    return Header("bmp", abs(height), abs(width), min(bits, 8), colour, bands=bands)


def webp(data: bytes) -> Header:
    """Read the header of a WebP: `lossy` if its pixels are VP8 (not VP8L). The size is the largest of any chunk."""
    chunks: dict[bytes, bytes] = {}
    for kind, content in _webp_chunks(data):
        chunks.setdefault(kind, content)  # decoders take the first of two
    flags, sizes = 0, []
    if extended := chunks.get(b"VP8X"):
        flags = extended[0]
        sizes.append((int.from_bytes(extended[4:7], "little") + 1, int.from_bytes(extended[7:10], "little") + 1))
    if b"VP8L" in chunks:
        (packed,) = struct.unpack_from("<I", chunks[b"VP8L"], 1)
        sizes.append(((packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1))
        flags |= 0x10 if not extended and packed >> 28 & 1 else 0
    if b"VP8 " in chunks:
        width, height = struct.unpack_from("<HH", chunks[b"VP8 "], 6)
        sizes.append((width & 0x3FFF, height & 0x3FFF))
    exif = chunks.get(b"EXIF", b"").removeprefix(b"Exif\0\0")
    width, height = max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))
    return Header(
        "webp",
        height,
        width,
        alpha=bool(flags & 0x10),
        animated=bool(flags & 0x02),
        orientation=exif_orientation(exif),
        profile=bool(flags & 0x20),
        lossy=b"VP8L" not in chunks,
        bands=4 if flags & 0x10 else 3,
    )


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 12
    for _ in range(MOST_PARTS):
        if position + 8 > len(data):
            return
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        yield data[position : position + 4], data[position + 8 : position + 8 + length]
        position += 8 + length + (length & 1)
    raise ValueError("too many chunks")


def pnm(data: bytes) -> Header:
    """Read the header of a PBM, PGM or PPM, as text or as bytes."""
    kind, (width, height, top), _ = _pnm_head(data)
    colours = kind in b"36"
    bits, top = max(top.bit_length(), 1), 0 if kind in b"14" else top
    return Header("pnm", height, width, bits, "rgb" if colours else "grey", bands=3 if colours else 1, top=top)


def _pnm_head(data: bytes) -> tuple[bytes, tuple[int, int, int], int]:
    """(digit of the kind, (width, height, largest value), where the pixels start)."""
    kind, position, data = data[1:2], 2, data[:LONGEST_PNM_HEAD]
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
    """Tell if a file of one of these formats ends before its pixels do; False for another format."""
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
        return tiff_cut_off(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if data[:1] == b"P" and data[1:2] in b"456" and data[2:3].isspace():
        kind, (width, height, top), start = _pnm_head(data)
        row = (width + 7) // 8 if kind == b"4" else width * (3 if kind == b"6" else 1) * (2 if top > 255 else 1)
        return start + row * height > len(data)
    return False
