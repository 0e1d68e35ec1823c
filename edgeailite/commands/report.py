"""`edgeailite report`: one HTML file of a run, gathered from its folder and a pass over the split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from edgeailite import __version__
from edgeailite.config import ReportConfig
from edgeailite.console import print_result, progress
from edgeailite.cost import Cost
from edgeailite.cost.model_cost import cost_of
from edgeailite.cost.tables import summary
from edgeailite.data import DataSource
from edgeailite.data.augment.transforms import EvalTransform
from edgeailite.data.loader import eval_loader
from edgeailite.data.source import ClassTarget
from edgeailite.device import select_device, set_threads
from edgeailite.environment import cpu_model, git_commit
from edgeailite.evaluation import ClassTally, DepthTally, Tally, evaluate
from edgeailite.evaluation.measure import dataset_of
from edgeailite.evaluation.summary import tasks_of
from edgeailite.files import sha256_of, write_result
from edgeailite.report import ClassResult, DepthResult, Example, Form, Report, Verdict, flatten, render
from edgeailite.report.analysis_page import of_folder
from edgeailite.report.examples import Scored, examples_of, picture_scores, worst_pictures
from edgeailite.report.facts import (
    curves_of,
    data_rows,
    device_grid,
    label_values,
    read_mapping,
    read_parity,
    training_rows,
    verdicts_of,
    weight_files,
    weights_hash,
)
from edgeailite.report.forms import Measuring, forms_of, quantization_rows
from edgeailite.report.reproduce import commands_of
from edgeailite.runs.checkpoint import Checkpoint, find_checkpoint, load_checkpoint, read_metrics
from edgeailite.runs.open import Opened, open_model

MISSING = {
    "learning": "No metrics.csv with epochs: the network was calibrated or exported, not trained here.",
    "quantization": "Nothing is quantized, and the forms were not compared (--forms quick or all does).",
    "sensitivity": "No sensitivity.json in the run folder: `edgeailite analyze` ranks the layers of a float run.",
    "devices": "No device was asked for; --devices NAME estimates the time (`edgeailite devices list`).",
    "parity": "No contract in the run folder: run `edgeailite export` and `edgeailite verify`.",
    "files": "No env.json or config.yaml in the run folder: where and how it was made is not known.",
    "worst": "No pictures were asked for, or none is labelled.",
}


@dataclass(frozen=True)
class Measured:
    """The whole split, and every picture's own score by output."""

    tally: Tally
    scores: Mapping[str, Sequence[Scored]]


@dataclass(frozen=True)
class Folder:
    """What stands in the run folder beside weights; `checkpoint` is None of an exported file."""

    path: Path
    checkpoint: Checkpoint | None
    weights: str
    config: Mapping[str, Any]
    environment: Mapping[str, Any]


def run(config: ReportConfig) -> int:
    """Measure, write the file and print its path."""
    set_threads(config.threads)
    opened = open_model(config.model, device=select_device(config.device), threads=config.threads)
    source = dataset_of(opened.card, None, config.data_path, config.split)
    folder = read_folder(config.model, opened)
    path = config.output or opened.folder / "report.html"
    measured = measure(opened, source)
    worst = {name: worst_pictures(scores, config.images) for name, scores in measured.scores.items()}
    examples = examples_of(opened, source, worst)
    html = render(gather(config, opened, source, folder=folder, measured=measured, examples=examples))
    write_result(path, html, "output")
    print_result("report", {"report": str(path), "megabytes": round(len(html.encode()) / 1e6, 2)})
    return 0


def read_folder(run: Path, opened: Opened) -> Folder:
    """Raises DataError for a damaged file in it."""
    config = read_mapping(opened.folder / "config.yaml")
    environment = read_mapping(opened.folder / "env.json")
    if opened.kind == "onnx":
        return Folder(opened.folder, None, run.name, config, environment)
    file = find_checkpoint(run)
    checkpoint = load_checkpoint(file)
    if not config and (checkpoint.quantization or {}).get("method") != "calibration":  # that one holds its float run's
        config = dict(checkpoint.config)
    return Folder(opened.folder, checkpoint, file.name, config, environment)


def measure(opened: Opened, source: DataSource) -> Measured:
    """One pass over the split; of a picture its scores are kept."""
    pre = opened.card.preprocessing
    transform = EvalTransform(pre.size, pre.interpolation)
    loader = eval_loader(source, transform, batch_size=1, workers="auto")
    found: dict[str, list[Scored]] = {name: [] for name in opened.card.outputs}
    with progress("report", len(source.items)) as (bar, task):

        def on_picture(picture: Tally) -> None:
            for name, score in picture_scores(picture).items():
                found[name].append((len(found[name]), score))
            bar.advance(task)

        total = evaluate(opened.predict, loader, tasks_of(source, opened.card.outputs), on_picture=on_picture)
    return Measured(total, found)


