"""The report of a run: values in, one HTML file out, with every picture inside it (no remote assets, no scripts).

What is shown is gathered by `edgeailite report` (commands/report.py); the layout is templates/report.html. Here is what
lies between: numbers as text, arrays as data URIs.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from numpy.typing import NDArray

from edgeailite.metrics import Confusion, scores
from edgeailite.modelcard import ModelCard
from edgeailite.plots import DPI, class_bars, confusion_figure, loss_curve, score_curves

PHOTO_SIDES = (640, 480, 320, 240, 160)  # pixels of the longer side: the first at which all pictures fit
PICTURES_LIMIT = 4_000_000  # characters; figures need less than one million more, so a report stays below 5 MB
JPEG_QUALITY = 85
CSS_PIXELS_PER_INCH = 96
KINDS = {
    "float": "Float network, as trained.",
    "quantized": "Quantized network; accuracy below is that of float fake-quantization.",
    "onnx": "Exported ONNX file, run by onnxruntime.",
}
BARS_TEXT = "Bars of the IoU per class, best first; the numbers are in the table."
MATRIX_TEXT = "Confusion matrix, rows are labelled classes, columns are predicted ones."

Picture = NDArray[np.uint8]
Rows = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Example:
    """A picture of the split with what was expected and what came: RGB (H,W,3) each; `miou` of this picture alone."""

    name: str
    miou: float
    picture: Picture
    label: Picture
    prediction: Picture
    overlay: Picture


@dataclass(frozen=True)
class Parity:
    """A contract.json: the file it was written for, whether that file is still the same, and the numbers (nested)."""

    file: str
    state: str
    results: Mapping[str, Any]


@dataclass(frozen=True)
class Grid:
    """Records that have the same fields: a head, and rows of a name and texts."""

    head: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]


@dataclass(frozen=True)
class Figure:
    """A drawing: data URI, what it shows in words, and its natural width in CSS pixels."""

    source: str
    text: str
    width: int


@dataclass(frozen=True)
class Report:
    """All that the report shows. `history` has rows of metrics.csv; `facts` and the like are (name, text) rows;
    `sensitivity` bars and rows of layers."""

    card: ModelCard
    kind: str
    split: str
    confusion: Confusion
    pictures: int
    facts: Rows
    history: Sequence[Mapping[str, str]] = ()
    examples: Sequence[Example] = ()
    cost: Rows = ()
    parity: Sequence[Parity] = ()
    config: Rows = ()
    environment: Rows = ()
    hashes: Rows = ()
    tiles: Rows = ()
    sensitivity: tuple[Figure, Grid] | None = None


def template(name: str) -> Template:
    """A page of `edgeailite/templates`: names are escaped, and what is not defined is an error."""
    return Environment(
        loader=PackageLoader("edgeailite", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(name)


def render(report: Report) -> str:
    """The whole HTML file."""
    result = scores(report.confusion)
    accuracy = [
        ("mIoU", percent(result.miou)),
        ("pixel accuracy", percent(result.pixel_accuracy)),
        ("overall score", percent(result.overall)),
    ]
    return template("report.html").render(
        report=report,
        kind=KINDS.get(report.kind, report.kind),
        tiles=[*accuracy, *report.tiles],
        classes=class_rows(report.confusion, report.card),
        absent=[name for name, value in zip(report.card.classes, result.iou, strict=True) if math.isnan(value)],
        bars=figure(class_bars(report.card.classes, result.iou, report.card.palette), BARS_TEXT),
        matrix=figure(confusion_figure(report.confusion, report.card.classes), MATRIX_TEXT),
        curves=_curves(report.history),
        examples=_examples(report.examples),
        parity=[(contract, *tabulate(contract.results)) for contract in report.parity],
    )


def class_rows(confusion: Confusion, card: ModelCard) -> list[dict[str, str]]:
    """Per class: name, colour, IoU, recall (of the labelled), precision (of the predicted), share of labels."""
    hit = np.diag(confusion).astype(np.float64)
    labelled, predicted = confusion.sum(1), confusion.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall, precision = hit / labelled, hit / predicted
        share = labelled / confusion.sum()
    iou = scores(confusion).iou
    return [
        {
            "name": name,
            "color": "#{:02x}{:02x}{:02x}".format(*card.palette[index]),
            "iou": percent(iou[index]),
            "recall": percent(recall[index]),
            "precision": percent(precision[index]),
            "share": percent(share[index], digits=2),
        }
        for index, name in enumerate(card.classes)
    ]


def percent(share: float, *, digits: int = 1) -> str:
    """A share as per cent without the sign; a dash for NaN."""
    return "–" if math.isnan(share) else f"{100 * share:.{digits}f}"


def flatten(values: Mapping[str, Any], *, prefix: str = "") -> list[tuple[str, str]]:
    """Nested dicts as (dotted name, text) rows; lists of plain values in one row."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows += flatten(value, prefix=f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", _text(value)))
    return rows


