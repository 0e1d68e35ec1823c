"""Headers: size, bits, colours, frames and orientation of every format, and no exception for any bytes at all."""

import struct

import cv2
import numpy as np
import pytest

from edgeailite.data.files.header import DamageError
from edgeailite.data.files.headers import Header, damage, header_size, read_header, unsupported
from tests.data.corruption import (
    EXIF_6,
    PNG,
    animation,
    chunk,
    cmyk_jpeg,
    encoded,
    png_head,
    segment,
    smooth,
    with_exif,
)

IMAGE = smooth(20, 30)
TIFF_6 = EXIF_6.removeprefix(b"Exif\0\0")
FORMATS = {
    "png": (".png", ()),
    "jpeg": (".jpg", ()),
    "bmp": (".bmp", ()),
    "tiff": (".tiff", ()),
    "webp": (".webp", (cv2.IMWRITE_WEBP_QUALITY, 80)),
    "pnm": (".ppm", ()),
    "gif": (".gif", ()),
}


def file_of(kind: str) -> bytes:
    suffix, options = FORMATS[kind]
    return encoded(suffix, IMAGE, *options)


def with_webp_chunk(data: bytes, flags: int, kind: bytes, content: bytes) -> bytes:
    """A simple WebP as an extended one with a further chunk."""
    head = b"VP8X" + struct.pack("<II", 10, flags) + (29).to_bytes(3, "little") + (19).to_bytes(3, "little")
    body = b"WEBP" + head + data[12:] + kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("kind", FORMATS)
def test_size_of_every_format(kind):
    header = read_header(file_of(kind))
    assert header is not None
    assert (header.kind, header.height, header.width, header.bits) == (kind, 20, 30, 8)
    assert (header.animated, header.orientation, header.alpha) == (False, 1, False)
    assert header.lossy == (kind in ("jpeg", "webp"))
    assert header_size(file_of(kind)) == (20, 30)
    assert damage(file_of(kind)) is None


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_cut_files_are_told(kind, share):
    data = file_of(kind)
    assert "truncated" in str(damage(data[: int(len(data) * share)]))


@pytest.mark.parametrize("kind", FORMATS)
def test_no_bytes_raise(kind):
    """Every beginning of a file, and files with altered bytes."""
    data, rng = file_of(kind), np.random.default_rng(1)
    for length in range(0, len(data), max(1, len(data) // 200)):
        read_header(data[:length])
        damage(data[:length])
    for _ in range(300):
        wrong = bytearray(data)
        for place in rng.integers(0, min(len(data), 120), 4):
            wrong[place] = rng.integers(0, 256)
        assert isinstance(read_header(bytes(wrong)), Header | None)
        assert isinstance(damage(bytes(wrong)), DamageError | None)


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_animations(suffix):
    header = read_header(animation(suffix, IMAGE))
    assert header is not None
    assert header.animated
    assert (header.height, header.width) == (20, 30)


def test_orientation_of_each_format_that_has_one():
    exif = chunk(b"eXIf", TIFF_6)
    png = encoded(".png", IMAGE)
    files = [
        with_exif(encoded(".jpg", IMAGE)),
        png[:33] + exif + png[33:],
        with_webp_chunk(file_of("webp"), 0x08, b"EXIF", TIFF_6),
    ]
    assert [getattr(read_header(data), "orientation", None) for data in files] == [6, 6, 6]


def test_little_endian_and_broken_exif():
    little = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x03\0\0\0\0\0\0\0"
    jpeg = encoded(".jpg", IMAGE)
    for content, orientation in ((little, 3), (little[:20], 1), (b"Exif\0\0nonsense", 1), (EXIF_6[:-8], 1)):
        header = read_header(jpeg[:2] + segment(0xE1, content) + jpeg[2:])
        assert header is not None
        assert header.orientation == orientation


def test_colours_bits_alpha_and_profile():
    header = read_header(cmyk_jpeg(30, 20))
    assert header is not None
    assert (header.colour, header.height, header.width) == ("cmyk", 20, 30)
    deep = read_header(encoded(".png", IMAGE.astype(np.uint16) * 257))
    assert deep is not None
    assert deep.bits == 16
    grey = read_header(encoded(".jpg", IMAGE[..., 0]))
    assert grey is not None
    assert grey.colour == "grey"
    clear = encoded(".webp", np.dstack([IMAGE, IMAGE[..., 0]]), cv2.IMWRITE_WEBP_QUALITY, 101)
    for data in (encoded(".png", np.dstack([IMAGE, IMAGE[..., 0]])), clear):
        header = read_header(data)
        assert header is not None
        assert (header.alpha, header.lossy) == (True, False)
    profile = PNG + encoded(".png", IMAGE)[8:33] + chunk(b"iCCP", b"x\0\0") + encoded(".png", IMAGE)[33:]
    assert getattr(read_header(profile), "profile", None)


def test_big_tiff():
    rows = [(256, 4, 1, 70000), (257, 4, 1, 80000), (258, 3, 1, 8), (262, 3, 1, 5)]
    data = b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, len(rows))
    data += b"".join(struct.pack("<HHQQ", *row) for row in rows) + bytes(8)
    header = read_header(data)
    assert header is not None
    assert (header.width, header.height, header.colour) == (70000, 80000, "cmyk")


def test_formats_that_are_not_read():
    assert unsupported(b"\0\0\0\x18ftypheic") == "HEIC"
    assert unsupported(b"\0\0\0\x0cJXL \r\n\x87\n") == "JPEG XL"
    assert unsupported(png_head(3, 3)) is None
    assert read_header(b"text") is None
