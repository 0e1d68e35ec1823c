"""`edgeailite compare`: two models on the same pictures; is the difference real, and where do they disagree?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from edgeailite.config import CompareConfig
from edgeailite.console import print_json, print_table
from edgeailite.cost.model_cost import cost_of
from edgeailite.evaluation import compare
from edgeailite.metrics.names import METRICS
from edgeailite.report.comparison_sheet import write_sheet
from edgeailite.runs.open import OpenModel

NEARNESS = {
    "max_difference": "largest |B - A|",
    "rms_difference": "root mean square of B - A",
    "rms_of_deviation": "the same, in standard deviations of A",
    "cosine": "mean cosine of the angle between A and B",
}
COSTS = (
    ("network", "network"),
    ("type", "type"),
    ("size", "input size"),
    ("giga_macs", "GMACs"),
    ("parameters", "parameters"),
    ("peak_activation_megabytes", "peak activations, MB"),
    ("file", "file"),
    ("file_megabytes", "size of the file, MB"),
)


def run(config: CompareConfig) -> int:
    """Measure both, write the sheet, and print the tables or JSON."""
    found = compare(config)
    values: dict[str, Any] = {
        "a": _about(config.a, found.models[0]),
        "b": _about(config.b, found.models[1]),
        "data": f"{found.source.name} {found.source.split}",
        "pictures": found.pictures,
        "bootstrap": {"draws": config.draws, "seed": config.seed, "level": 95},
        "outputs": found.outputs,
    }
    if config.sheet is not None:
        sheets = write_sheet(config.sheet, found, labels=(str(config.a), str(config.b)))
        values["sheets"] = [str(path) for path in sheets]
    if config.json:
        print_json(values)
    else:
        _print_comparison(values)
    return 0


def _about(path: Path, model: OpenModel) -> dict[str, Any]:
    cost = cost_of(path, model)
    return {
        "model": str(path),
        "network": model.card.model_name,
        "kind": model.kind,
        "type": model.number_type,
        "arithmetic": model.arithmetic,
        "size": list(model.card.preprocessing.size),
        "giga_macs": round(cost.giga_macs, 4),
        "parameters": cost.parameters,
        "peak_activation_megabytes": round(cost.peak_bytes / 1e6, 3),
        "file": model.file.name,
        "file_megabytes": round(model.file.stat().st_size / 1e6, 3),
    }


def _print_comparison(values: Mapping[str, Any]) -> None:
    """Print cost side by side, then for each output the numbers and who is right."""
    _print_models(values)
    for name, part in values["outputs"].items():
        if "numbers" in part:
            _print_numbers(name, part["numbers"])
        else:
            _print_output(name, part)
    if all("numbers" in part for part in values["outputs"].values()):
        print("no metric: the numbers say how near the two are, not which is right")
        return
    how = values["bootstrap"]
    print(
        f"interval: the middle {how['level']} % of {how['draws']} paired draws of pictures (seed {how['seed']}); "
        "*: it leaves 0 out"
    )
    for path in values.get("sheets", ()):
        print(f"sheet: {path}")


def _print_models(values: Mapping[str, Any]) -> None:
    table = Table(title=f"{values['data']}, {values['pictures']} pictures")
    for column in ("", "A", "B"):
        table.add_column(column, overflow="fold")
    for key, label in (("model", "model"), *COSTS):
        table.add_row(label, *(_cost_text(values[side][key]) for side in ("a", "b")))
    print_table(table)


def _print_output(name: str, part: Mapping[str, Any]) -> None:
    table = Table(title=name)
    table.add_column("", overflow="fold")
    for column in ("A", "B", "B - A", "interval", ""):
        table.add_column(column, justify="right", no_wrap=True)
    rows = [(METRICS[key].words, row) for key, row in part.items() if key in METRICS]
    rows += [(f"IoU {label}, %", row) for label, row in part.get("iou", {}).items()]
    for label, row in rows:
        table.add_row(label, *_cells(row))
    print_table(table)
    print(agreement_text(part["agreement"], classes="ard" not in part))


def _print_numbers(name: str, numbers: Mapping[str, float | None]) -> None:
    table = Table(title=name)
    table.add_column("", overflow="fold")
    table.add_column("", justify="right", no_wrap=True)
    for key, label in NEARNESS.items():
        table.add_row(label, "–" if numbers[key] is None else f"{numbers[key]:.6g}")
    print_table(table)


def agreement_text(part: Mapping[str, Any], *, classes: bool) -> str:
    """Return the sentence about where they differ."""
    if part["differ"] is None:
        return "no pixel is labelled"
    what = "they differ on" if classes else "one is closer by more than 1 % of the depth on"
    whole = "pictures" in part
    count, unit = (part["pictures"], "pictures") if whole else (part["labelled_pixels"], "labelled pixels")
    text = f"{what} {part['differ']:.3f} % of {count:,} {unit}"
    if part["a_right"] is None:
        return text
    right = "right" if classes else "closer"
    text += f"; there A is {right} on {part['a_right']:.1f} %, B on {part['b_right']:.1f} %"
    return text + (f", neither on {part['neither']:.1f} %" if classes else "")


def _cells(row: Mapping[str, Any]) -> list[str]:
    """Return numbers as text; the last says whether the interval leaves 0 out."""
    numbers = ["–" if row[key] is None else f"{row[key]:.2f}" for key in ("a", "b")]
    gap = "–" if row["difference"] is None else f"{row['difference']:+.2f}"
    if row["interval"] is None:
        return [*numbers, gap, "–", ""]
    low, high = row["interval"]
    return [*numbers, gap, f"{low:+.2f} to {high:+.2f}", "*" if low > 0 or high < 0 else ""]


def _cost_text(value: Any) -> str:
    if isinstance(value, list):
        return "×".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
