"""A sheet of the pictures on which two models disagree most, with who is right where."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeailite.data import DataSource
from edgeailite.data.files.images import read_image
from edgeailite.data.source import ClassTarget, DepthTarget
from edgeailite.drawing.plots import colorize
from edgeailite.drawing.sheets import IGNORED, Fields, Meaning, depth_colors, depth_scale, laid_out
from edgeailite.evaluation import Comparison, Disagreement
from edgeailite.evaluation.pairing import who_is_closer, who_is_right
from edgeailite.files import write_result
from edgeailite.report.examples import predictions
from edgeailite.runs.open import OpenModel

COLUMNS = ("picture", "label", "A", "B")  # and who is right, or closer
BOTH, SAME_WRONG, A, B, NEITHER = (246, 247, 248), (205, 208, 212), (47, 111, 159), (224, 138, 40), (172, 40, 48)
COLORS = np.array([BOTH, SAME_WRONG, A, B, NEITHER, IGNORED], np.uint8)  # in the order of `pairing`
CLASS_NAMES = ("both", "same error", "A", "B", "neither", "not labelled")
DEPTH_NAMES = ("alike", "", "A closer", "B closer", "", "not known")


def write_sheet(path: Path, found: Comparison, *, labels: tuple[str, str]) -> list[Path]:
    """Draw the pictures on which two models differ most; return the files, one for each output.

    The file is `path`, or with `_OUTPUT` added to its name where there are several outputs. `labels` say what A and B
    are. Raises DataError for a path that cannot be written.
    """
    paths, source = [], found.source
    for name, pictures in found.most.items():
        target = path if len(found.most) == 1 else path.with_name(f"{path.stem}_{name}{path.suffix}")
        classes = isinstance(source.targets[name], ClassTarget)
        names = CLASS_NAMES if classes else DEPTH_NAMES
        meanings = [(text, (int(r), int(g), int(b))) for text, (r, g, b) in zip(names, COLORS, strict=True) if text]
        rows = [_fields(found.models, source, name, index, part) for index, part in pictures]
        title = f"{name} of {source.name} {source.split}, where A ({labels[0]}) and B ({labels[1]}) differ most"
        columns = (*COLUMNS, f"who is {_word(classes)}")
        page = laid_out(rows, columns=columns, meanings=meanings, title=title, classes=_classes_of(source, name))
        data = cv2.imencode(".png", cv2.cvtColor(page, cv2.COLOR_RGB2BGR))[1].tobytes()
        write_result(target, data, "sheet")
        paths.append(target)
    return paths


def _classes_of(source: DataSource, output: str) -> list[Meaning]:
    """Return the names and colours of an output's classes; none of a depth."""
    target = source.targets[output]
    return list(zip(target.classes, target.palette, strict=True)) if isinstance(target, ClassTarget) else []


def _fields(
    models: tuple[OpenModel, OpenModel], source: DataSource, name: str, index: int, part: Disagreement
) -> Fields:
    item, target = source.items[index], source.targets[name]
    pictures = [read_image(path) for path in item.images]
    maps: tuple[NDArray[np.uint8], ...]
    if isinstance(target, DepthTarget):
        depth = target.values(item.labels[name], source.name)
        a, b = (predictions(model, pictures, depth.shape)[name] for model in models)
        scale = depth_scale([depth, a, b])
        maps = (*(depth_colors(values, scale) for values in (depth, a, b)), COLORS[who_is_closer(depth, a, b)])
    else:
        assert isinstance(target, ClassTarget)
        label = target.values(item.labels[name], source.name)
        a, b = (predictions(model, pictures, label.shape)[name] for model in models)
        maps = (*(colorize(values, target.palette) for values in (label, a, b)), COLORS[who_is_right(label, a, b)])
    word = _word(not isinstance(target, DepthTarget))
    share = f"{100 * part.share:.1f} % differ"
    right = [f"{word} on {_per_cent(count, part.differ)} of these" for count in (part.a_right, part.b_right)]
    return Fields(pictures[item.camera], maps, (item.image.name, "", *right, share))


def _word(classes: bool) -> str:
    return "right" if classes else "closer"


def _per_cent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "–"
