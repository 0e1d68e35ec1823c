"""The tables of `edgeailite complexity`: rows of layers and of networks, printed and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from edgeailite.console import print_table
from edgeailite.cost import Cost, Layer
from edgeailite.errors import counted
from edgeailite.files import write_result

TOP = 10
LAYER_COLUMNS = (
    ("MMACs", "macs", 1e6),
    ("parameters", "parameters", 1),
    ("M element op.", "element_operations", 1e6),
    ("kB read", "bytes_read", 1e3),
    ("kB written", "bytes_written", 1e3),
    ("op./byte", "intensity", 1),
)


def network_row(name: str, cost: Cost, size: tuple[int, int]) -> dict[str, Any]:
    """Return the sums of a network at a size."""
    return {
        "name": name,
        "height": size[0],
        "width": size[1],
        "giga_macs": cost.giga_macs,
        "macs": cost.macs,
        "integer_macs": cost.integer_macs,
        "parameters": cost.parameters,
        "element_operations": cost.element_operations,
        "bytes_moved": cost.bytes_moved,
        "peak_bytes": cost.peak_bytes,
        "peak_int8_bytes": cost.peak_int8_bytes,
        "weight_bytes": cost.weight_bytes,
        "weight_int8_bytes": cost.weight_int8_bytes,
    }


def layer_rows(cost: Cost, size: tuple[int, int]) -> list[dict[str, Any]]:
    """Return a row per layer, in order of execution."""
    return [
        {
            "height": size[0],
            "width": size[1],
            "name": layer.name,
            "operator": layer.operator,
            "kernel": shape_text(layer.kernel),
            "groups": layer.groups,
            "output_shape": shape_text(layer.output_shape),
            "integer": layer.integer,
            "macs": layer.macs,
            "parameters": layer.parameters,
            "element_operations": layer.element_operations,
            "bytes_read": layer.bytes_read,
            "bytes_written": layer.bytes_written,
            "intensity": round(layer.intensity, 4),
        }
        for layer in cost.layers
    ]


def summary(cost: Cost) -> list[tuple[str, str]]:
    """Return the sums as (name, text) for people."""
    rows = [
        ("GMACs", f"{cost.giga_macs:.4f}" + _of_them_integer(cost)),
        ("parameters", f"{cost.parameters:,}"),
        ("element operations", f"{cost.element_operations / 1e6:,.1f} M"),
        ("bytes moved", f"{cost.bytes_moved / 1e6:,.1f} MB"),
        ("peak activation memory", megabytes(cost.peak_bytes)),
        ("weights", megabytes(cost.weight_bytes)),
    ]
    if cost.peak_int8_bytes is not None and cost.weight_int8_bytes is not None and cost.integer_macs == 0:
        rows.insert(5, ("peak activation memory, int8 estimate", megabytes(cost.peak_int8_bytes)))
        rows.append(("weights, int8 estimate", megabytes(cost.weight_int8_bytes)))
    return rows


def print_cost(name: str, kind: str, cost: Cost, *, size: tuple[int, int], layers: str) -> None:
    """Print the sums, and the layers asked for."""
    table = Table(title=f"{name}: {kind} at {size[0]}x{size[1]}", show_header=False)
    for label, text in summary(cost):
        table.add_row(label, text)
    print_table(table)
    if layers == "none":
        return
    chosen = top_layers(cost) if layers == "top" else cost.layers
    title = f"{len(chosen)} of {len(cost.layers)} layers, most MACs first" if layers == "top" else "layers in order"
    table = Table(title=title)
    table.add_column("layer", overflow="fold")
    for column in ("operator", "kernel", "output"):
        table.add_column(column, no_wrap=True)
    for column, _, _ in LAYER_COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("type")
    for layer in chosen:
        table.add_row(*layer_cells(layer))
    print_table(table)


def top_layers(cost: Cost, count: int = TOP) -> list[Layer]:
    """Return the layers with most MACs."""
    return sorted((layer for layer in cost.layers if layer.macs), key=lambda layer: -layer.macs)[:count]


def layer_cells(layer: Layer) -> list[str]:
    """Return the cells of a layer's row as text."""
    numbers = [getattr(layer, attribute) / unit for _, attribute, unit in LAYER_COLUMNS]
    texts = [f"{value:,.{digits}f}" for value, digits in zip(numbers, (2, 0, 2, 1, 1, 1), strict=True)]
    kind = "int8" if layer.integer else "float"
    kernel = shape_text(layer.kernel) + (f" / {layer.groups}" if layer.groups > 1 else "")
    return [layer.name, layer.operator, kernel, shape_text(layer.output_shape), *texts, kind]


def print_compared(rows: Sequence[dict[str, Any]]) -> None:
    """Print networks, one row each; those of the Pareto front are marked."""
    networks = len({row["name"] for row in rows})
    title = counted(networks, "network")
    table = Table(title=title if len(rows) == networks else f"{title}, {len(rows)} rows")
    with_accuracy = any("miou" in row for row in rows)
    table.add_column("network", no_wrap=True)
    for column in ("size", "GMACs", "parameters", "peak MB", "peak MB int8", "weights MB int8"):
        table.add_column(column, justify="right")
    if with_accuracy:
        table.add_column("mIoU %", justify="right")
        table.add_column("front")
    for row in rows:
        table.add_row(*compared_cells(row, with_accuracy=with_accuracy))
    print_table(table)


def compared_cells(row: dict[str, Any], *, with_accuracy: bool) -> list[str]:
    """Return the cells of a network's row as text."""
    cells = [row["name"], f"{row['height']}x{row['width']}", f"{row['giga_macs']:.4f}", f"{row['parameters']:,}"]
    cells += [f"{row[key] / 1e6:.2f}" for key in ("peak_bytes", "peak_int8_bytes", "weight_int8_bytes")]
    if with_accuracy:
        cells += [f"{row['miou']:.2f}" if row["miou"] is not None else "–", "*" if row["front"] else ""]
    return cells


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows with a header. Raises DataError if the file cannot be written."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_result(path, text.getvalue(), "csv")


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape as `1x3x4`; a dash without a shape."""
    return "x".join(map(str, shape)) or "-"


def megabytes(count: int) -> str:
    """Return bytes in units of 10⁶ as text."""
    return f"{count / 1e6:,.2f} MB"


def _of_them_integer(cost: Cost) -> str:
    return f" ({100 * cost.integer_macs / cost.macs:.1f} % of them int8)" if cost.integer_macs else ""
