"""A2D2, the Audi Autonomous Driving Dataset (Geyer et al., 2020, https://arxiv.org/abs/2004.06320), 38 classes.

Layout: `leftImg8bit/{train,val,test,test_val}/.../NAME.png` and `gtFine/...` with the same names, class numbers 0..37,
255 ignored. This is the published conversion of A2D2's colour masks into Cityscapes' folders, not A2D2 as downloaded.
`a2d2_segmentation_measure` is val; `a2d2_segmentation_infer` has pictures only.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from edgeailite.data.files.listing import check_split, files_below, need_folder
from edgeailite.data.source import DataSource, Item, identity_map, list_pairs, segmentation

# class, colour
CLASS_TABLE: tuple[tuple[str, tuple[int, int, int]], ...] = (
    ("car", (255, 0, 0)),
    ("bicycle", (182, 89, 6)),
    ("pedestrian", (204, 153, 255)),
    ("truck", (255, 128, 0)),
    ("small vehicles", (0, 255, 0)),
    ("traffic signal", (0, 128, 255)),
    ("traffic sign", (0, 255, 255)),
    ("utility vehicle", (255, 255, 0)),
    ("sidebars", (233, 100, 0)),
    ("speed bumper", (110, 110, 0)),
    ("curbstone", (128, 128, 0)),
    ("solid line", (255, 193, 37)),
    ("irrelevant signs", (64, 0, 64)),
    ("road blocks", (185, 122, 87)),
    ("tractor", (0, 0, 100)),
    ("non-drivable street", (139, 99, 108)),
    ("zebra crossing", (210, 50, 115)),
    ("obstacles / trash", (255, 0, 128)),
    ("poles", (255, 246, 143)),
    ("restricted area", (150, 0, 150)),
    ("animals", (204, 255, 153)),
    ("grid structure", (238, 162, 173)),
    ("signal corpus", (33, 44, 177)),
    ("drivable cobblestone", (180, 50, 180)),
    ("electronic traffic", (255, 70, 185)),
    ("slow drive area", (238, 233, 191)),
    ("nature object", (147, 253, 194)),
    ("parking area", (150, 150, 200)),
    ("sidewalk", (180, 150, 200)),
    ("ego car", (72, 209, 204)),
    ("painted driving instruction", (200, 125, 210)),
    ("traffic guide object", (159, 121, 238)),
    ("dashed line", (128, 0, 255)),
    ("normal street", (255, 0, 255)),
    ("sky", (135, 206, 255)),
    ("buildings", (241, 230, 255)),
    ("blurred area", (96, 69, 143)),
    ("rain dirt", (53, 46, 82)),
)
SPLITS = ("train", "val", "test", "test_val")


def _a2d2(root: Path, split: str, *, name: str, splits: tuple[str, ...] = SPLITS, labels: bool = True) -> DataSource:
    check_split(name, split, splits)
    images = root / "leftImg8bit" / split
    if labels:
        items = list_pairs(name, images, root / "gtFine" / split, image_suffix=".png", label_suffix=".png")
    else:
        items = tuple(Item((path,), {}) for path in files_below(need_folder(name, images), ".png").values())
    classes, colours = tuple(row[0] for row in CLASS_TABLE), tuple(row[1] for row in CLASS_TABLE)
    return segmentation(name, split, items, classes, colours, identity_map(len(CLASS_TABLE)))


A2D2 = {
    "a2d2_segmentation": partial(_a2d2, name="a2d2_segmentation"),
    "a2d2_segmentation_measure": partial(_a2d2, name="a2d2_segmentation_measure", splits=("val",)),
    "a2d2_segmentation_infer": partial(_a2d2, name="a2d2_segmentation_infer", labels=False),
}
