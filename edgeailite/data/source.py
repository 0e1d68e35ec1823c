"""What a data set is to the rest of the package: files, and for every target what its values mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.data.images import read_depth, read_label
from edgeailite.errors import DataError

IGNORE = 255
SEGMENTATION = "segmentation"


@dataclass(frozen=True)
class Item:
    """One sample: a picture per input stream, and per target what its reader takes (a label file, mostly)."""

    images: tuple[Path, ...]
    labels: Mapping[str, Any]

    @property
    def image(self) -> Path:
        """The first picture."""
        return self.images[0]

    @property
    def label(self) -> Any:
        """The first target's label."""
        return next(iter(self.labels.values()))


@dataclass(frozen=True)
class ClassTarget:
    """Class indices. `label_map` maps the values that `read(label)` gives, (H,W), to classes; others are errors."""

    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    label_map: Mapping[int, int]
    read: Callable[[Any], NDArray[np.integer]] = read_label

    def values(self, label: Any, name: str) -> NDArray[np.uint8]:
        """Classes (H,W) uint8 of a label, 255 = ignore. DataError as of `to_classes`; `name` is the data set's."""
        return self.to_classes(self.read(label), label, name)

    def to_classes(self, label: NDArray[np.integer], path: object, name: str) -> NDArray[np.uint8]:
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
                f"{name} has {len(self.classes)} classes from label values "
                f"{_ranges(self.label_map)}; correct the mask, or map {value} to a class or to 255 (ignore)"
            )
        return classes.astype(np.uint8)


@dataclass(frozen=True)
class DepthTarget:
    """Depth in metres (H,W) float32, 0 where it is not known."""

    read: Callable[[Any], NDArray[np.float32]] = read_depth

    def values(self, label: Any, name: str) -> NDArray[np.float32]:
        """What `read` gives; `name` is the data set's."""
        return self.read(label)


@dataclass(frozen=True)
class DataSource:
    """A split of a data set: its items and, by name and in the order of the outputs, its targets."""

    name: str
    split: str
    items: tuple[Item, ...]
    targets: Mapping[str, ClassTarget | DepthTarget]

    def __post_init__(self) -> None:
        if not self.items:
            raise DataError(f"data set {self.name}: split {self.split!r} has no pictures")

    @property
    def main(self) -> ClassTarget:
        """`segmentation`, or the first target with classes. Raises DataError for a data set without one."""
        ordered = [self.targets[SEGMENTATION]] if SEGMENTATION in self.targets else list(self.targets.values())
        found = next((target for target in ordered if isinstance(target, ClassTarget)), None)
        if found is None:
            raise DataError(f"data set {self.name} has no classes, only {', '.join(self.targets)}")
        return found

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names of `main`."""
        return self.main.classes

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """Colours of `main`."""
        return self.main.palette

    def class_map(self, item: Item) -> NDArray[np.uint8]:
        """Classes (H,W) of an item's `main` target, 255 = ignore."""
        key = next(name for name, target in self.targets.items() if target is self.main)
        return self.main.values(item.labels[key], self.name)


def segmentation(
    name: str,
    split: str,
    items: tuple[Item, ...],
    classes: tuple[str, ...],
    palette: tuple[tuple[int, int, int], ...],
    label_map: Mapping[int, int],
    read: Callable[[Any], NDArray[np.integer]] = read_label,
) -> DataSource:
    """A data set of one picture and one class map per item."""
    return DataSource(name, split, items, {SEGMENTATION: ClassTarget(classes, palette, label_map, read)})


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
        items.append(Item((image,), {SEGMENTATION: label}))
    if not items:
        raise DataError(f"data set {name}: no pictures {image_pattern} in {images}; check --data_path")
    return tuple(items)


def _ranges(values: Mapping[int, int]) -> str:
    ordered = sorted(values)
    return f"{ordered[0]}..{ordered[-1]}" if len(ordered) > 1 else str(ordered[0])
