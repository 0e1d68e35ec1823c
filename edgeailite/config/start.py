"""Options of the verbs that a newcomer meets first: demo, presets, doctor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeailite.config.checks import check_least, check_machine


@dataclass(frozen=True)
class DemoConfig:
    """Run every step in minutes: generate data, train, quantize, export, verify, validate, infer, report."""

    save_path: Path = Path("runs/demo")
    """Folder for everything the demo makes; emptied of an earlier demo first."""
    data_path: Path | None = None
    """Where the generated data set lives; default data/datasets/streets."""
    train_images: int = 1500
    """Number of training pictures to generate."""
    val_images: int = 100
    """Number of validation pictures to generate."""
    epochs: int = 4
    """Epochs of float training."""
    quantize_epochs: int = 1
    """Epochs of quantization-aware training."""
    threads: int | None = None
    """CPU threads; default all."""
    seed: int = 1
    """Fixes the data, the initial weights, the order of pictures and the augmentation."""

    def __post_init__(self) -> None:
        check_least(self, 1, "epochs", "quantize_epochs", "train_images", "val_images")
        check_machine(self.threads, seed=self.seed)


@dataclass(frozen=True)
class PresetsConfig:
    """List the presets: published recipes and recipes of our own, each a command in one word."""


@dataclass(frozen=True)
class DoctorConfig:
    """Say what is wrong with this installation, and how to mend it."""

    json: bool = False
    """Print JSON instead of a table."""
