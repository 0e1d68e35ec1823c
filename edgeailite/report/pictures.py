"""Arrays as data URIs, and how many of them at which size and quality a file of limited bytes can hold.

Rule: all pictures at the first of STEPS at which they fit; if they do not fit at the last one, the best of the worst
pictures are left out, one of each output at a time. What was chosen is said in the page.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeailite.plots import DPI
from edgeailite.report.record import Example, Figure, Picture

STEPS = ((640, 85), (480, 85), (400, 80), (320, 75), (240, 70), (160, 65))  # longer side in pixels, JPEG quality
JPEG_QUALITY = 85
CSS_PIXELS_PER_INCH = 96
MARKUP = 600  # bytes beside the pictures' own, for each: tags and names

Shown = dict[str, list[dict[str, Any]]]  # by output: name, score and (what, data URI) of each view


@dataclass(frozen=True)
class Fitted:
    """Pictures as data URIs by output; `note` says at which size they are and how many were left out."""

    shown: Shown
    note: str


def fitted(examples: Mapping[str, Sequence[Example]], overlays: Mapping[str, str], *, room: int) -> Fitted:
    """The pictures by output as large as `room` bytes allow; `overlays` names each output's last view."""
    wanted = max((len(several) for several in examples.values()), default=0)
    shown: Shown = {}
    side, quality, count = *STEPS[0], wanted
    for side, quality in STEPS:
        shown = _drawn(examples, overlays, side=side, quality=quality)
        if _bytes(shown) <= room:
            break
    while _bytes(shown) > room:
        count -= 1
        shown = {output: several[:count] for output, several in shown.items()}
    note = f"Pictures are at most {side} pixels wide or high, photographs at JPEG quality {quality}"
    if count < wanted:
        return Fitted(shown, f"{note}; {count} of {wanted} fit into the file.")
    return Fitted(shown, note + ".")


def _drawn(examples: Mapping[str, Sequence[Example]], overlays: Mapping[str, str], *, side: int, quality: int) -> Shown:
    return {
        output: [
            {
                "name": example.name,
                "score": example.score,
                "views": _views(example, overlays[output], side=side, quality=quality),
            }
            for example in several
        ]
        for output, several in examples.items()
    }


def _views(example: Example, last: str, *, side: int, quality: int) -> list[tuple[str, str]]:
    return [
        ("picture", photo_uri(example.picture, side, quality)),
        ("label", map_uri(example.label, side)),
        ("prediction", map_uri(example.prediction, side)),
        (last, photo_uri(example.overlay, side, quality)),
    ]


def _bytes(shown: Shown) -> int:
    sources = [source for several in shown.values() for example in several for _, source in example["views"]]
    return sum(len(source) + MARKUP for source in sources)


def png_uri(data: bytes) -> str:
    """PNG bytes as the source of an <img>."""
    return "data:image/png;base64," + base64.b64encode(data).decode()


def figure(png: bytes, text: str) -> Figure:
    """A figure of plots.py, to be shown at its natural size or smaller."""
    width = int.from_bytes(png[16:20], "big")  # of the PNG header
    return Figure(png_uri(png), text, round(width * CSS_PIXELS_PER_INCH / DPI))


def photo_uri(picture: Picture, side: int, quality: int = JPEG_QUALITY) -> str:
    """A photograph (H,W,3) RGB as JPEG, the longer side at most `side`."""
    small = cv2.cvtColor(_shrink(picture, side, cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
    data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def map_uri(colors: Picture, side: int) -> str:
    """A colour map (H,W,3) RGB as PNG: no new colours at the edges."""
    small = cv2.cvtColor(_shrink(colors, side, cv2.INTER_NEAREST), cv2.COLOR_RGB2BGR)
    return png_uri(cv2.imencode(".png", small, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes())


def _shrink(picture: Picture, side: int, interpolation: int) -> NDArray[Any]:
    """At most `side` pixels long; smaller pictures stay as they are."""
    height, width = picture.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return np.asarray(picture)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return cv2.resize(picture, size, interpolation=interpolation)