def tabulate(values: Mapping[str, Any]) -> tuple[list[tuple[str, str]], list[Grid]]:
    """Nested dicts for reading: several with the same fields become one grid, all else rows as of `flatten`."""
    groups: dict[tuple[str, ...], list[tuple[str, Mapping[str, Any]]]] = {}
    for name, record in _records(values):
        groups.setdefault(tuple(record), []).append((name, record))
    rows: list[tuple[str, str]] = []
    grids = []
    for head, records in groups.items():
        if len(records) > 1:
            grids.append(Grid(head, [(name, [_text(v) for v in record.values()]) for name, record in records]))
        else:
            name, record = records[0]
            rows += flatten(record, prefix=f"{name} " if name else "")
    return rows, grids


def _records(values: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, Mapping[str, Any]]]:
    """(name, plain values) of every level of nested dicts that has plain values."""
    plain = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    found: list[tuple[str, Mapping[str, Any]]] = [(" ".join(path), plain)] if plain else []
    for key, value in values.items():
        if isinstance(value, Mapping):
            found += _records(value, (*path, str(key)))
    return found


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, float):
        short = f"{value:.6g}"
        return repr(value) if float(short) in (0, 1) and float(short) != value else short  # never round to "all equal"
    if isinstance(value, list | tuple):
        return ", ".join(_text(part) for part in value) or "–"
    return str(value)


def png_uri(data: bytes) -> str:
    """PNG bytes as the source of an <img>."""
    return "data:image/png;base64," + base64.b64encode(data).decode()


def figure(png: bytes, text: str) -> Figure:
    """A figure of plots.py, to be shown at its natural size or smaller."""
    width = int.from_bytes(png[16:20], "big")  # of the PNG header
    return Figure(png_uri(png), text, round(width * CSS_PIXELS_PER_INCH / DPI))


def photo_uri(picture: Picture, side: int) -> str:
    """A photograph (H,W,3) RGB as JPEG, the longer side at most `side`."""
    small = cv2.cvtColor(_shrink(picture, side, cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
    data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
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
        return picture
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return cv2.resize(picture, size, interpolation=interpolation)


def _examples(examples: Sequence[Example]) -> list[dict[str, Any]]:
    """Names and data URIs, at the largest size that keeps the file small."""
    shown: list[dict[str, Any]] = []
    for side in PHOTO_SIDES:
        shown = [{"name": e.name, "miou": percent(e.miou), "views": _views(e, side)} for e in examples]
        if sum(len(source) for example in shown for _, source in example["views"]) < PICTURES_LIMIT:
            break
    return shown


def _views(example: Example, side: int) -> list[tuple[str, str]]:
    return [
        ("picture", photo_uri(example.picture, side)),
        ("label", map_uri(example.label, side)),
        ("prediction", map_uri(example.prediction, side)),
        ("prediction over picture", photo_uri(example.overlay, side)),
    ]


def _curves(history: Sequence[Mapping[str, str]]) -> list[Figure]:
    """The learning curves; none for a run that was not trained, such as a calibrated one."""
    if not history:
        return []
    epochs = [int(row["epoch"]) for row in history]
    loss, miou, accuracy = ([_number(row.get(name)) for row in history] for name in ("loss", "miou", "pixel_accuracy"))
    return [
        figure(loss_curve(epochs, loss), "Training loss over the epochs."),
        figure(
            score_curves(epochs, miou=miou, pixel_accuracy=accuracy),
            "Validation mIoU and pixel accuracy over the epochs.",
        ),
    ]


def _number(text: str | None) -> float:
    """A cell of metrics.csv; NaN if it is empty."""
    return float(text) if text else math.nan
