"""Reading pictures and label files, and writing results: the one decoder of training, validation and inference.

OpenCV decodes; sizes are read from the file header first, so that a forged header cannot fill memory, and cut-off or
damaged files are found before OpenCV would fill their rest with grey. EXIF orientation is not applied: cameras on
devices do not rotate, and label files are in stored orientation. Masks keep the numbers that are stored: OpenCV would
turn palette indices into colours and stretch grey of 1, 2 or 4 bits to 0..255.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeailite.data.headers import (
    JPEG_START,
    PNG_START,
    Header,
    damage,
    header_size,
    png_chunks,
    read_header,
    unsupported,
)
from edgeailite.data.png import repacked
from edgeailite.errors import DataError

__all__ = [
    "IMAGE_SUFFIXES", "JPEG_START", "MAX_PIXELS", "check_data", "decode_image", "encode_png", "header_size",
    "read_depth", "read_file", "read_image", "read_label", "write_png",
]  # fmt: skip

MAX_PIXELS = 64_000_000
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp", ".tif", ".tiff")

GREY, PALETTE = 0, 3  # PNG colour types

cv2.setNumThreads(0)  # loader processes are the parallelism


def read_image(path: Path) -> NDArray[np.uint8]:
    """Picture (H,W,3) uint8 RGB. Raises DataError for a missing, damaged, huge or unsupported file."""
    return decode_image(path, read_file(path)[0])


def decode_image(path: Path, data: bytes) -> NDArray[np.uint8]:
    """The picture in the bytes that `read_file` gave for the path."""
    return _decode(path, repacked(data), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)


def read_label(path: Path) -> NDArray[np.integer]:
    """Index mask (H,W). Raises DataError, also for masks with colours or lossy compression."""
    data, header = read_file(path)
    if header is not None and header.lossy:
        kind = "lossy WebP" if header.kind == "webp" else "JPEG"
        raise DataError(f"{path}: {kind} blurs label values; store masks as PNG")
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
    stored = _decode(path, read_file(path)[0], cv2.IMREAD_UNCHANGED)
    if stored.ndim != 2 or stored.dtype != np.uint16:
        raise DataError(f"{path}: {stored.dtype} with shape {stored.shape}, expected a 16-bit grey PNG of depth")
    return stored.astype(np.float32) / np.float32(256)


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write (H,W) or (H,W,3) RGB uint8, via a temporary name so that no half file stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(encode_png(image))
    partial.replace(path)


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """The bytes that `write_png` writes of (H,W) or (H,W,3) RGB uint8."""
    bgr = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", bgr)[1].tobytes()


def read_file(path: Path) -> tuple[bytes, Header | None]:
    """The bytes of a file that looks whole, and its header. Raises DataError, without decoding anything."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); replace it or leave it out") from None
    return data, check_data(path, data)


def check_data(path: Path, data: bytes) -> Header | None:
    """The header of a picture that looks whole, whose bytes came from `path`. Raises DataError, as `read_file` does."""
    header = read_header(data)
    if header is not None and header.height * header.width > MAX_PIXELS:
        raise DataError(
            f"{path}: header says {header.width}x{header.height} pixels, refused; the limit is {MAX_PIXELS}, "
            "shrink or replace it"
        )
    problem = damage(data)
    if problem:
        raise DataError(f"{path}: {problem} ({len(data)} bytes); replace it")
    if unsupported(data):
        raise DataError(f"{path}: {unsupported(data)} is not supported; convert it to PNG or JPEG")
    if header is not None and header.animated:
        raise DataError(f"{path}: {header.kind.upper()} with several frames; save the frame that is meant as PNG")
    return header


def _decode(path: Path, data: bytes, flags: int) -> NDArray[Any]:
    try:
        image: NDArray[Any] | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        raise DataError(f"{path}: not a readable picture ({len(data)} bytes); supported: {', '.join(IMAGE_SUFFIXES)}")
    return image


def _stored_indices(data: bytes) -> tuple[bytes, int]:
    """Files that OpenCV decodes to the stored numbers times a factor: a palette PNG is rewritten as a grey one."""
    if not data.startswith(PNG_START):
        return data, 1
    depth, colour_type = data[24], data[25]
    if colour_type == PALETTE:
        header = data[16:25] + bytes([GREY]) + data[26:29]
        pixels = b"".join(_png_chunk(kind, content) for kind, content in png_chunks(data) if kind == b"IDAT")
        data = PNG_START + _png_chunk(b"IHDR", header) + pixels + _png_chunk(b"IEND", b"")
    return data, 255 // (2**depth - 1) if depth < 8 else 1


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content).to_bytes(4, "big")
    return len(content).to_bytes(4, "big") + kind + content + checksum
