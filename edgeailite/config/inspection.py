"""Options of the verbs that only tell: report, models, presets, doctor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeailite.config.checks import Device, check, check_machine


@dataclass(frozen=True)
class ReportConfig:
    """One HTML file of a run, at most 5 MB: data, curves, accuracy, worst pictures, quantization, cost, parity."""

    run: Path
    """Run folder, checkpoint or .onnx file."""
    output: Path | None = None
    """File to write; default report.html in the run folder."""
    data_path: Path | None = None
    """Folder of the data set; default as in training."""
    split: str = "val"
    """Split whose worst pictures are shown."""
    images: int = 6
    """Worst pictures shown of each output."""
    forms: Literal["none", "quick", "all"] = "quick"
    """Forms of the network that are measured too. quick: the float run and the exported file; all: the integer-exact
    network as well (slow); none."""
    devices: tuple[str, ...] = ()
    """Devices whose time is estimated: names of `edgeailite devices list`, or YAML files."""
    device: Device = "auto"
    """Where to run."""
    threads: int | None = None
    """CPU threads; default all."""

    def __post_init__(self) -> None:
        check_machine(self.threads)
        check(self.images >= 0, "images", self.images, "0 or more")


@dataclass(frozen=True)
class ModelsConfig:
    """List networks with parameters, GigaMACs, strides and published weights."""

    pattern: str = "*"
    """Shell pattern of names."""
    family: Literal["all", "edgeailite", "ade20k"] = "all"
    """Only networks of this family."""
    max_gmacs: float | None = None
    """Only networks that cost at most this many GigaMACs."""
    size: tuple[int, int] = (384, 768)
    """Input size H W of the GigaMACs."""
    num_classes: int | None = None
    """Classes of the segmentation output; default 19 (edgeailite) or 150 (ade20k)."""
    inputs: int = 1
    """Number of input pictures."""
    sort: Literal["name", "parameters", "gmacs"] | None = None
    """Order of the rows, ascending; default name, or gmacs where --max_gmacs is given."""
    json: bool = False
    """Print JSON instead of a table."""

    def __post_init__(self) -> None:
        check(min(self.size) >= 32, "size", self.size, "height and width of at least 32")
        check(self.num_classes is None or self.num_classes >= 1, "num_classes", self.num_classes, "at least 1")
        check(self.max_gmacs is None or self.max_gmacs > 0, "max_gmacs", self.max_gmacs, "above 0")
        check(self.inputs >= 1, "inputs", self.inputs, "at least 1")


@dataclass(frozen=True)
class PresetsConfig:
    """List the presets of run_edgeailite_segmentation.sh."""


@dataclass(frozen=True)
class DoctorConfig:
    """Say what is wrong with this installation, and the fix."""

    json: bool = False
    """Print JSON instead of a table."""
