"""Layouts of labelling tools: read where they are clear, else named in one sentence with what to do."""

import os
import unicodedata
from pathlib import Path

import pytest

from edgeailite.data import DATASETS, open_dataset
from edgeailite.data.check import check_dataset
from edgeailite.errors import DataError, UsageError
from tests.data.trees import mask, picture, text


def lay(root: Path, image: str, label: str) -> Path:
    """Two training pairs and one to validate on; {s} is the split, {i} the number."""
    for split, number in (("train", 0), ("train", 1), ("val", 2)):
        picture(root / image.format(s=split, i=number))
        mask(root / label.format(s=split, i=number), (0, 1, 2))
    return root


def pairs(root: Path, split: str = "train") -> list[tuple[str, str]]:
    items = open_dataset("folder", root, split).items
    return [(str(item.image.relative_to(root)), str(Path(item.label).relative_to(root))) for item in items]


@pytest.mark.parametrize(
    "image, label",
    [
        ("images/{s}/{i}.jpg", "annotations/{s}/{i}.png"),
        ("img_dir/{s}/{i}.jpg", "ann_dir/{s}/{i}.png"),
        ("images/{s}/car_{i}.jpg", "labels/{s}/car_{i}_mask.png"),
        ("images/{s}/car_{i}.jpg", "labels/{s}/car_{i}_gt.png"),
        ("images/{s}/{i}.jpg", "masks/{s}/{i}.jpg.png"),
        ("{s}/a{i}.jpg", "{s}/a{i}_mask.png"),
        ("{s}/images/{i}.jpg", "{s}/annotations/{i}_label.png"),
    ],
)
def test_layouts_that_are_read(tmp_path, image, label):
    lay(tmp_path, image, label)
    assert pairs(tmp_path) == [tuple(name.format(s="train", i=i) for name in (image, label)) for i in (0, 1)]
    assert len(pairs(tmp_path, "val")) == 1
    with pytest.raises(UsageError, match=r" has train, val$"):
        open_dataset("folder", tmp_path, "dev")


def test_names_in_another_form_of_unicode(tmp_path):
    name = "Stra\u00dfe \u00fc"
    for kind, form in (("images", "NFD"), ("labels", "NFC")):
        make = picture if kind == "images" else mask
        make(tmp_path / kind / "train" / (unicodedata.normalize(form, name) + (".jpg", ".png")[kind == "labels"]))
    assert len(pairs(tmp_path)) == 1
    flat = tmp_path / "flat"
    for kind in ("images", "labels"):
        (tmp_path / kind / "train").rename(flat.joinpath(kind) if flat.mkdir(exist_ok=True) is None else flat)
    text(flat / "train.txt", unicodedata.normalize("NFC", name))
    assert len(pairs(flat)) == 1


@pytest.mark.parametrize("line", ["images/{i}.jpg labels/{i}.png", "images/{i}.jpg,labels/{i}.png",
                                  "/images/{i}.jpg\t/labels/{i}.png"])  # fmt: skip
def test_lists_of_two_names(tmp_path, line):
    lay(tmp_path, "images/{i}.jpg", "labels/{i}.png")
    for split, numbers in (("train", (0, 1)), ("val", (2,))):
        text(tmp_path / f"{split}.txt", *(line.format(i=number) for number in numbers))
    assert pairs(tmp_path) == [("images/0.jpg", "labels/0.png"), ("images/1.jpg", "labels/1.png")]
    assert len(pairs(tmp_path, "val")) == 1


@pytest.mark.parametrize(
    "line, message",
    [
        ("../0.jpg labels/0.png", r"line 2: \.\./0\.jpg leaves the data set"),
        ("images/0.jpg ../../0.png", r"line 2: \.\./\.\./0\.png leaves the data set"),
        ("/etc/0.jpg labels/0.png", r"line 2: /etc/0\.jpg is an absolute path outside"),
        ("images/9.jpg labels/0.png", r"line 2: there is no .*images/9\.jpg; add it or take"),
        ("images/1.jpg labels/1.png", r"line 2: .*images/1\.jpg is named again, as in line 1"),
    ],
)
def test_lists_of_two_names_that_cannot_be_meant(tmp_path, line, message):
    lay(tmp_path, "images/{i}.jpg", "labels/{i}.png")
    text(tmp_path / "train.txt", "images/1.jpg labels/1.png", line)
    with pytest.raises(DataError, match=message):
        open_dataset("folder", tmp_path, "train")


def test_names_of_roboflow(tmp_path):
    lay(tmp_path, "{s}/a{i}.jpg", "{s}/a{i}_mask.png")
    text(tmp_path / "train/_classes.csv", "Pixel Value, Class", "0, background", "1, ball", "2, box")
    assert open_dataset("folder", tmp_path, "val").classes == ("background", "ball", "box")


def test_a_folder_of_masks_is_preferred_to_one_of_texts(tmp_path):
    lay(tmp_path, "images/{s}/{i}.jpg", "masks/{s}/{i}.png")
    for number in (0, 1):
        text(tmp_path / f"labels/train/{number}.txt", "0 0.1 0.1 0.3 0.1 0.3 0.4")
    assert pairs(tmp_path)[0][1] == "masks/train/0.png"


