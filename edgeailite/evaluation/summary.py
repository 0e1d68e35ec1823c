"""Scores for people and JSON: values in per cent (RMSE in metres), table rows and files."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeailite.data import DataSource
from edgeailite.data.source import ClassTarget, PictureTarget
from edgeailite.errors import some_of
from edgeailite.evaluation.tally import DepthTally, Part, PictureTally, Tally, Tasks
from edgeailite.files import write_result
from edgeailite.metrics import Confusion, Scores
from edgeailite.metrics.names import METRICS

NAMED = 8  # classes that a line names


def as_dict(tally: Tally, source: DataSource, *, absent: str = "leave_out") -> dict[str, Any]:
    """Return the scores of the only output, or of each output by name."""
    values = {name: _values(part, classes_of(source, name), absent=absent) for name, part in tally.items()}
    return next(iter(values.values())) if len(values) == 1 else values


def headline(tally: Tally) -> dict[str, float]:
    """Return one number of each output as a share: mIoU, ARD of depth, top-1; OUTPUT_miou if there are several."""
    found = {name: _first(part) for name, part in tally.items()}
    return {(kind if len(found) == 1 else f"{name}_{kind}"): value for name, (kind, value) in found.items()}


def _first(part: Part) -> tuple[str, float]:
    if isinstance(part, DepthTally):
        return "ard", part.scores().ard
    return ("top1", part.scores()["top1"]) if isinstance(part, PictureTally) else ("miou", part.scores().miou)


def classes_of(source: DataSource, output: str) -> tuple[str, ...]:
    """Return the class names of an output; none for depth."""
    target = source.targets[output]
    return target.classes if isinstance(target, ClassTarget | PictureTarget) else ()


def tasks_of(source: DataSource, outputs: Iterable[str]) -> Tasks:
    """Map outputs to their number of classes, None for depth; those without labels have no metric and are left out."""
    return {name: len(classes_of(source, name)) or None for name in outputs if name in source.targets}


def never_predicted(tally: Tally, source: DataSource) -> list[str]:
    """Return a line for each output with labelled classes that were never predicted."""
    found = []
    for output, part in tally.items():
        if isinstance(part, DepthTally):
            continue
        missed = (part.confusion.sum(1) > 0) & (part.confusion.sum(0) == 0)
        names = [name for name, one in zip(classes_of(source, output), missed, strict=True) if one]
        if names:
            which = f"class {names[0]} was" if len(names) == 1 else f"classes {some_of(names, NAMED)} were"
            found.append(f"{'' if len(tally) == 1 else f'{output}: '}{which} never predicted")
    return found


def score_values(result: Scores, classes: Sequence[str]) -> dict[str, Any]:
    """Return scores by name, in per cent; absent classes have None."""
    return {
        "miou": _per_cent(result.miou),
        "pixel_accuracy": _per_cent(result.pixel_accuracy),
        "overall": _per_cent(result.overall),
        "iou": {name: None if v != v else round(100 * v, 2) for name, v in zip(classes, result.iou, strict=True)},
    }


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested scores in one level, with names for people, for a table."""
    rows: dict[str, Any] = {}
    for key, value in values.items():
        if key == "iou":
            rows |= {f"IoU {name}, %": "absent" if v is None else v for name, v in value.items()}
        elif isinstance(value, Mapping):
            rows |= {f"{key}: {name}": v for name, v in flat(value).items()}
        else:
            rows[METRICS[key].words if key in METRICS else key] = value
    return rows


def write_confusions(path: Path, tally: Tally, source: DataSource) -> list[Path]:
    """Write the confusion matrix of each output with classes, as .csv or .png; return the files.

    The file is `path`, or with `_OUTPUT` added to its name where there are several outputs. Raises DataError.
    """
    from edgeailite.drawing.plots import confusion_figure  # matplotlib is slow to load

    found = {name: part.confusion for name, part in tally.items() if not isinstance(part, DepthTally)}
    paths = [path if len(found) == 1 else path.with_name(f"{path.stem}_{name}{path.suffix}") for name in found]
    for target, (name, confusion) in zip(paths, found.items(), strict=True):
        classes = classes_of(source, name)
        data = confusion_figure(confusion, classes) if path.suffix == ".png" else confusion_csv(confusion, classes)
        write_result(target, data, "confusion")
    return paths


def confusion_csv(confusion: Confusion, classes: Sequence[str]) -> bytes:
    """Write counts of pixels, or of whole pictures, as CSV: a row per labelled class, a column per predicted one."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["label \\ prediction", *classes])
    writer.writerows([name, *row] for name, row in zip(classes, confusion.tolist(), strict=True))
    return text.getvalue().encode()


def _values(part: Part, classes: Sequence[str], *, absent: str) -> dict[str, Any]:
    if isinstance(part, PictureTally):
        return {name: _per_cent(value) for name, value in part.scores().items()}
    if isinstance(part, DepthTally):
        result = part.scores()
        return {"ard": _per_cent(result.ard), "rmse_metres": _rounded(result.rmse)}
    values = score_values(part.scores(absent=absent), classes)
    if part.contours:
        edges = {"boundary_iou": part.boundary_iou(absent=absent), "boundary_f": part.boundary_f()}
        iou = values.pop("iou")
        values |= {name: _per_cent(value) for name, value in edges.items()} | {"iou": iou}
    return values


def _per_cent(share: float) -> float | None:
    return _rounded(100 * share)


def _rounded(value: float) -> float | None:
    """Round to three decimals; NaN becomes None, since JSON has no NaN."""
    return None if math.isnan(value) else round(value, 3)
