"""KITTI's depth: drives below a split or in a list, sparse 16-bit depth, frames without depth at both ends."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeailite.data import open_dataset
from edgeailite.errors import DataError, UsageError
from tests.data.trees import picture, text

DRIVES = {"train": "2011_09_26_drive_0001_sync", "val": "2011_09_26_drive_0002_sync"}


def write_kitti(root: Path) -> Path:
    depth = np.array([[0, 256, 384], [65535, 0, 2560]], np.uint16)
    for split, drive in DRIVES.items():
        for frame in range(12):
            picture(root / split / drive / f"image_02/data/{frame:010d}.png", size=(2, 3))
        for frame in range(5, 7):
            path = root / split / drive / f"proj_depth/groundtruth/image_02/{frame:010d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(cv2.imencode(".png", depth)[1].tobytes())
    return root


def test_frames_with_depth(tmp_path):
    source = open_dataset("kitti_depth", write_kitti(tmp_path), "train")
    frames = [(item.image.stem, item.labels["depth"].stem) for item in source.items]
    assert frames == [("0000000005", "0000000005"), ("0000000006", "0000000006")]
    depth = source.targets["depth"].values(source.items[0].labels["depth"], source.name)
    assert depth.tolist() == [[0, 1, 1.5], [65535 / 256, 0, 10]]
    assert DRIVES["val"] in str(open_dataset("kitti_depth", tmp_path, "val").items[0].image)


def test_lists_of_drives(tmp_path):
    write_kitti(tmp_path)
    text(tmp_path / "train.txt", f"train/{DRIVES['train']}", f"val/{DRIVES['val']}/")
    assert len(open_dataset("kitti_depth", tmp_path, "train").items) == 4


def test_what_is_wrong_is_named(tmp_path):
    write_kitti(tmp_path)
    with pytest.raises(UsageError, match="kitti_depth has train, val"):
        open_dataset("kitti_depth", tmp_path, "test")
    (tmp_path / "train" / DRIVES["train"] / "image_02/data/0000000006.png").unlink()
    with pytest.raises(DataError, match=r"0000000006\.png: depth map without its picture"):
        open_dataset("kitti_depth", tmp_path, "train")
    text(tmp_path / "val.txt", "val/gone")
    with pytest.raises(DataError, match=r"folder .*val/gone does not exist"):
        open_dataset("kitti_depth", tmp_path, "val")
