"""`edgeailite complexity --all True`: all networks side by side, and with accuracies the Pareto front."""

from __future__ import annotations

import sys
from typing import Any

from edgeailite.commands.complexity import count_network, names_of
from edgeailite.config import DEFAULT_SIZE, ComplexityConfig, Size
from edgeailite.console import log, print_json
from edgeailite.cost import pareto
from edgeailite.cost.accuracies import Accuracy, read_accuracies
from edgeailite.cost.tables import network_row, print_compared, write_csv


def run_all(config: ComplexityConfig) -> int:
    """Count every network that matches, cheapest first; print and write."""
    rows = compare(config)
    if config.csv is not None:
        write_csv(config.csv, rows)
    if config.html is not None:
        from edgeailite.cost.page import write_comparison

        write_comparison(config.html, rows)
    if config.json:
        print_json(rows)
    else:
        print_compared(rows)
    return 0


def compare(config: ComplexityConfig) -> list[dict[str, Any]]:
    """A row per network, size and result. With results, rows have `miou` (None if not known) and `front`.

    A result that names its size is counted at that size; a network without results at the sizes asked for.
    """
    results = [result for path in config.results for result in read_accuracies(path)]
    names = names_of(config.model)
    outside = [result.network for result in results if result.network not in names]
    if outside:
        left_out = ", ".join(sorted(set(outside)))
        log(f"{len(outside)} results are of networks outside {config.model!r} and left out: {left_out}")
    sizes = config.img_resize or (DEFAULT_SIZE,)
    rows: list[dict[str, Any]] = []
    for number, name in enumerate(names, start=1):
        mine = [result for result in results if result.network == name]
        rows += _rows(name, mine, sizes, config)
        if sys.stderr.isatty():
            print(f"\r{number}/{len(names)}", end="" if number < len(names) else "\r", file=sys.stderr, flush=True)
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
