"""CamVid at 480x360, 11 classes (Brostow et al., Pattern Recognition Letters 30(2), 2009), SegNet's version.

Layout: `images/{train,val,test}/NAME.jpg` (or another kind of picture), `labels/{train,val,test}/NAME.png` with class
indices, 11 = void, and `splits/{train,val,test}.txt` (unused: folders are the splits).
"""

from __future__ import annotations

from pathlib import Path

from edgeailite.data.files.images import IMAGE_SUFFIXES
from edgeailite.data.files.listing import check_split
from edgeailite.data.source import IGNORE, DataSource, list_pairs, segmentation

CLASSES = (
    "Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist",
)  # fmt: skip
PALETTE = (
    (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0),
    (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
)  # fmt: skip
SPLITS = ("train", "val", "test")


def camvid(root: Path, split: str) -> DataSource:
    """Open CamVid's `split`; label value 11 is ignored."""
    check_split("camvid", split, SPLITS)
    items = list_pairs(
        "camvid", root / "images" / split, root / "labels" / split, image_suffix=IMAGE_SUFFIXES, label_suffix=".png"
    )
    label_map = {value: value for value in range(len(CLASSES))} | {11: IGNORE}
    return segmentation("camvid", split, items, CLASSES, PALETTE, label_map)


CAMVID = {"camvid": camvid}
