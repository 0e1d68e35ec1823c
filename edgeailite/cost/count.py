"""Count what a network costs: by its name, of a run, of a checkpoint or of an exported file; or all names side by side.

What counts is defined in `edgeailite.cost.layer` and docs/cost.md. A file is counted without torch; a network's name or
a run imports it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeailite.config import DEFAULT_SIZE, ComplexityConfig, Size
from edgeailite.console import log, progress
from edgeailite.cost import Cost, file_cost, int8_cost, pareto, torch_cost
from edgeailite.cost.tables import network_row
from edgeailite.errors import DataError, UsageError, option

if TYPE_CHECKING:
    from edgeailite.cost.accuracies import Accuracy


@dataclass(frozen=True)
class CountedModel:
    """A counted model: its title, its kind in words, and its cost at each input size (height, width)."""

    name: str
    kind: str
    costs: dict[Size, Cost]


def count(config: ComplexityConfig) -> CountedModel:
    """Count the model that `config.model` names, at the sizes asked for. Raises DataError and UsageError.

    >>> from edgeailite.config import ComplexityConfig
    >>> counted = count(ComplexityConfig("deeplabv3plus_mobilenetv2_tv_edgeailite", img_resize=((384, 768),)))
    >>> round(counted.costs[384, 768].giga_macs, 3)
    3.545
    """
    name = str(config.model)
    if Path(name).suffix in (".onnx", ".tflite"):
        return _count_file(Path(name), config)
    from edgeailite.models import ALIASES, MODELS

    if name in MODELS or name in ALIASES or not (Path(name).exists() or "/" in name or name.endswith(".pt")):
        costs = count_network(
            name,
            config.img_resize or (DEFAULT_SIZE,),
            num_classes=config.num_classes,
            inputs=config.inputs,
            int8=config.int8,
        )
        return CountedModel(name, "int8 estimate" if config.int8 else "float network", costs)
    return _count_run(Path(name), config)


def count_network(
    name: str, sizes: Sequence[Size], *, num_classes: int | None, inputs: int, int8: bool
) -> dict[Size, Cost]:
    """Count a network by name, or the int8 network that it is expected to become, at each size."""
    from edgeailite.models import create_model
    from edgeailite.models.shapes_only import shapes_only

    with shapes_only():
        model = create_model(name, num_classes, inputs=inputs)
    costs = {size: torch_cost(model, size, inputs=inputs) for size in sizes}
    return {size: int8_cost(cost) for size, cost in costs.items()} if int8 else costs


def _count_file(path: Path, config: ComplexityConfig) -> CountedModel:
    """Count an ONNX or .tflite file; the size of an open one is asked for or noted in its metadata."""
    _refuse_building(config, f"{path} is a file and has its own")
    if config.int8:
        raise UsageError(
            f"{option('int8')}: {path} is counted as it is; export an int8 file, or give the network's name"
        )
    _check_metadata(path)
    sizes: Sequence[Size | None] = config.img_resize or (None,)
    costs = {}
    for size in sizes:
        cost = file_cost(path, size)
        height, width = cost.inputs[0].shape[2:] if len(cost.inputs[0].shape) == 4 else (0, 0)
        costs[height, width] = cost
    integer = any(layer.integer for cost in costs.values() for layer in cost.layers)
    kind = "TFLite" if path.suffix == ".tflite" else "ONNX"
    return CountedModel(path.name, f"{'int8' if integer else 'float'} {kind} file", costs)


def _check_metadata(path: Path) -> None:
    """Read the metadata of a file of ours. Raises DataError where they are not in order."""
    from edgeailite.onnxfile import read_onnx
    from edgeailite.runtime.metadata import about_of_metadata
    from edgeailite.runtime.tflite_file import read_tflite

    if path.suffix == ".tflite":
        model = read_tflite(path)
        texts, name, is_own = model.texts() if model.is_own else {}, model.name, model.is_own
    else:
        file = read_onnx(path)
        texts, name, is_own = dict(file.graph.metadata), file.name, file.is_own
    if is_own:
        about_of_metadata(texts, where=name)


def _count_run(path: Path, config: ComplexityConfig) -> CountedModel:
    """Count the network of a run folder or checkpoint, as its card says."""
    from edgeailite.cost.model_cost import float_costs
    from edgeailite.runs.checkpoint import load_checkpoint
    from edgeailite.runs.folder import find_checkpoint, run_folder

    if not path.exists():
        raise DataError(
            f"{path}: no such run folder, checkpoint or ONNX file; `edgeailite models` lists network names",
            code="missing-file",
        )
    _refuse_building(config, f"the network in {path} has its own")
    checkpoint = load_checkpoint(find_checkpoint(path))
    card = checkpoint.card
    costs = float_costs(card, config.img_resize or (card.preprocessing.size,), folder=run_folder(path))
    if config.int8:
        costs = {size: int8_cost(cost) for size, cost in costs.items()}
    kind = "int8 estimate" if config.int8 else "float network"
    if checkpoint.quantization is not None and not config.int8:
        kind = "quantized network, counted as the float one it came from"
    return CountedModel(f"{card.model_name} of {path}", kind, costs)


def _refuse_building(config: ComplexityConfig, reason: str) -> None:
    """Refuse options that build a network from its name. Raises UsageError."""
    if config.num_classes is not None or config.inputs != 1:
        raise UsageError(f"{option('num_classes')} and {option('inputs')}: {reason}; they belong to a network name")


def names_of(pattern: str | None) -> list[str]:
    """Return the network names that match a shell pattern. Raises UsageError if none does."""
    from edgeailite.models import list_models

    names = list_models(pattern or "*")
    if not names:
        raise UsageError(f"no network matches {pattern!r}; try `edgeailite models`")
    return names


def compare_networks(config: ComplexityConfig) -> list[dict[str, Any]]:
    """Count all networks that match `config.model`: a row per network, size and result, cheapest first.

    With results, rows have `miou` (None if not known), and `front`, true where no network is better in both.

    A result that names its size is counted at that size; a network without results at the sizes asked for.
    """
    from edgeailite.cost.accuracies import read_accuracies

    results = [result for path in config.results for result in read_accuracies(path)]
    names = names_of(config.model)
    outside = [result.network for result in results if result.network not in names]
    if outside:
        left_out = ", ".join(sorted(set(outside)))
        log(f"{len(outside)} results are of networks outside {config.model!r} and left out: {left_out}")
    sizes = config.img_resize or (DEFAULT_SIZE,)
    rows: list[dict[str, Any]] = []
    with progress("count", len(names)) as (bar, task):
        for name in names:
            mine = [result for result in results if result.network == name]
            rows += _rows(name, mine, sizes, config)
            bar.advance(task)
    rows.sort(key=lambda row: (row["macs"], row["name"]))
    if results:
        rated = [row for row in rows if row["miou"] is not None]
        front = pareto([(row["macs"], row["miou"]) for row in rated])
        for index in front:
            rated[index]["front"] = True
    return rows


def _rows(
    name: str, results: list[Accuracy], sizes: tuple[Size, ...], config: ComplexityConfig
) -> list[dict[str, Any]]:
    wanted = [(size, result.miou) for result in results for size in ([result.size] if result.size else sizes)]
    pairs: list[tuple[Size, float | None]] = [*wanted] or [(size, None) for size in sizes]
    costs = count_network(
        name,
        tuple(dict.fromkeys(size for size, _ in pairs)),
        num_classes=config.num_classes,
        inputs=config.inputs,
        int8=config.int8,
    )
    rated = {"front": False} if config.results else {}
    return [
        network_row(name, costs[size], size) | ({"miou": miou} if config.results else {}) | rated
        for size, miou in pairs
    ]
