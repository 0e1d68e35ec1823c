"""The table of `fault_cases` goes on: pictures and masks of kinds that strangers send, through data check."""

import os
import zlib
from pathlib import Path

import numpy as np

from tests.data.corruption import (
    Found,
    change_mask,
    change_picture,
    chunk,
    encoded,
    mask,
    picture,
    png_head,
    relabel,
    smooth,
)
from tests.data.fault_cases import Case, H, W, case, fine, warned
from tests.data.files.tiffs import tiff

RGB, BAND = smooth(H, W, 7), smooth(H, W, 9)[..., :1]
LABEL = (np.arange(W)[None].repeat(H, 0) // 6).astype(np.uint8)


def inflated(data: bytes) -> bytes:
    """Ten by ten pixels whose data is 16 MB."""
    return png_head(10, 10) + chunk(b"IDAT", zlib.compress(bytes(1 << 24))) + chunk(b"IEND", b"")


def pipe(root: Path, split: str, stem: str) -> Found:
    path = picture(root, split, stem)
    path.unlink()
    os.mkfifo(path)
    return path, "unreadable"


def endless_mask(root: Path, split: str, stem: str) -> Found:
    path = mask(root, split, stem)
    path.unlink()
    path.symlink_to("/dev/zero")
    return path, "unreadable"


def minus_one(label: np.ndarray) -> np.ndarray:
    values = label.astype(np.int32)
    values[:2, :3] = -1
    return values


STRANGERS: dict[str, Case] = {
    "A inflated PNG": case(change_picture("damaged", inflated, suffix=".png"), "inflate to more than the 310 bytes"),
    "A 16-bit RGBA": case(
        change_picture("too-large", lambda d: png_head(8000, 7800, bits=16, colour=6), suffix=".png"), "499200000 bytes"
    ),
    "A pipe": case(pipe, "a named pipe, .*not a file"),
    "A JPEG called jfif": warned(change_picture("wrong-suffix", lambda d: d, suffix=".jfif"), r"rename it to \.jpg"),
    "A AVIF": case(change_picture("unsupported", lambda d: b"\0\0\0\x20ftypavif" + bytes(99)), "AVIF is not supported"),
    "A JPEG 2000": case(change_picture("unsupported", lambda d: encoded(".jp2", RGB)), "JPEG 2000 is not supported"),
    "A TIFF pages": case(
        change_picture("animated", lambda d: tiff(RGB, pages=[{}]), suffix=".tif"), r"several frames \(2 pages\)"
    ),
    "A infrared": warned(
        change_picture("bands", lambda d: tiff(np.dstack([RGB, BAND]), extra=[0]), suffix=".tif"),
        "4 bands, of which the first three are used",
    ),
    "A 5 bands": case(
        change_picture("not-a-picture", lambda d: tiff(np.dstack([RGB, BAND, BAND]), extra=[0, 0]), suffix=".tif"),
        "5 bands, expected 1",
    ),
    "A floats": case(
        change_picture("not-a-picture", lambda d: tiff(RGB.astype(np.float32)), suffix=".tif"), "32-bit float samples"
    ),
    "B halves": case(
        change_mask("bad-label-file", lambda d: tiff(LABEL.astype(np.float32) / 2)), r"label 0\.5 \(.* no whole number"
    ),
    "B whole floats": fine(change_mask("", lambda d: tiff(LABEL.astype(np.float32)))),
    "B -1 of 32 bits": Case(relabel("unmapped-ignore", minus_one, ".tiff"), r'label -1 .*looks like "ignore"'),
    "B pages": case(change_mask("animated", lambda d: tiff(LABEL, pages=[{}])), r"several frames \(2 pages\)"),
    "B 2 bands": case(change_mask("bad-label-file", lambda d: tiff(np.dstack([LABEL] * 2), extra=[0])), "2 bands, exp"),
    "B endless": case(endless_mask, "a device.*, not a file"),
}
