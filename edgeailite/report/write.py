"""Writing a report: from a run folder and one pass over a split to the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from edgeailite import __version__
from edgeailite.config import ReportConfig
from edgeailite.cost import Cost
from edgeailite.cost.model_cost import cost_of
from edgeailite.cost.tables import summary
from edgeailite.data import DataSource
from edgeailite.data.source import ClassTarget
from edgeailite.device import select_device, set_threads
from edgeailite.environment import cpu_model, git_commit
from edgeailite.errors import with_options
from edgeailite.evaluation import DepthTally, Part, PictureTally, Tally, measure
from edgeailite.evaluation.summary import classes_of
from edgeailite.files import sha256_of, write_result
from edgeailite.report.analysis_page import of_folder
from edgeailite.report.examples import PictureScore, examples_of, picture_scores, worst_pictures
from edgeailite.report.facts import (
    curves_of,
    data_rows,
    device_grid,
    label_values,
    read_mapping,
    read_parity,
    single_epoch,
    state_dict_hash,
    training_rows,
    verdicts_of,
    weight_files,
)
from edgeailite.report.forms import Conditions, forms_of, quantization_rows
from edgeailite.report.page import render
from edgeailite.report.record import (
    ClassResult,
    DepthResult,
    Example,
    FormScores,
    PictureResult,
    Report,
    Result,
    Verdict,
)
from edgeailite.report.reproduce import commands_of
from edgeailite.report.text import flatten
from edgeailite.runs.checkpoint import Checkpoint, load_checkpoint
from edgeailite.runs.dataset import dataset_of
from edgeailite.runs.folder import BEST, LAST, read_metrics, run_folder
from edgeailite.runs.open import OpenModel, open_model
from edgeailite.runs.weights import chosen_weights

MISSING = {
    "learning": "No metrics.csv with epochs: the network was calibrated or exported, not trained here.",
    "quantization": "Nothing is quantized, and the forms were not compared ({forms} quick or all does).",
    "sensitivity": "No sensitivity.json in the run folder: `edgeailite analyze` ranks the layers of a float run.",
    "devices": "No device was asked for; {devices} NAME estimates the time (`edgeailite devices list`).",
    "parity": "No contract in the run folder: run `edgeailite export` and `edgeailite verify`.",
    "files": "No env.json or config.yaml in the run folder: where and how it was made is not known.",
    "worst": "No pictures were asked for, or none is labelled.",
}


@dataclass(frozen=True)
class Page:
    """A report file that was written, and its size in bytes."""

    path: Path
    size: int


@dataclass(frozen=True)
class _RunFolder:
    """The files of a run folder besides weights; `checkpoint` is None for an exported file."""

    path: Path
    checkpoint: Checkpoint | None
    weights: str
    config: Mapping[str, Any]
    environment: Mapping[str, Any]


def write_report(config: ReportConfig) -> Page:
    """Measure a run or file on its split and write one HTML file that shows how it was made and what it gives.

    Raises DataError for a missing or damaged run, data set or file in the run folder, and for a path that cannot be
    written; UsageError for an unknown device.

    >>> page = write_report(ReportConfig(Path("runs/night"), images=1, forms="none"))
    >>> str(page.path), page.size < 5_000_000
    ('runs/night/report.html', True)
    """
    set_threads(config.threads)
    taken = chosen_weights(config.model, config.weights)
    model = open_model(taken, device=select_device(config.device), threads=config.threads)
    source = dataset_of(model.card, None, config.data_path, config.split)
    folder = _read_folder(model)
    path = config.output or model.folder / "report.html"
    scores: dict[str, list[PictureScore]] = {name: [] for name in model.card.outputs}

    def keep(picture: Tally) -> None:
        for name, score in picture_scores(picture).items():
            scores[name].append((len(scores[name]), score))

    tally = measure(model, source, on_picture=keep, label="report")
    worst = {name: worst_pictures(several, config.images) for name, several in scores.items()}
    examples = examples_of(model, source, worst)
    html = render(_gather(config, model, source, folder=folder, tally=tally, examples=examples))
    write_result(path, html, "output")
    return Page(path, len(html.encode()))


def _read_folder(model: OpenModel) -> _RunFolder:
    """Read configuration, environment and checkpoint of a run folder. Raises DataError for a damaged file in it."""
    config = read_mapping(model.folder / "config.yaml")
    environment = read_mapping(model.folder / "env.json")
    if model.is_file:
        return _RunFolder(model.folder, None, model.file.name, config, environment)
    checkpoint = load_checkpoint(model.file)
    if not config and (checkpoint.quantization or {}).get("method") != "calibration":  # that one holds its float run's
        config = dict(checkpoint.config)
    return _RunFolder(model.folder, checkpoint, model.file.name, config, environment)


def _gather(
    config: ReportConfig,
    model: OpenModel,
    source: DataSource,
    *,
    folder: _RunFolder,
    tally: Tally,
    examples: Mapping[str, Sequence[Example]],
) -> Report:
    """Gather the values of the report from the run folder, the measurement and the network's cost."""
    card = model.card
    how = None if folder.checkpoint is None else folder.checkpoint.quantization
    parity = read_parity(folder.path)
    verdicts = verdicts_of(parity, folder.path)
    forms, tiles = _forms(config, model, source, folder=folder, tally=tally, proven=_proven(verdicts, parity))
    cost = cost_of(config.model, model)
    history = read_metrics(folder.path)
    values: dict[str, Any] = {
        "verdicts": verdicts,
        "facts": _facts(source, folder),
        "tiles": [*tiles, ("parameters", f"{cost.parameters / 1e6:.2f} M"), ("GMACs", f"{cost.giga_macs:.3g}")],
        "data": data_rows(card, source, _train_config(folder), config.data_path),
        "curves": curves_of(history, folder.config),
        "float_curves": _float_curves(folder.config) if model.kind == "quantized" else None,
        "training": training_rows(history, folder.config, weights=folder.weights),
        "forms": forms,
        "quantization": [] if how is None else quantization_rows(how),
        "sensitivity": of_folder(folder.path),
        "cost": _cost_rows(cost, folder.path),
        "devices": device_grid(
            cost,
            config.devices,
            integer=model.number_type == "int8",
            model=config.model,
            size=card.preprocessing.size,
        ),
        "parity": parity,
        "config": flatten(folder.config),
        "environment": flatten(folder.environment),
        "hashes": _hashes(folder),
        "commands": commands_of(
            folder.path,
            folder.config,
            how,
            commit=folder.environment.get("commit"),
            weights="last" if folder.weights == LAST and (folder.path / BEST).is_file() else "best",
        ),
    }
    results = [_result(source, name, part, examples.get(name, ())) for name, part in tally.items()]
    missing = _missing(values, examples)
    if "learning" in missing:
        missing["learning"] = single_epoch(history) or missing["learning"]
    return Report(card, model.kind, source.split, len(source.items), results, missing=missing, **values)


