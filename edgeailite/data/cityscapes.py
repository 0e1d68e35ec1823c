"""Cityscapes (Cordts et al., CVPR 2016, https://arxiv.org/abs/1604.01685), 19 classes, and its layout.

`leftImg8bit/{train,val,test}/CITY/X_leftImg8bit.png` with `gtFine/.../X_gtFine_labelIds.png`. The data set `streets`
is generated in the same layout; it names only the classes that its generator draws.
"""

from __future__ import annotations

from pathlib import Path

from edgeailite.data.source import IGNORE, DataSource, list_pairs, segmentation
from edgeailite.errors import UsageError

# label id, class, colour: the 19 classes of the benchmark
CLASS_TABLE: tuple[tuple[int, str, tuple[int, int, int]], ...] = (
    (7, "road", (128, 64, 128)),
    (8, "sidewalk", (244, 35, 232)),
    (11, "building", (70, 70, 70)),
    (12, "wall", (102, 102, 156)),
    (13, "fence", (190, 153, 153)),
    (17, "pole", (153, 153, 153)),
    (19, "traffic light", (250, 170, 30)),
    (20, "traffic sign", (220, 220, 0)),
    (21, "vegetation", (107, 142, 35)),
    (22, "terrain", (152, 251, 152)),
    (23, "sky", (70, 130, 180)),
    (24, "person", (220, 20, 60)),
    (25, "rider", (255, 0, 0)),
    (26, "car", (0, 0, 142)),
    (27, "truck", (0, 0, 70)),
    (28, "bus", (0, 60, 100)),
    (31, "train", (0, 80, 100)),
    (32, "motorcycle", (0, 0, 230)),
    (33, "bicycle", (119, 11, 32)),
)
LABEL_IDS = range(34)  # 0..33; ids without a row above are ignored, as is 255
SPLITS = ("train", "val", "test")


def cityscapes_segmentation(root: Path, split: str) -> DataSource:
    """Cityscapes' fine annotations, label ids mapped to the 19 classes."""
    return _read("cityscapes_segmentation", root, split)


def streets(root: Path, split: str) -> DataSource:
    """The generated street scenes: the Cityscapes layout, classes and colours."""
    return _read("streets", root, split)


def _read(name: str, root: Path, split: str) -> DataSource:
    if split not in SPLITS:
        raise UsageError(f"--split {split}: {name} has {', '.join(SPLITS)}")
    items = list_pairs(
        name,
        root / "leftImg8bit" / split,
        root / "gtFine" / split,
        image_pattern="*/*_leftImg8bit.png",
        image_suffix="_leftImg8bit.png",
        label_suffix="_gtFine_labelIds.png",
    )
    label_map = dict.fromkeys((*LABEL_IDS, IGNORE), IGNORE)
    label_map |= {label_id: index for index, (label_id, _, _) in enumerate(CLASS_TABLE)}
    classes = tuple(row[1] for row in CLASS_TABLE)
    return segmentation(name, split, items, classes, tuple(row[2] for row in CLASS_TABLE), label_map)
