"""From what a network found to pictures: the files of one output, by kind.

labels         classes (H,W) uint8, or the data set's own values; depth: uint16 in 1/256 metre, 0 = not known
colors         the palette's colours; depth: viridis from near (bright) to far
overlay        the colours mixed with the picture, which stays as it is where a class is background
side_by_side   the picture, and the colours beside it
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.drawing.plots import Palette, background, colorize, overlay, tint
from edgeailite.drawing.sheets import Scale, depth_colors, depth_scale, legend
from edgeailite.modelcard import REGRESSION, ModelCard

Array = NDArray[Any]
PICTURES = ("labels", "colors", "overlay", "side_by_side")
WORDS = {"labels": "label", "colors": "color"}  # in file names
LEGEND = 640  # pixels: width of the file with the names of classes
DEPTH_UNIT = 256  # stored per metre, as KITTI has it
SPREAD = ((0, 0, 0), (119, 11, 32), (0, 130, 180), (107, 142, 35), (250, 170, 30), (244, 35, 232), (152, 251, 152))


@dataclass(frozen=True)
class Output:
    """An output of a network, and the way it is drawn.

    `name` is the part of file names, "" for the only output. `values` holds the data set's own value of each class;
    None keeps classes. A depth has no `classes` and `palette`: its colours go over `scale` (None: that of each
    picture).
    """

    key: str
    name: str
    classes: tuple[str, ...]
    palette: Palette
    values: NDArray[np.uint8] | None = None
    scale: Scale | None = None

    @property
    def is_depth(self) -> bool:
        """Return True if the output has metres, not classes."""
        return not self.classes

    def file_of(self, kind: str, suffix: str = "png") -> str:
        """Return the end of the name of a kind of result: "label.png", or "OUTPUT_label.png" of several outputs."""
        words = [self.name, WORDS.get(kind, kind)]
        if kind == "labels" and self.is_depth:
            words = [self.name or REGRESSION]
        return "_".join(filter(None, words)) + f".{suffix}"

    def path(self, target: Path, kind: str, suffix: str = "png") -> Path:
        """Return the file of a kind of result."""
        return target.with_name(f"{target.name}_{self.file_of(kind, suffix)}")


def outputs_of(card: ModelCard, values: Mapping[str, NDArray[np.uint8]]) -> tuple[Output, ...]:
    """Return the outputs of a network that can be drawn: a class for each pixel, or depths.

    `values` are the data set's own label values, by output.
    """
    main = next(iter(card.classified), None)
    ranges = card.options.get("output_range") or {}
    found = []
    for key, channels in card.outputs.items():
        if key not in card.maps:
            continue
        name = key if len(card.outputs) > 1 else ""
        if key not in card.classified:
            scale = Scale(*map(float, ranges[key])) if key in ranges else None
            found.append(Output(key, name, (), (), scale=scale))
            continue
        own = key == main and len(card.classes) == channels
        classes = card.classes if own else tuple(map(str, range(channels)))
        palette = card.palette if own else _palette(channels)
        found.append(Output(key, name, classes, palette, values=values.get(key)))
    return tuple(found)


def _palette(count: int) -> Palette:
    """Colours for classes that have none: the first is black, as for what does not move."""
    return tuple(SPREAD[index % len(SPREAD)] for index in range(count))


def draw(output: Output, result: Array, image: Array, kinds: Sequence[str], *, alpha: float) -> dict[str, Array]:
    """Draw these kinds of pictures from a result of the image's size: classes (H,W) uint8 or metres (H,W) float32."""
    colors = colors_of(output, result) if set(kinds) - {"labels"} else image
    rules: dict[str, Callable[[], Array]] = {
        "labels": lambda: stored(output, result),
        "colors": lambda: colors,
        "overlay": lambda: _tinted(output, result, image, colors, alpha),
        "side_by_side": lambda: np.concatenate([image, colors], axis=1),
    }
    return {kind: rules[kind]() for kind in kinds}


def _tinted(output: Output, result: Array, image: Array, colors: Array, alpha: float) -> Array:
    """Mix a picture with the colours of a result; where a class is background it stays as it is."""
    if output.is_depth:
        return overlay(image, colors, alpha)
    plain = background(output.classes, output.palette)
    return tint(image, result, output.palette, alpha=alpha, plain=plain)


def legend_of(outputs: Sequence[Output]) -> Array | None:
    """Draw the names and colours of all classes, (H,W,3) uint8; None where no output has classes."""
    strips = [
        legend(tuple(zip(each.classes, each.palette, strict=True)), width=LEGEND) for each in outputs if each.classes
    ]
    return np.concatenate(strips) if strips else None


def colors_of(output: Output, result: Array) -> Array:
    """Colour a result, (H,W,3) uint8."""
    if output.is_depth:
        return depth_colors(result, output.scale or depth_scale([result]))
    return colorize(result, output.palette)


def stored(output: Output, result: Array) -> Array:
    """Return the label map of a result, as its file holds it: (H,W) uint8, of depth uint16 in 1/256 metre."""
    if output.is_depth:
        units = np.rint(np.nan_to_num(result, nan=0, posinf=0, neginf=0) * DEPTH_UNIT)
        return np.clip(units, 0, np.iinfo(np.uint16).max).astype(np.uint16)
    return result if output.values is None else output.values[result]
