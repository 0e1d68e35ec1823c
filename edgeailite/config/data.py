"""Options of the verbs about data sets: data get, data check, data stats, data show, data cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from edgeailite.config.checks import (
    Engine,
    Loading,
    check,
    check_engine,
    check_least,
    check_machine,
    check_size,
)
from edgeailite.errors import option

CACHE = Path("data/cache")


@dataclass(frozen=True)
class DataGetConfig:
    """Download a data set to where training looks for it, or say how to get it; then count its pictures.

    Files that are already there stay as they are. Exit code 3, with what is missing, if the data set is not complete.
    """

    dataset_name: str = ""
    """Data set; without one, a list of them with sizes and terms."""
    data_path: Path | None = None
    """Folder of the data set; default as in training."""
    list: bool = False
    """List the data sets with sizes and terms."""

    renamed: ClassVar = {"name": "dataset_name"}


@dataclass(frozen=True)
class DataCheckConfig(Loading, Engine):
    """Look at every picture and mask of a data set, and compare its splits. No picture or mask is changed.

    Exit code 3 if errors were found, 1 if only warnings, else 0.
    """

    dataset_name: str = ""
    """Data set; default what data_path holds: `folder`, your own pictures and masks, or Cityscapes, VOC, ADE20K."""
    data_path: Path | None = None
    """Folder of the data set; default as in training."""
    split: str = "all"
    """Split to check: train, val, test ..., or all that the data set has."""
    html: Path | None = None
    """Also write a page with the worst files to this file."""
    fix: Literal["none", "list"] = "none"
    """list: write lists of the pictures without errors, one <split>.txt each. In the data set's folder edgeailite_lists
    they are what every verb reads from then on."""
    save_path: Path | None = None
    """Another folder for these lists, to look at: no verb reads them there."""
    show: int = 5
    """Findings printed of each kind (0 = all); JSON and the page have more."""
    json: bool = False
    """Print one JSON object instead of text."""

    renamed: ClassVar = {"output": "save_path"}

    def __post_init__(self) -> None:
        check_machine(None, workers=self.workers)
        check_engine(self)
        check_least(self, 0, "show")
        check(
            self.save_path is None or self.fix == "list", "save_path", self.save_path, f"{option('fix')} list with it"
        )


@dataclass(frozen=True)
class DataSplitConfig:
    """Divide your own pictures into train and val (and test): writes lists into the data set, moves nothing.

    Every class gets its share in each split. Equal and nearly equal pictures, and neighbouring frames of a numbered
    series, stay in one split.
    """

    data_path: Path
    """Folder with pictures and masks in a folder each, or beside one another, or with a split train alone."""
    val: float = 0.2
    """Share of the pictures to validate on."""
    test: float = 0.0
    """Share of the pictures to test on."""
    seed: int = 1
    """Fixes which pictures are chosen."""

    def __post_init__(self) -> None:
        check_machine(None, seed=self.seed)
        check(0 < self.val < 1, "val", self.val, "above 0, below 1")
        check(0 <= self.test < 1 - self.val, "test", self.test, f"0 or more, and {option('val')} and it below 1")


@dataclass(frozen=True)
class DataStatsConfig(Loading):
    """Print counts, sizes, colours and classes of a data set, and the class weights that follow from them."""

    dataset_name: str = ""
    """Data set; default what data_path holds: `folder`, your own pictures and masks, or Cityscapes, VOC, ADE20K."""
    data_path: Path | None = None
    """Folder of the data set; default as in training."""
    split: str = "all"
    """Split to count: train, val, test ..., or all that the data set has."""
    json: bool = False
    """Print one JSON object instead of tables."""

    def __post_init__(self) -> None:
        check_machine(None, workers=self.workers)


@dataclass(frozen=True)
class DataShowConfig:
    """Draw a contact sheet: pictures of a split with their masks over them, in one PNG file."""

    dataset_name: str = ""
    """Data set; default what data_path holds: `folder`, your own pictures and masks, or Cityscapes, VOC, ADE20K."""
    data_path: Path | None = None
    """Folder of the data set; default as in training."""
    split: str = "train"
    """Split to draw from."""
    output: Path = Path("contact_sheet.png")
    """File to write."""
    images: int = 16
    """Number of pictures on the sheet."""
    columns: int = 4
    """Pictures in a row."""
    width: int = 320
    """Width of each picture on the sheet, in pixels."""
    alpha: float = 0.5
    """Weight of the mask's colours: 0 shows the picture alone, 1 the mask alone."""
    augment: bool = False
    """Show pictures as training sees them, with the default augmentation at --img_resize."""
    img_resize: tuple[int, int] = (384, 768)
    """With --augment: input size of the network, height and width."""
    seed: int = 1
    """Fixes which pictures are drawn, and how they are augmented."""

    def __post_init__(self) -> None:
        check_machine(None, seed=self.seed)
        check(1 <= self.images <= 400, "images", self.images, "1 to 400")
        check(1 <= self.columns <= 40, "columns", self.columns, "1 to 40")
        check(16 <= self.width <= 1024, "width", self.width, "16 to 1024")
        check(0 <= self.alpha <= 1, "alpha", self.alpha, "0 to 1")
        check_size("img_resize", self.img_resize)


@dataclass(frozen=True)
class DataCacheConfig:
    """Decode and resize the pictures and labels of a split once, for `train --cache`. What is up to date stays."""

    dataset_name: str = ""
    """Data set; default what data_path holds, as in training, without a data_path streets."""
    data_path: Path | None = None
    """Folder of the data set; default data/datasets/<dataset_name>."""
    cache: Path = CACHE
    """Folder for caches; each data set, split, size and way of resizing gets a folder of its own in it."""
    split: str = "train"
    """Split to write; only training reads a cache."""
    pipeline: Literal["affine", "published", "ade20k"] = "affine"
    """The --pipeline of the training: affine stores pictures at img_resize, the others in their own size."""
    img_resize: tuple[int, int] = (384, 768)
    """The --img_resize of the training."""
    interpolation: Literal["linear_exact", "area"] = "linear_exact"
    """The --interpolation of the training."""

    def __post_init__(self) -> None:
        check_size("img_resize", self.img_resize, least=1)
