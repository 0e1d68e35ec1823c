"""Which data set a folder holds, by the names in it."""

from __future__ import annotations

import pytest

from edgeailite.data.recognise import dataset_name_of, recognised
from tests.data.trees import mask, picture, text


def cityscapes(root, city="aachen"):
    picture(root / f"leftImg8bit/train/{city}/{city}_000000_000019_leftImg8bit.png")
    mask(root / f"gtFine/train/{city}/{city}_000000_000019_gtFine_labelIds.png")


def voc(root, *, name="2007_000032", more=False):
    picture(root / f"JPEGImages/{name}.jpg")
    mask(root / f"SegmentationClass/{name}.png")
    text(root / "ImageSets/Segmentation/val.txt", name)
    if more:
        mask(root / f"SegmentationClassAug/{name}.png")
        text(root / "ImageSets/Segmentation/trainaug_noval.txt", name)


def ade20k(root, *, name="ADE_train_00000001"):
    picture(root / f"images/training/{name}.jpg")
    mask(root / f"annotations/training/{name}.png")


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (cityscapes, "cityscapes_segmentation"),
        (lambda root: cityscapes(root, "streets"), "streets"),
        (voc, "voc_segmentation_original"),
        (lambda root: voc(root / "VOCdevkit/VOC2012", more=True), "voc_segmentation"),
        (lambda root: voc(root, name="IMG_0001"), "folder"),  # as labelling tools write it
        (ade20k, "ade20k_segmentation"),
        (lambda root: ade20k(root / "ADEChallengeData2016"), "ade20k_segmentation"),
        (lambda root: ade20k(root, name="a"), "folder"),
        (lambda root: picture(root / "images/train/a.jpg"), "folder"),
        (lambda root: None, "folder"),
    ],
)
def test_layouts(tmp_path, make, name):
    make(tmp_path)
    assert recognised(tmp_path) == name


def test_a_name_that_is_given_stays_and_without_a_folder_there_is_a_default(tmp_path):
    cityscapes(tmp_path)
    assert dataset_name_of("camvid", tmp_path, otherwise="streets") == "camvid"
    assert dataset_name_of("", None, otherwise="streets") == "streets"
    assert dataset_name_of("", tmp_path, otherwise="streets") == "cityscapes_segmentation"
