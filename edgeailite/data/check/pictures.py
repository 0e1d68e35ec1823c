"""Examines one item of a data set: its picture files, its label files, whether they fit each other, its statistics.

All findings are returned; nothing is raised, printed or changed. This runs in worker processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeailite.data.check.findings import Finding, from_error
from edgeailite.data.check.masks import check_classes, check_depth
from edgeailite.data.duplicates import digest, fingerprint
from edgeailite.data.files.headers import Header
from edgeailite.data.files.images import decode_image, decode_stored, read_file
from edgeailite.data.source import ClassTarget, DepthTarget, Item, PictureTarget
from edgeailite.errors import DataError

SMALLEST_SIDE = 32  # pixels: the coarsest stride of the networks
LONGEST_ASPECT = 8  # longer side to shorter; published data sets stay below 4 (KITTI 3.3, Cityscapes 2)
SUFFIXES = {
    "png": (".png",), "jpeg": (".jpg", ".jpeg"), "bmp": (".bmp",), "webp": (".webp",), "tiff": (".tif", ".tiff"),
    "pnm": (".ppm", ".pgm", ".pbm", ".pnm"), "gif": (".gif",),
}  # fmt: skip
TURNED = (5, 6, 7, 8)  # EXIF orientations that exchange height and width
Targets = Mapping[str, ClassTarget | DepthTarget | PictureTarget]


@dataclass(frozen=True)
class ItemReport:
    """Results of one item. `counts`: pixels of each class of the main target, [255] = ignored; None if unread.

    `mean` and `square` are the means of the picture's RGB values and of their squares. `ignored`: pixels of each label
    value that the main target ignores.
    """

    findings: tuple[Finding, ...] = ()
    size: tuple[int, int] | None = None
    digest: bytes | None = None
    fingerprint: bytes | None = None
    counts: NDArray[np.int64] | None = None
    mean: tuple[float, ...] = ()
    square: tuple[float, ...] = ()
    ignored: Mapping[int, int] = field(default_factory=dict)


def examine(item: Item, targets: Targets, main: str) -> ItemReport:
    """Read all files of an item. `main` is the target whose classes are counted ("" for none)."""
    findings: list[Finding] = []
    size: tuple[int, int] | None = None
    header: Header | None = None
    facts = ItemReport()
    streams = [item.image, *(path for path in item.images if path != item.image)]
    for path in streams:
        found, image, head = check_picture(path)
        findings += found
        if image is None:
            continue
        if path == item.image:
            size, header = image.shape[:2], head
            facts = _facts(image)
        elif size is not None:
            findings += _same_size(str(path), "picture", image.shape[:2], item, size, None)
    counts: NDArray[np.int64] | None = None
    ignored: Mapping[int, int] = {}
    for name, label in item.labels.items():
        target = targets[name]
        if isinstance(target, PictureTarget):  # its label is no file
            continue
        if isinstance(target, ClassTarget):
            found, values, unused = check_classes(target, label)
            if name == main and values is not None:
                counts, ignored = np.bincount(values.ravel(), minlength=256), unused
        else:
            found, values = check_depth(target, label)  # type: ignore[assignment]
        findings += found
        if values is not None and size is not None:
            findings += _same_size(str(label), "mask", values.shape, item, size, header)
    return ItemReport(tuple(findings), size, facts.digest, facts.fingerprint, counts, facts.mean, facts.square, ignored)


def check_picture(path: Path) -> tuple[list[Finding], NDArray[np.uint8] | None, Header | None]:
    """Check a picture file; return findings, pixels (None if unread), and the header if the format is known."""
    try:
        data, header = read_file(path)
        image = decode_image(path, data)
    except DataError as error:
        return [from_error(error, default="not-a-picture", file=str(path))], None, None
    file = str(path)
    findings = [] if header is None else _check_header(path, data, header)
    height, width = image.shape[:2]
    if min(height, width) < SMALLEST_SIDE:
        message = f"{width}x{height} pixels, expected at least {SMALLEST_SIDE} on each side; replace it or leave it out"
        findings.append(Finding("tiny", file, message))
    if max(height, width) > LONGEST_ASPECT * min(height, width):
        message = f"{width}x{height} pixels, longer than 1:{LONGEST_ASPECT}; it will be squeezed, cut it into pieces"
        findings.append(Finding("extreme-aspect", file, message))
    if height * width > 1 and not cv2.meanStdDev(image)[1].any():
        message = f"every pixel is {tuple(image[0, 0].tolist())}; look whether the camera or the decoder failed"
        findings.append(Finding("blank", file, message))
    return findings, image, header


def _check_header(path: Path, data: bytes, header: Header) -> list[Finding]:
    """Findings of a picture that is read, but not as its header says."""
    found: list[tuple[str, str]] = []
    if path.suffix.lower() not in SUFFIXES.get(header.kind, (path.suffix.lower(),)):
        found.append(("wrong-suffix", f"holds {header.kind.upper()} data; rename it to {SUFFIXES[header.kind][0]}"))
    if header.orientation != 1:
        found.append(
            ("exif-rotated", f"EXIF orientation {header.orientation} is not applied, the picture is used as stored "
             f"({header.width}x{header.height}); look whether its mask is drawn so, or save both upright")
        )  # fmt: skip
    if header.colour == "cmyk":
        found.append(("cmyk", "CMYK, converted to RGB without its profile; save it as RGB"))
    if header.bits > 8:
        found.append(("deep", f"{header.bits} bits, of which the upper 8 are used; save it as 8 bits, well exposed"))
    if header.alpha:
        opaque = _opaque(path, data)
        text = "an alpha channel, which is not used" if opaque else "transparent pixels, whose colours are shown"
        found.append(("alpha" if opaque else "transparent", f"{text}; save it without alpha"))
    elif header.kind == "tiff" and header.colour == "rgb" and header.bands > 3:
        found.append(
            ("bands", f"{header.bands} bands, of which the first three are used as red, green and blue; save it as RGB")
        )
    if header.colour == "grey":
        found.append(("grey", f"grey of {header.bits} bits, repeated to three channels"))
    if header.profile:
        found.append(("colour-profile", "its ICC profile is not applied; save it as sRGB if colours matter"))
    return [Finding(code, str(path), message) for code, message in found]


def _opaque(path: Path, data: bytes) -> bool:
    stored = decode_stored(path, data)
    if stored.ndim < 3 or stored.shape[2] not in (2, 4):
        return True
    return bool((stored[..., -1] == np.iinfo(stored.dtype).max).all())


def _same_size(
    file: str, what: str, shape: tuple[int, ...], item: Item, size: tuple[int, int], header: Header | None
) -> list[Finding]:
    if shape[:2] == size:
        return []
    message = f"{what} is {shape[1]}x{shape[0]} but {item.image.name} is {size[1]}x{size[0]}; they must have one size"
    if header is not None and header.orientation in TURNED and shape[:2] == size[::-1]:
        message += f" (drawn on the picture turned by EXIF orientation {header.orientation}: turn the mask back)"
    return [Finding("size-mismatch", file, message)]


def _facts(image: NDArray[np.uint8]) -> ItemReport:
    mean, deviation = cv2.meanStdDev(image)
    square = deviation**2 + mean**2
    return ItemReport(
        digest=digest(image),
        fingerprint=fingerprint(image),
        mean=tuple(mean.ravel().tolist()),
        square=tuple(square.ravel().tolist()),
    )
