"""The Cityscapes layout: two cities written small, the 19 classes of the benchmark and everything else ignored."""

from pathlib import Path

import numpy as np
import pytest

from edgeailite.data import DATASETS, default_path, open_dataset
from edgeailite.data.cityscapes import CLASS_TABLE
from edgeailite.data.images import write_png
from edgeailite.errors import DataError, UsageError

NAMES = ["cityscapes_segmentation", "streets"]
# id -> trainId as the Cityscapes scripts publish it (labels.py)
TRAIN_IDS = {
    7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10,
    24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18,
}  # fmt: skip


def write_cityscapes(root: Path) -> Path:
    label = np.array([*range(34), 255, 255], np.uint8).reshape(4, 9)
    for stem in ("train/ulm/ulm_000001_000019", "train/aachen/aachen_000000_000019", "val/bonn/bonn_000000_000019"):
        write_png(root / f"leftImg8bit/{stem}_leftImg8bit.png", np.zeros((4, 9, 3), np.uint8))
        write_png(root / f"gtFine/{stem}_gtFine_labelIds.png", label)
        write_png(root / f"gtFine/{stem}_gtFine_color.png", np.zeros((4, 9, 3), np.uint8))
    return root


@pytest.mark.parametrize("name", NAMES)
def test_pairs_and_labels(tmp_path, name):
    source = open_dataset(name, write_cityscapes(tmp_path), "train")
    assert source.name == name
    assert [item.image.parent.name for item in source.items] == ["aachen", "ulm"]
    assert all(item.label.name == item.image.name.replace("leftImg8bit", "gtFine_labelIds") for item in source.items)
    classes = source.class_map(source.items[0]).ravel()
    assert classes.tolist() == [TRAIN_IDS.get(label_id, 255) for label_id in range(34)] + [255, 255]


def test_classes_and_colours():
    assert {label_id: index for index, (label_id, _, _) in enumerate(CLASS_TABLE)} == TRAIN_IDS
    assert len({name for _, name, _ in CLASS_TABLE}) == len({colour for _, _, colour in CLASS_TABLE}) == 19
    assert CLASS_TABLE[13] == (26, "car", (0, 0, 142))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_wrong_is_named(tmp_path, name):
    with pytest.raises(
        DataError, match=rf"data set {name}: folder .*leftImg8bit/train does not exist; set --data_path"
    ):
        open_dataset(name, tmp_path, "train")
    write_cityscapes(tmp_path)
    with pytest.raises(UsageError, match=f"--split demo: {name} has train, val, test"):
        open_dataset(name, tmp_path, "demo")
    (tmp_path / "gtFine/val/bonn/bonn_000000_000019_gtFine_labelIds.png").unlink()
    with pytest.raises(DataError, match=r"no label file .*bonn_000000_000019_gtFine_labelIds\.png"):
        open_dataset(name, tmp_path, "val")
    (tmp_path / "leftImg8bit/val/bonn/bonn_000000_000019_leftImg8bit.png").unlink()
    with pytest.raises(DataError, match="no pictures"):
        open_dataset(name, tmp_path, "val")


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_says_where_it_looked(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=f"folder {default_path(name)}/.* does not exist"):
        open_dataset(name, None, "train")


def test_unknown_data_set_lists_the_known():
    with pytest.raises(UsageError, match="--dataset_name cityscape: unknown data set; known: camvid, cityscapes_seg"):
        open_dataset("cityscape", None, "train")
