"""An item's files: sizes must agree; the size of a picture is read from its head."""

import cv2
import numpy as np
import pytest

from edgeailite.data.files.images import write_png
from edgeailite.data.items import picture_size, read_item
from edgeailite.data.source import IGNORE, Item, segmentation
from edgeailite.errors import DataError


def source_of(folder, sizes, mask):
    for index, size in enumerate(sizes):
        write_png(folder / f"{index}.png", np.zeros((*size, 3), np.uint8))
    write_png(folder / "mask.png", np.ones(mask, np.uint8))
    images = tuple(folder / f"{index}.png" for index in range(len(sizes)))
    item = Item(images, {"segmentation": folder / "mask.png"})
    return segmentation("own", "train", (item,), ("a", "b"), ((0, 0, 0), (1, 1, 1)), {0: 0, 1: 1, 255: IGNORE})


def test_pictures_and_targets_as_stored(tmp_path):
    source = source_of(tmp_path, [(20, 30), (20, 30)], (20, 30))
    images, targets = read_item(source, source.items[0])
    assert [image.shape for image in images] == [(20, 30, 3)] * 2
    assert (targets["segmentation"] == 1).all()


@pytest.mark.parametrize(
    "sizes, mask, message",
    [
        ([(20, 30)], (30, 20), r"mask\.png: mask is 20x30 but 0\.png is 30x20; they must have one size"),
        ([(20, 30), (20, 31)], (20, 30), r"1\.png: picture is 31x20 but 0\.png is 30x20; they must have one size"),
    ],
)
def test_sizes_that_differ(tmp_path, sizes, mask, message):
    source = source_of(tmp_path, sizes, mask)
    with pytest.raises(DataError, match=message):
        read_item(source, source.items[0])


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_size_of_a_picture(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(cv2.imencode(suffix, np.zeros((21, 34, 3), np.uint8))[1].tobytes())
    assert picture_size(path) == (21, 34)


def test_size_behind_a_long_comment(tmp_path):
    """The head of a JPEG may be longer than what is read at first."""
    data = cv2.imencode(".jpg", np.zeros((21, 34, 3), np.uint8))[1].tobytes()
    comment = b"\xff\xfe" + (65_000).to_bytes(2, "big") + bytes(64_998)
    (tmp_path / "a.jpg").write_bytes(data[:2] + 2 * comment + data[2:])
    assert picture_size(tmp_path / "a.jpg") == (21, 34)


def test_size_of_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"a\.png: cannot be read"):
        picture_size(tmp_path / "a.png")