@pytest.mark.parametrize(
    "image, label, suffix, message",
    [
        ("images/{s}/{i}.jpg", "labels/{s}/{i}.png", ".txt", r"2 files such as 0\.txt: polygons of YOLO are not read"),
        ("images/{s}/{i}.jpg", "labels/{s}/{i}.png", ".npy", r"2 files such as 0\.npy: arrays of numpy; save them"),
        ("images/{s}/{i}.jpg", "labels/{s}/{i}.png", ".abc", r"2 files such as 0\.abc: not read; save them as PNG"),
        ("imgs/{i}.jpg", "masks/{i}.png", "", r"found are imgs \(3 pictures\), masks \(3 pictures\): rename them so"),
        ("Images/{s}/{i}.jpg", "Labels/{s}/{i}.png", "", r"found are Images/train \(2 pictures\), Labels/train"),
        (
            "JPEGImages/{i}.jpg",
            "SegmentationClass/{i}.png",
            "",
            r"3 pictures are in JPEGImages and 3 masks in Segm.*not s",
        ),
        (
            "images/{s}/{i}.jpg",
            "labels/{s}/{i}_odd.png",
            "",
            r"\(.*/0_odd\.png is there: names have to be equal but for",
        ),
        (
            "images/{s}/{i}.jpg",
            "labels/{s}/mask_{i}.png",
            "",
            r"\(.*/mask_0\.png is there: names have to be equal but f",
        ),
        ("images/{s}/{i}.jpg", "labels/{s}/deep/{i}.png", "", r"deep/0\.png is there: .* folders included"),
    ],
)
def test_what_lies_there_is_named(tmp_path, image, label, suffix, message):
    lay(tmp_path, image, label)
    if suffix:
        for path in (tmp_path / "labels").rglob("*.png"):
            path.rename(path.with_suffix(suffix))
    with pytest.raises(DataError, match=message):
        open_dataset("folder", tmp_path, "train")


@pytest.mark.parametrize(
    "file, content, message",
    [
        ("annotations.xml", "<annotations/>", 'annotations.xml is CVAT\'s own form.*export "Segmentation mask 1.1"'),
        ("a/0.json", '{"shapes": []}', "a/0.json has polygons of Labelme; make masks of them with labelme2voc.py"),
        (
            "x.json",
            '{"images": [], "annotations": [], "categories": []}',
            "x.json has polygons in COCO's form; move it",
        ),
    ],
)
def test_files_of_tools_are_named(tmp_path, file, content, message):
    picture(tmp_path / "a/0.jpg")
    (tmp_path / file).write_text(content)
    with pytest.raises(DataError, match=message):
        open_dataset("folder", tmp_path, "train")


def test_pictures_of_a_kind_that_is_not_read(tmp_path):
    lay(tmp_path, "images/{s}/{i}.jpg", "labels/{s}/{i}.png")
    (tmp_path / "images/train/0.jpg").rename(tmp_path / "images/train/0.heic")
    with pytest.raises(DataError, match=r"0\.png: label file without a picture; .*0\.heic is there, which is not read"):
        open_dataset("folder", tmp_path, "train")
    (tmp_path / "images/train/1.jpg").rename(tmp_path / "images/train/1.heic")
    with pytest.raises(DataError, match=r"images/train: no pictures in it, but 2 files such as 0\.heic: not read"):
        open_dataset("folder", tmp_path, "train")


def test_files_that_are_not_read_are_listed(tmp_path):
    lay(tmp_path, "images/{s}/{i}.jpg", "labels/{s}/{i}.png")
    for name in ("images/train/a.heic", "images/train/b.heic", "images/val/c.dng", "labels/train/d.npy"):
        (tmp_path / name).write_bytes(b"x")
    for name in ("images/train/Thumbs.db", "images/train/._0.jpg", "labels/train/.DS_Store"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "images/train/.ipynb_checkpoints").mkdir()
    picture(tmp_path / "images/train/.ipynb_checkpoints/0-checkpoint.jpg")
    with check_dataset("folder", DATASETS["folder"], tmp_path, ("train", "val")) as checkup:
        found = {(f.code, Path(f.file).name, f.message[:21]) for f in checkup.findings.kept if "unread" in f.code}
    assert found == {
        ("unread-picture", "a.heic", "2 files of kind .heic"),
        ("unread-picture", "c.dng", "1 file of kind .dng i"),
        ("unread-mask", "d.npy", "1 file of kind .npy i"),
    }


def special(path: Path, kind: str) -> Path:
    path.unlink(missing_ok=True)
    if kind == "device":
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo(path)
    return path


@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize("name", ["images/train/x.jpg", "labels/train/0.png", "dataset.yaml"])
def test_special_files_are_named_and_not_waited_for(tmp_path, kind, name):
    lay(tmp_path, "images/{s}/{i}.jpg", "labels/{s}/{i}.png")
    path = special(tmp_path / name, kind)
    with pytest.raises(DataError, match=rf"{path}: .*(a named pipe|a device)"):
        open_dataset("folder", tmp_path, "train")
    with check_dataset("folder", DATASETS["folder"], tmp_path, ("train", "val")) as checkup:
        assert ("unreadable", str(path)) in {(f.code, f.file) for f in checkup.findings.kept}


def test_a_list_that_is_a_pipe(tmp_path):
    lay(tmp_path, "images/{i}.jpg", "labels/{i}.png")
    special(tmp_path / "train.txt", "pipe")
    with pytest.raises(DataError, match="images/train does not exist"):
        open_dataset("folder", tmp_path, "train")


def test_one_line_where_nothing_is_a_data_set(tmp_path):
    picture(tmp_path / "imgs/0.jpg")
    with check_dataset("folder", DATASETS["folder"], tmp_path, ("train", "val", "test")) as checkup:
        assert [f.code for f in checkup.findings.kept] == ["listing"]
