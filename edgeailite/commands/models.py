"""`edgeailite models`: the networks, with what they cost and which weights exist."""

from __future__ import annotations

import json
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import torch
from rich.table import Table
from torch import nn

from edgeailite.config import ModelsConfig
from edgeailite.console import print_table, progress
from edgeailite.cost import complexity
from edgeailite.cost.network_costs import STRIDES, NetworkCost, network_costs
from edgeailite.errors import UsageError
from edgeailite.models import ALIASES, MODELS, Pixel2Pixel, create_model, list_models
from edgeailite.models.fusing import fuse
from edgeailite.models.shapes_only import shapes_only
from edgeailite.pretrained import Offer, offers, weights_for

SORTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "name": lambda row: row["name"],
    "parameters": lambda row: (row["parameters"], row["name"]),
    "gmacs": lambda row: (row["macs"], row["name"]),
}


def run(config: ModelsConfig) -> int:
    """Print the networks that match."""
    spelled = {name for alias, name in ALIASES.items() if fnmatchcase(alias, config.pattern)}
    matching = list_models(config.pattern) or sorted(spelled)
    names = [n for n in matching if config.family in ("all", MODELS[n].family)]
    if not names:
        raise UsageError(f"no network of family {config.family} matches {config.pattern!r}; try `edgeailite models`")
    rows = []
    with progress("count", len(names)) as (bar, task):
        for name in names:
            rows.append(describe(name, config.num_classes, config.img_resize, inputs=config.inputs))
            bar.update(task, advance=1)
    rows.sort(key=SORTS[config.sort or ("name" if config.max_gmacs is None else "gmacs")])
    cheapest = min(rows, key=SORTS["gmacs"])
    rows = [row for row in rows if config.max_gmacs is None or row["giga_macs"] <= config.max_gmacs]
    if not rows:
        cost = f"{cheapest['name']} with {cheapest['giga_macs']:.4g} GMACs"
        raise UsageError(f"--max_gmacs {config.max_gmacs}: no such network; the cheapest is {cost}", code="over-budget")
    if config.json:
        print(json.dumps(rows))
        return 0
    print_networks(rows, config)
    return 0


def describe(
    name: str, num_classes: int | None, height_width: tuple[int, int], *, inputs: int = 1, stored: bool = True
) -> dict[str, Any]:
    """Return a network's row in the table of `edgeailite models`: from stored costs, else counted from shapes alone."""
    cost = network_costs().get(name) if stored else None
    if cost is None or inputs != 1 or num_classes not in (None, cost.classes):
        cost, macs = _counted(name, num_classes, height_width, inputs=inputs)
    else:
        macs = cost.macs(height_width)
    return {
        "name": name,
        "family": MODELS[name].family,
        "classes": cost.classes,
        "parameters": cost.parameters,
        "macs": macs,
        "giga_macs": macs / 1e9,
        "strides": list(cost.strides),
        "decoder_stride": cost.decoder_stride,
        "weights": [record.name for record in weights_for(name)],
        "imagenet": [
            {"name": offer.weights.name, "state": offer.state, "source": offer.source} for offer in offers(name)
        ],
    }


def _counted(
    name: str, num_classes: int | None, height_width: tuple[int, int], *, inputs: int
) -> tuple[NetworkCost, int]:
    """Build a network from shapes alone; return its facts, and its MACs at this size."""
    decoded: list[torch.Size] = []
    with shapes_only():
        model = fuse(create_model(name, num_classes, inputs=inputs))
    parameters = sum(p.numel() for p in model.parameters())
    model.decoders[0].register_forward_hook(lambda module, given, result: decoded.append(result.shape))
    macs = complexity(_without_batch_norm(model), height_width, inputs=inputs).macs
    stride = next(s for s in STRIDES if -(-height_width[0] // s) == decoded[0][2])
    return NetworkCost(model.outputs["segmentation"], parameters, model.encoder.strides, stride, {}), macs


def _without_batch_norm(model: Pixel2Pixel) -> Pixel2Pixel:
    """BatchNorm counts no MACs, and takes half of the time that shapes without values take."""
    for module in list(model.modules()):
        for child_name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                module.register_module(child_name, nn.Identity())
    return model


def print_networks(rows: list[dict[str, Any]], config: ModelsConfig) -> None:
    """Print the networks for people; `strides` are the encoder's features and the decoder's output."""
    height, width = config.img_resize
    table = Table(title=f"{len(rows)} networks; GMACs at {height}x{width}")
    table.add_column("name", no_wrap=True)
    for title in ("classes", "parameters", "GMACs"):
        table.add_column(title, justify="right")
    table.add_column("strides")
    table.add_column("published weights, and where those of ImageNet are")
    for row in rows:
        strides = f"{' '.join(map(str, row['strides']))} → {row['decoder_stride']}"
        cells = (str(row["classes"]), f"{row['parameters']:,}", f"{row['giga_macs']:.4f}", strides)
        table.add_row(row["name"], *cells, _weights(row["name"], row["weights"]))
    print_table(table)


def _weights(name: str, published: list[str]) -> str:
    """Return the data sets that weights are published for; for ImageNet also where they are found first."""
    best: Offer | None = next(iter(offers(name)), None)
    data_sets = dict.fromkeys(record.split(",")[0] for record in published)
    told = [f"{data} ({best.where})" if data == "ImageNet" and best else data for data in data_sets]
    return ", ".join(told) or "-"
