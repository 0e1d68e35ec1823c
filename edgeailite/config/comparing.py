"""Options of `edgeailite compare`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeailite.config.checks import Device, check, check_machine


@dataclass(frozen=True)
class CompareConfig:
    """Two models on the same pictures: differences with their 95 % intervals, and where they disagree."""

    a: Path
    """Run folder, checkpoint or .onnx file."""
    b: Path
    """The other one; differences are B minus A."""
    dataset_name: str | None = None
    """Data set; default the one A was trained on."""
    data_path: Path | None = None
    """Folder of the data set; default as in training."""
    split: str = "val"
    """train, val or test."""
    epoch_size: float = 0.0
    """Part of the split, evenly spaced: 0 = all, below 1 a share, else a number of pictures."""
    draws: int = 2000
    """Draws of pictures (with replacement) that the intervals are made of."""
    seed: int = 1
    """Of the draws."""
    sheet: Path | None = None
    """Write the pictures on which the two disagree most to this .png (several outputs: one file each)."""
    images: int = 8
    """Pictures on the sheet."""
    integer_exact: bool = False
    """Quantized runs: compute as the integer kernels do, bit for bit (slow), not with float fake-quantization."""
    workers: int | Literal["auto"] = "auto"
    """Loader processes; auto = one per core, up to 8."""
    device: Device = "auto"
    """Where to run torch models."""
    threads: int | None = None
    """CPU threads; default all."""
    json: bool = False
    """Print one JSON object instead of tables."""

    def __post_init__(self) -> None:
        check_machine(self.threads, workers=self.workers, seed=self.seed)
        check(self.epoch_size >= 0, "epoch_size", self.epoch_size, "0 or more")
        check(self.draws >= 100, "draws", self.draws, "at least 100")
        check(self.images >= 1, "images", self.images, "at least 1")
        if self.sheet is not None:
            check(self.sheet.suffix == ".png", "sheet", self.sheet, "a file name *.png")
