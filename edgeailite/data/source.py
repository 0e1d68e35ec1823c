"""What a data set is to the rest of the package: files, classes, and what label values mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeailite.errors import DataError

IGNORE = 255


@dataclass(frozen=True)
class Item:
    """One picture and its label file."""

    image: Path
    label: Path


@dataclass(frozen=True)
class DataSource:
    """A split of a data set. `label_map` maps values in label files to classes; a value it lacks is an error."""

    name: str
    split: str
    items: tuple[Item, ...]
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    label_map: Mapping[int, int]

    def __post_init__(self) -> None:
        if not self.items:
            raise DataError(f"data set {self.name}: split {self.split!r} has no pictures")

    def to_classes(self, label: NDArray[np.integer], path: Path) -> NDArray[np.uint8]:
        """Label file values (H,W) -> class indices, 255 = ignore. Raises DataError for a value without a class."""
        table = np.full(256, -1, np.int16)
        table[list(self.label_map)] = list(self.label_map.values())
        classes = table[label.astype(np.uint8)]
        unknown = (classes < 0) | (label > 255) | (label < 0)
        if unknown.any():
            y, x = np.argwhere(unknown)[0]
            value = label[y, x]
            raise DataError(
                f"{path}: label {value} ({(label == value).sum()} pixels, first at x={x} y={y}) but data set "
                f"{self.name} has {len(self.classes)} classes from label values "
                f"{_ranges(self.label_map)}; correct the mask, or map {value} to a class or to 255 (ignore)"
            )
        return classes.astype(np.uint8)


def list_pairs(
    name: str, images: Path, labels: Path, *, image_pattern: str, image_suffix: str, label_suffix: str
) -> tuple[Item, ...]:
    """Pair `images/**/X<image_suffix>` with `labels/**/X<label_suffix>`, sorted. Raises DataError naming what lacks."""
    for folder in (images, labels):
        if not folder.is_dir():
            raise DataError(f"data set {name}: folder {folder} does not exist; set --data_path to the folder above it")
    items = []
    for image in sorted(images.glob(image_pattern)):
        relative = image.relative_to(images)
        label = labels / relative.with_name(relative.name.removesuffix(image_suffix) + label_suffix)
        if not label.is_file():
            raise DataError(f"{image}: no label file {label}; add it or remove the picture")
        items.append(Item(image, label))
    if not items:
        raise DataError(f"data set {name}: no pictures {image_pattern} in {images}; check --data_path")
    return tuple(items)


def _ranges(values: Mapping[int, int]) -> str:
    ordered = sorted(values)
    return f"{ordered[0]}..{ordered[-1]}" if len(ordered) > 1 else str(ordered[0])
