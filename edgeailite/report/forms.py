"""The table of a network's forms: float, fake-quantized, integer-exact, exported; all measured on the same pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from edgeailite.data import DataSource
from edgeailite.errors import EdgeailiteError, option
from edgeailite.evaluation import DepthTally, PictureTally, Tally, measure
from edgeailite.export.files import FILE_NAMES, TFLITE_NAME
from edgeailite.report.record import FormScores
from edgeailite.runs.open import OpenModel, open_model

DIGITS = 2  # of per cent
MICROCONTROLLERS = "tflite_reference"  # the arithmetic that they compute in


@dataclass(frozen=True)
class Conditions:
    """The data, outputs and machine that all forms are measured with."""

    source: DataSource
    device: torch.device
    threads: int | None
    outputs: Mapping[str, int]
    exact: bool  # the integer-exact network, too, which is slow


def forms_of(
    model: OpenModel, run: Path, tally: Tally, *, before: str | None, proven: Sequence[str], conditions: Conditions
) -> tuple[list[str], list[FormScores], dict[str, Tally]]:
    """Measure every form of a network; return the head and rows of the table, and the counts by name.

    `tally` are the counts of the form at hand, `before` is the float run of a quantized one, `proven` are the files
    that equal their network by a contract that still holds.
    """
    found: dict[str, Tally | str] = {}
    if model.kind == "quantized":
        found["float, torch"] = _before(before, conditions)
        found["fake-quantized, torch"] = tally
        found["integer-exact, torch"] = _exact(model.file, FILE_NAMES[True], proven, conditions)
    else:
        found["float, torch"] = tally
    file = FILE_NAMES[model.kind == "quantized"]
    found[f"{file}, onnxruntime"] = _measured(model.folder / file, conditions, fix=f"`edgeailite export {run}`")
    if model.kind == "quantized" and (model.folder / TFLITE_NAME).exists():
        exact = _exact(model.file, TFLITE_NAME, proven, conditions, arithmetic=MICROCONTROLLERS)
        found[f"integer-exact, {MICROCONTROLLERS}"] = exact
        found[f"{TFLITE_NAME}, LiteRT"] = _measured(model.folder / TFLITE_NAME, conditions, fix="")
    tallies = {name: part for name, part in found.items() if not isinstance(part, str)}
    first = next(iter(found.values()))
    base = _values(first) if not isinstance(first, str) else {}
    forms = [
        FormScores(name, note=part) if isinstance(part, str) else _scored(name, part, base)
        for name, part in found.items()
    ]
    return list(_values(tally)), forms, tallies


def _scored(name: str, tally: Tally, base: Mapping[str, float]) -> FormScores:
    values = _values(tally)
    return FormScores(name, [_cell(value, base.get(column, math.nan)) for column, value in values.items()])


def _cell(value: float, base: float) -> str:
    if math.isnan(value):
        return "–"
    text = f"{value:.{DIGITS}f}"
    return text if math.isnan(base) or value is base or value == base else f"{text} ({value - base:+.{DIGITS}f})"


def _values(tally: Tally) -> dict[str, float]:
    """Return the columns of a form: mIoU and pixel accuracy, ARD, or top-1 and top-5, in per cent."""
    found: dict[str, float] = {}
    for name, part in tally.items():
        before = f"{name} " if len(tally) > 1 else ""
        if isinstance(part, DepthTally):
            found[f"{before}ARD, %"] = 100 * part.scores().ard
        elif isinstance(part, PictureTally):
            found |= {f"{before}{name.replace('top', 'top-')}, %": 100 * share for name, share in part.scores().items()}
        else:
            found[f"{before}mIoU, %"] = 100 * part.scores().miou
            found[f"{before}pixel accuracy, %"] = 100 * part.scores().pixel_accuracy
    return found


def _before(before: str | None, conditions: Conditions) -> Tally | str:
    if before is None:
        return "the run does not say which float run it came from"
    return _measured(Path(before), conditions, fix="restore the float run to compare with it")


def _exact(
    run: Path, file: str, proven: Sequence[str], conditions: Conditions, *, arithmetic: str | None = None
) -> Tally | str:
    """Measure the integer-exact form if asked for; else return what the contract of `file`, its form, says about it."""
    if conditions.exact:
        return _measured(run, conditions, fix="", exact=True, arithmetic=arithmetic)
    if file in proven:
        kernels = "" if arithmetic is None else " in LiteRT's reference kernels"
        return f"equals {file}{kernels} in every bit by its contract; measured with {option('forms')} all"
    return f"not measured; add {option('forms')} all"


def _measured(
    path: Path, conditions: Conditions, *, fix: str, exact: bool = False, arithmetic: str | None = None
) -> Tally | str:
    """Return the counts of a run or file, or why there are none."""
    if not path.exists():
        return f"{path.name} is not there; {fix}"
    try:
        model = open_model(
            path,
            device=conditions.device,
            integer_exact_mode=exact,
            arithmetic=arithmetic,
            threads=conditions.threads,
        )
        if dict(model.card.outputs) != dict(conditions.outputs):
            return f"has other outputs ({', '.join(model.card.outputs)}) than the run"
        return measure(model, conditions.source)
    except EdgeailiteError as error:
        return str(error)


def quantization_rows(quantization: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return rows that say how a network was quantized: method, scheme, observer, refinements, the plan's layers."""
    names = {"method": {"qat": "quantization-aware training", "calibration": "calibration after training"}}
    rows = []
    for key, value in sorted(quantization.items(), key=lambda pair: ORDER.get(pair[0], len(ORDER))):
        if key == "plan" and isinstance(value, Mapping):
            rows += _plan_rows(value)
        elif key == "percentile" and quantization.get("observer", "percentile") != "percentile":
            continue
        else:
            text = names.get(key, {}).get(str(value), value)
            rows.append(
                (key.replace("_", " "), {True: "yes", False: "no"}[text] if isinstance(text, bool) else str(text))
            )
    return rows


ORDER = {name: index for index, name in enumerate(("method", "scheme", "observer", "percentile", "plan"))}


def _plan_rows(plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return rows of a plan: the layers by bits, for weights and activations."""
    rows = []
    for what, layers in plan.items():
        by_bits: dict[str, list[str]] = {}
        for layer, bits in layers.items() if isinstance(layers, Mapping) else ():
            by_bits.setdefault(str(bits), []).append(str(layer))
        rows += [(f"plan: {what} of {bits} bits", f"{len(few)}: {', '.join(few)}") for bits, few in by_bits.items()]
    return rows or [("plan", "every layer as the scheme says")]
