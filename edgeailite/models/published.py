"""Published accuracies of networks by name, with their conditions: a basis for choosing a network before training.

The rows of `published.csv` are those of the pages and papers that they name. Nothing was trained or measured here for
them, and rows of different data sets do not compare.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_name("published.csv")


@dataclass(frozen=True)
class Accuracy:
    """Mean IoU in per cent of a network on a data set; `height_width` is None where pictures kept their own size."""

    model: str
    dataset: str
    classes: int
    height_width: tuple[int, int] | None
    miou: float
    arithmetic: str
    conditions: str
    source: str


def published_accuracy() -> list[Accuracy]:
    """Return all rows, in the order of the tables."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return [
            Accuracy(
                model=row["model"],
                dataset=row["dataset"],
                classes=int(row["classes"]),
                height_width=(int(row["height"]), int(row["width"])) if row["height"] else None,
                miou=float(row["miou"]),
                arithmetic=row["arithmetic"],
                conditions=row["conditions"],
                source=row["source"],
            )
            for row in csv.DictReader(file)
        ]
