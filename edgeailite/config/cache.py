"""Options of `edgeailite data cache`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeailite.config.checks import check

CACHE = Path("data/cache")


@dataclass(frozen=True)
class DataCacheConfig:
    """Write decoded and resized pictures and labels, for `train --cache`; what is there and current is left."""

    dataset_name: str = "streets"
    """Data set."""
    data_path: Path | None = None
    """Folder of the data set; default data/datasets/<dataset_name>."""
    cache: Path = CACHE
    """Folder for caches; each data set, split, size and resize rule gets a folder of its own in it."""
    split: str = "train"
    """Split to write; only training reads a cache."""
    pipeline: Literal["affine", "published", "ade20k"] = "affine"
    """The training's --pipeline: affine starts from img_resize, the others from pictures in their own size."""
    img_resize: tuple[int, int] = (384, 768)
    """The training's --img_resize."""
    interpolation: Literal["linear_exact", "area"] = "linear_exact"
    """The training's --interpolation."""

    def __post_init__(self) -> None:
        check(min(self.img_resize) >= 1, "img_resize", self.img_resize, "height and width of at least 1")
