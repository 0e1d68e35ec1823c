"""`edgeailite complexity`: what a network costs, from its name, a run, a checkpoint or an ONNX file.

What counts is defined in `edgeailite.cost.layer` and docs/cost.md. Only what a network name needs is imported at
once: a file or a run brings its own imports.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeailite.config import DEFAULT_SIZE, ComplexityConfig, Size
from edgeailite.console import print_json
from edgeailite.cost import Cost, int8_cost, onnx_cost, torch_cost
from edgeailite.cost.tables import layer_rows, network_row, print_cost, write_csv
from edgeailite.errors import DataError, UsageError
from edgeailite.models import ALIASES, MODELS, create_model, list_models
from edgeailite.models.shapes_only import shapes_only


@dataclass(frozen=True)
class Counted:
    """What was counted: a title, the kind of thing it is, and costs by size (height, width)."""

    name: str
    kind: str
    costs: dict[Size, Cost]


def run(config: ComplexityConfig) -> int:
    """Count, print and write."""
    if config.all:
        from edgeailite.commands.complexity_all import run_all

        return run_all(config)
    if config.model is None:
        raise UsageError(
            "edgeailite complexity: missing model: a network name, run, checkpoint or ONNX file; or --all True"
        )
    if config.results:
        raise UsageError(f"--results {config.results[0]}: belongs to a comparison; add --all True")
    counted = count(config)
    if config.csv is not None:
        write_csv(config.csv, [row for size, cost in counted.costs.items() for row in layer_rows(cost, size)])
    if config.html is not None:
        from edgeailite.cost.page import write_page

        write_page(config.html, counted.name, counted.kind, counted.costs)
    if config.json:
        print_json(
            {
                "model": counted.name,
                "kind": counted.kind,
                "sizes": [
                    {**network_row(counted.name, cost, size), "layers": layer_rows(cost, size)}
                    for size, cost in counted.costs.items()
                ],
            }
        )
        return 0
    for size, cost in counted.costs.items():
        print_cost(counted.name, counted.kind, cost, size=size, layers=config.layers)
    return 0


def count(config: ComplexityConfig) -> Counted:
    """Costs of what `config.model` names, at the sizes asked for. Raises DataError and UsageError."""
    name = str(config.model)
    if Path(name).suffix == ".onnx":
        return _count_file(Path(name), config)
    if name in MODELS or name in ALIASES or not (Path(name).exists() or "/" in name or name.endswith(".pt")):
        costs = count_network(
            name,
            config.img_resize or (DEFAULT_SIZE,),
            num_classes=config.num_classes,
            inputs=config.inputs,
            int8=config.int8,
        )
        return Counted(name, "int8 estimate" if config.int8 else "float network", costs)
    return _count_run(Path(name), config)


def count_network(
    name: str, sizes: Sequence[Size], *, num_classes: int | None, inputs: int, int8: bool
) -> dict[Size, Cost]:
    """Costs of a network by name, or of the int8 one it is expected to become."""
    with shapes_only():
        model = create_model(name, num_classes, inputs=inputs)
    costs = {size: torch_cost(model, size, inputs=inputs) for size in sizes}
    return {size: int8_cost(cost) for size, cost in costs.items()} if int8 else costs


def _count_file(path: Path, config: ComplexityConfig) -> Counted:
    """An ONNX file; the size of an open one is asked for or noted in its metadata."""
    from edgeailite.onnxfile import read_onnx
    from edgeailite.runtime.metadata import about_of_metadata

    _refuse_building(config, f"{path} is a file and has its own")
    if config.int8:
        raise UsageError(f"--int8: {path} is counted as it is; export an int8 file, or give the network's name")
    file = read_onnx(path)
    if file.is_own:
        about_of_metadata(file.graph.metadata, where=file.name)
    sizes: Sequence[Size | None] = config.img_resize or (None,)
    costs = {}
    for size in sizes:
        cost = onnx_cost(path, size)
        height, width = cost.inputs[0].shape[2:] if len(cost.inputs[0].shape) == 4 else (0, 0)
        costs[height, width] = cost
    integer = any(layer.integer for cost in costs.values() for layer in cost.layers)
    return Counted(path.name, "int8 ONNX file" if integer else "float ONNX file", costs)


def _count_run(path: Path, config: ComplexityConfig) -> Counted:
    """The network of a run folder or checkpoint, as its card says."""
    from edgeailite.runs.checkpoint import find_checkpoint, load_checkpoint
    from edgeailite.runs.open import build_network

    if not path.exists():
        raise DataError(f"{path}: no such run folder, checkpoint or ONNX file; `edgeailite models` lists network names")
    _refuse_building(config, f"the network in {path} has its own")
    checkpoint = load_checkpoint(find_checkpoint(path))
    card = checkpoint.card
    with shapes_only():
        model = build_network(card)
    sizes = config.img_resize or (card.preprocessing.size,)
    costs = {size: torch_cost(model, size, inputs=len(card.inputs)) for size in sizes}
    if config.int8:
        costs = {size: int8_cost(cost) for size, cost in costs.items()}
    kind = "int8 estimate" if config.int8 else "float network"
    if checkpoint.quantization is not None and not config.int8:
        kind = "quantized network, counted as the float one it came from"
    return Counted(f"{card.model_name} of {path}", kind, costs)


def _refuse_building(config: ComplexityConfig, reason: str) -> None:
    """Options that build a network from its name."""
    if config.num_classes is not None or config.inputs != 1:
        raise UsageError(f"--num_classes and --inputs: {reason}; they belong to a network name")


def names_of(pattern: str | None) -> list[str]:
    """Network names that match. Raises UsageError if none does."""
    names = list_models(pattern or "*")
    if not names:
        raise UsageError(f"no network matches {pattern!r}; try `edgeailite models`")
    return names
