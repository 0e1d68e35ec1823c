"""COCO (Lin et al., ECCV 2014, https://arxiv.org/abs/1405.0312): class maps from the polygons of `instances` files.

Layout: `annotations/instances_{train,val}2017.json`, pictures in `images/{train,val}2017/` or `{train,val}2017/`.
Pixels of two annotations or more are ignored, and pictures with at most 1000 annotated pixels (sum of `area` of the
form's categories) are left out of training, as published; validation keeps them.

- `coco_segmentation`: the 80 categories in the order of their ids 1..90 as classes 0..79; other pixels are ignored.
- `coco_seg21`: VOC's 21 classes, 0 = everything else. The published loader takes targets modulo the number of classes
  after overlaps became 255, which makes them class 3 (bird); here they stay ignored.
- `coco_segmentation_ids80`: the published form of 80 outputs, for its checkpoints. It takes ids 0..79 as classes, so 0
  is everything else, ten classes never occur (12, 26, ..), and the ids 80..90 are lost; overlaps stay ignored here too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.data.files.images import MAX_PIXELS
from edgeailite.data.files.listing import Places, check_split, need_folder, relative
from edgeailite.data.files.polygons import Shape, paint, shape_of
from edgeailite.data.sets.voc import CLASSES as VOC_CLASSES
from edgeailite.data.sets.voc import voc_colours
from edgeailite.data.source import IGNORE, SEGMENTATION, ClassTarget, DataSource, Item, identity_map
from edgeailite.errors import DataError, option
from edgeailite.files import read_regular, unreadable
from edgeailite.untrusted import json_value, printable, shown

CATEGORIES = {
    1: "person", 2: "bicycle", 3: "car", 4: "motorcycle", 5: "airplane", 6: "bus", 7: "train", 8: "truck", 9: "boat",
    10: "traffic light", 11: "fire hydrant", 13: "stop sign", 14: "parking meter", 15: "bench", 16: "bird", 17: "cat",
    18: "dog", 19: "horse", 20: "sheep", 21: "cow", 22: "elephant", 23: "bear", 24: "zebra", 25: "giraffe",
    27: "backpack", 28: "umbrella", 31: "handbag", 32: "tie", 33: "suitcase", 34: "frisbee", 35: "skis",
    36: "snowboard", 37: "sports ball", 38: "kite", 39: "baseball bat", 40: "baseball glove", 41: "skateboard",
    42: "surfboard", 43: "tennis racket", 44: "bottle", 46: "wine glass", 47: "cup", 48: "fork", 49: "knife",
    50: "spoon", 51: "bowl", 52: "banana", 53: "apple", 54: "sandwich", 55: "orange", 56: "broccoli", 57: "carrot",
    58: "hot dog", 59: "pizza", 60: "donut", 61: "cake", 62: "chair", 63: "couch", 64: "potted plant", 65: "bed",
    67: "dining table", 70: "toilet", 72: "tv", 73: "laptop", 74: "mouse", 75: "remote", 76: "keyboard",
    77: "cell phone", 78: "microwave", 79: "oven", 80: "toaster", 81: "sink", 82: "refrigerator", 84: "book",
    85: "clock", 86: "vase", 87: "scissors", 88: "teddy bear", 89: "hair drier", 90: "toothbrush",
}  # fmt: skip
VOC_IDS = (
    5,
    2,
    16,
    9,
    44,
    6,
    3,
    17,
    62,
    21,
    67,
    18,
    19,
    4,
    1,
    64,
    20,
    63,
    7,
    72,
)  # in the order of VOC's classes 1..20
SPLITS = ("train", "val")
LEAST_AREA = 1000
LARGEST = 4_000_000_000  # bytes of an annotation file; COCO's own have 470 MB


@dataclass(frozen=True)
class Drawing:
    """The annotations of a picture, from which a COCO class map is drawn. Prints as the file and the picture's id."""

    file: Path
    picture: int
    height: int
    width: int
    shapes: tuple[Shape, ...]

    def __str__(self) -> str:
        return f"{self.file} (image id {self.picture})"


def read_drawing(drawing: Drawing, *, background: int, overlaps: str) -> NDArray[np.integer]:
    """Draw the class map (H,W) of a picture's annotations. Raises DataError for run lengths that do not fit."""
    try:
        return paint(drawing.shapes, drawing.height, drawing.width, background=background, overlaps=overlaps)
    except ValueError as error:
        raise DataError(str(error), fix="mend or remove the annotation", path=str(drawing)) from None


def load_annotations(file: Path) -> dict[str, Any]:
    """Read an annotation file with images, annotations and categories. Raises DataError for anything else."""
    try:
        content = json_value(read_regular(file, limit=LARGEST), where=str(file))
    except OSError as error:
        raise unreadable(file, error, what="annotations", fix=f"check {option('data_path')}") from None
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise DataError(
                f"no list {key!r} in it", fix="expected COCO's images, annotations and categories", path=file
            )
    return content