def gather(
    config: ReportConfig,
    opened: Opened,
    source: DataSource,
    *,
    folder: Folder,
    measured: Measured,
    examples: Mapping[str, Sequence[Example]],
) -> Report:
    """Everything in the run folder, and what the network costs."""
    card = opened.card
    how = None if folder.checkpoint is None else folder.checkpoint.quantization
    parity = read_parity(folder.path)
    verdicts = verdicts_of(parity, folder.path)
    forms, tiles = _forms(config, opened, source, folder=folder, tally=measured.tally, proven=_proven(verdicts, parity))
    cost = cost_of(config.model, opened)
    history = read_metrics(folder.path)
    values: dict[str, Any] = {
        "verdicts": verdicts,
        "facts": _facts(source, folder),
        "tiles": [*tiles, ("parameters", f"{cost.parameters / 1e6:.2f} M"), ("GMACs", f"{cost.giga_macs:.3g}")],
        "data": data_rows(card, source, _train_config(folder), config.data_path),
        "curves": curves_of(history, folder.config),
        "training": training_rows(history, folder.config, weights=folder.weights),
        "forms": forms,
        "quantization": [] if how is None else quantization_rows(how),
        "sensitivity": of_folder(folder.path),
        "cost": _cost_rows(cost, folder.path),
        "devices": device_grid(cost, config.devices, integer=opened.arithmetic == "int8"),
        "parity": parity,
        "config": flatten(folder.config),
        "environment": flatten(folder.environment),
        "hashes": _hashes(folder),
        "commands": commands_of(folder.path, folder.config, how, commit=folder.environment.get("commit")),
    }
    results = [_result(source, name, part, examples.get(name, ())) for name, part in measured.tally.items()]
    missing = _missing(values, examples)
    return Report(card, opened.kind, source.split, len(source.items), results, missing=missing, **values)


def _result(
    source: DataSource, name: str, part: ClassTally | DepthTally, examples: Sequence[Example]
) -> ClassResult | DepthResult:
    if isinstance(part, DepthTally):
        return DepthResult(name, part.scores(), examples)
    target = source.targets[name]
    assert isinstance(target, ClassTarget)
    return ClassResult(name, target.classes, target.palette, part.confusion, label_values(target), examples)


def _missing(values: Mapping[str, Any], examples: Mapping[str, Sequence[Example]]) -> dict[str, str]:
    """By section: what is not there, and what to run for it."""
    there = {
        "learning": values["curves"] is not None,
        "quantization": bool(values["quantization"] or values["forms"]),
        "sensitivity": values["sensitivity"] is not None,
        "devices": values["devices"] is not None,
        "parity": bool(values["parity"]),
        "files": bool(values["config"] or values["environment"]),
        "worst": any(examples.values()),
    }
    return {name: MISSING[name] for name, found in there.items() if not found}


def _train_config(folder: Folder) -> dict[str, Any]:
    """What a checkpoint remembers of its training, the float one's included."""
    known = {} if folder.checkpoint is None else dict(folder.checkpoint.config)
    return {**known, **folder.config}


def _facts(source: DataSource, folder: Folder) -> list[tuple[str, str]]:
    return [
        ("data set", f"{source.name} {source.split}"),
        ("weights", f"{folder.weights} in {folder.path}"),
        ("date", datetime.now().strftime("%Y-%m-%d %H:%M")),
        ("tool", f"edgeailite {__version__} ({git_commit() or 'no checkout'}), torch {torch.__version__}"),
        ("measured on", cpu_model() or "unknown CPU"),
    ]


def _proven(verdicts: Sequence[Verdict], parity: Sequence[Any]) -> list[str]:
    """Files whose contract holds."""
    return [contract.file for contract, verdict in zip(parity, verdicts, strict=False) if verdict.mark == "good"]


def _forms(
    config: ReportConfig, opened: Opened, source: DataSource, *, folder: Folder, tally: Tally, proven: Sequence[str]
) -> tuple[tuple[list[str], list[Form]] | None, list[tuple[str, str]]]:
    """The table of forms, and the exported file's first number for the top."""
    if config.forms == "none" or opened.kind == "onnx":
        return None, []
    device = select_device(config.device)
    measuring = Measuring(source, device, config.threads, opened.card.outputs, exact=config.forms == "all")
    before = folder.config.get("run") if opened.kind == "quantized" else None
    head, forms, tallies = forms_of(
        opened, config.model, tally, before=None if before is None else str(before), proven=proven, measuring=measuring
    )
    file = next((form for form in forms if form.name.endswith("onnxruntime") and not form.note), None)
    shown = file is not None and opened.kind == "quantized" and len(tallies) > 1
    return (head, forms), [(f"int8 file {head[0]}", file.cells[0].split()[0])] if file is not None and shown else []


def _cost_rows(cost: Cost, folder: Path) -> list[tuple[str, str]]:
    height, width = cost.inputs[0].shape[-2:]
    rows = [(f"{name} at {height}×{width}" if name == "GMACs" else name, text) for name, text in summary(cost)]
    return rows + [(f"size of {file.name}", f"{file.stat().st_size / 1e6:.2f} MB") for file in weight_files(folder)]


def _hashes(folder: Folder) -> list[tuple[str, str]]:
    rows = [(file.name, sha256_of(file)) for file in weight_files(folder.path)]
    if folder.checkpoint is not None:
        rows.append((f"weights in {folder.weights}", weights_hash(folder.checkpoint.state_dict)))
    return rows
