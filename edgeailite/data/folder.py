"""Your own data, in no lines of code: `--dataset_name folder --data_path D`.

Layouts, looked for in this order (the first that has the split is taken):

1. `D/images/SPLIT/**` and `D/labels/SPLIT/**`;
2. `D/SPLIT/images/**` and `D/SPLIT/labels/**` (Supervisely's projects: img, masks_machine);
3. `D/images/**`, `D/labels/**` and a list of names a line, `D/SPLIT.txt`, `D/splits/SPLIT.txt` or
   `D/ImageSets/Segmentation/SPLIT.txt` (CVAT and Labelme export JPEGImages and SegmentationClass like this);
4. `D/annotations/*_SPLIT.json` with polygons in COCO's form and the pictures by name in `D/images/SPLIT`, `D/images`
   or `D` itself.

Folders of pictures may be called images, JPEGImages or img; folders of masks labels, masks, SegmentationClassPNG,
SegmentationClass or masks_machine. A split train may be called training, val validation or valid. Pairs have the same
name, folders below included, whatever kind of picture each is. What label values mean: `folder_settings`. Nothing said:
up to 200 masks of train, evenly spread, are read once; classes are 0 to the highest value seen, 255 is ignored.

COCO polygons: categories in the order of their ids are the classes after class 0 "background", or all with
`background: false`, which ignores other pixels (the published common_segmentation); where annotations of different
classes overlap, pixels are ignored. All pictures are kept (published: those with more than 1000 annotated pixels).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.data.coco import drawings, load_annotations, target_of
from edgeailite.data.colors import ColorReader
from edgeailite.data.folder_settings import Settings, read_settings
from edgeailite.data.folder_values import class_count, index_reader
from edgeailite.data.images import IMAGE_SUFFIXES
from edgeailite.data.listing import Files, by_stem, files_below, pair, read_names, without_suffix
from edgeailite.data.source import IGNORE, SEGMENTATION, ClassTarget, DataSource, Item
from edgeailite.data.voc import voc_colours
from edgeailite.errors import DataError, UsageError

NAME = "folder"
IMAGES = ("images", "JPEGImages", "img")
LABELS = ("labels", "masks", "SegmentationClassPNG", "SegmentationClass", "masks_machine")
LISTS = ("{}.txt", "splits/{}.txt", "ImageSets/Segmentation/{}.txt")
CALLED = {"train": ("train", "training"), "val": ("val", "validation", "valid")}
SCANNED = 200  # masks

Pairs = list[tuple[Path, Path]]


def folder(root: Path, split: str) -> DataSource:
    """The split of your own data. Raises UsageError (no such split) or DataError (what is wrong with the files)."""
    if not root.is_dir():
        raise DataError(f"data set {NAME}: folder {root}/ does not exist; set --data_path to yours")
    settings = read_settings(root)
    found = _find(root, split)
    if isinstance(found, Path):
        return _polygons(root, split, found, settings)
    read: Callable[[Any], NDArray[np.integer]] = index_reader(settings)
    if settings.colors:
        names = dict(enumerate(settings.classes or ())) | {IGNORE: "ignore"}
        read = ColorReader(settings.colors, names, settings.file)
    train = found if split == "train" else _find(root, "train", needed=False)
    target = _target(settings, train if isinstance(train, list) and train else found, read)
    items = tuple(Item((image,), {SEGMENTATION: label}) for image, label in found)
    return DataSource(NAME, split, items, {SEGMENTATION: target})


def _target(settings: Settings, train: Pairs, read: Callable[[Any], NDArray[np.integer]]) -> ClassTarget:
    names = settings.classes
    if names is None:
        step = max(1, -(-len(train) // SCANNED))
        count = class_count([label for _, label in train[::step]], settings)
        names = tuple(f"class {number}" for number in range(count))
    label_map = {value: value for value in range(len(names))} if settings.colors else settings.label_values(len(names))
    palette = settings.palette or voc_colours(len(names))
    if len(palette) != len(names):
        raise DataError(f"{settings.file}: palette has {len(palette)} colours but the masks hold {len(names)} classes")
    return ClassTarget(names, palette, {IGNORE: IGNORE} | label_map, read, settings=settings.file)


# --- where the files of a split are


def _find(root: Path, split: str, *, needed: bool = True) -> Pairs | Path:
    """Pairs of a split, or its file of polygons. UsageError if there are other splits only, DataError if none."""
    for called in CALLED.get(split, (split,)):
        for images, labels in _folders(root, called):
            if images.is_dir() and labels.is_dir():
                pictures = by_stem(files_below(images, IMAGE_SUFFIXES))
                return pair(NAME, pictures, _masks(labels, pictures), expected=f"{labels}/{{}}.png")
        file = next((root / form.format(called) for form in LISTS if (root / form.format(called)).is_file()), None)
        if file is not None:
            return _listed(root, file)
        annotations = sorted(path for path in (root / "annotations").glob("*.json") if path.stem.endswith(f"_{called}"))
        if len(annotations) > 1:
            raise DataError(f"{annotations[0]} and {annotations[1]}: two files of split {split}; keep one")
        if annotations:
            return annotations[0]
    if not needed:
        return []
    splits = sorted(_splits(root))
    if splits:
        raise UsageError(f"--split {split}: {root} has {', '.join(splits)}")
    raise DataError(
        f"data set {NAME}: folder {root}/images/{split} does not exist; expected {root}/images/{split} and "
        f"{root}/labels/{split}, or {root}/images, {root}/labels and a list {root}/{split}.txt"
    )


def _folders(root: Path, split: str) -> Iterator[tuple[Path, Path]]:
    for images in IMAGES:
        for labels in LABELS:
            yield root / images / split, root / labels / split
            yield root / split / images, root / split / labels


def _splits(root: Path) -> set[str]:
    """Names that `_find` would find."""
    names = {entry.name for images in IMAGES for entry in (root / images).glob("*") if entry.is_dir()}
    names |= {entry.name for entry in root.glob("*") if any((entry / images).is_dir() for images in IMAGES)}
    lists = [path for form in LISTS for path in root.glob(form.format("*"))]
    names |= {path.stem for path in lists if path.stem not in ("classes", "class_names", "labels", "labelmap")}
    names |= {path.stem.rpartition("_")[2] for path in (root / "annotations").glob("*_*.json")}
    return {name for name in names if isinstance(_quiet(root, name), Path | list)}


def _quiet(root: Path, name: str) -> Pairs | Path | None:
    try:
        return _find(root, name, needed=False) or None
    except DataError:
        return []


def _masks(labels: Path, pictures: Files) -> Files:
    """Masks by the name of their picture; Supervisely's keep its suffix: a.jpg.png."""
    masks = by_stem(files_below(labels, IMAGE_SUFFIXES))
    return {stem if stem in pictures else without_suffix(stem): path for stem, path in masks.items()}


