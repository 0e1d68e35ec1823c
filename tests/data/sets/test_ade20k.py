"""ADE20K in its published layout and forms, and the lists of every version of CSAIL's toolkit."""

import json
from pathlib import Path

import pytest

from edgeailite.data import open_dataset
from edgeailite.errors import DataError, UsageError
from tests.data.trees import mask, picture, text

NAMES = {"train": ["ADE_train_00000001", "ADE_train_00000002"], "val": ["ADE_val_00000001"]}
FOLDERS = {"train": "training", "val": "validation"}
VALUES = [0, 1, 31, 32, 150, 255]
FOLDER = "ADEChallengeData2016"


def write_ade20k(root: Path) -> Path:
    for split, names in NAMES.items():
        for name in names:
            picture(root / FOLDER / "images" / FOLDERS[split] / f"{name}.jpg")
            mask(root / FOLDER / "annotations" / FOLDERS[split] / f"{name}.png", VALUES)
    return root


def record(split: str, name: str, **more: object) -> str:
    paths = {
        "fpath_img": f"{FOLDER}/images/{FOLDERS[split]}/{name}.jpg",
        "fpath_segm": f"{FOLDER}/annotations/{FOLDERS[split]}/{name}.png",
    }
    return json.dumps(paths | {"width": 8, "height": 6} | more)


@pytest.mark.parametrize(
    "name, classes, mapped, first",
    [
        ("ade20k_segmentation", 150, [255, 0, 30, 31, 149, 255], "wall"),
        ("ade20k_segmentation_151", 151, [0, 1, 31, 32, 150, 255], "other"),
        ("ade20k_seg_noweights", 151, [0, 1, 31, 32, 150, 255], "other"),
        ("ade20k_seg_class32", 32, [0, 1, 31, 0, 0, 255], "other"),
    ],
)
def test_forms(tmp_path, name, classes, mapped, first):
    source = open_dataset(name, write_ade20k(tmp_path), "train")
    assert [item.image.stem for item in source.items] == [item.label.stem for item in source.items] == NAMES["train"]
    assert len(source.classes) == len(source.palette) == classes
    assert source.classes[0] == first
    assert source.class_map(source.items[0]).ravel()[:6].tolist() == mapped
    assert len(open_dataset(name, tmp_path / FOLDER, "val").items) == 1


def test_names_and_colours_are_the_benchmarks(tmp_path):
    source = open_dataset("ade20k_segmentation", write_ade20k(tmp_path), "val")
    assert source.classes[6] == "road"
    assert source.classes[44] == "chest of drawers"
    assert source.classes[149] == "flag"
    assert len(set(source.classes)) == 150
    assert len(set(source.palette)) == 149
    assert source.palette[6] == source.palette[48] == (140, 140, 140)
    assert source.palette[2] == (6, 230, 230)


def test_weights_are_mean_share_by_share(tmp_path):
    write_ade20k(tmp_path)
    weights = open_dataset("ade20k_segmentation_151", tmp_path, "val").main.class_weights
    assert len(weights) == 151
    # shares: other 1 - 0.9275, wall 0.1576, flag 0.0002; their mean is 1/151
    assert weights[0] == pytest.approx(1 / 151 / 0.0725, rel=1e-6)
    assert weights[1] == pytest.approx(1 / 151 / 0.1576, rel=1e-6)
    assert weights[150] == pytest.approx(1 / 151 / 0.0002, rel=1e-6)
    few = open_dataset("ade20k_seg_class32", tmp_path, "val").main.class_weights
    assert len(few) == 32
    assert few[1] == pytest.approx(1 / 32 / 0.1576, rel=1e-6)
    for name in ("ade20k_segmentation", "ade20k_seg_noweights"):
        assert open_dataset(name, tmp_path, "val").main.class_weights is None


@pytest.mark.parametrize("place", [".", "data"])
@pytest.mark.parametrize("version", ["master", "2", "1"])
def test_lists_of_every_version(tmp_path, version, place):
    """Each names one picture of two, so that the list can be told from the folder."""
    write_ade20k(tmp_path)
    name = NAMES["train"][1]
    if version == "1":
        text(tmp_path / place / "ADE20K_object150_train.txt", f"training/{name}.jpg")
    else:
        more = {"dbName": "ADE20K", "ade_scene": "airport", "dbInfo": {"a": 1}} if version == "2" else {}
        file = "training.odgt" if version == "master" else "train.odgt"
        text(tmp_path / place / file, record("train", name, **more))
    source = open_dataset("ade20k_segmentation", tmp_path, "train")
    assert [(item.image.stem, item.label.stem) for item in source.items] == [(name, name)]


def test_layout_of_the_toolkit_itself(tmp_path):
    write_ade20k(tmp_path / "data")
    text(tmp_path / "data/validation.odgt", record("val", NAMES["val"][0]))
    assert len(open_dataset("ade20k_segmentation", tmp_path, "val").items) == 1
    assert len(open_dataset("ade20k_segmentation", tmp_path, "train").items) == 2


def test_a_split_may_be_a_list(tmp_path):
    write_ade20k(tmp_path)
    path = text(tmp_path / "mine.odgt", record("train", NAMES["train"][0]))
    assert len(open_dataset("ade20k_segmentation", tmp_path, str(path)).items) == 1
    assert len(open_dataset("ade20k_segmentation", tmp_path, "mine.odgt").items) == 1


def test_what_is_wrong_is_named(tmp_path):
    write_ade20k(tmp_path)
    with pytest.raises(UsageError, match="--split test: ade20k_segmentation has train, val"):
        open_dataset("ade20k_segmentation", tmp_path, "test")
    file = text(tmp_path / "training.odgt", record("train", NAMES["train"][0]), '{"fpath_img": "a.jpg"}')
    with pytest.raises(DataError, match=r"training\.odgt: line 2: no record with fpath_img and fpath_segm"):
        open_dataset("ade20k_segmentation", tmp_path, "train")
    text(file, record("train", NAMES["train"][0]), "not json")
    with pytest.raises(DataError, match=r"training\.odgt: line 2: no record"):
        open_dataset("ade20k_segmentation", tmp_path, "train")
    for name, reason in (("../../etc/a.jpg", "leaves the data set"), ("/etc/a.jpg", "absolute path outside")):
        text(file, f'{{"fpath_img": "{name}", "fpath_segm": "a.png"}}')
        with pytest.raises(DataError, match=rf"training\.odgt: line 1: {name} .*{reason}"):
            open_dataset("ade20k_segmentation", tmp_path, "train")
    text(file, "[" * 5000)
    with pytest.raises(DataError, match=r"training\.odgt: line 1: no record .*nested too deeply"):
        open_dataset("ade20k_segmentation", tmp_path, "train")
    text(file, record("train", NAMES["train"][0]), record("train", "ADE_train_00000009"))
    with pytest.raises(
        DataError, match=r"training\.odgt: line 2: there is no .*ADE_train_00000009\.jpg; add it or take"
    ):
        open_dataset("ade20k_segmentation", tmp_path, "train")
    file.unlink()
    (tmp_path / FOLDER / "annotations/training/ADE_train_00000002.png").unlink()
    with pytest.raises(DataError, match=r"ADE_train_00000002\.jpg: no label file"):
        open_dataset("ade20k_segmentation", tmp_path, "train")
    mask(tmp_path / FOLDER / "annotations/validation/ADE_val_00000001.png", 151)
    source = open_dataset("ade20k_segmentation", tmp_path, "val")
    with pytest.raises(DataError, match=r"label 151 .*150 classes"):
        source.class_map(source.items[0])
