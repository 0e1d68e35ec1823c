"""Pictures of a page of limited bytes: as data URIs, at the largest size and quality at which they fit.

Rule: all pictures at the first of STEPS at which they fit; if they do not fit at the last one, the least bad pictures
are left out, one of each output at a time. The page says what was chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeailite.drawing.html import map_uri, photo_uri
from edgeailite.report.record import Example

STEPS = ((640, 85), (480, 85), (400, 80), (320, 75), (240, 70), (160, 65))  # longer side in pixels, JPEG quality
MARKUP = 600  # bytes beside the pictures' own, for each: tags and names

Pictures = dict[str, list[dict[str, Any]]]  # by output: name, score and (what, data URI) of each view


@dataclass(frozen=True)
class Gallery:
    """Pictures as data URIs by output; `note` says at which size they are and how many were left out."""

    shown: Pictures
    note: str


def fit_pictures(examples: Mapping[str, Sequence[Example]], overlays: Mapping[str, str], *, room: int) -> Gallery:
    """Encode the pictures of each output as large as `room` bytes allow; `overlays` names each output's last view."""
    wanted = max((len(several) for several in examples.values()), default=0)
    shown: Pictures = {}
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
        return Gallery(shown, f"{note}; {count} of {wanted} fit into the file.")
    return Gallery(shown, note + ".")


def _drawn(
    examples: Mapping[str, Sequence[Example]], overlays: Mapping[str, str], *, side: int, quality: int
) -> Pictures:
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


def _bytes(shown: Pictures) -> int:
    sources = [source for several in shown.values() for example in several for _, source in example["views"]]
    return sum(len(source) + MARKUP for source in sources)
