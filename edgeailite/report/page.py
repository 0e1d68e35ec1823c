"""The layout of the report: templates/report.html filled with texts, tables and data URIs.

The file has at most LIMIT bytes: everything but the worst pictures is laid out first and measured, the pictures get
what is left (rule in `embedded_pictures`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeailite.drawing.html import figure, template
from edgeailite.drawing.plots import class_bars, confusion_figure
from edgeailite.metrics import Confusion, scores
from edgeailite.report.embedded_pictures import Pictures, fit_pictures
from edgeailite.report.parity import parity_tables
from edgeailite.report.record import ClassResult, DepthResult, PictureResult, Report, Result
from edgeailite.report.text import percent

LIMIT = 5_000_000  # bytes
SPARE = 20_000  # bytes of the sections around pictures
KINDS = {
    "float": "Float network, as trained.",
    "quantized": "Quantized network; accuracy below is that of float fake-quantization.",
    "exact": "Quantized network; accuracy below is that of integer arithmetic, bit for bit as in the int8 file.",
    "onnx": "Exported ONNX file, run by onnxruntime.",
    "tflite": "Exported TFLite file, run by LiteRT.",
}
BARS_TEXT = "Bars of the IoU per class, best first; the numbers are in the table."
MATRIX_TEXT = "Confusion matrix, rows are labelled classes, columns are predicted ones."
TOPS = {"top1": "top-1", "top5": "top-5"}
ROWS = 50  # of classes of whole pictures
OVERLAY, DIFFERENCES = "prediction over picture", "differences"


def render(report: Report) -> str:
    """Return the whole HTML file, at most LIMIT bytes."""
    values = {
        "report": report,
        "kind": KINDS.get(report.kind, report.kind),
        "tiles": [*(tile for result in report.results for tile in _tiles(report, result)), *report.tiles],
        "results": [_section(result) for result in report.results],
        "curves": None if report.curves is None else figure(*report.curves),
        "float_curves": None if report.float_curves is None else figure(*report.float_curves),
        "parity": [(contract, *parity_tables(contract.results)) for contract in report.parity],
        "missing": report.missing or {},
    }
    page = template("report.html")
    room = LIMIT - SPARE - len(page.render(**values, shown={}, note="").encode())
    examples = {result.output: result.examples for result in report.results if result.examples}
    overlays = {r.output: OVERLAY if isinstance(r, ClassResult) else DIFFERENCES for r in report.results}
    chosen = fit_pictures(examples, overlays, room=max(0, room))
    shown: Pictures = {output: several for output, several in chosen.shown.items() if several}
    return page.render(**values, shown=shown, note=chosen.note)


def _tiles(report: Report, result: Result) -> list[tuple[str, str]]:
    """Return the numbers at the top: all of a single output, or the first of each of several."""
    before = f"{result.output} " if len(report.results) > 1 else ""
    if isinstance(result, DepthResult):
        found = [("ARD, %", percent(result.scores.ard)), ("RMSE, m", _decimals(result.scores.rmse))]
    elif isinstance(result, PictureResult):
        found = [(f"{TOPS[name]}, %", percent(share)) for name, share in result.scores.items()]
    else:
        sums = scores(result.confusion)
        found = [("mIoU, %", percent(sums.miou)), ("pixel accuracy, %", percent(sums.pixel_accuracy))]
    return [(before + name, value) for name, value in (found[:1] if before else found)]


def _section(result: Result) -> dict[str, Any]:
    """Return the values of the page's section about one output."""
    if isinstance(result, DepthResult):
        rows = [
            ("mean relative error (ARD)", f"{percent(result.scores.ard, digits=2)} %"),
            ("RMSE", f"{_decimals(result.scores.rmse)} m"),
        ]
        return {"output": result.output, "depth": rows, "whole": None}
    if isinstance(result, PictureResult):
        rows = [(TOPS[name], f"{percent(share, digits=2)} %") for name, share in result.scores.items()]
        return {"output": result.output, "depth": None, "whole": rows, "classes": picture_rows(result)}
    sums = scores(result.confusion)
    rows = [
        ("mIoU", f"{percent(sums.miou, digits=2)} %"),
        ("pixel accuracy", f"{percent(sums.pixel_accuracy, digits=2)} %"),
        ("overall score", f"{percent(sums.overall, digits=2)} %"),
    ]
    return {
        "output": result.output,
        "depth": None,
        "whole": None,
        "sums": rows,
        "classes": class_rows(result),
        "absent": [name for name, value in zip(result.classes, sums.iou, strict=True) if math.isnan(value)],
        "bars": figure(class_bars(result.classes, sums.iou, result.palette), BARS_TEXT),
        "matrix": figure(confusion_figure(result.confusion, result.classes), MATRIX_TEXT),
    }


def picture_rows(result: PictureResult) -> list[tuple[str, list[str]]]:
    """Return a row for each labelled class, least often right first: pictures, share that is right, what it is taken
    for most. At most ROWS.
    """
    labelled, rows = result.confusion.sum(1), []
    for index in np.flatnonzero(labelled):
        wrong = result.confusion[index].copy()
        wrong[index] = 0
        taken = int(wrong.argmax())
        share = float(result.confusion[index, index] / labelled[index])
        mistake = f"{result.classes[taken]} ({wrong[taken]})" if wrong[taken] else "–"
        rows.append((share, result.classes[index], [f"{labelled[index]:,}", percent(share), mistake]))
    return [(name, cells) for _, name, cells in sorted(rows, key=lambda row: row[0])[:ROWS]]


def class_rows(result: ClassResult) -> list[dict[str, str]]:
    """Return a row per class: name, colour, IoU, recall (of labelled), precision (of predicted), share of labels."""
    confusion: Confusion = result.confusion
    hit = np.diag(confusion).astype(np.float64)
    labelled, predicted = confusion.sum(1), confusion.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall, precision = hit / labelled, hit / predicted
        share = labelled / confusion.sum()
    iou = scores(confusion).iou
    values: Mapping[int, str] = dict(enumerate(result.values))
    return [
        {
            "name": name,
            "color": "#{:02x}{:02x}{:02x}".format(*result.palette[index]),
            "values": values.get(index, ""),
            "iou": percent(iou[index]),
            "recall": percent(recall[index]),
            "precision": percent(precision[index]),
            "share": percent(share[index], digits=2),
        }
        for index, name in enumerate(result.classes)
    ]


def _decimals(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"
