"""VOC 2012 as the published commands lay it out: lists, palette masks, the extra masks of SBD."""

from pathlib import Path

import numpy as np
import pytest

from edgeailite.data import open_dataset
from edgeailite.data.sets.voc import CLASSES, voc_colours
from edgeailite.errors import DataError, UsageError
from tests.data.trees import mask, palette_mask, picture, text

TRAIN, VAL = ["2007_000032", "2008_000008"], ["2007_000033"]


def write_voc(root: Path, below: str = "VOCdevkit/VOC2012") -> Path:
    base = root / below
    values = np.array([*range(21), 255, 0, 20], np.uint8).reshape(4, 6)
    for name in (*TRAIN, *VAL):
        picture(base / f"JPEGImages/{name}.jpg", size=(4, 6))
    for name in ("2007_000032", *VAL):
        palette_mask(base / f"SegmentationClass/{name}.png", values, voc_colours(256))
    for name in (*TRAIN, *VAL):
        mask(base / f"SegmentationClassAug/{name}.png", [15, 255], size=(4, 6))
    text(base / "ImageSets/Segmentation/trainaug_noval.txt", *TRAIN)
    text(base / "ImageSets/Segmentation/train.txt", TRAIN[0])
    text(base / "ImageSets/Segmentation/val.txt", *VAL)
    return root


@pytest.mark.parametrize("below", ["VOCdevkit/VOC2012", "VOC2012", "."])
def test_train_is_augmented_and_val_is_voc(tmp_path, below):
    write_voc(tmp_path, below)
    train, val = (open_dataset("voc_segmentation", tmp_path, split) for split in ("train", "val"))
    assert [item.image.stem for item in train.items] == TRAIN
    assert {item.label.parent.name for item in train.items} == {"SegmentationClassAug"}
    assert train.class_map(train.items[1]).ravel()[:4].tolist() == [15, 255, 15, 255]
    assert [item.label.parent.name for item in val.items] == ["SegmentationClass"]
    assert val.class_map(val.items[0]).ravel().tolist() == [*range(21), 255, 0, 20]


def test_vocs_own_training_pictures(tmp_path):
    source = open_dataset("voc_segmentation_original", write_voc(tmp_path), "train")
    assert [item.label.name for item in source.items] == ["2007_000032.png"]
    assert source.class_map(source.items[0]).ravel()[21] == 255


def test_classes_and_colours_are_vocs():
    colours = dict(zip(CLASSES, voc_colours(21), strict=True))
    assert len(colours) == len(set(colours.values())) == 21
    assert colours["aeroplane"] == (128, 0, 0)
    assert colours["person"] == (192, 128, 128)
    assert colours["tvmonitor"] == (0, 64, 128)
    assert voc_colours(256)[255] == (224, 224, 192)


def test_lists_of_other_tools(tmp_path):
    base = write_voc(tmp_path) / "VOCdevkit/VOC2012"
    path = base / "ImageSets/Segmentation/trainaug_noval.txt"
    rows = [f"/JPEGImages/{name}.jpg /SegmentationClassAug/{name}.png" for name in TRAIN]
    path.write_bytes("\r\n".join(rows).encode())
    assert [item.image.stem for item in open_dataset("voc_segmentation", tmp_path, "train").items] == TRAIN


def test_what_is_wrong_is_named(tmp_path):
    with pytest.raises(DataError, match=r"folder .*/JPEGImages does not exist; set --data_path"):
        open_dataset("voc_segmentation", tmp_path, "train")
    base = write_voc(tmp_path) / "VOCdevkit/VOC2012"
    with pytest.raises(UsageError, match="--split test: voc_segmentation has train, val, trainaug_noval"):
        open_dataset("voc_segmentation", tmp_path, "test")
    (base / "SegmentationClassAug/2008_000008.png").unlink()
    with pytest.raises(DataError, match=r"trainaug_noval\.txt: line 2: there is no .*Aug/2008_000008\.png; add it or"):
        open_dataset("voc_segmentation", tmp_path, "train")
    (base / "ImageSets/Segmentation/trainaug_noval.txt").unlink()
    with pytest.raises(DataError, match=r"trainaug_noval\.txt does not exist; unzip SegmentationClassAug\.zip"):
        open_dataset("voc_segmentation", tmp_path, "train")
    (base / "ImageSets/Segmentation/val.txt").write_text("\n")
    with pytest.raises(DataError, match=r"val\.txt: an empty list"):
        open_dataset("voc_segmentation", tmp_path, "val")
