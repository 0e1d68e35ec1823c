"""Opens your own data without code: data set `folder` below a path D.

Layouts, looked for in this order (the first that has the split is taken):

1. `D/images/SPLIT/**` and `D/labels/SPLIT/**`;
2. `D/SPLIT/images/**` and `D/SPLIT/labels/**` (Supervisely's projects: img, masks_machine);
3. `D/SPLIT/NAME.jpg` and `D/SPLIT/NAME_mask.png` beside it (Roboflow's masks);
4. `D/images/**`, `D/labels/**` and a list of names a line, `D/SPLIT.txt`, `D/splits/SPLIT.txt` or
   `D/ImageSets/Segmentation/SPLIT.txt`; a line may also name a picture and its mask, as PaddleSeg's do (CVAT's only
   list is default.txt, and Labelme writes none: train.txt and val.txt are yours to write);
5. `D/annotations/*_SPLIT.json` with polygons in COCO's form and the pictures by name in `D/images/SPLIT`, `D/SPLIT`,
   `D/images` or `D` itself; or `D/SPLIT/_annotations.coco.json` with the pictures beside it (Roboflow's).

`data split` makes lists where there is no split; they, and those of `data check`, come before all of these (`lists`).

Folders of pictures may be called images, JPEGImages, img or img_dir; folders of masks labels, masks,
SegmentationClassPNG, SegmentationClass, masks_machine, annotations or ann_dir. A split train may be called training,
val validation or valid. Pairs have the same name, folders below included, whatever kind of picture each is; after it
the mask may have the picture's suffix (a.jpg.png) or one of _mask, _masks, _label, _labels, _seg, _gt.

What label values mean: `folder_settings`. Nothing said: up to 200 masks of train, evenly spread, are read once; classes
are 0 to the highest value seen, 255 is ignored. Masks whose palettes give one number two colours are refused then.

COCO polygons: `folder_polygons`. Where annotations overlap, that of the fewest pixels is on top, so that a thing on a
labelled ground is learned whichever was drawn first; `overlaps: later` (in the order of the file) or `ignore` in
dataset.yaml say otherwise. All pictures are kept (published: those with more than 1000 annotated pixels).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.data.files.colors import ColorReader
from edgeailite.data.files.listing import no_folder
from edgeailite.data.sets.folder_files import NAME, Pairs, find, picture_folders, whole
from edgeailite.data.sets.folder_polygons import polygons
from edgeailite.data.sets.folder_settings import Settings, read_settings
from edgeailite.data.sets.folder_values import check_palettes, class_count, index_reader
from edgeailite.data.sets.voc import voc_colours
from edgeailite.data.source import IGNORE, SEGMENTATION, ClassTarget, DataSource, Item
from edgeailite.errors import DataError

SCANNED = 200  # masks


def folder(root: Path, split: str) -> DataSource:
    """Open a split of your own data. Raises UsageError (no such split) or DataError (what is wrong with the files)."""
    if not root.is_dir():
        raise no_folder(NAME, root)
    settings = read_settings(root)
    found = find(root, split)
    train = found if split == "train" else find(root, "train", needed=False)
    if isinstance(found, Path):
        learned = train if isinstance(train, Path) and train != found else None
        folders = picture_folders(root, split, found)
        return polygons(NAME, split, found, settings, root=root, train=learned, folders=folders)
    return _source(split, found, settings, train=train if isinstance(train, list) and train else found)


def unsplit(root: Path) -> DataSource:
    """Open all pictures of a folder without splits, whose masks lie in a folder of their own or beside them.

    Raises DataError where there are none.
    """
    found = whole(root)
    return _source("all", found, read_settings(root), train=found)


def _source(split: str, found: Pairs, settings: Settings, *, train: Pairs) -> DataSource:
    read: Callable[[Any], NDArray[np.integer]] = index_reader(settings)
    if settings.colors:
        names = dict(enumerate(settings.classes or ())) | {IGNORE: "ignore"}
        read = ColorReader(settings.colors, names, settings.file)
    target = _target(settings, train, read)
    items = tuple(Item((image,), {SEGMENTATION: label}) for image, label in found)
    return DataSource(NAME, split, items, {SEGMENTATION: target})


def _target(settings: Settings, train: Pairs, read: Callable[[Any], NDArray[np.integer]]) -> ClassTarget:
    masks = [label for _, label in train[:: max(1, -(-len(train) // SCANNED))]]
    check_palettes(masks, settings)
    names = settings.classes
    if names is None:
        names = tuple(f"class {number}" for number in range(class_count(masks, settings)))
    label_map = {value: value for value in range(len(names))} if settings.colors else settings.label_values(len(names))
    palette = settings.palette or voc_colours(len(names))
    if len(palette) != len(names):
        raise DataError(
            f"palette has {len(palette)} colours but the masks hold {len(names)} classes", path=settings.file
        )
    return ClassTarget(names, palette, {IGNORE: IGNORE} | label_map, read, settings=settings.file)


FOLDER = {NAME: folder}
