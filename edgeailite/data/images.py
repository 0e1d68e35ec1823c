"""Reading pictures and label files, and writing results: the one decoder of training, validation and inference.

OpenCV decodes; sizes are read from the file header first, so that a forged header cannot fill memory, and cut-off or
damaged files are found before OpenCV would fill their rest with grey. EXIF orientation is not applied: cameras on
devices do not rotate, and label files are in stored orientation. Masks keep the numbers that are stored: OpenCV would
turn palette indices into colours and stretch grey of 1, 2 or 4 bits to 0..255.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeailite.errors import DataError

MAX_PIXELS = 64_000_000
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp", ".tif", ".tiff")

PNG_START = b"\x89PNG\r\n\x1a\n"
JPEG_START, JPEG_END, JPEG_SCAN = b"\xff\xd8", b"\xff\xd9", 0xDA
GREY, PALETTE = 0, 3  # PNG colour types

cv2.setNumThreads(0)  # loader processes are the parallelism


def read_image(path: Path) -> NDArray[np.uint8]:
    """Picture (H,W,3) uint8 RGB. Raises DataError for a missing, damaged, huge or unsupported file."""
    rgb: NDArray[Any] = cv2.cvtColor(
        _decode(path, _read(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION), cv2.COLOR_BGR2RGB
    )
    return rgb


def read_label(path: Path) -> NDArray[np.integer]:
    """Index mask (H,W). Raises DataError, also for masks with colours or lossy compression."""
    data = _read(path)
    if data.startswith(JPEG_START):
        raise DataError(f"{path}: JPEG blurs label values; store masks as PNG")
    data, stretch = _stored_indices(data)
    label = _decode(path, data, cv2.IMREAD_UNCHANGED)
    if label.ndim == 3 and (label[..., :3] == label[..., :1]).all():
        label = label[..., 0]
    if label.ndim != 2:
        colours = len(np.unique(label.reshape(-1, label.shape[2]), axis=0))
        raise DataError(f"{path}: colour mask ({colours} colours), expected class indices; convert it to an index PNG")
    return label // stretch if stretch > 1 else label


def read_depth(path: Path) -> NDArray[np.float32]:
    """Depth (H,W) float32 from a 16-bit PNG in 1/256 metre, 0 = not known (KITTI's form). Raises DataError."""
    stored = _decode(path, _read(path), cv2.IMREAD_UNCHANGED)
    if stored.ndim != 2 or stored.dtype != np.uint16:
        raise DataError(f"{path}: {stored.dtype} with shape {stored.shape}, expected a 16-bit grey PNG of depth")
    return stored.astype(np.float32) / np.float32(256)


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write (H,W) or (H,W,3) RGB uint8, via a temporary name so that no half file stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bgr = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(cv2.imencode(".png", bgr)[1].tobytes())
    partial.replace(path)


def _read(path: Path) -> bytes:
    """The bytes of a file that looks whole."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); replace it or leave it out") from None
    size = header_size(data)
    if size is not None and size[0] * size[1] > MAX_PIXELS:
        raise DataError(
            f"{path}: header says {size[1]}x{size[0]} pixels, refused; the limit is {MAX_PIXELS}, shrink or replace it"
        )
    damage = _damage(data)
    if damage:
        raise DataError(f"{path}: {damage} ({len(data)} bytes); replace it")
    return data


def _decode(path: Path, data: bytes, flags: int) -> NDArray[Any]:
    try:
        image: NDArray[Any] | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        raise DataError(f"{path}: not a readable picture ({len(data)} bytes); supported: {', '.join(IMAGE_SUFFIXES)}")
    return image


def header_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) from a PNG or JPEG header; None for other formats."""
    if data.startswith(PNG_START) and len(data) >= 24:
        return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
    if data.startswith(JPEG_START):
        for marker, start in _jpeg_segments(data):
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
                return int.from_bytes(data[start + 1 : start + 3], "big"), int.from_bytes(
                    data[start + 3 : start + 5], "big"
                )
    return None


def _damage(data: bytes) -> str | None:
    """What is wrong with a file that was cut off or altered; None for a whole one, or one of another format."""
    if not data:
        return "empty file"
    if data.startswith(PNG_START):
        try:
            list(_png_chunks(data))
        except ValueError as error:
            return str(error)
    if data.startswith(JPEG_START):
        scan = next((start for marker, start in _jpeg_segments(data) if marker == JPEG_SCAN), None)
        if scan is None or data.find(JPEG_END, scan) < 0:
            return "truncated picture"
    return None


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


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
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


def _stored_indices(data: bytes) -> tuple[bytes, int]:
    """Files that OpenCV decodes to the stored numbers times a factor: a palette PNG is rewritten as a grey one."""
    if not data.startswith(PNG_START):
        return data, 1
    depth, colour_type = data[24], data[25]
    if colour_type == PALETTE:
        header = data[16:25] + bytes([GREY]) + data[26:29]
        pixels = b"".join(_png_chunk(kind, content) for kind, content in _png_chunks(data) if kind == b"IDAT")
        data = PNG_START + _png_chunk(b"IHDR", header) + pixels + _png_chunk(b"IEND", b"")
    return data, 255 // (2**depth - 1) if depth < 8 else 1


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content).to_bytes(4, "big")
    return len(content).to_bytes(4, "big") + kind + content + checksum
