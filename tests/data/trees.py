"""Small files of data sets for tests: pictures, index masks, palette masks, texts."""

import zlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edgeailite.data.files.images import write_png

SIZE = (6, 8)


def picture(path: Path, *, size: tuple[int, int] = SIZE) -> Path:
    """A grey picture in the format that the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, np.full((*size, 3), 90, np.uint8))[1].tobytes())
    return path


def mask(path: Path, values: object = 0, *, size: tuple[int, int] = SIZE) -> Path:
    """An index mask: one value, or the values given, repeated to fill it."""
    write_png(path, np.resize(np.array(values, np.uint8), size))
    return path


def text(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def palette_mask(path: Path, values: np.ndarray, colours: Sequence[tuple[int, int, int]]) -> Path:
    """A PNG of 8-bit indices with a palette, as VOC's and CVAT's masks are."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    height, width = values.shape
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 3, 0, 0, 0])
    rows = b"".join(b"\0" + row.tobytes() for row in values.astype(np.uint8))
    table = bytes(part for colour in colours for part in colour).ljust(768, b"\xff")
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = chunk(b"IHDR", header) + chunk(b"PLTE", table) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    return path
