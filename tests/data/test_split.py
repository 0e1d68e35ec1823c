"""Dividing one's own data: shares, classes, pictures that stay together, the lists, and who reads them."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeailite.data import open_dataset
from edgeailite.data.check import splits_of
from edgeailite.data.check.begin import locate
from edgeailite.data.files.images import write_png
from edgeailite.data.lists import list_file
from edgeailite.data.split import choose, need_val, split_folder
from edgeailite.errors import DataError, UsageError
from tests.data.trees import text

H, W = 48, 64


def scene(seed: int) -> np.ndarray:
    """A smooth picture that is like no other."""
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(0, 255, (6, 8, 3)).astype(np.uint8), (W, H), interpolation=cv2.INTER_CUBIC)


def write(
    images: Path, labels: Path, name: str, *, seed: int, value: int = 0, pixels: np.ndarray | None = None
) -> None:
    labelled = np.zeros((H, W), np.uint8)
    labelled[: H // 2] = value
    for folder, content in ((images, scene(seed) if pixels is None else pixels), (labels, labelled)):
        folder.mkdir(parents=True, exist_ok=True)
        write_png(folder / f"{name}.png", content)


def own(root: Path, count: int = 20, form: str = "{:02d}") -> Path:
    """Pictures without splits; every fourth has class 2, the others class 1."""
    for index in range(count):
        write(root / "images", root / "masks", form.format(index), seed=index, value=2 if index % 4 == 0 else 1)
    return root


def names(root: Path, split: str) -> list[str]:
    return [item.image.stem for item in open_dataset("folder", root, split).items]


def test_every_class_has_its_share_and_no_picture_is_lost(tmp_path):
    made = split_folder(own(tmp_path), {"val": 0.2})
    assert made.counts == {"train": 16, "val": 4}
    assert [int(part) for part in made.pixels["val"] * 5] == [int(part) for part in sum(made.pixels.values())]
    assert sorted(names(tmp_path, "train") + names(tmp_path, "val")) == [f"{index:02d}" for index in range(20)]
    assert {path.name for path in tmp_path.iterdir()} == {"images", "masks", "edgeailite_lists"}


def test_the_seed_decides(tmp_path):
    chosen = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        split_folder(own(tmp_path / name), {"val": 0.3, "test": 0.2}, seed=seed)
        chosen.append([names(tmp_path / name, split) for split in ("train", "val", "test")])
    assert chosen[0] == chosen[1] != chosen[2]
    assert [len(part) for part in chosen[0]] == [10, 6, 4]


def test_equal_and_nearly_equal_pictures_stay_together(tmp_path):
    for index in range(6):
        bright = np.clip(scene(index).astype(np.int64) + 12, 0, 255).astype(np.uint8)
        for copy, pixels in enumerate((scene(index), scene(index), bright)):
            write(tmp_path / "images", tmp_path / "labels", f"{copy}{index}", seed=0, value=1, pixels=pixels)
    split_folder(tmp_path, {"val": 0.3})
    val = {name[1] for name in names(tmp_path, "val")}
    assert val and not val & {name[1] for name in names(tmp_path, "train")}


def test_pictures_too_plain_to_be_compared(tmp_path):
    """As the twenty of docs/own_data.md: things of one colour on a floor have no fingerprint."""
    for index in range(10):
        write(
            tmp_path / "images", tmp_path / "labels", f"{index:02d}", seed=0, pixels=np.full((H, W, 3), index, np.uint8)
        )
    assert split_folder(tmp_path, {"val": 0.2}).counts == {"train": 8, "val": 2}


def test_a_sequence_stays_in_one_split(tmp_path):
    for series in range(5):
        for frame in range(4):
            number = f"street{series}_{frame:04d}"
            write(tmp_path / "images", tmp_path / "labels", number, seed=10 * series + frame, value=1)
    split_folder(tmp_path, {"val": 0.4})
    val = {name.partition("_")[0] for name in names(tmp_path, "val")}
    assert val and not val & {name.partition("_")[0] for name in names(tmp_path, "train")}


def test_one_long_film_is_cut_into_blocks(tmp_path):
    own(tmp_path, 40, "film_{:04d}")
    split_folder(tmp_path, {"val": 0.2})
    numbers = sorted(int(name[5:]) for name in names(tmp_path, "val"))
    assert len(numbers) == 8
    assert sum(b - a == 1 for a, b in pairwise(numbers)) >= 4  # blocks of two at least


def test_choosing_gives_a_class_of_one_group_to_train():
    groups = [[index] for index in range(10)]
    pixels = np.zeros((10, 2), np.int64)
    pixels[:, 0], pixels[3, 1] = 100, 50
    for seed in range(10):
        chosen = choose(groups, pixels, {"val": 0.3}, np.random.default_rng(seed))
        assert 3 in chosen["train"] and len(chosen["val"]) == 3


@pytest.mark.parametrize(
    "layout",
    ["images/{}.png masks/{}.png", "JPEGImages/{}.png SegmentationClass/{}.png", "{}.png {}_mask.png"],
)
def test_layouts_without_splits(tmp_path, layout):
    for index in range(5):
        image, label = (tmp_path / name.format(index) for name in layout.split())
        write(image.parent, tmp_path / "other", image.stem, seed=index, value=1)
        label.parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "other" / image.name).rename(label)
    (tmp_path / "other").rmdir()
    split_folder(tmp_path, {"val": 0.2})
    assert (len(names(tmp_path, "train")), len(names(tmp_path, "val"))) == (4, 1)


def test_a_single_split_is_divided(tmp_path):
    """As CVAT exports it, with the list default.txt, and where there is a folder train alone."""
    own(tmp_path / "cvat", 10)
    text(tmp_path / "cvat/ImageSets/Segmentation/default.txt", *(f"{index:02d}" for index in range(10)))
    for index in range(10):
        write(tmp_path / "own/images/train", tmp_path / "own/labels/train", str(index), seed=index, value=1)
    for root in (tmp_path / "cvat", tmp_path / "own"):
        split_folder(root, {"val": 0.2})
        assert (len(names(root, "train")), len(names(root, "val"))) == (8, 2)
        assert set(splits_of(partial(open_dataset, "folder"), root)) == {"train", "val"}


def test_what_is_divided_already_is_refused(tmp_path):
    split_folder(own(tmp_path), {"val": 0.2})
    with pytest.raises(UsageError, match=r"has a split val already; remove .*edgeailite_lists/val\.txt"):
        split_folder(tmp_path, {"val": 0.2})
    for split in ("train", "val"):
        write(tmp_path / "two/images" / split, tmp_path / "two/labels" / split, split, seed=1, value=1)
    with pytest.raises(UsageError, match="has a split val already"):
        split_folder(tmp_path / "two", {"val": 0.5})
    with pytest.raises(UsageError, match=r"val_share.*has a split val already; leave"):
        need_val(tmp_path / "two", 0.5, seed=1)


def test_too_few_pictures_that_differ(tmp_path):
    for index in range(4):
        write(tmp_path / "images", tmp_path / "labels", str(index), seed=7, value=1)
    with pytest.raises(DataError, match="1 pictures that differ are too few"):
        split_folder(tmp_path, {"val": 0.5})
    assert not list_file(tmp_path, "train").exists()


def test_pictures_that_cannot_be_read_are_left_out(tmp_path):
    (own(tmp_path) / "images/03.png").write_bytes(b"no picture")
    made = split_folder(tmp_path, {"val": 0.25})
    assert len(made.left_out) == 1 and "03.png" in made.left_out[0]
    assert "03" not in names(tmp_path, "train") + names(tmp_path, "val")


# --- lists


def test_a_list_chooses_whatever_the_others_are(tmp_path):
    """A picture without mask, and one with a broken mask, do not matter where the list names neither."""
    for index in range(4):
        write(tmp_path / "images/train", tmp_path / "labels/train", str(index), seed=index, value=1)
    (tmp_path / "labels/train/0.png").unlink()
    (tmp_path / "labels/train/1.png").write_bytes(b"")
    text(list_file(tmp_path, "train"), *(f"images/train/{n}.png labels/train/{n}.png" for n in (2, 3)))
    assert names(tmp_path, "train") == ["2", "3"]


def test_lists_of_a_published_data_set(tmp_path):
    for split, count in (("train", 3), ("val", 1)):
        for index in range(count):
            write(tmp_path / "images" / split, tmp_path / "labels" / split, f"{split}{index}", seed=index, value=1)
    text(list_file(tmp_path, "train"), "images/train/train2.png", "images/train/train0.png labels/train/train0.png")
    source = open_dataset("camvid", tmp_path, "train")
    assert [item.image.stem for item in source.items] == ["train2", "train0"]
    assert len(open_dataset("camvid", tmp_path, "val").items) == 1
    text(list_file(tmp_path, "train"), "images/train/gone.png")
    with pytest.raises(DataError, match=r"train\.txt: line 1: no picture images/train/gone\.png in split train"):
        open_dataset("camvid", tmp_path, "train")


@pytest.mark.parametrize("name", ["folder", "cityscapes_segmentation"])
def test_an_archive_is_to_be_unpacked(name, tmp_path):
    """As a labelling tool hands it over."""
    file = tmp_path / "task.zip"
    file.write_bytes(b"PK")
    with pytest.raises(DataError, match=r"task\.zip is a file, expected a folder; unpack it .*zipfile -e \S+task\.zip"):
        open_dataset(name, file, "train")
    with pytest.raises(DataError, match="is a file, expected a folder"):
        split_folder(file, {"val": 0.2})
    with pytest.raises(DataError, match="is a file, expected a folder"):
        locate(name, file)
