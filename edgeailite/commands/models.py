"""`edgeailite models`: the networks, with what they cost."""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from edgeailite.complexity import complexity
from edgeailite.config import ModelsConfig
from edgeailite.errors import UsageError
from edgeailite.models import create_model, list_models


def run(config: ModelsConfig) -> int:
    """Print name, parameters and GigaMACs of the networks that match."""
    names = list_models(config.pattern)
    if not names:
        raise UsageError(f"no network matches {config.pattern!r}; known: {', '.join(list_models())}")
    rows = [describe(name, config.num_classes, config.size) for name in names]
    if config.json:
        print(json.dumps(rows))
        return 0
    height, width = config.size
    table = Table(title=f"networks with {config.num_classes} classes", title_justify="left")
    table.add_column("name")
    table.add_column("parameters", justify="right")
    table.add_column(f"GMACs at {height}x{width}", justify="right")
    for row in rows:
        table.add_row(row["name"], f"{row['parameters']:,}", f"{row['giga_macs']:.4f}")
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    return 0


def describe(name: str, num_classes: int, height_width: tuple[int, int]) -> dict[str, Any]:
    """Name, parameters and MACs of a network, from shapes alone."""
    with torch.device("meta"):
        model = create_model(name, num_classes)
    cost = complexity(model, height_width)
    return {"name": name, "parameters": cost.parameters, "macs": cost.macs, "giga_macs": cost.giga_macs}
