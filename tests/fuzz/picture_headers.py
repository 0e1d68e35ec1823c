"""Pictures whose headers lie: bombs, sides that cannot be, fields that no decoder knows, formats that none reads."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np

from tests.data.corruption import chunk, cmyk_jpeg, gif_bomb, png, png_bomb, png_head, tiff_bomb, webp_bomb
from tests.fuzz.case import World
from tests.fuzz.mutate import bomb
from tests.fuzz.seeds import scene

SUFFIXES = (".png", ".jpg", ".bmp", ".webp", ".tiff", ".ppm", ".gif")


def encoded(suffix: str, *, number: int = 1, size: int = 1) -> bytes:
    """An honest picture in a format."""
    image = np.tile(scene(number)[0], (size, size, 1))
    return cv2.imencode(suffix, image)[1].tobytes()


def idat(
    data: bytes, *, width: int = 10, height: int = 10, bits: int = 8, colour: int = 2, extra: bytes = b""
) -> bytes:
    return png_head(width, height, bits=bits, colour=colour) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _field(whole: bytes, at: int, value: bytes) -> bytes:
    """A PNG whose first chunk says something else, with the right checksum."""
    changed = bytearray(whole)
    changed[at : at + len(value)] = value
    changed[29:33] = struct.pack(">I", zlib.crc32(bytes(changed[12:29])))
    return bytes(changed)


def _bmp(width: int, height: int, *, bits: int = 24, offset: int = 54, kind: int = 0, colours: int = 0) -> bytes:
    head = struct.pack("<2sIHHI", b"BM", 54 + 300, 0, 0, offset)
    return head + struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, kind, 0, 0, 0, colours, 0) + bytes(300)


def _tiff(*rows: tuple[int, int, int, int], following: int = 0) -> bytes:
    body = b"".join(struct.pack("<HHII", *row) for row in rows)
    return b"II*\0" + struct.pack("<IH", 8, len(rows)) + body + struct.pack("<I", following) + bytes(64)


def _sides(width: int, height: int, *more: tuple[int, int, int, int], following: int = 0) -> bytes:
    rows = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
    return _tiff(
        *rows, (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, width * height & 0xFFFFFFFF), *more, following=following
    )


def _many_scans(world: World) -> bytes:
    """A progressive JPEG whose last scan comes two thousand times."""
    whole = cv2.imencode(".jpg", scene(1)[0], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    last = whole.rfind(b"\xff\xda")
    return whole[:last] + whole[last:-2] * 2000 + b"\xff\xd9"


def _segment(marker: int, length: int, content: bytes) -> Callable[[World], bytes]:
    return lambda world: b"\xff\xd8" + struct.pack(">BBH", 0xFF, marker, length) + content + encoded(".jpg")[2:]


HEADERS: dict[str, tuple[str, Callable[[World], bytes]]] = {
    "PNG that inflates beyond its rows": (".png", lambda world: idat(bomb(12_000))),
    "PNG that inflates beyond its rows, small": (".png", lambda world: idat(bomb(200))),
    "PNG of 18000x18000": (".png", lambda world: png_bomb(b"")),
    "PNG text bomb": (".png",
        lambda world: idat(zlib.compress(bytes(310)), extra=chunk(b"zTXt", b"a\0\0" + bomb(2000)))),
    "PNG profile bomb": (".png",
        lambda world: idat(zlib.compress(bytes(310)), extra=chunk(b"iCCP", b"a\0\0" + bomb(2000)))),
    "PNG 16 bits with alpha": (".png", lambda world: idat(bomb(480), width=7900, height=7900, bits=16, colour=6)),
    "PNG palette out of range": (".png", lambda world: idat(zlib.compress(b"\0" + b"\xff" * 10) * 10, colour=3)),
    "PNG without palette": (".png", lambda world: png(np.zeros((9, 9)), 3)),
    "PNG palette of one": (".png", lambda world: png(np.full((9, 9), 200), 3, extra=chunk(b"PLTE", b"abc"))),
    "PNG bad palette": (".png", lambda world: png(np.zeros((9, 9)), 3, extra=chunk(b"PLTE", b"abcd"))),
    "PNG of bits 3": (".png", lambda world: _field(encoded(".png"), 24, b"\3")),
    "PNG of colour type 5": (".png", lambda world: _field(encoded(".png"), 25, b"\5")),
    "PNG of filter 9": (".png", lambda world: _field(encoded(".png"), 27, b"\x09")),
    "PNG of interlace 7": (".png", lambda world: _field(encoded(".png"), 28, b"\7")),
    "PNG interlaced in name": (".png", lambda world: _field(encoded(".png"), 28, b"\1")),
    "PNG wider than its rows": (".png", lambda world: _field(encoded(".png"), 16, struct.pack(">I", 4000))),
    "PNG of no width": (".png", lambda world: _field(encoded(".png"), 16, bytes(4))),
    "PNG of negative height": (".png", lambda world: _field(encoded(".png"), 20, b"\xff" * 4)),
    "PNG row filter 99": (".png", lambda world: idat(zlib.compress((b"\x63" + bytes(30)) * 10))),
    "PNG without pixels": (".png", lambda world: png_head(9, 9) + chunk(b"IEND", b"")),
    "PNG of many chunks": (".png",
        lambda world: idat(zlib.compress(bytes(310)), extra=chunk(b"tEXt", b"a\0b") * 200_000)),
    "PNG two headers": (".png", lambda world: png_head(9, 9) + encoded(".png")[8:]),
    "PNG bad checksum of text": (".png",
        lambda world: idat(zlib.compress(bytes(310)), extra=chunk(b"tEXt", b"a\0b")[:-1] + b"x")),
    "PNG animated": (".png",
        lambda world: idat(zlib.compress(bytes(310)), extra=chunk(b"acTL", struct.pack(">II", 10**9, 0)))),
    "PNG orientation 99": (".png",
        lambda world: idat(zlib.compress(bytes(310)),
            extra=chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x63\0\0"))),
    "JPEG of many scans": (".jpg", _many_scans),
    "JPEG of 65500x65500": (".jpg", lambda world: cmyk_jpeg(65_500, 8)[:20] + cmyk_jpeg(65_500, 65_500)[20:400]),
    "JPEG of four colours": (".jpg", lambda world: cmyk_jpeg(40, 30)),
    "JPEG segment of length 0": (".jpg", _segment(0xE1, 0, b"")),
    "JPEG segment of length 1": (".jpg", _segment(0xE1, 1, b"")),
    "JPEG segment beyond the end": (".jpg", _segment(0xE1, 65_535, b"Exif\0\0")),
    "JPEG orientation beyond": (".jpg", _segment(0xE1, 30, b"Exif\0\0MM\0*\xff\xff\xff\xff" + bytes(14))),
    "JPEG no tables": (".jpg",
        lambda world: encoded(".jpg").replace(b"\xff\xdb", b"\xff\xfe").replace(b"\xff\xc4", b"\xff\xfe")),
    "JPEG of 12 bits": (".jpg", lambda world: encoded(".jpg").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c")),
    "JPEG lossless": (".jpg", lambda world: encoded(".jpg").replace(b"\xff\xc0", b"\xff\xc3")),
    "JPEG arithmetic": (".jpg", lambda world: encoded(".jpg").replace(b"\xff\xc0", b"\xff\xc9")),
    "TIFF of 90000x90000": (".tiff", lambda world: tiff_bomb(b"")),
    "TIFF of no rows": (".tiff", lambda world: _sides(0, 0)),
    "TIFF without pixels": (".tiff", lambda world: _sides(4000, 4000)),
    "TIFF directory that follows itself": (".tiff", lambda world: _sides(8, 1, following=8)),
    "TIFF of 60,000 directories": (".tiff", lambda world: _tiff(*[(256, 4, 1, 8)] * 60_000)),
    "TIFF of 64 bits": (".tiff", lambda world: _tiff((256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 64), (339, 3, 1, 3))),
    "TIFF of 9 samples": (".tiff", lambda world: _sides(8, 8, (338, 3, 9, 0))),
    "TIFF deflated beyond": (".tiff",
        lambda world: _tiff((256, 4, 1, 8), (257, 4, 1, 8), (259, 3, 1, 8), (273, 4, 1, 2**31), (279, 4, 1, 2**31))),
    "TIFF tiles huge": (".tiff",
        lambda world: _sides(8, 8, (322, 4, 1, 2**31 - 16), (323, 4, 1, 2**31 - 16), (324, 4, 1, 8))),
    "BigTIFF": (".tiff", lambda world: b"II+\0\x08\0\0\0" + b"\xff" * 8 + bytes(40)),
    "BMP of 40000x40000": (".bmp", lambda world: _bmp(40_000, 40_000)),
    "BMP of negative height": (".bmp", lambda world: _bmp(5, -(2**31))),
    "BMP of negative width": (".bmp", lambda world: _bmp(-5, 5)),
    "BMP of 3 bits": (".bmp", lambda world: _bmp(5, 5, bits=3)),
    "BMP runs": (".bmp", lambda world: _bmp(5, 5, bits=8, kind=1)),
    "BMP offset beyond": (".bmp", lambda world: _bmp(5, 5, offset=2**32 - 1)),
    "BMP of many colours": (".bmp", lambda world: _bmp(5, 5, bits=8, colours=2**31)),
    "WebP of 16384x16384": (".webp", lambda world: webp_bomb(b"")),
    "WebP length lies": (".webp", lambda world: b"RIFF\xff\xff\xff\xff" + encoded(".webp")[8:]),
    "WebP unknown chunk": (".webp", lambda world: encoded(".webp").replace(b"VP8", b"VPX")),
    "GIF of 65535x65535": (".gif", lambda world: gif_bomb(b"")),
    "PNM of huge sides": (".ppm", lambda world: b"P6 999999999 999999999 255\n" + bytes(50)),
    "PNM of negative sides": (".ppm", lambda world: b"P6 -5 -5 255\n" + bytes(50)),
    "PNM of endless number": (".ppm", lambda world: b"P6 " + b"9" * 6000 + b" 5 255\n"),
    "PNM of maximum 0": (".ppm", lambda world: b"P6 5 5 0\n" + bytes(75)),
    "PNM of comments": (".ppm", lambda world: b"P6\n" + b"# x\n" * 300_000 + b"5 5 255\n" + bytes(75)),
    "PNM as text": (".ppm", lambda world: b"P3 5 5 255\n" + b"1 2 " * 20),
    "PNM short": (".ppm", lambda world: b"P6 50 50 255\n" + bytes(75)),
    "HEIC": (".jpg", lambda world: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)),
    "AVIF": (".png", lambda world: b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(200)),
    "OpenEXR": (".tiff", lambda world: b"v/1\x01\2\0\0\0channels\0chlist\0" + b"\xff" * 200),
    "HDR": (".png", lambda world: b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 90000 +X 90000\n" + bytes(100)),
    "JPEG 2000": (".jpg", lambda world: b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100)),
    "PAM": (".ppm",
        lambda world: b"P7\nWIDTH 90000\nHEIGHT 90000\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n" + bytes(90)),
    "PFM": (".ppm", lambda world: b"PF\n90000 90000\n-1.0\n" + bytes(90)),
    "Sun raster": (".png",
        lambda world: b"\x59\xa6\x6a\x95" + struct.pack(">7I", 90_000, 90_000, 24, 0, 1, 0, 0) + bytes(90)),
}  # fmt: skip
