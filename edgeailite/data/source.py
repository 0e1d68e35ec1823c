"""`DataSource`: a data set for the rest of the package: files, and for every target the meaning of its values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeailite.data.files.images import read_depth, read_label
from edgeailite.data.files.listing import by_stem, files_below, need_folder, pair
from edgeailite.errors import DataError, UsageError, option
from edgeailite.untrusted import printable

IGNORE = 255
SEGMENTATION = "segmentation"
STRAY = 0.001  # of a mask's pixels: a value that covers less is rather a slip of the pen than a class
ROWS_SHOWN = 20


@dataclass(frozen=True)
class Item:
    """One sample: a picture per input stream, and per target the argument of its reader (mostly a label file).

    `camera` is the index of the stream with the camera's current picture; the others hold optical flow or an earlier
    frame.
    """

    images: tuple[Path, ...]
    labels: Mapping[str, Any]
    camera: int = 0

    @property
    def image(self) -> Path:
        """Return the camera's picture."""
        return self.images[self.camera]

    @property
    def label(self) -> Any:
        """Return the first target's label. Raises DataError for pictures without labels."""
        if not self.labels:
            raise DataError(
                "the data set has pictures only, no labels", fix="take its form with labels", path=self.image
            )
        return next(iter(self.labels.values()))


@dataclass(frozen=True)
class ClassTarget:
    """A target of class indices.

    `label_map` maps the values that `read(label)` returns, (H,W), to classes; others are errors. `class_weights` are
    the published loss weights, one per class. `settings` is the file that says what label values mean, for data sets
    that have one: errors then say what to write there.
    """

    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    label_map: Mapping[int, int]
    read: Callable[[Any], NDArray[np.integer]] = read_label
    class_weights: tuple[float, ...] | None = None
    settings: Path | None = None

    def values(self, label: Any, name: str) -> NDArray[np.uint8]:
        """Return the classes (H,W) uint8 of a label, 255 = ignore. Raises DataError naming the data set, `name`."""
        return self.to_classes(self.read(label), label, name)

    def to_classes(self, label: NDArray[np.integer], path: object, name: str) -> NDArray[np.uint8]:
        """Map label file values (H,W) to class indices, 255 = ignore. Raises DataError for a value without a class."""
        classes, unknown = self.look_up(label)
        if unknown is not None:
            y, x = np.argwhere(unknown)[0]
            value = int(label[y, x])
            count = int((label == value).sum())
            fix = f"correct the mask, or map {value} to a class or to 255 (ignore)"
            if self.settings is not None:
                fix = self.label_fix([value], self.settings, stray=count < STRAY * label.size)
            raise DataError(
                f"label {value} ({count} pixels, first at x={x} y={y}) but data set "
                f"{name} has {len(self.classes)} classes from label values {self.told_values()}",
                fix=fix,
                path=str(path),
            )
        return classes

    def told_values(self) -> str:
        """Name the label values of the classes, and those that are ignored, in words."""
        ignored = [value for value, found in self.label_map.items() if found == IGNORE]
        return ranges(set(self.label_map) - set(ignored)) + (f" (ignored: {ranges(ignored)})" if ignored else "")

    def look_up(self, label: NDArray[np.integer]) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
        """Map label values to classes (H,W), 255 for unknown ones; the second result marks those, if any."""
        if label.dtype in (np.uint8, np.uint16):
            size = np.iinfo(label.dtype).max + 1
            inside = {value: found for value, found in self.label_map.items() if 0 <= value < size}
            known, table = np.zeros(size, np.uint8), np.full(size, IGNORE, np.uint8)
            known[list(inside)], table[list(inside)] = 1, list(inside.values())
            if label.dtype == np.uint8 and cv2.countNonZero(cv2.LUT(label, known)) == label.size:
                classes_quick: NDArray[Any] = cv2.LUT(label, table)  # a hundred times as fast as what numpy does
                return classes_quick, None
            unknown, classes = known[label] == 0, table[label]
        else:
            values = np.array(sorted(self.label_map), np.int64)
            found = np.array([self.label_map[value] for value in values.tolist()], np.uint8)
            place = np.searchsorted(values, label.astype(np.int64)).clip(max=len(values) - 1)
            unknown = values[place] != label
            classes = np.where(unknown, np.uint8(IGNORE), found[place])
        return classes, unknown if unknown.any() else None

    def label_fix(self, values: Sequence[int], file: object, *, stray: bool) -> str:
        """Return the advice for label values without a class: correct or ignore stray ones, name others as classes."""
        if stray:
            return f'correct the mask, or add "{values[0]}: ignore", or a class, to label_map in {file}'
        if any(value != found for value, found in self.label_map.items()):
            rows = ", ".join(f'"{value}: NAME"' for value in values)
            return f"add {rows} (NAME a class, or ignore) to label_map in {file}, or correct the mask"
        known = [f"{value}: {self.classes[value]}" for value in sorted(set(self.label_map) - {IGNORE})]
        rows = ", ".join([*known[:ROWS_SHOWN], *(["..."] if len(known) > ROWS_SHOWN else [])])
        new = ", ".join(f"{value}: NAME" for value in values)
        return (
            f"name every value in {file}: label_map: {{{rows}, {new}}} (NAME a class, or ignore), or correct the mask"
        )


