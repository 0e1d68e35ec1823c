"""Sheets that show a network's results: picture, label, prediction and differences side by side, one picture a row.

Label maps are in their palette's colours (not labelled: black). Differences are white where the prediction is right,
red where it is wrong, grey where there is no label; of a depth they go from white to red at half the true depth. Depths
are in viridis, from near (bright) to far, over one range for the whole sheet, which is written below.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeailite.drawing.plots import FAINT, INK, Palette, colorize

Image = NDArray[np.uint8]

RIGHT, WRONG, IGNORED = (246, 247, 248), (214, 39, 40), (158, 163, 168)
IGNORE = 255
FULL_ERROR = 0.5  # |predicted - true| / true at which a depth is all red
COLUMNS = ("picture", "label", "prediction", "differences")
GAP, HEAD, CAPTION, FOOT = 8, 26, 24, 24  # pixels
SLOT, BAR = 104, 160  # pixels: of a meaning in the foot, and of the bar of depths
TEXT, LETTER = 11, 6.2  # pixels: height of the type, and about the width of a letter
TILE_WIDTH, LEAST_WIDTH = 320, 96
COMPRESSION = 6  # of PNG: 9 takes three times as long for one per cent
DPI = 128  # a power of two: pixels / DPI * DPI are the same pixels

Color = tuple[int, int, int]
Meaning = tuple[str, Color]  # of a colour
Label = tuple[int, int, str, str]  # left, middle, text, colour


@dataclass(frozen=True)
class Row:
    """One row of a sheet: RGB pictures (H,W,3), each of its own size or None, and four captions."""

    image: Image
    label: Image | None
    prediction: Image
    differences: Image | None
    captions: tuple[str, str, str, str]


@dataclass(frozen=True)
class Fields:
    """A row of any columns: a photograph, maps of colours with a meaning (None: an empty field), a caption for each."""

    image: Image
    maps: tuple[Image | None, ...]
    captions: tuple[str, ...]


@dataclass(frozen=True)
class Scale:
    """The range of depths on a sheet, in metres."""

    low: float
    high: float


def class_differences(label: NDArray[np.integer], prediction: NDArray[np.integer], *, ignore: int = IGNORE) -> Image:
    """Colour (H,W) predictions RIGHT, WRONG, or IGNORED where the label is `ignore`: (H,W,3)."""
    colors = np.array([RIGHT, WRONG, IGNORED], np.uint8)
    found: Image = colors[np.where(label == ignore, 2, label != prediction)]
    return found


def depth_differences(label: NDArray[np.floating], prediction: NDArray[np.floating]) -> Image:
    """Colour (H,W) depths in metres from RIGHT to WRONG by relative error, IGNORED where the label is 0: (H,W,3)."""
    known = label > 0
    error = np.abs(prediction - label) / np.where(known, label, 1) / FULL_ERROR
    share = np.clip(np.nan_to_num(error, nan=1.0, posinf=1.0), 0, 1)[..., None]
    colors = (1 - share) * np.array(RIGHT) + share * np.array(WRONG)
    return np.where(known[..., None], np.rint(colors), np.array(IGNORED)).astype(np.uint8)


def depth_colors(depth: NDArray[np.floating], scale: Scale) -> Image:
    """Colour depth (H,W) in metres as viridis (H,W,3), near is bright; unknown (0) and infinite values are black."""
    known = np.isfinite(depth) & (depth > 0)
    share = (np.where(known, depth, scale.low) - scale.low) / max(scale.high - scale.low, 1e-6)
    place = np.minimum(256 * (1 - np.clip(share, 0, 1)), 255).astype(np.uint8)
    colors = np.array(cv2.applyColorMap(place, cv2.COLORMAP_VIRIDIS)[..., ::-1], np.uint8)  # BGR -> RGB
    colors[~known] = 0
    return colors


def depth_scale(depths: Sequence[NDArray[np.floating]]) -> Scale:
    """Return the depth scale from the 2nd to the 98th percentile of the known values."""
    known = [depth[np.isfinite(depth) & (depth > 0)].ravel() for depth in depths]
    values = np.concatenate(known) if known else np.zeros(0)
    if not values.size:
        return Scale(0.0, 1.0)
    low, high = np.percentile(values, (2, 98))
    return Scale(float(low), float(high))


def class_row(
    name: str, image: Image, label: NDArray[np.integer] | None, prediction: NDArray[np.integer], palette: Palette
) -> Row:
    """Make the row of a class map, with the share of labelled pixels that are wrong."""
    colors = colorize(prediction, palette)
    if label is None:
        return Row(image, None, colors, None, (name, "no label", "", ""))
    known = label != IGNORE
    wrong = f"{100 * float((label != prediction)[known].mean()):.1f} % wrong" if known.any() else "nothing labelled"
    captions = (name, f"{100 * float(known.mean()):.0f} % labelled", "", wrong)
    return Row(image, colorize(label, palette), colors, class_differences(label, prediction), captions)


def depth_row(
    name: str, image: Image, label: NDArray[np.floating] | None, prediction: NDArray[np.floating], scale: Scale
) -> Row:
    """Make the row of a depth, with the mean relative error where it is known."""
    colors = depth_colors(prediction, scale)
    if label is None:
        return Row(image, None, colors, None, (name, "no label", "", ""))
    known = label > 0
    error = "nothing known"
    if known.any():
        error = f"{100 * float((np.abs(prediction - label)[known] / label[known]).mean()):.1f} % off"
    captions = (name, f"{100 * float(known.mean()):.0f} % known", "", error)
    return Row(image, depth_colors(label, scale), colors, depth_differences(label, prediction), captions)


def sheet(
    rows: Sequence[Row],
    *,
    title: str,
    scale: Scale | None = None,
    classes: Sequence[Meaning] = (),
    tile_width: int = TILE_WIDTH,
) -> Image:
    """Draw the page (H,W,3) uint8 RGB: a title, names of columns, rows with captions, legends of the colours.

    `classes` are the names and colours of classes.
    """
    fields = [Fields(row.image, (row.label, row.prediction, row.differences), row.captions) for row in rows]
    names = ("right", "wrong", "not labelled")
    if scale is not None:
        names = ("right", f"{100 * FULL_ERROR:.0f} % off", "not known")
    meanings = tuple(zip(names, (RIGHT, WRONG, IGNORED), strict=True))
    return laid_out(
        fields, columns=COLUMNS, meanings=meanings, title=title, scale=scale, classes=classes, tile_width=tile_width
    )


def laid_out(
    rows: Sequence[Fields],
    *,
    columns: Sequence[str],
    meanings: Sequence[Meaning],
    title: str,
    scale: Scale | None = None,
    classes: Sequence[Meaning] = (),
    tile_width: int = TILE_WIDTH,
) -> Image:
    """Lay out a page (H,W,3) uint8 RGB of rows.

    `meanings` are the names of the last column's colours, `classes` those of the maps'.
    """
    heights = [max(1, round(row.image.shape[0] * tile_width / row.image.shape[1])) for row in rows]
    width = GAP + len(columns) * (tile_width + GAP)
    foot = FOOT * (1 if scale is None else 2)
    page = np.full((2 * HEAD + sum(heights) + len(rows) * CAPTION + foot, width, 3), 255, np.uint8)
    lefts = [GAP + column * (tile_width + GAP) for column in range(len(columns))]
    texts = [(GAP, HEAD // 2 + 2, title, INK)]
    texts += [
        (left, HEAD + HEAD // 2, _cut(name, tile_width), FAINT) for left, name in zip(lefts, columns, strict=True)
    ]
    top = 2 * HEAD
    for row, height in zip(rows, heights, strict=True):
        maps = [_map(colors, height, tile_width) for colors in row.maps]
        fields = [_photograph(row.image, height, tile_width), *maps]
        for left, pixels, caption in zip(lefts, fields, row.captions, strict=True):
            page[top : top + height, left : left + tile_width] = pixels
            texts.append((left, top + height + CAPTION // 2 - 2, _cut(caption, tile_width), INK))
        top += height + CAPTION
    texts += _meanings(page, top + FOOT // 2, meanings)
    if scale is not None:
        texts += _depth_bar(page, top + FOOT + FOOT // 2, scale)
    return np.concatenate([_written(page, texts), *([legend(classes, width=width)] if classes else [])])


def legend(classes: Sequence[Meaning], *, width: int) -> Image:
    """Draw the names and colours of classes (H,width,3) uint8 RGB, in as many lines as they need."""
    rows: list[list[tuple[int, str, Color]]] = [[]]
    left = GAP
    for name, color in classes:
        text = _cut(name, width - 2 * GAP - 18)
        step = 18 + int(LETTER * len(text)) + 2 * GAP
        if left > GAP and left + step > width:
            rows.append([])
            left = GAP
        rows[-1].append((left, text, color))
        left += step
    strip = np.full((FOOT * len(rows), width, 3), 255, np.uint8)
    texts: list[Label] = []
    for number, row in enumerate(rows):
        middle = number * FOOT + FOOT // 2
        for left, text, color in row:
            _patch(strip, left, middle, color)
            texts.append((left + 18, middle, text, INK))
    return _written(strip, texts)


def encode(
    rows: Sequence[Row],
    *,
    title: str,
    scale: Scale | None = None,
    classes: Sequence[Meaning] = (),
    limit: int,
) -> tuple[Image, bytes]:
    """Return the widest sheet whose PNG has at most `limit` bytes, or the narrowest there can be, and that PNG."""
    width = TILE_WIDTH
    while True:
        page = sheet(rows, title=title, scale=scale, classes=classes, tile_width=width)
        bgr = cv2.cvtColor(page, cv2.COLOR_RGB2BGR)
        data = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, COMPRESSION])[1].tobytes()
        if len(data) <= limit or width <= LEAST_WIDTH:
            return page, data
        width = max(LEAST_WIDTH, min(width - 8, int(width * (limit / len(data)) ** 0.5)))


def _photograph(image: Image, height: int, width: int) -> Image:
    """Shrunk smoothly, in 64 levels a channel: the sheet's file gets a third smaller, the eye sees no difference."""
    method = cv2.INTER_AREA if width < image.shape[1] else cv2.INTER_LINEAR
    small = cv2.resize(image, (width, height), interpolation=method).astype(np.uint8)
    return small & np.uint8(0xFC) | np.uint8(2)