def drawings(
    content: Mapping[str, Any],
    file: Path,
    folders: Sequence[Path],
    class_of: Mapping[Any, int],
    *,
    root: Path,
    least_area: float = 0,
    whole: bool = False,
) -> tuple[Item, ...]:
    """List pictures, by file name, with the annotations whose category `class_of` maps to a class.

    A picture lies in the first of `folders` that has it. Pictures whose annotations have no more than `least_area`
    pixels together are left out (0: none is). `whole`: no annotation may be without a class or without pixels.
    """
    shapes: defaultdict[Any, list[Shape]] = defaultdict(list)
    area: defaultdict[Any, float] = defaultdict(float)
    for entry in content["annotations"]:
        try:
            if not isinstance(entry, dict):
                raise TypeError("expected names with values")
            if whole:
                _check_whole(entry, file, class_of)
            if entry["category_id"] in class_of:
                shapes[entry["image_id"]].append(shape_of(class_of[entry["category_id"]], entry["segmentation"]))
                if least_area:
                    area[entry["image_id"]] += float(entry.get("area", 0))
        except DataError:
            raise
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            number = entry.get("id") if isinstance(entry, dict) else None
            raise DataError(f"annotation {shown(number)}: {_told(error)}", fix="mend or remove it", path=file) from None
    items: list[Item] = []
    places, seen, names = Places(), set(), set()
    for image in content["images"]:
        number, name, size = _image(image, file)
        path = _place(relative(name, f"{root.resolve()}/", path=file, part=f"image {shown(number)}"), folders, places)
        if path is None:
            path = folders[0] / name
            fix = "add the picture or remove it from the file"
            raise DataError(f"in {file} but does not exist", fix=fix, path=printable(str(path)), code="missing-file")
        if number in seen or path in names:
            raise DataError(
                f"image {shown(number)}, {printable(name)}, is listed twice, so that each has a part of the "
                "annotations",
                fix="make them one",
                path=file,
            )
        seen.add(number)
        names.add(path)
        if not least_area or area[number] > least_area:
            items.append(Item((path,), {SEGMENTATION: Drawing(file, number, *size, tuple(shapes.get(number, ())))}))
    if shapes and seen and not any(number in shapes for number in seen):
        first = next(iter(shapes))
        raise DataError(
            f"no annotation belongs to a picture: image_id {shown(first)} is not among the images", path=file
        )
    return tuple(sorted(items, key=lambda item: item.image))


def _check_whole(entry: Mapping[str, Any], file: Path, class_of: Mapping[Any, int]) -> None:
    number = shown(entry.get("id"))
    if entry["category_id"] not in class_of:
        known = ", ".join(shown(category) for category in list(class_of)[:20])
        raise DataError(
            f"annotation {number}: category_id {shown(entry['category_id'])} is none of the categories that "
            f"are classes ({known})",
            fix="add the category or remove the annotation",
            path=file,
        )
    if entry.get("segmentation", ...) in (None, []):
        raise DataError(
            f"annotation {number} has no polygon, a box only, so that its thing would be learned as background",
            fix="draw it, or remove the annotation",
            path=file,
        )


def _image(image: Any, file: Path) -> tuple[Any, str, tuple[int, int]]:
    """Id, file name, height and width of an image's row."""
    try:
        number, name, size = image["id"], image["file_name"], (int(image["height"]), int(image["width"]))
        if not isinstance(number, int | str) or not isinstance(name, str):
            raise TypeError("id is a number or text, file_name is text")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"an image without id, file_name, height or width ({_told(error)})", fix="mend it", path=file
        ) from None
    if min(size) < 1 or size[0] * size[1] > MAX_PIXELS:
        raise DataError(
            f"image {shown(number)}: height {shown(size[0])} and width {shown(size[1])}, expected at most "
            f"{MAX_PIXELS} pixels",
            fix="mend it",
            path=file,
        )
    return number, name, size


def _place(name: str, folders: Sequence[Path], places: Places) -> Path | None:
    return next((found for folder in folders if (found := places.find(folder / name)) is not None), None)


def _told(error: Exception) -> str:
    return printable(repr(error))[:200]


@dataclass(frozen=True)
class Form:
    """Classes of a form, the class of each category id, and the class of pixels without annotation."""

    classes: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    class_of: Mapping[int, int]
    background: int


def _coco(root: Path, split: str, *, name: str, form: Form) -> DataSource:
    check_split(name, split, SPLITS)
    annotations = need_folder(name, root / "annotations")
    images = root / "images" if (root / "images").is_dir() else root
    file = annotations / f"instances_{split}2017.json"
    folder = need_folder(name, images / f"{split}2017")
    least = LEAST_AREA if split == "train" else 0
    items = drawings(load_annotations(file), file, [folder], form.class_of, root=root, least_area=least)
    target = target_of(form.classes, form.colours, form.background, overlaps="published")
    return DataSource(name, split, items, {SEGMENTATION: target})


def target_of(
    classes: tuple[str, ...],
    colours: tuple[tuple[int, int, int], ...],
    background: int,
    *,
    overlaps: str,
    settings: Path | None = None,
) -> ClassTarget:
    """Make the target whose classes are drawn from annotations; see `paint` for `overlaps`."""
    read: Callable[[Any], NDArray[np.integer]] = partial(read_drawing, background=background, overlaps=overlaps)
    return ClassTarget(classes, colours, identity_map(len(classes)), read, settings=settings)


def _ids80() -> Form:
    names = ["other", *(CATEGORIES.get(number, f"no category {number}") for number in range(1, 80))]
    return Form(tuple(names), voc_colours(80), {number: number for number in CATEGORIES if number < 80}, 0)


COCO = {
    name: partial(_coco, name=name, form=form)
    for name, form in {
        "coco_segmentation": Form(
            tuple(CATEGORIES.values()),
            voc_colours(81)[1:],
            {number: index for index, number in enumerate(CATEGORIES)},
            IGNORE,
        ),
        "coco_segmentation_ids80": _ids80(),
        "coco_seg21": Form(VOC_CLASSES, voc_colours(21), {number: i for i, number in enumerate(VOC_IDS, 1)}, 0),
    }.items()
}
