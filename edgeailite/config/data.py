"""Options of the verbs that look at data sets: data check, data stats, data show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeailite.config.checks import check, check_machine


@dataclass(frozen=True)
class DataCheckConfig:
    """Look at every picture and mask of a data set, and compare its splits; nothing of it is ever changed.

    Exit code 3 if errors were found, 1 if only warnings, else 0.
    """

    dataset_name: str = "folder"
    """Data set; `folder` is your own pictures and masks."""
    data_path: Path | None = None
    """Folder of the data set; default as in training."""
    split: str = "all"
    """One split, or all that the data set has."""
    html: Path | None = None
    """Write a page with the worst files as well."""
    fix: Literal["none", "list"] = "none"
    """list: write file lists without the pictures that have errors."""
    output: Path | None = None
    """Folder for the lists of --fix list, one <split>.txt each."""
    show: int = 5
    """Findings shown of each kind (0 = all); JSON and the page have more."""
    workers: int | Literal["auto"] = "auto"
    """Checking processes; default by number of cores."""
    json: bool = False
    """Print one JSON object instead of text."""

    def __post_init__(self) -> None:
        check_machine(None, workers=self.workers)
        check(self.show >= 0, "show", self.show, "0 or more")
        check(self.fix == "none" or self.output is not None, "fix", self.fix, "an --output folder for the lists")
        check(self.output is None or self.fix == "list", "output", self.output, "--fix list with it")


@dataclass(frozen=True)
class DataStatsConfig:
    """Counts, sizes, colours and classes of a data set, and the class weights that follow."""

    dataset_name: str = "folder"
    """Data set; `folder` is your own pictures and masks."""
    data_path: Path | None = None
    """Folder of the data set; default as in training."""
    split: str = "all"
    """One split, or all that the data set has."""
    workers: int | Literal["auto"] = "auto"
    """Reading processes; default by number of cores."""
    json: bool = False
    """Print one JSON object instead of tables."""

    def __post_init__(self) -> None:
        check_machine(None, workers=self.workers)


@dataclass(frozen=True)
class DataShowConfig:
    """A contact sheet: pictures of a split with their masks over them, as one PNG file."""

    dataset_name: str = "folder"
    """Data set; `folder` is your own pictures and masks."""
    data_path: Path | None = None
    """Folder of the data set; default as in training."""
    split: str = "train"
    """Split to draw from."""
    output: Path = Path("contact_sheet.png")
    """File to write."""
    images: int = 16
    """Pictures on the sheet."""
    columns: int = 4
    """Pictures in a row."""
    width: int = 320
    """Width of each in pixels."""
    alpha: float = 0.5
    """Weight of the colours of the mask."""
    augment: bool = False
    """Show views as the training sees them (default augmentation at img_resize)."""
    img_resize: tuple[int, int] = (384, 768)
    """Size H W of training views."""
    seed: int = 1
    """Which pictures, and which views."""

    def __post_init__(self) -> None:
        check_machine(None, seed=self.seed)
        check(1 <= self.images <= 400, "images", self.images, "1 to 400")
        check(1 <= self.columns <= 40, "columns", self.columns, "1 to 40")
        check(16 <= self.width <= 1024, "width", self.width, "16 to 1024")
        check(0 <= self.alpha <= 1, "alpha", self.alpha, "0 to 1")
        check(min(self.img_resize) >= 32, "img_resize", self.img_resize, "height and width of at least 32")
