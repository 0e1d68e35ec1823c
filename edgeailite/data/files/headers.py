"""Reads a picture file's header from its bytes without decoding: format, size, bits, orientation, frames.

Sizes are known before anything is decoded, so that a forged header cannot fill memory; files that were cut off are
found before a decoder would fill their rest with grey. PNG and JPEG are read here, the other formats in `headers_tiff`
and `headers_other`; the record is in `header`. Written from the formats' specifications; nothing is repaired or
guessed.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator

from edgeailite.data.files import headers_other as more
from edgeailite.data.files.header import MOST_PARTS, UNREADABLE, DamageError, Header
from edgeailite.data.files.headers_tiff import TIFF_STARTS, exif_orientation, tiff
from edgeailite.data.files.png import SAMPLES, chunks
from edgeailite.data.files.png import START as PNG_START

__all__ = ["Header", "damage", "header_size", "known_start", "read_header", "unsupported"]

JPEG_START, JPEG_END, JPEG_SCAN = b"\xff\xd8", b"\xff\xd9", 0xDA
FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
NEXT_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")  # after coded data: neither a stuffed byte nor a restart
PNG_COLOURS = {0: "grey", 2: "rgb", 3: "palette", 4: "grey", 6: "rgb"}
JPEG_COLOURS = {1: "grey", 3: "rgb", 4: "cmyk"}
Starts = Callable[[bytes], bool]
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
UNSUPPORTED: tuple[tuple[str, Starts], ...] = (
    ("HEIC", lambda d: d[4:8] == b"ftyp" and d[8:12] in HEIC_BRANDS),
    ("AVIF", lambda d: d[4:8] == b"ftyp" and d[8:12] in (b"avif", b"avis")),
    ("JPEG XL", lambda d: d[:2] == b"\xff\x0a" or d[4:12] == b"JXL \r\n\x87\n"),
    ("JPEG 2000", lambda d: d[:4] == b"\xff\x4f\xff\x51" or d[4:12] == b"jP  \r\n\x87\n"),
    ("OpenEXR", lambda d: d[:4] == b"\x76\x2f\x31\x01"),
    ("Radiance HDR", lambda d: d[:10] == b"#?RADIANCE" or d[:6] == b"#?RGBE"),
    ("Photoshop", lambda d: d[:4] == b"8BPS"),
    ("Sun raster", lambda d: d[:4] == b"\x59\xa6\x6a\x95"),
    ("PAM or PFM", lambda d: d[:1] == b"P" and d[1:2] in b"7Ff" and d[2:3].isspace()),
)
"""Formats that are known and not read here, and how their files start."""
WEAK_STARTS = ("bmp", "pnm", "JPEG XL", "PAM or PFM")  # two or three bytes, which texts may have as well


def read_header(data: bytes) -> Header | None:
    """Read the header of a PNG, JPEG, GIF, BMP, TIFF, WebP or PNM; None for another format or a cut header."""
    read = next((reader for _, starts, reader in FORMATS if starts(data)), None)
    try:
        return read(data) if read else None
    except UNREADABLE:
        return None


def header_size(data: bytes) -> tuple[int, int] | None:
    """Return (height, width) of a file of a known format; None for other formats."""
    header = read_header(data)
    return None if header is None else (header.height, header.width)


CUT_OFF = DamageError("truncated picture", "truncated")


def damage(data: bytes) -> DamageError | None:
    """Find the damage of a file that was cut off or altered; None for a complete one, or one of another format."""
    if not data:
        return DamageError("empty file", "empty-file")
    if data.startswith(PNG_START):
        try:
            for _ in chunks(data):
                pass
        except DamageError as error:
            return error
        return None
    if data.startswith(JPEG_START):
        scan = next((start for marker, start in _jpeg_segments(data) if marker == JPEG_SCAN), None)
        return CUT_OFF if scan is None or data.rfind(JPEG_END) < scan else None
    try:
        return CUT_OFF if more.cut_off(data) else None
    except UNREADABLE:
        return CUT_OFF


def unsupported(data: bytes) -> str | None:
    """Return the name of a format that is known and not read here."""
    return next((name for name, starts in UNSUPPORTED if starts(data)), None)


def known_start(data: bytes) -> bool:
    """Tell if a file starts like a picture of a known format, whatever its name; other files do not by chance."""
    rows = [(name, starts) for name, starts, _ in FORMATS] + list(UNSUPPORTED)
    return any(starts(data) for name, starts in rows if name not in WEAK_STARTS)


def _jpeg(data: bytes) -> Header | None:
    orientation, profile, exif = 1, False, False
    frame: tuple[int, int] | None = None
    scan = len(data)
    for marker, start in _jpeg_segments(data):
        if marker == 0xE1 and data[start : start + 6] == b"Exif\0\0" and not exif:
            end = start - 2 + int.from_bytes(data[start - 2 : start], "big")
            orientation, exif = exif_orientation(data[start + 6 : end]), True
        profile |= marker == 0xE2 and data[start : start + 12] == b"ICC_PROFILE\0"
        if marker in FRAME_MARKERS and frame is None:
            frame = marker, start
        scan = start if marker == JPEG_SCAN else scan
    if frame is None:
        return None
    bits, height, width, parts = struct.unpack_from(">BHHB", data, frame[1])
    several = frame[0] in PROGRESSIVE or data[scan : scan + 1] < bytes([parts])
    return Header(
        "jpeg",
        height,
        width,
        bits,
        JPEG_COLOURS.get(parts, "rgb"),
        orientation=orientation,
        profile=profile,
        lossy=True,
        bands=parts,
        work=_coefficients(data, frame[1]) if several else 0,
        scans=_scans(data, scan) if several else 1,
    )


def _scans(data: bytes, position: int) -> int:
    """Count the scans of a JPEG whose first starts at `position`; a decoder goes over the whole picture for each."""
    count = 1
    for _ in range(MOST_PARTS):
        found = NEXT_MARKER.search(data, position)
        if found is None or data[found.end() - 1] == JPEG_END[1]:
            return count
        count += data[found.end() - 1] == JPEG_SCAN
        position = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return MOST_PARTS


def _coefficients(data: bytes, start: int) -> int:
    """Bytes of all coefficients, which a decoder keeps until the last of several scans: two for each sample."""
    _, height, width, parts = struct.unpack_from(">BHHB", data, start)
    sides = [divmod(data[start + 7 + 3 * part], 16) for part in range(parts)]
    across, down = (max((side[axis] for side in sides), default=0) or 1 for axis in (0, 1))
    return sum(2 * height * width * side[0] * side[1] // (across * down) for side in sides)


def _png(data: bytes) -> Header | None:
    if len(data) < 29:
        return None
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    found = _leading_png_chunks(data)
    return Header(
        "png",
        height,
        width,
        bits,
        PNG_COLOURS.get(colour, "rgb"),
        alpha=colour in (4, 6) or b"tRNS" in found,
        animated=int.from_bytes(found.get(b"acTL", b"")[:4], "big") > 1,
        orientation=exif_orientation(found.get(b"eXIf", b"")),
        profile=b"iCCP" in found,
        bands=SAMPLES.get(colour, 4),
    )


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """(marker, where its content starts) of every segment up to the first scan; thumbnails lie inside segments."""
    position = 2
    for _ in range(MOST_PARTS):
        if position + 4 > len(data) or data[position] != 0xFF:
            return
        marker = data[position + 1]
        if marker == 0xFF:  # filling
            position += 1
            continue
        yield marker, position + 4
        if marker == JPEG_SCAN:
            return
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")


def _leading_png_chunks(data: bytes) -> dict[bytes, bytes]:
    """The first chunk of each kind that stands before the pixels, unchecked, by kind."""
    found: dict[bytes, bytes] = {}
    position = len(PNG_START)
    for _ in range(MOST_PARTS):
        kind = data[position + 4 : position + 8]
        if position + 12 > len(data) or kind in (b"IDAT", b"IEND"):
            break
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if kind in (b"acTL", b"eXIf", b"iCCP", b"tRNS") and kind not in found:
            found[kind] = data[position + 8 : end - 4]
        position = end
    return found


FORMATS: tuple[tuple[str, Starts, Callable[[bytes], Header | None]], ...] = (
    ("png", lambda d: d.startswith(PNG_START), _png),
    ("jpeg", lambda d: d.startswith(JPEG_START), _jpeg),
    ("gif", lambda d: d[:6] in (b"GIF87a", b"GIF89a"), more.gif),
    ("bmp", lambda d: d.startswith(b"BM"), more.bmp),
    ("tiff", lambda d: d[:4] in TIFF_STARTS, tiff),
    ("webp", lambda d: d[:4] == b"RIFF" and d[8:12] == b"WEBP", more.webp),
    ("pnm", lambda d: d[:1] == b"P" and d[1:2] in b"123456" and d[2:3].isspace(), more.pnm),
)
"""Formats that are read: name, how their files start, and the reader of their header. All others are refused."""
