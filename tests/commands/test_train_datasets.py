"""A training from the published commands on miniatures of VOC and ADE20K, and on a folder of one's own, end to end."""

import json
from pathlib import Path

import numpy as np
import pytest

from edgeailite.data.files.images import write_png
from edgeailite.data.sets.voc import voc_colours
from edgeailite.runs.checkpoint import load_checkpoint
from edgeailite.runs.folder import LAST
from tests.data.trees import palette_mask, text

SIZE = (64, 64)
FLAGS = ("--img_resize", *SIZE, "--batch_size", 2, "--epochs", 1, "--device", "cpu", "--threads", 1, "--amp", "off")


def scene(index: int, values: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A picture of a square on a ground, and its labels."""
    rng = np.random.default_rng(index)
    label = np.full(SIZE, values[0], np.uint8)
    y, x = rng.integers(0, 32, 2)
    label[y : y + 30, x : x + 30] = values[1]
    image = np.stack([label * 3, 255 - label, label * 2], -1) + rng.integers(0, 20, (*SIZE, 3))
    return np.clip(image, 0, 255).astype(np.uint8), label


def write_voc(root: Path) -> None:
    base = root / "VOCdevkit/VOC2012"
    for index, name in enumerate(("2007_000032", "2007_000039", "2007_000033")):
        image, label = scene(index, (0, 15))
        label[0] = 255
        write_png(base / f"JPEGImages/{name}.jpg", image)  # a decoder looks at the bytes, not at the name
        write_png(base / f"SegmentationClassAug/{name}.png", label)
        palette_mask(base / f"SegmentationClass/{name}.png", label, voc_colours(256))
    text(base / "ImageSets/Segmentation/trainaug_noval.txt", "2007_000032", "2007_000039")
    text(base / "ImageSets/Segmentation/val.txt", "2007_000033")


def write_ade20k(root: Path) -> None:
    for index, name in enumerate(
        ("training/ADE_train_00000001", "training/ADE_train_00000002", "validation/ADE_val_00000001")
    ):
        image, label = scene(index, (1, 150))
        label[0] = 0
        write_png(root / f"ADEChallengeData2016/images/{name}.jpg", image)
        write_png(root / f"ADEChallengeData2016/annotations/{name}.png", label)


def write_own(root: Path) -> None:
    for index, name in enumerate(("train/a", "train/b", "val/c")):
        image, label = scene(index, (0, 255))
        write_png(root / f"images/{name}.png", image)
        write_png(root / f"labels/{name}.png", label)
    text(root / "dataset.yaml", "label_map: {0: ground, 255: thing}")


@pytest.mark.parametrize(
    "name, write, classes, known",
    [
        ("voc_segmentation", write_voc, 21, ("background", "person")),
        ("ade20k_segmentation", write_ade20k, 150, ("wall", "flag")),
        ("folder", write_own, 2, ("ground", "thing")),
    ],
)
def test_train_and_validate(command, tmp_path, name, write, classes, known):
    write(tmp_path / "data")
    run = tmp_path / "run"
    words = ("--dataset_name", name, "--data_path", tmp_path / "data", "--save_path", run, "--workers", 0)
    ended = command("train", *words, *FLAGS)
    assert ended.code == 0, ended.err
    card = load_checkpoint(run / LAST).card
    assert (len(card.classes), card.outputs, card.dataset_name) == (classes, {"segmentation": classes}, name)
    assert set(known) <= set(card.classes)
    ended = command("validate", run, "--workers", 0, "--device", "cpu", "--threads", 1, "--json", True)
    assert ended.code == 0, ended.err
    values = json.loads(ended.out)
    assert all(values["iou"][name] is not None for name in known)
