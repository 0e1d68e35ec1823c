"""Reading pictures and label files, and writing results: the one decoder of training, validation and inference.

Files may be a stranger's. What a file is, is told by its content; formats that are not in `headers.FORMATS` are not
handed to OpenCV at all. Sizes are read from the header first, so that a forged one cannot fill memory; PNG is unpacked
here (`png`); cut-off or damaged files are found before OpenCV would fill their rest with grey. `decode_image` and
`decode_stored` do all of this for any bytes. Too little memory is MemoryError, never "damaged".

EXIF orientation is not applied: cameras on devices do not rotate, and label files are in stored orientation. Masks keep
the numbers that are stored: OpenCV would turn palette indices into colours and stretch grey of 1, 2 or 4 bits to
0..255.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeailite.data.files.header import DamageError, Header
from edgeailite.data.files.headers import JPEG_START, damage, header_size, read_header, unsupported
from edgeailite.data.files.headers_tiff import unread_compression
from edgeailite.data.files.png import unpacked
from edgeailite.errors import DataError
from edgeailite.files import read_regular, unreadable, write_atomic

__all__ = [
    "IMAGE_SUFFIXES", "JPEG_START", "MAX_BYTES", "MAX_FILE", "MAX_PIXELS", "UNREAD_SUFFIXES", "ColourMaskError",
    "check_data", "decode_image", "decode_stored", "encode_png", "header_size", "read_depth", "read_file",
    "read_image", "read_label", "write_png",
]  # fmt: skip

MAX_PIXELS = 64_000_000
MAX_SIDE = 1_000_000  # pixels: what libpng takes
MAX_BYTES = 4 * MAX_PIXELS  # that a decoder keeps at once: as many pixels of 8-bit RGBA, half of 16 bits
MAX_FILE = 300_000_000  # bytes of a file: those of an uncompressed picture of MAX_BYTES, and some more
MAX_SCANS = 100  # of a JPEG; progressive ones have about ten
SCANNED = 20 * MAX_PIXELS  # pixels times scans
IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp", ".tif", ".tiff", ".jpe", ".jfif", ".dib", ".pgm", ".pbm", ".pnm",
    ".gif",
)  # fmt: skip
"""What files of pictures that are read are called, in any case: all readers of folders and lists go by this table."""
UNREAD_SUFFIXES = (
    ".heic", ".heif", ".hif", ".avif", ".jxl", ".jp2", ".j2k", ".jpf", ".jpx", ".exr", ".hdr", ".pfm", ".pam", ".ras",
    ".tga", ".ico", ".pcx", ".psd", ".svg", ".dds", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2",
)  # fmt: skip
"""What other files of pictures are called: they are named where they lie, never left out in silence."""

REPLACE = "replace it or leave it out"
COLOUR = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION

cv2.setNumThreads(0)  # loader processes are the parallelism
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what is wrong is said here, in one line


class ColourMaskError(DataError):
    """A mask has colours where class indices are expected."""


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read a picture (H,W,3) uint8 RGB. Raises DataError for a missing, damaged, huge or unsupported file."""
    return decode_image(path, _bytes_of(path))


def decode_image(path: Path, data: bytes) -> NDArray[np.uint8]:
    """Decode a picture (H,W,3) uint8 RGB within bounds of time and memory; `path` names the bytes in messages."""
    header = check_data(path, data)
    problem = _unlike_picture(header)
    if problem:
        raise DataError(problem, path=path)
    image = _decode(path, data, header, COLOUR)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise DataError(f"{image.dtype} with shape {image.shape}, expected RGB of 8 bits", fix="save it so", path=path)
    return image


def decode_stored(path: Path, data: bytes) -> NDArray[Any]:
    """Decode the stored numbers of a picture as OpenCV orders them (BGR, alpha last), within the same bounds."""
    return _decode(path, data, check_data(path, data), cv2.IMREAD_UNCHANGED)