def _map(colors: Image | None, height: int, width: int) -> Image:
    """Resize a coloured map without mixing colours; an empty field if there is none."""
    if colors is None:
        return np.full((height, width, 3), RIGHT, np.uint8)
    return cv2.resize(colors, (width, height), interpolation=cv2.INTER_NEAREST_EXACT).astype(np.uint8)


def _cut(text: str, width: int) -> str:
    """A text that fits in `width` pixels: of a long name the end says more than the beginning."""
    letters = int(width / LETTER)
    return text if len(text) <= letters else "…" + text[-(letters - 1) :]


def _patch(page: Image, left: int, middle: int, color: Color) -> None:
    """Draw a small field of a colour with a border."""
    page[middle - 6 : middle + 6, left : left + 12] = IGNORED
    page[middle - 5 : middle + 5, left + 1 : left + 11] = color


def _meanings(page: Image, middle: int, meanings: Sequence[Meaning]) -> list[Label]:
    """Patches of the last column's colours, drawn on the page; the texts that belong to them."""
    texts = []
    for index, (name, color) in enumerate(meanings):
        left = GAP + index * SLOT
        _patch(page, left, middle, color)
        texts.append((left + 18, middle, name, FAINT))
    return texts


def _depth_bar(page: Image, middle: int, scale: Scale) -> list[Label]:
    """The colours of depths from near to far, drawn on the page; the range as text."""
    values = np.linspace(scale.low, scale.high, BAR)
    near = f"up to {scale.low:.1f} m"
    left = GAP + int(LETTER * len(near)) + 8
    page[middle - 6 : middle + 6, left : left + BAR] = depth_colors(np.maximum(values, 1e-6)[None], scale)
    return [(GAP, middle, near, FAINT), (left + BAR + 8, middle, f"{scale.high:.1f} m and more", FAINT)]


def _written(page: Image, texts: Sequence[Label]) -> Image:
    """The page with texts on it; no other pixel changes. Without matplotlib OpenCV writes them, in plain letters."""
    height, width = page.shape[:2]
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return _typed(page, texts)

    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    for left, middle, text, color in texts:
        size = TEXT * 72 / DPI
        figure.text(left / width, 1 - middle / height, text, color=color, fontsize=size, va="center", parse_math=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="rgba", transparent=True)
    drawn = np.frombuffer(buffer.getvalue(), np.uint8).reshape(height, width, 4)
    inked = drawn[..., 3] > 0
    alpha = drawn[inked][:, 3:] / 255
    written = page.copy()
    written[inked] = np.rint((1 - alpha) * page[inked] + alpha * drawn[inked][:, :3])
    return written


def _typed(page: Image, texts: Sequence[Label]) -> Image:
    """The page with texts in OpenCV's letters; those that it lacks are question marks."""
    typed = page.copy()
    for left, middle, text, color in texts:
        ink = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
        plain = text.encode("ascii", "replace").decode()
        cv2.putText(typed, plain, (left, middle + 4), cv2.FONT_HERSHEY_SIMPLEX, 0.36, ink, 1, cv2.LINE_AA)
    return typed
