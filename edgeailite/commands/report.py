"""`edgeailite report`: one HTML file of a run, gathered from its folder and a pass over the split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
import yaml

from edgeailite import __version__
from edgeailite.checkpoint import read_metrics
from edgeailite.commands.analysis_page import of_folder
from edgeailite.commands.common import print_result, progress, set_threads
from edgeailite.commands.infer import label_picture
from edgeailite.commands.measured import tasks_of
from edgeailite.commands.opening import Opened, build_network, classified, open_model
from edgeailite.commands.validate import dataset_of
from edgeailite.complexity import complexity
from edgeailite.config import ReportConfig
from edgeailite.data import DataSource
from edgeailite.data.images import read_image
from edgeailite.data.loader import eval_loader
from edgeailite.data.transforms import EvalTransform
from edgeailite.engine import select_device
from edgeailite.environment import cpu_model
from edgeailite.errors import DataError, UsageError
from edgeailite.evaluation import ClassTally, Tally, evaluate
from edgeailite.metrics import Confusion, scores
from edgeailite.modelcard import ModelCard
from edgeailite.plots import colorize, overlay
from edgeailite.report import Example, Parity, Report, flatten, render
from edgeailite.runtime import load_contract

OVERLAY_ALPHA = 0.5
WEIGHT_FILES = ("*.pt", "*.onnx")


def run(config: ReportConfig) -> int:
    """Measure, write the file and print its path."""
    set_threads(config.threads)
    opened = open_model(config.run, device=select_device(config.device), threads=config.threads)
    source = dataset_of(opened.card, None, config.data_path, config.split)
    path = config.output or opened.folder / "report.html"
    confusion, per_picture = _measure(opened, source)
    worst = worst_pictures(per_picture, config.images)
    html = render(gather(opened, source, confusion, examples=[_example(opened, source, i, per_picture) for i in worst]))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(html, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); choose another --output") from None
    print_result("report", {"report": str(path), "megabytes": round(len(html) / 1e6, 2)})
    return 0


def gather(opened: Opened, source: DataSource, confusion: Confusion, *, examples: Sequence[Example]) -> Report:
    """Everything in the run folder, and what the network costs."""
    cost, tiles = _cost(opened.card, opened.folder)
    facts = [
        ("data set", f"{source.name} {source.split}"),
        ("date", datetime.now().strftime("%Y-%m-%d %H:%M")),
        ("tool", f"edgeailite {__version__}, torch {torch.__version__}"),
        ("measured on", cpu_model() or "unknown CPU"),
    ]
    return Report(
        opened.card,
        opened.kind,
        source.split,
        confusion,
        pictures=len(source.items),
        facts=facts,
        history=read_metrics(opened.folder),
        examples=examples,
        cost=cost,
        tiles=tiles,
        parity=read_parity(opened.folder),
        sensitivity=of_folder(opened.folder),
        config=flatten(_read_mapping(opened.folder / "config.yaml")),
        environment=flatten(_read_mapping(opened.folder / "env.json")),
        hashes=[(file.name, _sha256(file)) for file in weight_files(opened.folder)],
    )


def worst_pictures(per_picture: Sequence[Confusion], count: int) -> list[int]:
    """Indices of the pictures with the lowest mIoU of their own, worst first; without those with nothing labelled."""
    labelled = [index for index, confusion in enumerate(per_picture) if confusion.sum() > 0]
    return sorted(labelled, key=lambda index: scores(per_picture[index]).miou)[:count]


def read_parity(folder: Path) -> list[Parity]:
    """The numbers of every contract in the folder, and whether the file is still the one they were measured on."""
    found = []
    for path in sorted(folder.glob("contract*.json")):
        contract = load_contract(path)
        file = folder / str(contract.get("file", ""))
        state = "the file is no longer in the run folder"
        if file.is_file():
            same = _sha256(file) == contract.get("sha256")
            state = "" if same else "the file has changed since; run `edgeailite verify` again"
        results = contract.get("results")
        found.append(Parity(file.name, state, results if isinstance(results, dict) else {}))
    return found


def weight_files(folder: Path) -> list[Path]:
    """Checkpoints and exported files of a run folder."""
    return sorted(path for pattern in WEIGHT_FILES for path in folder.glob(pattern) if path.is_file())


def _measure(opened: Opened, source: DataSource) -> tuple[Confusion, list[Confusion]]:
    """The matrix of the output whose classes the card names, and of each picture. UsageError without one."""
    names = classified(opened.card)
    if not names:
        raise UsageError(f"report {opened.folder}: the network has no output with classes; use `edgeailite validate`")
    pre = opened.card.preprocessing
    loader = eval_loader(
        source, EvalTransform((pre.height, pre.width), pre.interpolation), batch_size=1, workers="auto"
    )
    per_picture: list[Confusion] = []
    with progress("report", len(source.items)) as (bar, task):

        def on_picture(picture: Tally) -> None:
            per_picture.append(_confusion(picture, names[0]))
            bar.advance(task)

        total = evaluate(opened.predict, loader, tasks_of(source, opened.card.outputs), on_picture=on_picture)
    return _confusion(total, names[0]), per_picture


def _confusion(tally: Tally, output: str) -> Confusion:
    part = tally[output]
    assert isinstance(part, ClassTally)
    return part.confusion


def _example(opened: Opened, source: DataSource, index: int, per_picture: Sequence[Confusion]) -> Example:
    item, palette = source.items[index], opened.card.palette
    pictures = [read_image(path) for path in item.images]
    picture = pictures[item.camera]
    label = source.class_map(item)
    prediction = colorize(label_picture(opened, *pictures), palette)
    return Example(
        item.image.name,
        scores(per_picture[index]).miou,
        picture,
        label=colorize(label, palette),
        prediction=prediction,
        overlay=overlay(picture, prediction, OVERLAY_ALPHA),
    )


def _cost(card: ModelCard, folder: Path) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Rows for the table, and the two that belong at the top."""
    size = card.preprocessing.height, card.preprocessing.width
    with torch.device("meta"):
        cost = complexity(build_network(card), size, inputs=len(card.inputs))
    rows = [
        ("parameters", f"{cost.parameters:,}"),
        (f"GMACs at {size[0]}×{size[1]}", f"{cost.giga_macs:.4f}"),
    ]
    rows += [(f"size of {file.name}", f"{file.stat().st_size / 1e6:.2f} MB") for file in weight_files(folder)]
    return rows, [("parameters", f"{cost.parameters / 1e6:.2f} M"), ("GMACs", f"{cost.giga_macs:.2f}")]


def _read_mapping(path: Path) -> dict[str, Any]:
    """A YAML or JSON file of a run folder; {} if there is none. Raises DataError for a damaged one."""
    if not path.is_file():
        return {}
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot be read ({str(error).splitlines()[0]}); restore or remove it") from None
    if not isinstance(values, dict):
        raise DataError(f"{path}: expected names and values, found {type(values).__name__}; restore or remove it")
    return values


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
