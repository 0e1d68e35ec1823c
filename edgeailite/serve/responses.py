"""From the bytes of a picture to the bytes of an answer; the same bytes as `edgeailite infer` writes.

Sizes are read from the header and refused before anything is decoded. A format whose header is not known here is not
decoded at all, because its size cannot be told.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgeailite.data.files.headers import damage, read_header, unsupported
from edgeailite.data.files.images import check_data, decode_image
from edgeailite.drawing.plots import tint
from edgeailite.errors import DataError
from edgeailite.serve.errors import Problem
from edgeailite.serve.served_model import Image, ServedModel

UPLOAD = Path("picture")  # how messages call it; the client's file name is never used


def decode(data: bytes, *, max_pixels: int) -> Image:
    """Decode the picture (H,W,3) uint8 RGB. Raises Problem `bad_picture`, `unsupported` or `too_large`."""
    if not data:
        raise Problem("bad_picture", "the picture is empty (0 bytes)")
    header = read_header(data)
    if header is None and damage(data):
        raise Problem("bad_picture", f"{UPLOAD}: {damage(data)} ({len(data)} bytes)")
    if header is None:
        kind = unsupported(data) or "this"
        raise Problem("unsupported", f"{kind} is no picture that can be read; send JPEG, PNG, WebP, BMP, TIFF or PNM")
    if header.height * header.width > max_pixels:
        raise Problem("too_large", f"{header.width}x{header.height} pixels; at most {max_pixels} are taken")
    try:
        check_data(UPLOAD, data)
        return decode_image(UPLOAD, data)
    except DataError as error:
        raise Problem("bad_picture", str(error)) from None


def _overlay(image: Image, labels: Image, model: ServedModel, alpha: float) -> bytes:
    return model.png(tint(image, labels, model.palette, alpha=alpha, plain=model.background))


def _labels(image: Image, labels: Image, model: ServedModel, alpha: float) -> bytes:
    return model.png(labels)


def _json(image: Image, labels: Image, model: ServedModel, alpha: float) -> bytes:
    counts = np.bincount(labels.ravel(), minlength=len(model.classes))
    classes = [
        {"index": index, "name": name, "color": list(color), "pixels": int(count), "share": int(count) / labels.size}
        for index, ((name, color), count) in enumerate(zip(model.classes, counts, strict=False))
    ]
    height, width = labels.shape
    return json.dumps({"model": model.name, "width": width, "height": height, "classes": classes}).encode() + b"\n"


def _npy(image: Image, labels: Image, model: ServedModel, alpha: float) -> bytes:
    file = io.BytesIO()
    np.save(file, labels, allow_pickle=False)
    return file.getvalue()


Write = Callable[[Image, Image, ServedModel, float], bytes]
ANSWERS: dict[str, tuple[str, Write]] = {
    "overlay": ("image/png", _overlay),
    "labels": ("image/png", _labels),
    "json": ("application/json", _json),
    "npy": ("application/octet-stream", _npy),
}
"""Output -> (media type, writer); the first is the default."""
