"""Options of the verb that counts: complexity."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeailite.config.checks import check

Size = tuple[int, int]  # height, width
SMALLEST = 32
DEFAULT_SIZE: Size = (384, 768)  # of networks given by name


@dataclass(frozen=True)
class ComplexityConfig:
    """Count what a network costs: GigaMACs, parameters, memory and bytes, layer by layer."""

    model: str | None = None
    """Network name, run folder, checkpoint (.pt) or ONNX file; with --all a shell pattern of names."""
    size: tuple[tuple[int, int], ...] = ()
    """Input sizes H W, one or several; default that of the run or file, else 384 768."""
    num_classes: int | None = None
    """Classes of a network given by name; default 19 (edgeailite) or 150 (ade20k)."""
    inputs: int = 1
    """Input pictures of a network given by name."""
    int8: bool = False
    """Count the int8 network that a float one is expected to become."""
    layers: Literal["top", "all", "none"] = "top"
    """Rows of the printed layer table: the ten layers with most MACs, all, or none."""
    all: bool = False
    """Compare all networks instead, one row each."""
    results: tuple[Path, ...] = ()
    """Files with accuracies (JSON of `validate --json True`, or CSV with network and miou), for the Pareto front."""
    json: bool = False
    """Print JSON instead of tables."""
    csv: Path | None = None
    """File to write the rows to: layers, or with --all networks."""
    html: Path | None = None
    """File to write a page with plots to."""

    def __post_init__(self) -> None:
        large = all(min(size) >= SMALLEST for size in self.size)
        check(large, "size", self.size, f"height and width of at least {SMALLEST}")
        check(len(set(self.size)) == len(self.size), "size", self.size, "each size once")
        check(self.num_classes is None or self.num_classes >= 1, "num_classes", self.num_classes, "at least 1")
        check(self.inputs >= 1, "inputs", self.inputs, "at least 1")
