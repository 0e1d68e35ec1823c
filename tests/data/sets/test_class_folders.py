"""Pictures with one class each: folders, lists, and what is wrong with them, in one line."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeailite.data import open_dataset
from edgeailite.data.items import read_item
from edgeailite.data.sets.class_folders import of_classes
from edgeailite.data.source import output_channels
from edgeailite.errors import DataError, UsageError


def write(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), np.zeros((4, 6, 3), np.uint8))
    return root


def found(source) -> dict[str, str]:
    return {item.image.name: item.label for item in source.items}


def test_folders_are_classes_at_any_depth_below_a_split(tmp_path):
    write(tmp_path, "val/cat/1.png", "val/cat/more/2.jpg", "val/dog/3.png", "train/ape/4.png")
    source = open_dataset("class_folders", tmp_path, "val")
    assert found(source) == {"1.png": "cat", "2.jpg": "cat", "3.png": "dog"}
    assert source.targets["classification"].classes == ("cat", "dog")
    with pytest.raises(UsageError, match="has train, val"):
        open_dataset("class_folders", tmp_path, "test")


def test_a_folder_without_splits_is_every_split(tmp_path):
    write(tmp_path, "cat/1.png", "dog/2.png")
    assert all(len(open_dataset("class_folders", tmp_path, split).items) == 2 for split in ("train", "val"))


def test_lists_name_picture_tab_class(tmp_path):
    write(tmp_path, "a b.png", "deep/c.png")
    (tmp_path / "val.txt").write_text("# picture, class\na b.png\tred car\ndeep/c.png\ttram\n")
    for path in (tmp_path, tmp_path / "val.txt"):
        assert found(open_dataset("class_folders", path, "val")) == {"a b.png": "red car", "c.png": "tram"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1.png", r"val\.txt.*1.*names no class behind a tab; write picture, tab, class"),
        ("1.png cat", "names no class behind a tab"),
        ("2.png\tcat", r"val\.txt.*1.*there is no .*2\.png"),
        ("../1.png\tcat", "leaves the data set"),
        ("/etc/1.png\tcat", "an absolute path outside"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, message):
    write(tmp_path, "1.png")
    (tmp_path / "val.txt").write_text(line + "\n")
    with pytest.raises(DataError, match=message):
        open_dataset("class_folders", tmp_path, "val")


def test_a_picture_beside_the_folders_is_named(tmp_path):
    write(tmp_path, "cat/1.png", "2.png")
    with pytest.raises(DataError, match=r"2\.png: lies in no folder of a class"):
        open_dataset("class_folders", tmp_path, "val")


def test_labels_are_places_in_the_networks_order(tmp_path):
    source = open_dataset("class_folders", write(tmp_path, "cat/1.png", "dog/2.png"), "val")
    ordered = of_classes(source, ("dog", "owl", "cat"))
    values = [read_item(ordered, item)[1]["classification"] for item in ordered.items]
    assert [value.tolist() for value in values] == [[[2]], [[0]]]
    with pytest.raises(DataError, match="has pictures of cat, which the model does not know"):
        of_classes(source, ("dog", "owl"))


def test_networks_of_this_package_are_not_trained_on_it(tmp_path):
    source = open_dataset("class_folders", write(tmp_path, "cat/1.png", "dog/2.png"), "train")
    with pytest.raises(UsageError, match="one class for a whole picture"):
        output_channels(source)
