"""Repacked PNG files hold the same pixels; whatever is unusual or damaged is left to OpenCV."""

import zlib

import cv2
import numpy as np
import pytest

from edgeailite.data import png
from edgeailite.data.png import repacked


@pytest.fixture(autouse=True)
def also_small_files(monkeypatch):
    monkeypatch.setattr(png, "SMALL", 0)


def decoded(data: bytes) -> np.ndarray | None:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, np.iinfo(dtype).max, shape, dtype)


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
    result = repacked(data)
    assert result is not data
    assert np.array_equal(decoded(result), image)


def test_one_bit_and_other_chunks():
    image = (noise(33, 51) > 127).astype(np.uint8) * 255
    data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_BILEVEL, 1])[1].tobytes()
    comment = b"tEXtComment\0streets"
    chunk = (len(comment) - 4).to_bytes(4, "big") + comment + zlib.crc32(comment).to_bytes(4, "big")
    result = repacked(data[:33] + chunk + data[33:])
    assert chunk in result
    assert np.array_equal(decoded(result), decoded(data))


def rgb() -> bytearray:
    return bytearray(cv2.imencode(".png", noise(40, 60, 3))[1].tobytes())


def changed(position: int, value: int) -> bytes:
    data = rgb()
    data[position] = value
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        changed(28, 1),  # interlaced
        changed(25, 7),  # no colour type
        changed(23, 41),  # more rows than there are
        changed(23, 39),  # fewer
        changed(41, 0),  # no deflate stream
        changed(200, 0),  # damaged pixels
        bytes(rgb()[:300]),  # cut off
        bytes(rgb()[:33]),
        b"\x89PNG\r\n\x1a\n",
        b"text",
        b"",
    ],
)
def test_what_is_not_sure_is_left_alone(data):
    assert repacked(data) is data


def test_without_isal_nothing_changes(monkeypatch):
    monkeypatch.setattr(png, "isal_zlib", None)
    data = bytes(rgb())
    assert repacked(data) is data
