"""The table of data sets: every form says where it looked, has classes, colours and weights that fit, and a room."""

from pathlib import Path

import pytest

from edgeailite.data import DATASETS, default_path, open_dataset
from edgeailite.errors import DataError, UsageError


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_says_where_it_looked(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    split = "val" if name.endswith("_measure") else "train"
    with pytest.raises(DataError, match=f"folder {default_path(name)}/.* does not exist"):
        open_dataset(name, None, split)


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "class_folders"])  # it has no folder `images`
def test_every_data_set_lists_its_splits(name, tmp_path):
    (tmp_path / "train.txt").write_text("a\n")
    for folder in ("images", "labels"):
        (tmp_path / folder / "val").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"--split demo: .+ has .*val"):
        open_dataset(name, tmp_path, "demo")


def test_unknown_data_set_lists_the_known():
    message = "--dataset_name cityscape_depth: unknown data set; did you mean cityscapes_depth.* known: camvid, citys"
    with pytest.raises(UsageError, match=message):
        open_dataset("cityscape_depth", None, "train")


def test_forms_of_a_data_set_share_its_folder():
    assert default_path("cityscapes_depth") == default_path("cityscapes_segmentation")
    assert default_path("ade20k_seg_class32") == Path("data/datasets/ADEChallengeData2016")
    assert default_path("streets_depth") == Path("data/datasets/streets")