def _listed(root: Path, file: Path) -> Pairs:
    images, labels = (
        next((root / name for name in names if (root / name).is_dir()), root / names[0]) for names in (IMAGES, LABELS)
    )
    for below in (images, labels):
        if not below.is_dir():
            raise DataError(f"data set {NAME}: folder {below} does not exist; {file} lists names in it")
    pictures = by_stem(files_below(images, IMAGE_SUFFIXES))
    masks = _masks(labels, pictures)
    pairs = []
    for name, number in read_names(file, root=root).items():
        stem = without_suffix(name.removeprefix(f"{images.name}/"))
        if stem not in pictures:
            raise DataError(f"{file}: line {number}: no picture {name} in {images}; add it or take the line out")
        if stem not in masks:
            raise DataError(f"{pictures[stem]}: no label file {labels}/{stem}.png; add it or take it off {file}")
        pairs.append((pictures[stem], masks[stem]))
    return pairs


# --- polygons


def _polygons(root: Path, split: str, file: Path, settings: Settings) -> DataSource:
    if settings.classes or settings.label_map or settings.colors or settings.reduce_zero_label:
        raise DataError(f"{settings.file}: {file} names the classes; only palette and background may be given with it")
    content = load_annotations(file)
    categories = _categories(content, file)
    train = None if split == "train" else _find(root, "train", needed=False)
    if isinstance(train, Path) and _categories(load_annotations(train), train) != categories:
        raise DataError(f"{file}: its categories are not those of {train}; give both the same")
    background = settings.background and 0 not in categories and "background" not in categories.values()
    names = (("background",) if background else ()) + tuple(categories.values())
    first = 1 if background else 0
    class_of = {number: index for index, number in enumerate(categories, first)}
    images = next((root / name for name in IMAGES if (root / name).is_dir()), root)
    below = next((images / called for called in CALLED.get(split, (split,)) if (images / called).is_dir()), images)
    items = drawings(content, file, below, class_of, least_area=0)
    palette = settings.palette or voc_colours(len(names))
    if len(palette) != len(names):
        raise DataError(f"{settings.file}: palette has {len(palette)} colours but {file} has {len(names)} classes")
    unlabelled = 0 if background else IGNORE
    target = target_of(names, palette, unlabelled, ignore_overlaps=False)
    return DataSource(NAME, split, items, {SEGMENTATION: target})


def _categories(content: dict[str, Any], file: Path) -> dict[int, str]:
    try:
        categories = {int(row["id"]): str(row["name"]) for row in content["categories"]}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{file}: a category without id or name ({error!r}); mend it") from None
    if not 0 < len(categories) < IGNORE:
        raise DataError(f"{file}: {len(categories)} categories, expected 1 to 254")
    return dict(sorted(categories.items()))


FOLDER = {NAME: folder}
