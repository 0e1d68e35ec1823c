"""Analysing a float run: what quantizing each of its layers costs, and plans of mixed precision under a budget."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, fx

from edgeailite.config import AnalyzeConfig
from edgeailite.config.stored import train_config
from edgeailite.console import log, progress
from edgeailite.cost import layer_macs
from edgeailite.data import DataSource
from edgeailite.data.augment.transforms import EvalTransform
from edgeailite.data.loader import eval_loader
from edgeailite.data.tensors import Sample, to_input
from edgeailite.device import select_device, set_threads
from edgeailite.errors import DataError, option
from edgeailite.evaluation import Tally, Tasks, evaluate, merge, part_of, torch_predictor
from edgeailite.evaluation.summary import headline, tasks_of
from edgeailite.export.naming import file_names
from edgeailite.files import write_result
from edgeailite.modelcard import ModelCard
from edgeailite.quantization import EVERYTHING_AS_THE_SCHEME, Plan
from edgeailite.quantization.mixed import Choice, Costs, Noise, costs_of, noise_of, planned, under_cost, under_drop
from edgeailite.quantization.partial import WEIGHTS, set_bits
from edgeailite.quantization.plan_files import write_plan
from edgeailite.quantization.sensitivity import (
    FLOAT,
    Sensitivity,
    decibels,
    label_of,
    sections,
    sensitivity,
    single_parts,
)
from edgeailite.runs.folder import run_folder
from edgeailite.runs.open import OpenModel
from edgeailite.runs.ranking import bars
from edgeailite.runs.weights import chosen_weights
from edgeailite.training.calibration import calibrated, open_float, splits_of

FORMAT = 1
FILE, PICTURE, PLAN = "sensitivity.json", "sensitivity.png", "plan.json"


@dataclass(frozen=True)
class PlanFile:
    """A plan of mixed precision, the file it was written to, and what the file says `about` it.

    `about["predicted_drop"]`: points lost on the pictures of the analysis; `about["cost"]`: bits x MACs as a ratio.
    """

    path: Path
    plan: Plan
    about: Mapping[str, Any]


@dataclass(frozen=True)
class Analysis:
    """The layers of a run ranked by what quantizing each alone costs: `page`, written to `file` and drawn in `picture`.

    `plan` is the plan that was written under a budget, None without one.
    """

    page: Mapping[str, Any]
    file: Path
    picture: Path
    plan: PlanFile | None = None


@dataclass(frozen=True)
class Pictures:
    """The labelled pictures of a split that are analysed, and what the outputs are compared as."""

    source: DataSource
    card: ModelCard
    indices: list[int]
    workers: int | Literal["auto"]
    tasks: Tasks

    def samples(self) -> Iterator[Sample]:
        """Read them one at a time, as validation sees them."""
        pre = self.card.preprocessing
        transform = EvalTransform(pre.size, pre.interpolation)
        yield from eval_loader(self.source, transform, batch_size=1, workers=self.workers, indices=self.indices)


def analyze_run(config: AnalyzeConfig, *, on_ranking: Callable[[Analysis], None] = lambda found: None) -> Analysis:
    """Rank the layers of a float run by what quantizing each alone costs, and under a budget choose a plan.

    Writes sensitivity.json and .png into the run folder, then the plan. `on_ranking` is told of the ranking before the
    plan is looked for, which takes longer. Raises UsageError, DataError, and ParityError where no plan keeps
    `config.max_drop`.

    >>> found = analyze_run(AnalyzeConfig(Path("runs/night"), images=1, calibration_images=1, workers=0))
    >>> found.page["layers"][0]["kind"] in ("weights", "activations"), found.file.as_posix()
    (True, 'runs/night/sensitivity.json')
    """
    set_threads(config.threads)
    checkpoint, opened = open_float(chosen_weights(config.run, config.weights), config.data_path)
    train, val = splits_of(opened.card, train_config(checkpoint.config), config.data_path)
    model = _quantized(config, opened, train, EVERYTHING_AS_THE_SCHEME)
    indices, tasks = part_of(len(val.items), config.images), tasks_of(val, opened.card.outputs)
    pictures = Pictures(val, opened.card, indices, config.workers, tasks)
    measured, tallies = measure_parts(model, pictures)
    costs = costs_of(model, _macs(opened))
    page = _page(config, pictures, measured, tallies, costs=costs, files=file_names(model.graph))
    folder = run_folder(config.run)
    found = Analysis(page, folder / FILE, folder / PICTURE)
    write_result(found.file, json.dumps(page, indent=1) + "\n", "run")
    write_result(found.picture, bars(page), "run")
    on_ranking(found)
    if config.max_drop is None and config.bits_macs_budget is None:
        return found
    choice = _choose(config, model, pictures, measured, costs=costs, float_tally=tallies[FLOAT])
    again = _quantized(config, opened, train, choice.plan)
    drop = _union(again, pictures, tallies[FLOAT])(choice.plan)
    return replace(found, plan=_write(config, pictures, replace(choice, drop=drop)))


def _quantized(config: AnalyzeConfig, opened: OpenModel, train: DataSource, plan: Plan) -> fx.GraphModule:
    """Return the network as `calibrate` makes it with a plan."""
    return calibrated(
        opened, train, config=config, plan=plan, batch_size=config.batch_size, device=select_device(config.device)
    ).eval()


def measure_parts(
    model: fx.GraphModule, pictures: Pictures, *, plan: Plan | None = None, labels: set[str] | None = None
) -> tuple[Sensitivity, dict[str, Tally]]:
    """Measure noise and accuracy with each part quantized alone, each section, and everything; FLOAT: with none."""
    subjects = single_parts(model) | sections(model)
    if labels is not None:
        subjects = {name: parts for name, parts in subjects.items() if name in labels}
    device = next(model.parameters()).device
    tallies: dict[str, list[Tally]] = {name: [] for name in (FLOAT, *subjects)}
    current: list[Sample] = []

    def inputs() -> Iterator[tuple[Tensor, ...]]:
        """Yield network inputs; the samples they come from stay in `current`."""
        for images, targets in pictures.samples():
            current[:] = [(images, targets)]
            yield tuple(to_input(image.to(device), pictures.card.preprocessing) for image in images)

    with progress("analyze", len(pictures.indices) * len(tallies)) as (bar, task):

        def on_outputs(subject: str, outputs: dict[str, Tensor]) -> None:
            values = {name: value.float() for name, value in outputs.items()}
            tallies[subject].append(evaluate(lambda images: values, current, pictures.tasks))
            bar.advance(task)

        measured = sensitivity(model, inputs(), subjects, plan=plan, on_outputs=on_outputs)
    return measured, {name: merge(parts) for name, parts in tallies.items()}


def drops(before: Tally, after: Tally) -> dict[str, float]:
    """Return the points that each output lost: of mIoU, or of ARD, which grows where depth gets worse."""
    numbers = (headline(before), headline(after))
    signs = {name: -1 if name.endswith("ard") else 1 for name in numbers[0]}
    return {name: sign * 100 * (numbers[0][name] - numbers[1][name]) for name, sign in signs.items()}


def worst(lost: dict[str, float]) -> float:
    """Return the points of the output that loses most. Raises DataError where nothing could be measured."""
    found = [value for value in lost.values() if value == value]
    if not found:
        raise DataError(f"{option('images')}: no labelled pixel in the pictures that are analysed; take more")
    return max(found)


def _macs(opened: OpenModel) -> dict[str, int]:
    card, network = opened.card, copy.deepcopy(opened.module)
    assert network is not None
    network.to("meta")
    size = card.preprocessing.size
    return dict(layer_macs(network, size, inputs=len(card.inputs)))


def _page(
    config: AnalyzeConfig,
    pictures: Pictures,
    measured: Sensitivity,
    tallies: dict[str, Tally],
    *,
    costs: Costs,
    files: Mapping[str, str],
) -> dict[str, Any]:
    """Return the content of sensitivity.json: layers, noisiest at their worst output first; sections; the costs.

    `name` is a layer's name in plans, `tensor` the name of its range in files.
    """
    rows = []
    for name, effect in measured.effects.items():
        kind, _, part = name.rpartition(":")
        row: dict[str, Any] = {"kind": kind or "section", "name": part}
        if kind == WEIGHTS:
            row["macs"] = costs.macs[part]
        elif kind:
            row["tensor"] = files.get(part, part)
        row["sqnr_db"] = {output: _rounded(decibels(ratio)) for output, ratio in effect.outputs.items()}
        row["drop"] = {key: _rounded(value) for key, value in drops(tallies[FLOAT], tallies[name]).items()}
        row["tensors"] = {tensor: _rounded(decibels(ratio)) for tensor, ratio in effect.tensors.items()}
        rows.append((max(effect.outputs.values()), row))
    ranked = [row for _, row in sorted(rows, key=lambda pair: -pair[0])]
    return {
        "format": FORMAT,
        "network": pictures.card.model_name,
        "scheme": config.scheme,
        "data": f"{pictures.source.name} {pictures.source.split}",
        "pictures": measured.pictures,
        "float": {name: _rounded(100 * value) for name, value in headline(tallies[FLOAT]).items()},
        "sections": [row for row in ranked if row["kind"] == "section"],
        "layers": [row for row in ranked if row["kind"] != "section"],
        "runs": {
            "kept_megabytes": round(measured.kept_bytes / 1e6, 1),
            "nodes_executed_share": round(measured.executed_share, 4),
            "seconds": round(measured.seconds, 2),
            "seconds_of_whole_float_runs": round(measured.whole_seconds, 2),
        },
    }


def _rounded(value: float | None) -> float | None:
    """Round to three decimals; None for no noise, and for NaN, which JSON has not."""
    return None if value is None or value != value else round(value, 3)


def _choose(
    config: AnalyzeConfig,
    model: fx.GraphModule,
    pictures: Pictures,
    measured: Sensitivity,
    *,
    costs: Costs,
    float_tally: Tally,
) -> Choice:
    """Find the plan under the budget."""
    noise = noise_of(model, {name: effect.outputs for name, effect in measured.effects.items()})
    narrow = _narrow_noise(model, pictures) if min(config.weight_bits) < 8 else None
    if 16 not in config.weight_bits:
        noise = {part: value for part, value in noise.items() if part.kind != WEIGHTS}
    measure = _union(model, pictures, float_tally)
    if config.max_drop is not None:
        return under_drop(costs, noise, measure, limit=config.max_drop, narrow=narrow)
    assert config.bits_macs_budget is not None
    return under_cost(costs, noise, measure, ratio=config.bits_macs_budget, narrow=narrow)


def _write(config: AnalyzeConfig, pictures: Pictures, choice: Choice) -> PlanFile:
    """Write the plan file; its drop was measured on a network calibrated with the plan."""
    if config.max_drop is not None and choice.drop > config.max_drop:
        above = f"{option('max_drop')} {config.max_drop:g}"
        log(f"calibrated anew with the plan the drop is {choice.drop:.3f} points, above {above}")
    path, about = config.plan or run_folder(config.run) / PLAN, _about(config, pictures, choice)
    write_plan(path, choice.plan, scheme=config.scheme, about=about)
    return PlanFile(path, choice.plan, about)


def _narrow_noise(model: fx.GraphModule, pictures: Pictures) -> Noise:
    """Measure what each weight alone does at 4 bits."""
    weights = [parts[0] for parts in single_parts(model).values() if parts[0].kind == WEIGHTS]
    labels = {label_of(part) for part in weights}
    measured, _ = measure_parts(model, pictures, plan=planned(weights, 4), labels=labels)
    return noise_of(model, {name: effect.outputs for name, effect in measured.effects.items()}, kind=WEIGHTS)


def _union(model: fx.GraphModule, pictures: Pictures, float_tally: Tally) -> Callable[[Plan], float]:
    """Return a function that measures the drop of a plan: of the whole network quantized with it, on these pictures."""
    predict = torch_predictor(model, pictures.card.preprocessing)

    def measure(plan: Plan) -> float:
        """Return the drop in points of the network quantized with a plan."""
        set_bits(model, plan)
        found = worst(drops(float_tally, evaluate(predict, pictures.samples(), pictures.tasks)))
        log(f"plan of {len(plan.weights) + len(plan.activations)} parts: drop {found:.3f} points")
        return found

    return measure


def _about(config: AnalyzeConfig, pictures: Pictures, choice: Choice) -> dict[str, Any]:
    return {
        "network": pictures.card.model_name,
        "max_drop": config.max_drop,
        "bits_macs_budget": config.bits_macs_budget,
        "predicted_drop": _rounded(choice.drop),
        "cost": round(choice.cost, 6),
        "measured_on": f"{pictures.source.name} {pictures.source.split}, {len(pictures.indices)} pictures",
        "plans_measured": choice.measured,
    }
