"""The published table of GigaMACs and mIoU with our count beside each row, as the Markdown that docs/models.md holds.

    python benchmarks/published_costs.py

Rows come from tests/reference/gmacs.csv (source: the published semantic segmentation page of edgeailite). Three groups
of rows are not what upstream's own code gives; they are marked, with the reason.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import torch

from edgeailite.cost import complexity
from edgeailite.models import create_model

FACTS = Path(__file__).parents[1] / "tests" / "reference" / "gmacs.csv"
TRUNCATED = 0.2  # per cent: what a table with two decimals, truncated, may be off


def group(row: dict[str, str]) -> str:
    """Letter of the group of rows that upstream's code does not reproduce, or nothing."""
    if row["dataset"] == "ADE20K32":
        return "A"
    if "1.6GF" in row["seed_row"]:
        return "B"
    return "C" if row["explanation"].startswith("older FPN") else ""


def lines() -> Iterator[str]:
    """Markdown rows."""
    yield "| data set | network | W×H | classes | parameters | published GMACs | counted | Δ % | published mIoU % | |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for row in csv.DictReader(FACTS.read_text(encoding="utf-8").splitlines()):
        if row["dataset"] == "-":
            continue
        width, height = map(int, row["WxH"].split("x"))
        with torch.device("meta"):
            model = create_model(row["model"], int(row["num_classes"]))
        cost, published = complexity(model, (height, width)), float(row["seed_GMACs"])
        difference, mark = 100 * (cost.giga_macs / published - 1), group(row)
        if abs(difference) > TRUNCATED and not mark:
            raise SystemExit(f"{row['model']} at {row['WxH']}: {cost.giga_macs:.4f}, published {published}")
        cells = (row["dataset"], row["seed_row"].rstrip("*"), row["WxH"].replace("x", "×"), row["num_classes"])
        numbers = (f"{cost.parameters:,}", row["seed_GMACs"], f"{cost.giga_macs:.4f}", f"{difference:+.2f}")
        yield f"| {' | '.join((*cells, *numbers, row['seed_mIoU'] or '-', mark))} |"


if __name__ == "__main__":
    print("\n".join(lines()))
