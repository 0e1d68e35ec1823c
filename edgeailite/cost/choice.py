"""Networks within a budget, best known accuracy first, each with the command that trains it.

Accuracy at the size asked for comes first, then accuracy at other sizes (it will be another one at this size), then, if
asked for, networks without known accuracy, largest first. Every row says which data, size and arithmetic its
accuracy belongs to: float and int8 networks, or several data sets, stand in one list where nothing better is known.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeailite.config import ACCELERATORS, ChooseConfig
from edgeailite.console import log, progress
from edgeailite.cost import Cost, int8_layers
from edgeailite.cost.accuracies import read_accuracies
from edgeailite.cost.count import count_network
from edgeailite.cost.devices import Profile, estimate, load_profile
from edgeailite.errors import UsageError, option
from edgeailite.models import list_models
from edgeailite.models.published import Accuracy, published_accuracy

OWN = "own results"
NOT_SAID = "float or int8 not said"


@dataclass(frozen=True)
class Candidate:
    """A network at the size asked for. `milliseconds` is (middle, low, high) on the device, computing in `type`.

    On an Ethos-U the three are equal, since Vela gives no band, and `left_to_cpu` names the operators that they leave
    out.
    """

    model: str
    accuracy: Accuracy | None
    same_size: bool
    giga_macs: float
    parameters: int
    milliseconds: tuple[float, float, float] | None
    type: str | None
    train: str
    left_to_cpu: tuple[str, ...] = ()


def choose(config: ChooseConfig) -> list[Candidate]:
    """Return the networks within the budget, best first.

    On an Ethos-U, networks without an int8 .tflite form are left out with a note.

    Raises UsageError where none is within it, naming the cheapest, or without Vela for an Ethos-U, and DataError for a
    device or results that cannot be read.

    >>> from edgeailite.config import ChooseConfig
    >>> [found.model for found in choose(ChooseConfig(max_gmacs=4.0, rows=1))]
    ['fpn_aspp_mobilenetv2_tv_edgeailite']
    """
    npu = config.device in ACCELERATORS
    if npu:
        _check_vela(config)
    profile = None if config.device is None or npu else load_profile(config.device)
    own = [row for path in config.results for row in own_results(path, config.num_classes)]
    element_type = _element_type(config, profile)
    known = best_known([*published_accuracy(), *own], config, element_type)
    names = sorted(known) if not config.unknown else list_models()
    candidates = []
    with progress("compile" if npu else "count", len(names)) as (bar, task):
        for name in names:
            try:
                candidates.append(_candidate(name, known.get(name), config, profile, element_type))
            except UsageError as error:
                if not npu:
                    raise
                log(f"{name} is left out: {error}")
            bar.update(task, advance=1)
    chosen = sorted((found for found in candidates if _within(found, config)), key=_rank)[: config.rows]
    if not chosen:
        cheapest = min(
            candidates, key=lambda found: (found.milliseconds is None, found.milliseconds or (found.giga_macs,))
        )
        time = f" and {cheapest.milliseconds[0]:.4g} ms on {config.device}" if cheapest.milliseconds else ""
        cost = f"{cheapest.model} with {cheapest.giga_macs:.4g} GMACs{time}"
        hint = "" if config.unknown else f", or {option('unknown')} True for networks without a known accuracy"
        raise UsageError(
            f"nothing within the budget; the cheapest is {cost}; "
            f"raise it, or take a smaller {option('img_resize')}{hint}",
            code="over-budget",
        )
    return chosen


def own_results(path: Path, classes: int) -> list[Accuracy]:
    """Read results of a file that `edgeailite complexity` reads too, as rows like the published ones.

    A file that does not say its classes is taken to be of those asked for.
    """
    return [
        Accuracy(
            model=result.network,
            dataset=result.data or path.name,
            classes=result.classes or classes,
            height_width=result.size,
            miou=result.miou,
            arithmetic=result.arithmetic or NOT_SAID,
            conditions=OWN,
            source="own result",
        )
        for result in read_accuracies(path)
    ]


def best_known(rows: Sequence[Accuracy], config: ChooseConfig, element_type: str | None = None) -> dict[str, Accuracy]:
    """Return a row per network: nearest size first, then one's own, then the estimate's type, then the best.

    Published rows count only at the class count nearest to the one asked for; own results also at exactly that count.
    """
    published = {row.classes for row in rows if row.conditions != OWN} or {config.num_classes}
    nearest = min(published, key=lambda count: abs(math.log(count / config.num_classes)))
    found: dict[str, Accuracy] = {}
    for row in rows:
        if row.classes != nearest and (row.conditions != OWN or row.classes != config.num_classes):
            continue
        before = found.get(row.model, row)
        found[row.model] = min(before, row, key=lambda one: _closeness(one, config.img_resize, element_type))
    return found


def _closeness(row: Accuracy, size: tuple[int, int], element_type: str | None) -> tuple[float, bool, bool, float]:
    """Smaller is nearer in size; of equals one's own result, then the type's, then the more accurate."""
    other_type = row.arithmetic.startswith("int8") != (element_type == "int8")
    others = (row.conditions != OWN, other_type, -row.miou)
    if row.height_width is None:
        return (math.inf, *others)
    return (abs(math.log(math.prod(row.height_width) / math.prod(size))), *others)


def _candidate(
    name: str, accuracy: Accuracy | None, config: ChooseConfig, profile: Profile | None, element_type: str | None
) -> Candidate:
    cost = count_network(name, (config.img_resize,), num_classes=config.num_classes, inputs=1, int8=False)[
        config.img_resize
    ]
    milliseconds, left_to_cpu = _time(name, cost, config, profile, element_type)
    return Candidate(
        name,
        accuracy,
        accuracy is not None and accuracy.height_width == config.img_resize,
        cost.giga_macs,
        cost.parameters,
        milliseconds,
        element_type,
        _command(name, config),
        left_to_cpu,
    )


def _command(name: str, config: ChooseConfig) -> str:
    """Return the whole command that trains a network; DIR stands for a folder that was not given."""
    size = " ".join(map(str, config.img_resize))
    path = "DIR" if config.data_path is None else shlex.quote(str(config.data_path))
    data, to = config.dataset_name, f"runs/{name}"
    if data in ("", "folder"):
        return f"edgeailite train --model_name {name} --data_path {path} --img_resize {size} --save_path {to}"
    if config.data_path is not None:
        return (
            f"edgeailite train --model_name {name} --dataset_name {data} --data_path {path} --img_resize {size} "
            f"--save_path {to}"
        )
    return f"edgeailite train --model_name {name} --dataset_name {data} --img_resize {size} --save_path {to}"


def _element_type(config: ChooseConfig, profile: Profile | None) -> str | None:
    """Arithmetic of the estimates: int8 where the device has it, unless another was asked for."""
    if config.device in ACCELERATORS:
        if config.type == "float32":
            raise UsageError(f"{config.device} computes in int8 alone", about="type", value=config.type)
        return "int8"
    if profile is None or config.type != "auto":
        return None if profile is None else config.type
    return "float32" if profile.rate("int8", "dense") is None else "int8"


def _time(
    name: str, cost: Cost, config: ChooseConfig, profile: Profile | None, element_type: str | None
) -> tuple[tuple[float, float, float] | None, tuple[str, ...]]:
    """Milliseconds (middle, low, high) on the device, and the operators that they leave out.

    A network beyond the budget of GMACs is not compiled.
    """
    if config.device in ACCELERATORS:
        if config.max_gmacs is not None and cost.giga_macs > config.max_gmacs:
            return None, ()
        return _on_npu(name, config)
    if profile is None:
        return None, ()
    found = estimate(int8_layers(cost.layers) if element_type == "int8" else cost.layers, profile)
    return (found.milliseconds, found.low, found.high), ()


def _check_vela(config: ChooseConfig) -> None:
    """Raise UsageError before any network is counted where none can be compiled."""
    from edgeailite.export.vela import check_vela

    check_vela(str(config.device))


def _on_npu(name: str, config: ChooseConfig) -> tuple[tuple[float, float, float], tuple[str, ...]]:
    from edgeailite.cost.ethos_u import estimate_name  # quantization and export only where they are used

    assert config.device is not None
    found = estimate_name(name, config.img_resize, classes=config.num_classes, accelerator=config.device)
    left = tuple(f"{operator.kind} {operator.name}" for operator in found.cpu_operators)
    return (found.milliseconds,) * 3, left


def _within(found: Candidate, config: ChooseConfig) -> bool:
    if config.max_gmacs is not None and found.giga_macs > config.max_gmacs:
        return False
    return config.max_ms is None or found.milliseconds is None or found.milliseconds[0] <= config.max_ms


def _rank(found: Candidate) -> tuple[Any, ...]:
    if found.accuracy is None:
        return (2, -found.giga_macs, found.model)
    return (0 if found.same_size else 1, -found.accuracy.miou, found.model)
