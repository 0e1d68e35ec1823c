"""`edgeailite complexity`: what a network costs, from its name, a run, a checkpoint or an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from edgeailite.config import ComplexityConfig, Size
from edgeailite.console import print_json, print_result
from edgeailite.cost.count import CountedModel, compare_networks, count
from edgeailite.cost.tables import layer_rows, network_row, print_compared, print_cost, write_csv
from edgeailite.errors import UsageError

if TYPE_CHECKING:
    from edgeailite.export.vela import VelaEstimate


def run(config: ComplexityConfig) -> int:
    """Count, print and write."""
    if config.all:
        return _run_all(config)
    if config.model is None:
        raise UsageError(
            "edgeailite complexity: missing model: a network name, run, checkpoint or ONNX file; or --all True"
        )
    if config.results:
        raise UsageError(f"--results {config.results[0]}: belongs to a comparison; add --all True")
    counted = count(config)
    estimates = _on_npu(config, counted)
    if config.csv is not None:
        write_csv(config.csv, [row for size, cost in counted.costs.items() for row in layer_rows(cost, size)])
    if config.html is not None:
        from edgeailite.cost.page import write_page  # matplotlib only where it is used

        write_page(config.html, counted.name, counted.kind, counted.costs)
    if config.json:
        print_json(_values(counted, estimates))
        return 0
    for size, cost in counted.costs.items():
        print_cost(counted.name, counted.kind, cost, size=size, layers=config.layers)
        if size in estimates:
            from edgeailite.export.vela import estimate_lines

            print_result(f"{counted.name} as int8, {size[0]}x{size[1]}", estimate_lines(estimates[size]))
    return 0


def _on_npu(config: ComplexityConfig, counted: CountedModel) -> dict[Size, VelaEstimate]:
    """Estimate the model on the accelerator that was asked for, at each size."""
    if config.accelerator is None:
        return {}
    from edgeailite.cost.ethos_u import estimate_model  # quantization and export only where they are used

    return estimate_model(config, counted.costs)


def _values(counted: CountedModel, estimates: Mapping[Size, VelaEstimate]) -> dict[str, object]:
    sizes = [
        {**network_row(counted.name, cost, size), **_estimate(estimates.get(size)), "layers": layer_rows(cost, size)}
        for size, cost in counted.costs.items()
    ]
    return {"model": counted.name, "kind": counted.kind, "sizes": sizes}


def _estimate(estimate: VelaEstimate | None) -> dict[str, object]:
    return {} if estimate is None else {"vela": {"milliseconds": estimate.milliseconds, **asdict(estimate)}}


def _run_all(config: ComplexityConfig) -> int:
    """Count every network that matches, cheapest first; print and write."""
    rows = compare_networks(config)
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
