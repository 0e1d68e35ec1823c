"""The pages of `edgeailite complexity --html`: one file each, plots inside, no scripts, no remote assets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeailite import __version__
from edgeailite.config import Size
from edgeailite.cost import Cost, int8_cost
from edgeailite.cost.devices.roofline import kind_of
from edgeailite.cost.tables import LAYER_COLUMNS, compared_cells, layer_cells, megabytes, summary, top_layers
from edgeailite.drawing.html import Figure, figure, template
from edgeailite.drawing.plots import intensity_scatter, layer_bars, memory_curve, tradeoff
from edgeailite.files import write_result

BARS = 20
GROUPS = {  # kinds of layers with MACs, as the devices have them: in the plot
    "depthwise": "depthwise",
    "grouped": "grouped",
    "pointwise": "1x1 and linear",
    "linear": "1x1 and linear",
    "dense": "larger kernels",
    "stem": "larger kernels",
}
LABELS = ("GMACs", "mIoU, %")


def write_page(path: Path, name: str, kind: str, costs: Mapping[Size, Cost]) -> None:
    """Write the page of one network at its sizes. Raises DataError if it cannot be written."""
    first = next(iter(costs.values()))
    html = template("complexity.html").render(
        name=name,
        kind=kind,
        version=__version__,
        tiles=_tiles(first),
        sizes=[_section(cost, size) for size, cost in costs.items()],
        columns=[column for column, _, _ in LAYER_COLUMNS],
    )
    write_result(path, html, "html")


def write_comparison(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write the page of all networks side by side. Raises DataError if it cannot be written."""
    with_accuracy = any("miou" in row for row in rows)
    html = template("complexity_all.html").render(
        version=__version__,
        networks=len({row["name"] for row in rows}),
        plot=_front(rows) if with_accuracy else _parameters(rows),
        with_accuracy=with_accuracy,
        rows=[(row, compared_cells(row, with_accuracy=with_accuracy)) for row in rows],
    )
    write_result(path, html, "html")


def _section(cost: Cost, size: Size) -> dict[str, Any]:
    """Return the part of the page about one size."""
    return {
        "height": size[0],
        "width": size[1],
        "summary": summary(cost),
        "kinds": _kinds(cost),
        "figures": _figures(cost),
        "layers": [layer_cells(layer) for layer in cost.layers],
    }


def _figures(cost: Cost) -> list[list[Figure]]:
    """Two columns of plots; those of MACs only where a layer has some."""
    memory = figure(memory_curve(_memory(cost)), "Activation memory held while the layers run.")
    if not cost.macs:
        return [[memory]]
    counted = top_layers(cost, BARS)
    bars = layer_bars(
        [layer.name for layer in counted],
        [layer.macs / 1e6 for layer in counted],
        title=f"The {len(counted)} layers with most MACs, in millions",
    )
    intensities = intensity_scatter(_intensities(cost))
    return [
        [memory, figure(intensities, "MACs of the layers against operations per byte moved.")],
        [figure(bars, "Bars of the layers with most MACs.")],
    ]


def _tiles(cost: Cost) -> list[tuple[str, str]]:
    tiles = [
        ("GMACs", f"{cost.giga_macs:.3f}"),
        ("parameters", f"{cost.parameters / 1e6:.2f} M"),
        ("peak memory", megabytes(cost.peak_bytes)),
    ]
    if cost.peak_int8_bytes is not None and cost.integer_macs == 0:
        tiles.append(("peak memory int8", megabytes(cost.peak_int8_bytes)))
    return tiles


def _memory(cost: Cost) -> dict[str, Sequence[int]]:
    """Curves by name: the network as counted, and a float one as int8."""
    if cost.integer_macs:
        return {"int8": cost.memory}
    if cost.memory_int8 is None:
        return {"float": cost.memory}
    return {"float": cost.memory, "int8 estimate": int8_cost(cost).memory}


def _intensities(cost: Cost) -> dict[str, list[tuple[float, float]]]:
    """(operations per byte, MACs) of the layers with MACs, by kind of kernel."""
    groups: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for layer in cost.layers:
        if layer.macs:
            groups[GROUPS[kind_of(layer) or ""]].append((layer.intensity, layer.macs))
    return dict(sorted(groups.items()))


def _kinds(cost: Cost) -> list[dict[str, Any]]:
    """Sums by operator, most bytes first."""
    sums: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for layer in cost.layers:
        row = sums[layer.operator]
        row["layers"] += 1
        row["macs"] += layer.macs
        row["operations"] += layer.element_operations
        row["bytes"] += layer.bytes_read + layer.bytes_written
    total = max(cost.bytes_moved, 1)
    return [
        {"operator": operator, **row, "share": round(100 * row["bytes"] / total, 1)}
        for operator, row in sorted(sums.items(), key=lambda pair: -pair[1]["bytes"])
    ]


def _front(rows: Sequence[dict[str, Any]]) -> Figure:
    rated = [row for row in rows if row["miou"] is not None]
    points = [(f"{row['name']} {row['height']}x{row['width']}", row["giga_macs"], row["miou"]) for row in rated]
    front = [index for index, row in enumerate(rated) if row["front"]]
    return figure(tradeoff(points, front, labels=LABELS), "Accuracy against GMACs; the line joins the Pareto front.")


def _parameters(rows: Sequence[dict[str, Any]]) -> Figure:
    points = [(row["name"], row["giga_macs"], row["parameters"] / 1e6) for row in rows]
    drawn = tradeoff(points, (), labels=(LABELS[0], "parameters, millions"))
    return figure(drawn, "Parameters against GMACs of all networks.")