def _result(source: DataSource, name: str, part: Part, examples: Sequence[Example]) -> Result:
    if isinstance(part, PictureTally):
        return PictureResult(name, classes_of(source, name), part.scores(), part.confusion)
    if isinstance(part, DepthTally):
        return DepthResult(name, part.scores(), examples)
    target = source.targets[name]
    assert isinstance(target, ClassTarget)
    return ClassResult(name, target.classes, target.palette, part.confusion, label_values(target), examples)


def _missing(values: Mapping[str, Any], examples: Mapping[str, Sequence[Example]]) -> dict[str, str]:
    """Say for each section that is empty why, and what to run for it."""
    there = {
        "learning": values["curves"] is not None,
        "quantization": bool(values["quantization"] or values["forms"]),
        "sensitivity": values["sensitivity"] is not None,
        "devices": values["devices"] is not None,
        "parity": bool(values["parity"]),
        "files": bool(values["config"] or values["environment"]),
        "worst": any(examples.values()),
    }
    return {name: with_options(MISSING[name]) for name, found in there.items() if not found}


def _train_config(folder: _RunFolder) -> dict[str, Any]:
    """Return the options of training: those of the checkpoint, then those of the run folder."""
    known = {} if folder.checkpoint is None else dict(folder.checkpoint.config)
    return {**known, **folder.config}


def _facts(source: DataSource, folder: _RunFolder) -> list[tuple[str, str]]:
    return [
        ("data set", f"{source.name} {source.split}"),
        ("weights", f"{folder.weights} in {folder.path}"),
        ("date", datetime.now().strftime("%Y-%m-%d %H:%M")),
        ("tool", f"edgeailite {__version__} ({git_commit() or 'no checkout'}), torch {torch.__version__}"),
        ("measured on", cpu_model() or "unknown CPU"),
    ]


def _proven(verdicts: Sequence[Verdict], parity: Sequence[Any]) -> list[str]:
    """Return the names of files whose contract holds."""
    return [contract.file for contract, verdict in zip(parity, verdicts, strict=False) if verdict.mark == "good"]


def _forms(
    config: ReportConfig,
    model: OpenModel,
    source: DataSource,
    *,
    folder: _RunFolder,
    tally: Tally,
    proven: Sequence[str],
) -> tuple[tuple[list[str], list[FormScores]] | None, list[tuple[str, str]]]:
    """Return the table of forms, and the exported file's first number for the top."""
    if config.forms == "none" or model.is_file:
        return None, []
    device = select_device(config.device)
    conditions = Conditions(source, device, config.threads, model.card.outputs, exact=config.forms == "all")
    before = _float_weights(folder.config) if model.kind == "quantized" else None
    head, forms, tallies = forms_of(model, config.model, tally, before=before, proven=proven, conditions=conditions)
    file = next((form for form in forms if form.name.endswith("onnxruntime") and not form.note), None)
    shown = file is not None and model.kind == "quantized" and len(tallies) > 1
    return (head, forms), [(f"int8 file {head[0]}", file.cells[0].split()[0])] if file is not None and shown else []


def _float_weights(config: Mapping[str, Any]) -> str | None:
    """Return the checkpoint that a quantized run was made from, or its run folder where that is gone; None: unknown."""
    if config.get("run") is None:
        return None
    run = Path(str(config["run"]))
    file = run / (BEST if config.get("weights") == "best" else LAST)  # runs of older versions began from the last
    return str(file if file.is_file() else run)


def _float_curves(config: Mapping[str, Any]) -> tuple[bytes, str] | None:
    """Draw the training of the float run that a quantized one came from; None where its folder is gone."""
    if config.get("run") is None:
        return None
    before = run_folder(Path(str(config["run"])))
    found = curves_of(read_metrics(before), read_mapping(before / "config.yaml")) if before.is_dir() else None
    return None if found is None else (found[0], f"The float run {before}. {found[1]}")


def _cost_rows(cost: Cost, folder: Path) -> list[tuple[str, str]]:
    height, width = cost.inputs[0].shape[-2:]
    rows = [(f"{name} at {height}×{width}" if name == "GMACs" else name, text) for name, text in summary(cost)]
    return rows + [(f"size of {file.name}", f"{file.stat().st_size / 1e6:.2f} MB") for file in weight_files(folder)]


def _hashes(folder: _RunFolder) -> list[tuple[str, str]]:
    rows = [(file.name, sha256_of(file)) for file in weight_files(folder.path)]
    if folder.checkpoint is not None:
        rows.append((f"weights in {folder.weights}", state_dict_hash(folder.checkpoint.state_dict)))
    return rows
