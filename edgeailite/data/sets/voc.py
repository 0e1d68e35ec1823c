"""PASCAL VOC 2012 segmentation, 21 classes (Everingham et al., IJCV 88(2), 2010), with the extra masks of SBD.

Layout, below the data path itself, `VOC2012` or `VOCdevkit/VOC2012` in it: `JPEGImages/NAME.jpg`,
`SegmentationClass/NAME.png` (palette PNG, 255 = the border of things, ignored), `ImageSets/Segmentation/LIST.txt`.
Split train is the published one: list `trainaug_noval` (SBD's `train_noval.txt`: 5,623 pictures, none of VOC's val)
with masks from `SegmentationClassAug`; split val is VOC's own. `voc_segmentation_original` trains on VOC's own 1,464
pictures.
SBD: Hariharan et al., "Semantic contours from inverse detectors", ICCV 2011.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from edgeailite.data.files.listing import check_split, need_folder, need_listed, read_lines, without_suffix
from edgeailite.data.source import SEGMENTATION, DataSource, Item, identity_map, segmentation
from edgeailite.errors import DataError, option

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
MASKS, MASKS_AUG = "SegmentationClass", "SegmentationClassAug"
# split: list, folder of masks
SPLITS = {
    "train": ("trainaug_noval", MASKS_AUG),
    "val": ("val", MASKS),
    "trainaug_noval": ("trainaug_noval", MASKS_AUG),
    "trainaug": ("trainaug", MASKS_AUG),
    "trainval": ("trainval", MASKS),
}
ORIGINAL_SPLITS = {"train": ("train", MASKS), "val": ("val", MASKS), "trainval": ("trainval", MASKS)}


def voc_colours(count: int) -> tuple[tuple[int, int, int], ...]:
    """Return VOC's colours: an index's bits, three by three, are the bits of red, green, blue from the top."""

    def colour(index: int) -> tuple[int, int, int]:
        channels = [sum((index >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8)) for channel in range(3)]
        return channels[0], channels[1], channels[2]

    return tuple(colour(index) for index in range(count))


def _aug_help() -> str:
    return (
        "unzip SegmentationClassAug.zip beside SegmentationClass and put SBD's train_noval.txt there as "
        f"ImageSets/Segmentation/trainaug_noval.txt, or take {option('dataset_name')} voc_segmentation_original"
    )


def _voc(root: Path, split: str, *, name: str, splits: dict[str, tuple[str, str]]) -> DataSource:
    check_split(name, split, splits)
    list_name, masks = splits[split]
    base = next((root / below for below in ("VOCdevkit/VOC2012", "VOC2012") if (root / below).is_dir()), root)
    images = need_folder(name, base / "JPEGImages")
    file = base / "ImageSets" / "Segmentation" / f"{list_name}.txt"
    for needed in (file, base / masks):
        if not needed.exists():
            fix = _aug_help() if masks == MASKS_AUG else f"check {option('data_path')}"
            raise DataError(f"data set {name}: {needed} does not exist", fix=fix, code="folder-missing")
    # a name, or "/JPEGImages/NAME.jpg /SegmentationClassAug/NAME.png" as other tools write; no name has a space
    words = {number: line.replace("\\", "/").split()[0] for number, line in read_lines(file).items()}
    stems = {number: without_suffix(word.rpartition("/")[2]) for number, word in words.items()}
    pairs = {number: (images / f"{stem}.jpg", base / masks / f"{stem}.png") for number, stem in stems.items()}
    need_listed(file, pairs)
    items = tuple(Item((image,), {SEGMENTATION: mask}) for image, mask in pairs.values())
    return segmentation(name, split, items, CLASSES, voc_colours(len(CLASSES)), identity_map(len(CLASSES)))


VOC = {
    "voc_segmentation": partial(_voc, name="voc_segmentation", splits=SPLITS),
    "voc_segmentation_original": partial(_voc, name="voc_segmentation_original", splits=ORIGINAL_SPLITS),
}