@dataclass(frozen=True)
class DepthTarget:
    """Depth in metres (H,W) float32, 0 where it is not known."""

    read: Callable[[Any], NDArray[np.float32]] = read_depth

    def values(self, label: Any, name: str) -> NDArray[np.float32]:
        """Return the depths (H,W) float32 of a label; `name` is accepted as for classes and not used."""
        return self.read(label)


@dataclass(frozen=True)
class PictureTarget:
    """A class of the whole picture. An item's label is the name of its class."""

    classes: tuple[str, ...]

    def values(self, label: Any, name: str) -> NDArray[np.int64]:
        """Return the class as a map of a single place (1,1). Raises DataError for a name that is no class."""
        if label not in self.classes:
            problem = f"data set {name}: {printable(str(label))[:100]} is none of {len(self.classes)} classes"
            raise DataError(problem, fix="give it the name of a class", code="no-fit")
        return np.full((1, 1), self.classes.index(label), np.int64)


@dataclass(frozen=True)
class DataSource:
    """A split of a data set: its items and, by name and in the order of the outputs, its targets."""

    name: str
    split: str
    items: tuple[Item, ...]
    targets: Mapping[str, ClassTarget | DepthTarget | PictureTarget]

    def __post_init__(self) -> None:
        if not self.items:
            raise DataError(f"data set {self.name}: split {self.split!r} has no pictures", code="empty-split")

    @property
    def has_classes(self) -> bool:
        """True if any target has classes, so that `main` exists."""
        return any(isinstance(target, ClassTarget) for target in self.targets.values())

    @property
    def main(self) -> ClassTarget:
        """Return `segmentation`, or the first target with classes. Raises DataError for a data set without one."""
        ordered = [self.targets[SEGMENTATION]] if SEGMENTATION in self.targets else list(self.targets.values())
        found = next((target for target in ordered if isinstance(target, ClassTarget)), None)
        if found is None:
            raise DataError(f"data set {self.name} has no classes, only {', '.join(self.targets)}")
        return found

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the class names of `main`."""
        return self.main.classes

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """Return the colours of `main`."""
        return self.main.palette

    def first(self, count: int) -> DataSource:
        """Return the split cut to its first `count` items."""
        return replace(self, items=self.items[:count])

    def class_map(self, item: Item) -> NDArray[np.uint8]:
        """Return the classes (H,W) of an item's `main` target, 255 = ignore."""
        key = next(name for name, target in self.targets.items() if target is self.main)
        return self.main.values(item.labels[key] if item.labels else item.label, self.name)


def segmentation(
    name: str,
    split: str,
    items: tuple[Item, ...],
    classes: tuple[str, ...],
    palette: tuple[tuple[int, int, int], ...],
    label_map: Mapping[int, int],
    read: Callable[[Any], NDArray[np.integer]] = read_label,
    class_weights: tuple[float, ...] | None = None,
) -> DataSource:
    """Make a data set with one picture and one class map per item."""
    return DataSource(name, split, items, {SEGMENTATION: ClassTarget(classes, palette, label_map, read, class_weights)})


def list_pairs(
    name: str, images: Path, labels: Path, *, image_suffix: str | tuple[str, ...], label_suffix: str
) -> tuple[Item, ...]:
    """Pair `images/**/X<image_suffix>` with `labels/**/X<label_suffix>`, sorted.

    Raises DataError naming a missing file. A single image suffix is cut off literally; of several, each picture has one
    of them.
    """
    for folder in (images, labels):
        need_folder(name, folder)
    pictures = by_stem(files_below(images, image_suffix), suffix=image_suffix if isinstance(image_suffix, str) else "")
    if not pictures:
        wanted = image_suffix if isinstance(image_suffix, str) else ", ".join(image_suffix)
        problem, fix = f"data set {name}: no pictures *{wanted} in {images}", f"check {option('data_path')}"
        raise DataError(problem, fix=fix, code="empty-split")
    masks = by_stem(files_below(labels, label_suffix), suffix=label_suffix)
    pairs = pair(name, pictures, masks, expected=f"{labels}/{{}}{label_suffix}")
    return tuple(Item((image,), {SEGMENTATION: label}) for image, label in pairs)


def identity_map(count: int) -> dict[int, int]:
    """Map label values that are classes already to themselves, and 255 to ignored."""
    return {value: value for value in range(count)} | {IGNORE: IGNORE}


def ranges(values: Iterable[int]) -> str:
    """Write numbers in words, shortening those in a row: `0..10, 255`."""
    runs: list[list[int]] = []
    for value in sorted(values):
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    told = [
        f"{first}..{last}" if last > first + 1 else ", ".join(map(str, sorted({first, last}))) for first, last in runs
    ]
    return ", ".join([*told[:ROWS_SHOWN], *(["..."] if len(told) > ROWS_SHOWN else [])])


def output_channels(source: DataSource) -> dict[str, int]:
    """Return the outputs of a network for this data set with their channels; depth has one.

    Raises UsageError for classes of whole pictures, which no network of this package gives.
    """
    whole = next((name for name, target in source.targets.items() if isinstance(target, PictureTarget)), None)
    if whole is not None:
        raise UsageError(
            f"data set {source.name} has one class for a whole picture, but networks here give one for each pixel",
            fix=f"take another {option('dataset_name')}; networks of others are calibrated, not trained",
            code="wrong-kind",
        )
    return {
        name: len(target.classes) if isinstance(target, ClassTarget) else 1 for name, target in source.targets.items()
    }
