"""Reading pictures and label files, and writing results: the one decoder of training, validation and inference.

OpenCV decodes; sizes are read from the file header first, so that a forged header cannot fill memory. EXIF
orientation is not applied: cameras on devices do not rotate, and label files are in stored orientation.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeailite.errors import DataError

MAX_PIXELS = 64_000_000
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp", ".tif", ".tiff")

cv2.setNumThreads(0)  # loader processes are the parallelism


def read_image(path: Path) -> NDArray[np.uint8]:
    """Picture (H,W,3) uint8 RGB. Raises DataError for a missing, damaged, huge or unsupported file."""
    image = _decode(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def read_label(path: Path) -> NDArray[np.integer]:
    """Index mask (H,W). Raises DataError, also for masks with colours or lossy compression."""
    if path.suffix.lower() in (".jpg", ".jpeg"):
        raise DataError(f"{path}: JPEG blurs label values; store masks as PNG")
    label = _decode(path, cv2.IMREAD_UNCHANGED)
    if label.ndim == 3 and (label[..., 0] == label[..., 1]).all() and (label[..., 0] == label[..., 2]).all():
        label = label[..., 0]
    if label.ndim != 2:
        colours = len(np.unique(label.reshape(-1, label.shape[2]), axis=0))
        raise DataError(f"{path}: colour mask ({colours} colours), expected class indices; convert it to an index PNG")
    return label


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write (H,W) or (H,W,3) RGB uint8, via a temporary name so that no half file stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bgr = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(cv2.imencode(".png", bgr)[1].tobytes())
    os.replace(partial, path)


def _decode(path: Path, flags: int) -> NDArray[np.uint8]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    size = header_size(data)
    if size is not None and size[0] * size[1] > MAX_PIXELS:
        raise DataError(f"{path}: header says {size[1]}x{size[0]} pixels, the limit is {MAX_PIXELS}; refused")
    if not data or _truncated(data):
        raise DataError(f"{path}: {'empty file' if not data else 'truncated picture'} ({len(data)} bytes); replace it")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        raise DataError(f"{path}: not a readable picture ({len(data)} bytes); supported: {', '.join(IMAGE_SUFFIXES)}")
    return image


def header_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) from a PNG or JPEG header; None for other formats."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
    if data[:2] == b"\xff\xd8":
        return _jpeg_size(data)
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    position = 2
    while position + 9 < len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            fields = data[position + 5 : position + 9]
            return int.from_bytes(fields[:2], "big"), int.from_bytes(fields[2:], "big")
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return None


def _truncated(data: bytes) -> bool:
    """A PNG without its IEND chunk, or a JPEG without its end marker: OpenCV would fill the rest with grey."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return b"IEND" not in data[-64:]
    if data[:2] == b"\xff\xd8":
        return b"\xff\xd9" not in data[-4096:]
    return False
