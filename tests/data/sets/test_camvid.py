"""CamVid in its published layout, written small; and the real one where EDGEAILITE_CAMVID says it is."""

import os
from pathlib import Path

import numpy as np
import pytest

from edgeailite.data import open_dataset
from edgeailite.data.files.images import read_image, read_label, write_png
from edgeailite.data.sets.camvid import CLASSES, PALETTE
from edgeailite.errors import DataError, UsageError


def write_camvid(root: Path) -> Path:
    for split, count in (("train", 2), ("val", 1)):
        for index in range(count):
            write_png(root / "labels" / split / f"{index:04d}.png", np.arange(12, dtype=np.uint8).reshape(3, 4))
            (root / "images" / split).mkdir(parents=True, exist_ok=True)
            (root / "images" / split / f"{index:04d}.jpg").touch()
    return root


def test_splits_and_labels(tmp_path):
    source = open_dataset("camvid", write_camvid(tmp_path), "train")
    assert [item.label.name for item in source.items] == ["0000.png", "0001.png"]
    assert len(open_dataset("camvid", tmp_path, "val").items) == 1
    classes = source.class_map(source.items[0])
    assert classes.ravel().tolist() == [*range(11), 255]


def test_classes_and_colours():
    assert len(CLASSES) == len(PALETTE) == len(set(PALETTE)) == 11
    assert dict(zip(CLASSES, PALETTE, strict=True))["Car"] == (64, 0, 128)


def test_unknown_split_missing_label_and_empty_split(tmp_path):
    write_camvid(tmp_path)
    with pytest.raises(UsageError, match="--split dev: camvid has train, val, test"):
        open_dataset("camvid", tmp_path, "dev")
    with pytest.raises(DataError, match=r"images/test does not exist; set --data_path"):
        open_dataset("camvid", tmp_path, "test")
    (tmp_path / "labels/train/0001.png").unlink()
    with pytest.raises(DataError, match=r"0001\.jpg: no label file .*0001\.png"):
        open_dataset("camvid", tmp_path, "train")
    (tmp_path / "images/val/0000.jpg").unlink()
    with pytest.raises(DataError, match="no pictures"):
        open_dataset("camvid", tmp_path, "val")


def test_other_kinds_of_pictures_and_stray_masks(tmp_path):
    write_camvid(tmp_path)
    (tmp_path / "images/train/0001.jpg").rename(tmp_path / "images/train/0001.png")
    assert [item.image.name for item in open_dataset("camvid", tmp_path, "train").items] == ["0000.jpg", "0001.png"]
    (tmp_path / "images/train/0001.png").unlink()
    with pytest.raises(DataError, match=r"labels/train/0001\.png: label file without a picture"):
        open_dataset("camvid", tmp_path, "train")


@pytest.mark.skipif("EDGEAILITE_CAMVID" not in os.environ, reason="EDGEAILITE_CAMVID names no folder")
@pytest.mark.parametrize("split, count", [("train", 367), ("val", 101), ("test", 173)])
def test_the_real_one(split, count):
    source = open_dataset("camvid", Path(os.environ["EDGEAILITE_CAMVID"]), split)
    assert len(source.items) == count
    for item in source.items[::20]:
        label = read_label(item.label)
        classes = source.main.to_classes(label, item.label, source.name)
        assert label.shape == read_image(item.image).shape[:2] == (360, 480)
        assert ((classes == 255) == (label == 11)).all()
        assert set(np.unique(classes)) <= {*range(11), 255}