def read_label(path: Path) -> NDArray[np.integer]:
    """Read an index mask (H,W). Raises DataError, also for masks with colours, lossy compression or fractions."""
    data = _bytes_of(path)
    header = check_data(path, data)
    problem = _unlike_mask(header)
    if problem:
        raise DataError(problem, path=path, code="lossy-mask" if header.lossy else "")
    label = _decode(path, data, header, cv2.IMREAD_UNCHANGED, indices=True)
    if (
        label.ndim == 3
        and (label[..., 0] == label[..., 1]).all()
        and (label[..., 0] == label[..., 2 % label.shape[2]]).all()
    ):
        label = label[..., 0]
    if label.ndim != 2:
        raise ColourMaskError(
            f"colour mask ({_colours(label)} colours), expected class indices",
            fix="convert it to an index PNG",
            path=path,
            code="colour-mask",
        )
    if label.dtype.kind == "f":
        return _whole_numbers(path, label)
    stretch = 255 // (2**header.bits - 1) if header.kind == "png" and header.bits < 8 else 1
    return label // stretch if stretch > 1 else label


def read_depth(path: Path) -> NDArray[np.float32]:
    """Read depth (H,W) float32 from a 16-bit PNG in 1/256 metre, 0 = unknown (KITTI's form). Raises DataError."""
    stored = decode_stored(path, _bytes_of(path))
    if stored.ndim != 2 or stored.dtype != np.uint16:
        raise DataError(f"{stored.dtype} with shape {stored.shape}, expected a 16-bit grey PNG of depth", path=path)
    return stored.astype(np.float32) / np.float32(256)


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write (H,W) or (H,W,3) RGB uint8, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, encode_png(image))


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Encode (H,W) or (H,W,3) RGB uint8 as PNG: the bytes that `write_png` writes."""
    bgr = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", bgr)[1].tobytes()


def read_file(path: Path) -> tuple[bytes, Header | None]:
    """Read a file's bytes, and its header if that is known. Raises DataError for no file, or one beyond MAX_FILE."""
    data = _bytes_of(path)
    return data, read_header(data)


def _bytes_of(path: Path) -> bytes:
    try:
        return read_regular(path, limit=MAX_FILE)
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise unreadable(path, error, fix=REPLACE) from None


def check_data(path: Path, data: bytes) -> Header:
    """Check that a picture's bytes, from `path`, may be decoded, and return its header. Raises DataError if not.

    The parts of a PNG are looked at only when it is decoded, which unpacks it.
    """
    header = read_header(data)
    if header is not None and (header.pixels > MAX_PIXELS or max(header.width, header.height) > MAX_SIDE):
        limit = MAX_PIXELS if header.pixels > MAX_PIXELS else f"{MAX_SIDE} a side"
        raise DataError(
            f"header says {header.width}x{header.height} pixels, refused",
            fix=f"the limit is {limit}, shrink or replace it",
            path=path,
            code="too-large",
        )
    problem = damage(data) if header is None or header.kind != "png" else None
    if problem:
        raise DataError(f"{problem} ({len(data)} bytes)", fix="replace it", path=path, code=problem.code)
    unread = unsupported(data)
    if unread is None and header is not None and header.kind == "tiff" and (compression := unread_compression(data)):
        unread = f"TIFF with compression {compression}"
    if unread:
        raise DataError(f"{unread} is not supported", fix="convert it to PNG or JPEG", path=path, code="unsupported")
    if header is None or min(header.width, header.height) < 1:
        raise _no_picture(path, data)
    _check_cost(path, header)
    if header.animated or (header.pages > 1 and not header.reduced):
        pages = f" ({header.pages} pages)" if header.pages > 1 else ""
        raise DataError(
            f"{header.kind.upper()} with several frames{pages}",
            fix="save the frame that is meant as PNG",
            path=path,
            code="animated",
        )
    return header


