"""Parts of HTML pages: templates, and pictures as data URIs, so that a page needs no other file and no network."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from numpy.typing import NDArray

from edgeailite.drawing.plots import DPI

JPEG_QUALITY = 85
CSS_PIXELS_PER_INCH = 96

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Figure:
    """A drawing: data URI, a description in words, and its natural width in CSS pixels."""

    source: str
    text: str
    width: int


def _encodable(value: Any) -> Any:
    """Replace halves of surrogate pairs, which JSON may hold and no page can, by escapes."""
    return value.encode("utf-8", "backslashreplace").decode() if type(value) is str else value


def template(name: str) -> Template:
    """Load a page of `edgeailite/templates`; values are escaped, and an undefined name is an error."""
    return Environment(
        loader=PackageLoader("edgeailite", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_encodable,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(name)


def png_uri(data: bytes) -> str:
    """Return PNG bytes as the source of an <img>."""
    return "data:image/png;base64," + base64.b64encode(data).decode()


def figure(png: bytes, text: str) -> Figure:
    """Make a figure from the PNG of a plot, to be shown at its natural size or smaller."""
    width = int.from_bytes(png[16:20], "big")  # of the PNG header
    return Figure(png_uri(png), text, round(width * CSS_PIXELS_PER_INCH / DPI))


def photo_uri(picture: Picture, side: int, quality: int = JPEG_QUALITY) -> str:
    """Return a photograph (H,W,3) RGB as a JPEG data URI, its longer side at most `side` pixels."""
    small = cv2.cvtColor(_shrink(picture, side, cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
    data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def map_uri(colors: Picture, side: int) -> str:
    """Return coloured labels (H,W,3) RGB as a PNG data URI, shrunk without new colours at the edges."""
    small = cv2.cvtColor(_shrink(colors, side, cv2.INTER_NEAREST), cv2.COLOR_RGB2BGR)
    return png_uri(cv2.imencode(".png", small, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes())


def _shrink(picture: Picture, side: int, interpolation: int) -> NDArray[Any]:
    """Shrink a picture to at most `side` pixels; smaller ones stay as they are."""
    height, width = picture.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return np.asarray(picture)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return cv2.resize(picture, size, interpolation=interpolation)
