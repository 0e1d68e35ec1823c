"""Masks whose palettes give one number two meanings."""

from pathlib import Path

import numpy as np
import pytest

from edgeailite.data import open_dataset
from edgeailite.data.files.palettes import palette_of
from edgeailite.errors import DataError
from tests.data.sets.test_folder import first_classes
from tests.data.trees import mask, palette_mask, picture, text

BLACK, RED, BLUE = (0, 0, 0), (200, 0, 0), (0, 0, 200)
LABELS = np.resize([0, 1, 0, 1], (6, 8))


def write(root: Path, *palettes: list[tuple[int, int, int]]) -> Path:
    """A mask with the labels 0 and 1 for each palette."""
    for number, palette in enumerate(palettes):
        picture(root / f"images/train/{number}.jpg")
        palette_mask(root / f"labels/train/{number}.png", LABELS, palette)
    return root


def test_numbers_made_anew_for_each_file_are_refused(tmp_path):
    write(tmp_path, [BLACK, RED], [BLACK, BLUE])
    message = (
        r"labels/train: label 1 has the colour \(200, 0, 0\) in 0\.png and \(0, 0, 200\) in 1\.png: their palettes .*"
        r'say in .*dataset\.yaml which colour is which class: colors: \{"0,0,0": CLASS, "0,0,200": CLASS, "200,0,0": CL'
    )
    with pytest.raises(DataError, match=message):
        open_dataset("folder", tmp_path, "train")
    text(tmp_path / "classes.txt", "a", "b")  # names say nothing of what a number means
    with pytest.raises(DataError, match=message):
        open_dataset("folder", tmp_path, "train")


def test_colours_or_names_of_the_numbers_settle_it(tmp_path):
    write(tmp_path, [BLACK, RED], [BLACK, BLUE])
    text(tmp_path / "dataset.yaml", 'colors: {"0,0,0": floor, "200,0,0": ball, "0,0,200": box}')
    source = open_dataset("folder", tmp_path, "train")
    assert [source.class_map(item)[0, 1] for item in source.items] == [1, 2]
    text(tmp_path / "dataset.yaml", "label_map: {0: floor, 1: thing}")
    assert first_classes(tmp_path) == [0, 1, 0, 1]


def test_palettes_may_differ_where_no_label_is(tmp_path):
    write(tmp_path, [BLACK, RED], [BLACK, RED, BLUE], [BLACK, RED, RED])
    picture(tmp_path / "images/train/3.jpg")
    mask(tmp_path / "labels/train/3.png", (0, 1))
    assert first_classes(tmp_path) == [0, 1, 0, 1]


def test_palette_of_a_file(tmp_path):
    path = write(tmp_path, [BLACK, RED]) / "labels/train/0.png"
    assert palette_of(path)[:6] == bytes((*BLACK, *RED))
    assert palette_of(mask(tmp_path / "grey.png")) == b""
    assert palette_of(tmp_path / "gone.png") == b""
    for end in range(0, 60, 7):
        (tmp_path / "cut.png").write_bytes(path.read_bytes()[:end])
        palette_of(tmp_path / "cut.png")
