"""Pictures and masks that a stranger made: each is decoded within bounds, or refused in one line that says why."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeailite.data.files import images
from edgeailite.data.files.colors import IndexReader
from edgeailite.data.files.images import (
    IMAGE_SUFFIXES,
    MAX_BYTES,
    MAX_FILE,
    UNREAD_SUFFIXES,
    decode_image,
    decode_stored,
    read_image,
    read_label,
)
from edgeailite.data.items import picture_size
from edgeailite.errors import DataError
from tests.data.corruption import HEIC, chunk, encoded, png_head, segment, smooth
from tests.data.files.tiffs import tiff

RGB = smooth(12, 16)
MASK = (np.arange(12 * 16).reshape(12, 16) % 5).astype(np.uint8)
BAND = 255 - RGB[..., :1]
HERE = Path("x.bin")


def refused(data: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        decode_image(HERE, data)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("x.bin: ")


def png(width: int, height: int, colour: int, bits: int, rows: bytes) -> bytes:
    return png_head(width, height, bits=bits, colour=colour) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


# --- what costs too much


def scans(count: int, *, comments: bytes = b"") -> bytes:
    """A progressive JPEG with its last scan again and again."""
    data = encoded(".jpg", RGB, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    last = data.rfind(b"\xff\xda")
    return data[:-2] + (comments + data[last:-2]) * count + data[-2:]


def wide(data: bytes, marker: int, side: int) -> bytes:
    """A JPEG whose frame says another size."""
    at = data.index(bytes([0xFF, marker])) + 5
    return data[:at] + struct.pack(">HH", side, side) + data[at + 4 :]


def webp_of_two_sizes() -> bytes:
    """The second VP8X chunk says a small size; decoders take the first."""
    first = b"VP8X" + struct.pack("<II", 10, 0) + (12_000).to_bytes(3, "little") * 2
    second = b"VP8X" + struct.pack("<II", 10, 0) + (9).to_bytes(3, "little") * 2
    body = b"WEBP" + first + second + encoded(".webp", RGB, cv2.IMWRITE_WEBP_QUALITY, 101)[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def width_twice() -> bytes:
    """The second ImageWidth says a small one; libtiff takes the first. (It takes the place of RowsPerStrip.)"""
    width, rows = struct.pack("<HHII", 256, 4, 1, 16), struct.pack("<HHII", 278, 4, 1, 12)
    return tiff(RGB).replace(rows, width).replace(width, struct.pack("<HHII", 256, 4, 1, 1 << 28), 1)


END = chunk(b"IDAT", b"") + chunk(b"IEND", b"")
FINE = (b"\1\x22\0\2\x11\1\3\x11", b"\1\x11\0\2\x11\1\3\x11")  # sampling of colours: every other pixel, every pixel
COSTLY = {
    "16-bit RGBA": (png_head(8000, 7800, bits=16, colour=6) + END, "499200000 bytes"),
    "64-bit floats": (tiff(np.zeros((2, 2)), tags={256: [8000], 257: [6000]}), "384000000 bytes to decode, refused"),
    "a side": (png_head(1, 2_000_000, colour=0) + END, "the limit is 1000000 a side"),
    "tiles": (tiff(RGB, tags={322: [1 << 14], 323: [1 << 14]}), "805306368 bytes to decode, refused"),
    "tall tiles": (tiff(RGB, tags={322: [16], 323: [1 << 30]}), "bytes to decode, refused"),
    "bands": (tiff(RGB, tags={277: [65535], 256: [4000], 257: [4000]}), "bytes to decode, refused"),
    "width twice": (width_twice(), "header says 268435456x12"),
    "scans": (scans(200), r"a JPEG of 16x12 pixels in 2\d\d scans; at most 100"),
    "scans behind an end in a comment": (scans(200, comments=segment(0xFE, b"\xff\xd9")), "scans; at most 100"),
    "scans of a large picture": (wide(scans(20), 0xC2, 7900), r"in \d\d scans; at most 20 are"),
    "coefficients": (wide(scans(0), 0xC2, 7900).replace(*FINE), "374460000 bytes to decode"),
    "WebP of two sizes": (webp_of_two_sizes(), "header says 12001x12001"),
    "parts": (png_head(4, 4) + chunk(b"tEXt", b"") * 100_001 + END, "more than 100000 parts"),
    "segments": (b"\xff\xd8" + b"\xff\xfe\0\2" * 100_001, "truncated picture"),
    "filling": (b"\xff\xd8" + b"\xff" * 1_000_000, "truncated picture"),
    "GIF blocks": (b"GIF89a" + bytes(7) + b"!\xfe\1x\0" * 300_000, "truncated picture"),
    "WebP chunks": (b"RIFF" + struct.pack("<I", 900_004) + b"WEBP" + b"JUNK\0\0\0\0" * 112_500, "not a readable"),
    "spaces": (b"P6" + b"\n" * 1_000_000, "truncated picture"),
}


@pytest.mark.parametrize("name", COSTLY)
def test_what_costs_too_much_is_never_decoded(monkeypatch, name):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    refused(*COSTLY[name])


def test_honest_pictures_are_within_the_bounds():
    assert decode_image(HERE, scans(60)).shape == RGB.shape
    tiles = {322: [256], 323: [256], 324: [8], 325: [3 << 16], 273: [], 278: [], 279: []}
    assert decode_image(HERE, tiff(RGB, tags=tiles, data=bytes(3 << 16))).shape == RGB.shape
    assert MAX_BYTES >= 4 * 64_000_000  # 8-bit RGBA


def test_a_tiff_leads_to_itself():
    data = tiff(RGB)
    start = struct.unpack("<I", data[4:8])[0]
    place = start + 2 + 12 * struct.unpack_from("<H", data, start)[0]
    assert decode_image(HERE, data[:place] + struct.pack("<I", start) + data[place + 4 :]).shape == RGB.shape


# --- too little memory is not damage


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tif"])
def test_too_little_memory(tmp_path, suffix):
    """In a process that may have 30 MB more than it has: the picture takes 48 MB."""
    path = tmp_path / f"a{suffix}"
    path.write_bytes(few_bytes_bmp() if suffix == ".bmp" else encoded(suffix, np.full((4000, 4000, 3), 90, np.uint8)))
    code = (
        "import resource, sys; from pathlib import Path; from edgeailite.data.files.images import decode_image\n"
        "data = Path(sys.argv[1]).read_bytes()\n"
        "size = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize() + 30_000_000\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size, size))\n"
        "try:\n    decode_image(Path(sys.argv[1]), data)\nexcept MemoryError:\n    sys.exit(7)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=False)
    assert ended.returncode == 7, ended.stderr[-300:]


def few_bytes_bmp() -> bytes:
    """A BMP of few bytes: runs of one colour that say nothing of most rows."""
    head = struct.pack("<IiiHHIIiiII", 40, 4000, 4000, 1, 8, 1, 0, 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 1078) + head + bytes(1024) + b"\0\1"


def test_memory_that_opencv_lacks(monkeypatch):
    def lacking(*_: object) -> None:
        error = cv2.error("Insufficient memory")
        error.code = cv2.Error.StsNoMem
        raise error

    monkeypatch.setattr(cv2, "imdecode", lacking)
    with pytest.raises(MemoryError, match="too little memory for 16x12 pixels"):
        decode_image(HERE, encoded(".png", RGB))


# --- what is no file, and what is too long


def test_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(MAX_FILE + 1)
    reasons = {"pipe": "a named pipe, not a file", "zero": "a device, not a file", "huge": f"more than the {MAX_FILE}"}
    for name, reason in reasons.items():
        for read in (read_image, read_label, images.read_depth):
            with pytest.raises(DataError, match=rf"{name}\.png: cannot be read .*{reason}"):
                read(tmp_path / f"{name}.png")
    with pytest.raises(DataError, match="a named pipe"):
        picture_size(tmp_path / "pipe.png")
    with pytest.raises(DataError, match=r"cannot be read .*null byte"):
        read_image(tmp_path / "a\0b.png")


# --- formats: what is on the list and nothing else


@pytest.mark.parametrize(
    "name, data",
    [
        ("HEIC", HEIC),
        ("AVIF", b"\0\0\0\x20ftypavif" + bytes(99)),
        ("JPEG 2000", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(99)),
        ("JPEG 2000", b"\xff\x4f\xff\x51" + bytes(99)),
        ("OpenEXR", b"\x76\x2f\x31\x01" + bytes(99)),
        ("Radiance HDR", b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 60000 +X 60000\n"),
        ("Sun raster", struct.pack(">8I", 0x59A66A95, 60000, 60000, 24, 0, 1, 0, 0)),
        ("PAM or PFM", b"P7\nWIDTH 4\n"),
        ("PAM or PFM", b"PF\n60000 60000\n-1.0\n"),
        ("Photoshop", b"8BPS\0\1" + bytes(99)),
        ("TIFF with compression LERC", tiff(RGB, compression=34887)),
        ("TIFF with compression Zstandard", tiff(RGB, compression=50000)),
        ("TIFF with compression old JPEG", tiff(RGB, compression=6)),
        ("TIFF with compression number 777", tiff(RGB, compression=777)),
    ],
)
def test_formats_that_are_not_read(monkeypatch, name, data):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    refused(data, f"{re.escape(name)} is not supported; convert it to PNG or JPEG")


def test_what_a_format_is_called_does_not_count(tmp_path):
    for name in ("a.jfif", "a.JPE", "a.heic", "a"):
        (tmp_path / name).write_bytes(encoded(".jpg", RGB))
        assert read_image(tmp_path / name).shape == RGB.shape
    assert not set(IMAGE_SUFFIXES) & set(UNREAD_SUFFIXES)
    assert all(suffix == suffix.lower() for suffix in (*IMAGE_SUFFIXES, *UNREAD_SUFFIXES))


# --- bands, samples and pages of pictures


BANDS = {
    "2 bands": (tiff(RGB[..., :2], extra=[0]), "2 bands, expected 1"),
    "5 bands": (tiff(np.dstack([RGB, BAND, BAND]), extra=[0, 0]), "5 bands, expected 1"),
    "3 bands without a colour": (tiff(RGB, photometric=1, extra=[0, 0]), "3 bands, which the file does not call red"),
    "4 bands without a colour": (tiff(np.dstack([RGB, BAND]), photometric=1, extra=[0, 0, 0]), "4 bands, which"),
    "floats": (tiff(RGB.astype(np.float32)), "32-bit float samples, expected whole numbers of 8 or 16 bits"),
    "grey floats": (tiff(BAND.astype(np.float64)), "64-bit float samples"),
    "32 bits": (tiff(RGB.astype(np.uint32)), "32-bit samples"),
    "signed": (tiff(BAND.astype(np.int16)), "signed 16-bit samples"),
    "pages": (tiff(RGB, pages=[{}, {}]), r"TIFF with several frames \(3 pages\); save the frame that is meant"),
    "a copy first": (tiff(RGB, tags={254: [1]}, pages=[{254: [0]}]), "its first page is a small copy of another"),
    "10 bits": (b"P5\n2 1\n1023\n" + bytes(4), "1023 is white, expected 255 or 65535"),
    "4 bits": (b"P6\n2 1\n15\n" + bytes(6), "15 is white"),
}  # fmt: skip


@pytest.mark.parametrize("name", BANDS)
def test_numbers_that_are_no_colours(name):
    refused(*BANDS[name])


@pytest.mark.parametrize(
    "data",
    [
        tiff(RGB),
        tiff(RGB, compression=8),
        tiff(np.dstack([RGB, BAND]), extra=[0]),
        tiff(np.dstack([RGB, BAND]), extra=[1]),
        tiff(RGB.astype(np.uint16) * 257),
        tiff(RGB, pages=[{254: [1]}, {254: [4]}]),
        tiff(RGB, pages=[{256: [4], 257: [4]}]),
    ],
    ids=["rgb", "deflate", "infrared", "alpha", "16 bits", "overview and mask", "thumbnail"],
)
def test_numbers_that_are_colours(data):
    assert np.array_equal(decode_image(HERE, data), RGB)


# --- masks


def mask_of(tmp_path: Path, data: bytes) -> Path:
    (tmp_path / "mask.tif").write_bytes(data)
    return tmp_path / "mask.tif"


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.int16, np.int32, np.int64, np.uint16, np.uint32])
def test_whole_numbers_of_any_kind_are_labels(tmp_path, dtype):
    values = MASK.astype(dtype)
    if np.dtype(dtype).kind != "u":
        values[0, 0] = -1
    found = read_label(mask_of(tmp_path, tiff(values)))
    assert found.dtype.kind in "iu"
    assert np.array_equal(found, values.astype(np.int64))


MASKS = {
    "halves": (tiff(MASK / 2), r"label 0\.5 \(\d+ pixels, first at x=1 y=0\) is no whole number: the mask is float64"),
    "not a number": (tiff(np.where(MASK > 3, np.nan, MASK)), "label nan"),
    "endless": (tiff(np.where(MASK > 3, np.inf, MASK)), "label inf"),
    "beyond": (tiff(np.where(MASK > 3, 1e12, MASK)), r"label 1000000000000\.0"),
    "2 bands": (tiff(np.dstack([MASK, MASK]), extra=[0]), "2 bands, expected 1 of class indices"),
    "3 bands without a colour": (tiff(np.dstack([MASK] * 3), photometric=1, extra=[0, 0]), "3 bands, expected 1"),
    "5 bands": (tiff(np.dstack([MASK] * 5), extra=[0, 0]), "5 bands, expected 1"),
    "white is 0": (tiff(MASK, photometric=0), "0 is white"),
    "pages": (tiff(MASK, pages=[{}]), r"several frames \(2 pages\)"),
    "JPEG": (tiff(MASK, compression=7), "JPEG blurs label values"),
}  # fmt: skip


@pytest.mark.parametrize("name", MASKS)
def test_numbers_that_are_no_labels(tmp_path, name):
    data, reason = MASKS[name]
    path = mask_of(tmp_path, data)
    for read in (read_label, IndexReader(tmp_path / "dataset.yaml")):  # which says more of colours, and only of them
        with pytest.raises(DataError, match=reason):
            read(path)


def test_a_photograph_in_place_of_a_mask_is_counted_at_once(tmp_path):
    colours = np.dstack(np.meshgrid(np.arange(256), np.arange(256), [7])).reshape(256, 256, 3).astype(np.uint8)
    (tmp_path / "a.png").write_bytes(encoded(".png", colours))
    with pytest.raises(DataError, match=r"colour mask \(65536 colours\)"):
        read_label(tmp_path / "a.png")


def test_stored_numbers_are_bounded_as_well():
    assert decode_stored(HERE, encoded(".png", np.dstack([RGB, BAND]))).shape == (12, 16, 4)
    with pytest.raises(DataError, match="bytes to decode"):
        decode_stored(HERE, COSTLY["16-bit RGBA"][0])
