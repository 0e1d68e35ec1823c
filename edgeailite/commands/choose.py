"""`edgeailite choose`: networks within a budget, best known accuracy first, each with the command that trains it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from rich.table import Table

from edgeailite.config import ACCELERATORS, ChooseConfig
from edgeailite.console import print_json, print_table
from edgeailite.cost.choice import Candidate, choose


def run(config: ChooseConfig) -> int:
    """Print the candidates."""
    chosen = choose(config)
    if config.json:
        print_json([asdict(found) for found in chosen])
    else:
        _print(chosen, config)
    return 0


def _print(chosen: Sequence[Candidate], config: ChooseConfig) -> None:
    height, width = config.img_resize
    table = Table(title=f"{len(chosen)} networks at {height}x{width}, {config.num_classes} classes")
    table.add_column("", justify="right")
    table.add_column("model", no_wrap=True)
    table.add_column("mIoU %", justify="right")
    table.add_column("known from")
    on_device = [f"ms on {config.device} in {chosen[0].type}"] if config.device else []
    left = ["left to its CPU"] if config.device in ACCELERATORS else []
    for name in ("GMACs", "parameters", *on_device, *left):
        table.add_column(name, justify="right")
    for index, found in enumerate(chosen, start=1):
        cells = [
            str(index),
            found.model,
            *_accuracy_cells(found, config.num_classes),
            f"{found.giga_macs:.3f}",
            f"{found.parameters:,}",
        ]
        cells += _time_cells(found, config)
        table.add_row(*cells)
    print_table(table)
    for index, found in enumerate(chosen, start=1):
        print(f"{index:>3}  {found.train}")
    page = "docs/ethos_u.md" if config.device in ACCELERATORS else "docs/devices.md"
    print(f"Accuracy at another size is that size's; {page} says what an estimate in ms is worth.")


def _time_cells(found: Candidate, config: ChooseConfig) -> list[str]:
    """Return the estimate with its band, or without one the number of operators that it leaves out."""
    if found.milliseconds is None:
        return []
    if config.device in ACCELERATORS:
        return [f"{found.milliseconds[0]:.1f}", str(len(found.left_to_cpu))]
    return ["{:.1f} ({:.1f}..{:.1f})".format(*found.milliseconds)]


def _accuracy_cells(found: Candidate, classes: int) -> tuple[str, str]:
    row = found.accuracy
    if row is None:
        return ("-", "not known")
    size = "own size" if row.height_width is None else f"{row.height_width[0]}x{row.height_width[1]}"
    other = "" if found.same_size else ", another size"
    data = row.dataset if row.classes == classes else f"{row.dataset} ({row.classes} classes)"
    return (f"{row.miou:.2f}", f"{data} {size}{other}, {row.arithmetic}; {row.source}")
