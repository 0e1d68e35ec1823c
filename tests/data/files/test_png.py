"""Unpacked PNG files hold the same pixels, and files that inflate to more than their rows are refused at once."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from edgeailite.data.files import png
from edgeailite.data.files.png import START, chunks, row_bytes, unpacked
from tests.data.corruption import chunk

BOMB = zlib.compress(bytes(1 << 24))


@pytest.fixture(autouse=True, params=["isal", "zlib"])
def inflater(request, monkeypatch):
    if request.param == "zlib":
        monkeypatch.setattr(png, "isal_zlib", None)
    elif png.isal_zlib is None:
        pytest.skip("isal is not installed")


def decoded(data: bytes, flags: int = cv2.IMREAD_UNCHANGED) -> np.ndarray | None:
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags)


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, np.iinfo(dtype).max, shape, dtype)


def built(head: bytes, *parts: bytes) -> bytes:
    return START + chunk(b"IHDR", head) + b"".join(parts) + chunk(b"IEND", b"")


def head(width: int, height: int, *, bits: int = 8, colour: int = 2, interlaced: int = 0) -> bytes:
    return struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)


@pytest.mark.parametrize(
    "image",
    [
        noise(40, 60, 3),
        noise(41, 300, 4),
        noise(7, 9),
        noise(300, 200, 3),
        noise(20, 30, 3, dtype=np.uint16),
        noise(1, 1, 3),
    ],
    ids=["rgb", "rgba", "grey", "several blocks", "16 bit", "one pixel"],
)
@pytest.mark.parametrize("level", [0, 1, 9])
def test_same_pixels(image, level):
    data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, level])[1].tobytes()
    result = unpacked(data)
    assert result != data
    assert np.array_equal(decoded(result), image)


@pytest.mark.parametrize("colour, bits", sorted(png.KINDS))
@pytest.mark.parametrize("interlaced", [0, 1])
def test_every_kind_is_what_opencv_makes_of_the_file(colour, bits, interlaced):
    """Also with chunks that are left out, and transparency that is kept."""
    samples = png.SAMPLES[colour]
    for width, height in ((1, 1), (3, 2), (17, 9)):
        info = head(width, height, bits=bits, colour=colour, interlaced=interlaced)
        rows = bytearray(noise(row_bytes(info)).tobytes())
        rows[:] = bytes(len(rows)) if interlaced else rows  # of interlaced ones where filters stand is not known here
        if not interlaced:
            rows[:: row_bytes(info) // height] = bytes(height)
        colours = chunk(b"PLTE", noise(768).tobytes()[: 3 * 2 ** min(bits, 8)]) if colour == 3 else b""
        clear = {0: b"\0\1", 2: b"\0\1\0\2\0\3", 3: b"\0\x80"}.get(colour)
        extra = chunk(b"gAMA", struct.pack(">I", 30000)) + colours + (chunk(b"tRNS", clear) if clear else b"")
        extra += chunk(b"tEXt", b"Comment\0streets") + chunk(b"sBIT", bytes([1] * (3 if colour == 3 else samples)))
        data = built(info, extra, chunk(b"IDAT", zlib.compress(bytes(rows))))
        result = unpacked(data)
        assert b"streets" not in result
        for flags in (cv2.IMREAD_UNCHANGED, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION):
            assert np.array_equal(decoded(result, flags), decoded(data, flags))


@pytest.mark.parametrize("interlaced", [0, 1])
def test_pixels_that_inflate_beyond_their_rows(interlaced):
    """Ten by ten pixels, for which libpng would inflate 16 MB to their end."""
    data = built(head(10, 10, interlaced=interlaced), chunk(b"IDAT", BOMB))
    with pytest.raises(ValueError, match=r"damaged picture, its pixels inflate to more than the \d+ bytes of its rows"):
        unpacked(data)


def test_one_byte_more_or_less():
    info = head(10, 10)
    for size, reason in ((311, "inflate to more than the 310"), (309, "309 of the 310 bytes")):
        with pytest.raises(ValueError, match=reason):
            unpacked(built(info, chunk(b"IDAT", zlib.compress(noise(size).tobytes()))))


def test_what_cannot_inflate_to_much_is_handed_on():
    """A label file: few bytes for its pixels, so few that reading them to their end is no work."""
    packed = zlib.compress(bytes(1000 * 1001))
    data = built(head(1000, 1000, colour=0), chunk(b"IDAT", packed))
    assert packed in unpacked(data)


def test_texts_and_profiles_are_not_inflated():
    extra = chunk(b"zTXt", b"Comment\0\0" + BOMB) + chunk(b"iCCP", b"profile\0\0" + BOMB)
    extra += chunk(b"iTXt", b"Comment\0\1\0\0\0" + BOMB) + chunk(b"eXIf", b"MM\0*" + bytes(99))
    extra += chunk(b"fdAT", bytes(4) + BOMB)
    data = built(head(10, 10), extra, chunk(b"IDAT", zlib.compress(bytes(310))))
    assert len(unpacked(data)) < 500


def test_data_in_many_chunks():
    packed = zlib.compress(noise(310).tobytes())
    parts = [chunk(b"IDAT", packed[i : i + 1]) for i in range(len(packed))]
    data = built(head(10, 10), chunk(b"IDAT", b""), *parts)
    assert len(list(chunks(data))) == len(packed) + 3
    with pytest.raises(ValueError, match="more than 100000 parts"):
        list(chunks(built(head(10, 10), chunk(b"IDAT", b"") * 100_001)))


def rgb() -> bytearray:
    return bytearray(cv2.imencode(".png", noise(40, 60, 3))[1].tobytes())


def altered(info: bytes, pixels: bytes = zlib.compress(noise(310).tobytes())) -> bytes:
    return built(info, chunk(b"IDAT", pixels))


@pytest.mark.parametrize(
    "data, reason",
    [
        (altered(head(10, 10, colour=7)), "no header"),
        (altered(head(10, 10, interlaced=2)), "that PNG does not have"),
        (altered(head(10, 11)), "310 of the 341 bytes"),
        (altered(head(10, 10), b"no deflate stream" * 9), "cannot be inflated"),
        (altered(head(10, 10), zlib.compress(noise(310).tobytes())[:-4] + b"\1\2\3\4"), "cannot be inflated"),
        (START + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""), "no header"),
        (bytes(rgb()[:300]), "truncated picture"),
        (bytes(rgb()[:33]), "truncated picture"),
        (START, "truncated picture"),
        (bytes(rgb()).replace(b"IDAT", b"IDAX"), "wrong checksum"),
    ],
)
def test_damage(data, reason):
    with pytest.raises(ValueError, match=reason):
        unpacked(data)


def test_a_necessary_part_of_no_standard():
    data = built(head(10, 10), chunk(b"CgBI", bytes(4)), chunk(b"IDAT", zlib.compress(bytes(310))))
    assert decoded(data) is None
    with pytest.raises(ValueError, match="a part b'CgBI' that PNG does not have"):
        unpacked(data)
