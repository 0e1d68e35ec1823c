"""`edgeailite choose`: networks within a budget, best known accuracy first, each with the command that trains it.

Accuracy at the size asked for comes first, then accuracy at other sizes (it will be another one at this size), then, if
asked for, networks of which nothing is known, largest first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from edgeailite.commands.accuracies import read_accuracies
from edgeailite.commands.common import progress
from edgeailite.commands.printing import print_json, print_table
from edgeailite.complexity import Cost, Layer, int8_layers, torch_cost
from edgeailite.config import ChooseConfig
from edgeailite.devices import Estimate, Profile, estimate, load_profile
from edgeailite.errors import UsageError
from edgeailite.models import create_model, list_models
from edgeailite.models.published import Accuracy, published_accuracy

OWN = "own results"


@dataclass(frozen=True)
class Candidate:
    """A network at the size asked for. `milliseconds` is (middle, low, high) on the device."""

    model: str
    accuracy: Accuracy | None
    same_size: bool
    giga_macs: float
    parameters: int
    milliseconds: tuple[float, float, float] | None
    train: str


def run(config: ChooseConfig) -> int:
    """Print the candidates."""
    profile = None if config.device is None else load_profile(config.device)
    own = [row for path in config.results for row in own_results(path, config.classes)]
    known = best_known([*published_accuracy(), *own], config)
    names = sorted(known) if not config.unknown else list_models()
    candidates = []
    with progress("count", len(names)) as (bar, task):
        for name in names:
            candidates.append(_candidate(name, known.get(name), config, profile))
            bar.update(task, advance=1)
    chosen = sorted((found for found in candidates if _within(found, config)), key=_rank)[: config.limit]
    if not chosen:
        cheapest = min(candidates, key=lambda found: found.milliseconds or (found.giga_macs,))
        time = f" and {cheapest.milliseconds[0]:.4g} ms on {config.device}" if cheapest.milliseconds else ""
        cost = f"{cheapest.model} with {cheapest.giga_macs:.4g} GMACs{time}"
        hint = "" if config.unknown else ", or --unknown True for networks without a known accuracy"
        raise UsageError(f"nothing within the budget; the cheapest is {cost}; raise it, or take a smaller --size{hint}")
    if config.json:
        print_json([asdict(found) for found in chosen])
    else:
        _print(chosen, config)
    return 0


def own_results(path: Path, classes: int) -> list[Accuracy]:
    """Results of a file that `edgeailite complexity` reads too, as rows beside the published ones."""
    return [
        Accuracy(
            model=result.network,
            dataset=path.name,
            classes=classes,
            height_width=result.size,
            miou=result.miou,
            arithmetic="float",
            conditions=OWN,
            source="own result",
        )
        for result in read_accuracies(path)
    ]


def best_known(rows: Sequence[Accuracy], config: ChooseConfig) -> dict[str, Accuracy]:
    """One row per network: of the class count nearest to the one asked for, in float, at the nearest size, the best."""
    nearest = min((row.classes for row in rows), key=lambda count: abs(math.log(count / config.classes)))
    found: dict[str, Accuracy] = {}
    for row in rows:
        if row.classes != nearest or row.arithmetic != "float":
            continue
        before = found.get(row.model)
        if before is None or _closeness(row, config.size) < _closeness(before, config.size):
            found[row.model] = row
    return found


def _closeness(row: Accuracy, size: tuple[int, int]) -> tuple[float, bool, float]:
    """Smaller is nearer in size; of equals one's own result, then the more accurate."""
    others = (row.conditions != OWN, -row.miou)
    if row.height_width is None:
        return (math.inf, *others)
    return (abs(math.log(math.prod(row.height_width) / math.prod(size))), *others)


def _candidate(name: str, accuracy: Accuracy | None, config: ChooseConfig, profile: Profile | None) -> Candidate:
    cost = _cost(name, config.classes, config.size)
    found = None if profile is None else _estimate(cost.layers, profile, config.type)
    height, width = config.size
    return Candidate(
        name,
        accuracy,
        accuracy is not None and accuracy.height_width == config.size,
        cost.giga_macs,
        cost.parameters,
        None if found is None else (found.milliseconds, found.low, found.high),
        f"edgeailite train --model_name {name} --dataset_name {config.dataset_name} --img_resize {height} {width}",
    )


@cache
def _cost(name: str, classes: int, size: tuple[int, int]) -> Cost:
    """Layers and parameters, from shapes alone."""
    with torch.device("meta"):
        return torch_cost(create_model(name, classes), size)


def _estimate(layers: Sequence[Layer], profile: Profile, element_type: str) -> Estimate:
    integer = element_type == "int8" or (element_type == "auto" and profile.rate("int8", "dense") is not None)
    return estimate(int8_layers(layers) if integer else layers, profile)


def _within(found: Candidate, config: ChooseConfig) -> bool:
    if config.max_gmacs is not None and found.giga_macs > config.max_gmacs:
        return False
    return config.max_ms is None or found.milliseconds is None or found.milliseconds[0] <= config.max_ms


def _rank(found: Candidate) -> tuple[Any, ...]:
    if found.accuracy is None:
        return (2, -found.giga_macs, found.model)
    return (0 if found.same_size else 1, -found.accuracy.miou, found.model)


def _print(chosen: Sequence[Candidate], config: ChooseConfig) -> None:
    height, width = config.size
    table = Table(title=f"{len(chosen)} networks at {height}x{width}, {config.classes} classes", title_justify="left")
    table.add_column("", justify="right")
    table.add_column("model", no_wrap=True)
    table.add_column("mIoU %", justify="right")
    table.add_column("known from")
    for name in ("GMACs", "parameters", *([f"ms on {config.device}"] if config.device else [])):
        table.add_column(name, justify="right")
    for index, found in enumerate(chosen, start=1):
        cells = [str(index), found.model, *_accuracy_cells(found), f"{found.giga_macs:.3f}", f"{found.parameters:,}"]
        if found.milliseconds is not None:
            cells.append("{:.1f} ({:.1f}..{:.1f})".format(*found.milliseconds))
        table.add_row(*cells)
    print_table(table)
    for index, found in enumerate(chosen, start=1):
        print(f"{index:>3}  {found.train}")
    print("Accuracy at another size is that size's; docs/devices.md says what an estimate in ms is worth.")


def _accuracy_cells(found: Candidate) -> tuple[str, str]:
    row = found.accuracy
    if row is None:
        return ("-", "not known")
    size = "own size" if row.height_width is None else f"{row.height_width[0]}x{row.height_width[1]}"
    other = "" if found.same_size else ", another size"
    return (f"{row.miou:.2f}", f"{row.dataset} {size}{other}; {row.source}")
