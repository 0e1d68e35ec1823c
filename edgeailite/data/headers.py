"""What a picture file says of itself, read from its bytes without decoding: format, size, bits, orientation, frames.

Sizes are known before anything is decoded, so that a forged header cannot fill memory; files that were cut off are
found before a decoder would fill their rest with grey. PNG and JPEG stand here, the other formats in `headers_more`,
with the record of what was read. Written from the formats' specifications; nothing is repaired or guessed.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator

from edgeailite.data import headers_more as more
from edgeailite.data.headers_more import Header, exif_orientation

__all__ = ["Header", "damage", "header_size", "png_chunks", "read_header", "unsupported"]

PNG_START = b"\x89PNG\r\n\x1a\n"
JPEG_START, JPEG_END, JPEG_SCAN = b"\xff\xd8", b"\xff\xd9", 0xDA
FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
PNG_COLOURS = {0: "grey", 2: "rgb", 3: "palette", 4: "grey", 6: "rgb"}
JPEG_COLOURS = {1: "grey", 3: "rgb", 4: "cmyk"}
UNSUPPORTED_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")


def read_header(data: bytes) -> Header | None:
    """The header of a PNG, JPEG, GIF, BMP, TIFF, WebP or PNM file; None for another format or a header cut short."""
    rows: tuple[tuple[Callable[[bytes], bool], Callable[[bytes], Header | None]], ...] = (
        (lambda d: d.startswith(PNG_START), _png),
        (lambda d: d.startswith(JPEG_START), _jpeg),
        (lambda d: d[:6] in (b"GIF87a", b"GIF89a"), more.gif),
        (lambda d: d.startswith(b"BM"), more.bmp),
        (lambda d: d[:4] in more.TIFF_STARTS, more.tiff),
        (lambda d: d[:4] == b"RIFF" and d[8:12] == b"WEBP", more.webp),
        (lambda d: d[:1] == b"P" and d[1:2] in b"123456" and d[2:3].isspace(), more.pnm),
    )
    read = next((reader for starts, reader in rows if starts(data)), None)
    try:
        return read(data) if read else None
    except (struct.error, IndexError, ValueError):
        return None


def header_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) of a file of a known format; None for other formats."""
    header = read_header(data)
    return None if header is None else (header.height, header.width)


def damage(data: bytes) -> str | None:
    """What is wrong with a file that was cut off or altered; None for a whole one, or one of another format."""
    if not data:
        return "empty file"
    if data.startswith(PNG_START):
        try:
            list(png_chunks(data))
        except ValueError as error:
            return str(error)
        return None
    if data.startswith(JPEG_START):
        scan = next((start for marker, start in _jpeg_segments(data) if marker == JPEG_SCAN), None)
        return "truncated picture" if scan is None or data.find(JPEG_END, scan) < 0 else None
    try:
        return "truncated picture" if more.cut_off(data) else None
    except (struct.error, IndexError, ValueError):
        return "truncated picture"


def unsupported(data: bytes) -> str | None:
    """The name of a format that is known and not read here."""
    if data[4:8] == b"ftyp" and data[8:12] in UNSUPPORTED_BRANDS:
        return "HEIC"
    return "JPEG XL" if data[:2] == b"\xff\x0a" or data[4:12] == b"JXL \r\n\x87\n" else None


def _jpeg(data: bytes) -> Header | None:
    orientation, profile = 1, False
    for marker, start in _jpeg_segments(data):
        if marker == 0xE1 and data[start : start + 6] == b"Exif\0\0":
            end = start - 2 + int.from_bytes(data[start - 2 : start], "big")
            orientation = exif_orientation(data[start + 6 : end])
        profile |= marker == 0xE2 and data[start : start + 12] == b"ICC_PROFILE\0"
        if marker in FRAME_MARKERS:
            bits, height, width, parts = struct.unpack_from(">BHHB", data, start)
            colour = JPEG_COLOURS.get(parts, "rgb")
            return Header("jpeg", height, width, bits, colour, orientation=orientation, profile=profile, lossy=True)
    return None


def _png(data: bytes) -> Header | None:
    if len(data) < 26:
        return None
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    kinds: dict[bytes, bytes] = {}
    for kind, content in _leading_png_chunks(data):
        kinds.setdefault(kind, content)
    return Header(
        "png",
        height,
        width,
        bits,
        PNG_COLOURS.get(colour, "rgb"),
        alpha=colour in (4, 6) or b"tRNS" in kinds,
        animated=int.from_bytes(kinds.get(b"acTL", b"")[:4], "big") > 1,
        orientation=exif_orientation(kinds.get(b"eXIf", b"")),
        profile=b"iCCP" in kinds,
    )


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """(marker, where its content starts) of every segment up to the first scan; thumbnails lie inside segments."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # filling
            position += 1
            continue
        yield marker, position + 4
        if marker == JPEG_SCAN:
            return
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")


def _leading_png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, content) of the chunks before the pixels, unchecked."""
    position = len(PNG_START)
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        if kind in (b"IDAT", b"IEND"):
            return
        yield kind, data[position + 8 : end - 4]
        position = end


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, content) of every chunk. Raises ValueError where one is cut off, or a necessary one is altered."""
    position, kind = len(PNG_START), b""
    while kind != b"IEND":
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if end > len(data):
            raise ValueError("truncated picture")
        kind, content = data[position + 4 : position + 8], data[position + 8 : end - 4]
        if kind[:1].isupper() and zlib.crc32(kind + content) != int.from_bytes(data[end - 4 : end], "big"):
            raise ValueError("damaged picture, wrong checksum")
        yield kind, content
        position = end