def _check_cost(path: Path, header: Header) -> None:
    """Raise DataError for a picture that takes a decoder too much memory, or too long."""
    if header.decoded_bytes > MAX_BYTES:
        raise DataError(
            f"header says {header.width}x{header.height} pixels of {header.bits} bits and {header.bands} "
            f"bands, {header.decoded_bytes} bytes to decode, refused",
            fix=(f"the limit is {MAX_BYTES}, shrink it or save it as 8 bits"),
            path=path,
            code="too-large",
        )
    if header.scans > min(MAX_SCANS, SCANNED // header.pixels):
        raise DataError(
            f"damaged picture, a JPEG of {header.width}x{header.height} pixels in {header.scans} scans",
            fix=(f"at most {min(MAX_SCANS, SCANNED // header.pixels)} are decoded, save it again"),
            path=path,
            code="damaged",
        )


def _decode(path: Path, data: bytes, header: Header, flags: int, *, indices: bool = False) -> NDArray[Any]:
    """Decode a file that passed `check_data` with OpenCV. Raises MemoryError if there is too little memory."""
    if header.kind == "png":
        try:
            data = unpacked(data, indices=indices)
        except DamageError as error:
            raise DataError(f"{error} ({len(data)} bytes)", fix="replace it", path=path, code=error.code) from None
    image: NDArray[Any] | None = None
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError(f"{path}: too little memory for {header.width}x{header.height} pixels") from None
    if image is None:
        np.empty(4 * header.decoded_bytes + len(data), np.uint8)  # MemoryError, where that was why
        raise _no_picture(path, data)
    if image.shape[:2] != (header.height, header.width):
        raise DataError(
            f"damaged picture, its header says {header.width}x{header.height} and it has "
            f"{image.shape[1]}x{image.shape[0]} pixels",
            fix="replace it",
            path=path,
            code="damaged",
        )
    return image


def _no_picture(path: Path, data: bytes) -> DataError:
    problem = f"not a readable picture ({len(data)} bytes); supported: {', '.join(IMAGE_SUFFIXES)}"
    return DataError(problem, path=path, code="not-a-picture")


def _unlike_picture(header: Header) -> str:
    """Why the numbers of a file cannot be taken for RGB or grey of 8 or 16 bits; "" if they can."""
    if header.reduced:
        return "its first page is a small copy of another (a camera's raw file?); save the picture as PNG"
    if not header.named:
        meant = "expected 1 (grey), 3 (RGB) or one more for transparency"
        if header.bands in (3, 4):
            meant = "which the file does not call red, green and blue"
        return f"{header.bands} bands, {meant}; save those that are meant as RGB of 8 bits"
    if header.sample != "unsigned" or header.bits > 16:
        return f"{_sample(header)} samples, expected whole numbers of 8 or 16 bits from 0; save it as 8 bits"
    if header.top not in (0, 255, 65535):
        return f"{header.top} is white, expected 255 or 65535; save it as PNG"
    return ""


def _unlike_mask(header: Header) -> str:
    """Why the numbers of a file cannot be class indices; "" if they can."""
    if header.lossy:
        return f"{'lossy WebP' if header.kind == 'webp' else 'JPEG'} blurs label values; store masks as PNG"
    if header.reduced:
        return "its first page is a small copy of another; save the mask as PNG"
    if (header.bands == 2 and header.kind == "tiff") or not header.named:
        return f"{header.bands} bands, expected 1 of class indices; save the band that is meant as PNG"
    if header.inverted and header.bits > 1:
        return "0 is white (MinIsWhite), so that its numbers are shown turned round; save the mask as PNG"
    if header.sample == "complex":
        return "complex samples, expected whole numbers; save the mask as PNG"
    return ""


def _sample(header: Header) -> str:
    words = {
        "unsigned": f"{header.bits}-bit",
        "signed": f"signed {header.bits}-bit",
        "float": f"{header.bits}-bit float",
    }
    return words.get(header.sample, header.sample)


def _whole_numbers(path: Path, label: NDArray[np.floating]) -> NDArray[np.integer]:
    """Label values that were stored as floats. Raises DataError for one that is no whole number."""
    wrong = ~(np.abs(label) < 2**31) | (label != np.rint(label))  # so written, NaN is wrong, too
    if wrong.any():
        y, x = np.argwhere(wrong)[0]
        raise DataError(
            f"label {float(label[y, x])} ({int(wrong.sum())} pixels, first at x={x} y={y}) is no whole number: "
            f"the mask is {label.dtype}",
            fix="save it as PNG of class indices",
            path=path,
        )
    return label.astype(np.int32)


def _colours(label: NDArray[Any]) -> int:
    """Count the colours of a mask, without transparency."""
    colours = label[..., :3]
    if colours.dtype != np.uint8:
        return len(np.unique(colours.reshape(-1, colours.shape[2]), axis=0))
    seen = np.zeros(1 << 24, np.bool_)
    for row in colours:
        wide = row.astype(np.int32)
        seen[(wide[:, 0] << 16) + (wide[:, 1] << 8) + wide[:, -1]] = True
    return int(np.count_nonzero(seen))
