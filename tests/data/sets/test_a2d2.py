"""A2D2 in Cityscapes' folders, 38 classes as stored."""

import pytest

from edgeailite.data import open_dataset
from edgeailite.errors import DataError, UsageError
from tests.data.trees import mask, picture

NAME = "20180807_145028/20180807145028_camera_frontcenter_000000091.png"


def test_layout_values_and_splits(tmp_path):
    for split in ("train", "val", "test_val"):
        picture(tmp_path / "leftImg8bit" / split / NAME)
        mask(tmp_path / "gtFine" / split / NAME, [0, 33, 37, 255])
    for split in ("train", "val", "test_val"):
        source = open_dataset("a2d2_segmentation", tmp_path, split)
        assert [str(item.label.relative_to(tmp_path)) for item in source.items] == [f"gtFine/{split}/{NAME}"]
        assert source.class_map(source.items[0]).ravel()[:4].tolist() == [0, 33, 37, 255]
    assert len(source.classes) == len(set(source.classes)) == len(set(source.palette)) == 38
    assert dict(zip(source.classes, source.palette, strict=True))["sky"] == (135, 206, 255)
    assert source.classes[33] == "normal street"
    assert len(open_dataset("a2d2_segmentation_measure", tmp_path, "val").items) == 1
    mask(tmp_path / "gtFine/val" / NAME, 38)
    with pytest.raises(DataError, match=r"label 38 .*a2d2_segmentation has 38 classes"):
        source = open_dataset("a2d2_segmentation", tmp_path, "val")
        source.class_map(source.items[0])


def test_pictures_only_and_what_is_wrong(tmp_path):
    picture(tmp_path / "leftImg8bit/val" / NAME)
    assert open_dataset("a2d2_segmentation_infer", tmp_path, "val").items[0].labels == {}
    with pytest.raises(UsageError, match="a2d2_segmentation has train, val, test, test_val"):
        open_dataset("a2d2_segmentation", tmp_path, "dev")
    mask(tmp_path / "gtFine/val/other/a.png")
    with pytest.raises(DataError, match="no label file"):
        open_dataset("a2d2_segmentation", tmp_path, "val")
    (tmp_path / "leftImg8bit/test").mkdir()
    with pytest.raises(DataError, match="split 'test' has no pictures"):
        open_dataset("a2d2_segmentation_infer", tmp_path, "test")
