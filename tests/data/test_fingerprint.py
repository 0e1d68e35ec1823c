"""What a run was trained on is known again: on another machine, and not where a picture or a class is another."""

import dataclasses
import os
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeailite.data import DataSource, fingerprint, open_dataset
from edgeailite.data.files.polygons import Shape
from edgeailite.data.fingerprint import changes, packed, split_of, unpacked
from edgeailite.data.sets.coco import Drawing
from edgeailite.data.source import ClassTarget, DepthTarget, Item
from edgeailite.errors import DataError
from edgeailite.untrusted import Fields

FOLDER = "leftImg8bit/train/streets/"


def of(root: Path, **options: int) -> fingerprint.Split:
    return split_of(open_dataset("streets", root, "train"), root, **options)


def again(split: fingerprint.Split) -> fingerprint.Split:
    """As it comes back from a checkpoint."""
    return unpacked(Fields.of(packed(split), where="x"))


def pictures(root: Path) -> list[Path]:
    return sorted((root / FOLDER).iterdir())


def label_of(picture: Path) -> Path:
    return Path(str(picture).replace("leftImg8bit", "gtFine", 1).replace("_leftImg8bit.png", "_gtFine_labelIds.png"))


def test_a_copy_is_the_same_data(own_miniature, tmp_path):
    before = again(of(own_miniature))
    copy = shutil.copytree(own_miniature, tmp_path / "elsewhere" / "data", copy_function=shutil.copyfile)
    assert changes(before, of(copy)) == []
    assert before.names[0] == FOLDER + "streets_000000_000019_leftImg8bit.png"


def test_pictures_that_come_go_and_change_are_named(own_miniature):
    before, found = again(of(own_miniature)), pictures(own_miniature)
    shutil.copy(found[0], found[0].with_name("a" + found[0].name))
    shutil.copy(label_of(found[0]), label_of(found[0]).with_name("a" + label_of(found[0]).name))
    shutil.copy(found[0], found[1])
    shutil.copy(label_of(found[2]), label_of(found[1]))
    for path in (found[5], label_of(found[5])):
        path.unlink()
    assert changes(before, of(own_miniature)) == [
        f"1 picture added, first {FOLDER}a{found[0].name}",
        f"1 picture gone, first {FOLDER}{found[5].name}",
        f"1 picture with other content, first {FOLDER}{found[1].name}",
        f"1 picture with other labels, first {FOLDER}{found[1].name}",
    ]


@pytest.mark.parametrize("at", [0, 40_000, -1])
def test_a_change_within_the_same_size_is_seen(own_miniature, at):
    path = pictures(own_miniature)[3]
    path.write_bytes(bytes(80_000))
    before, data = of(own_miniature), bytearray(80_000)
    data[at] = 1
    path.write_bytes(data)
    assert changes(before, of(own_miniature)) == [f"1 picture with other content, first {FOLDER}{path.name}"]


def test_of_many_pictures_some_are_opened_always_the_same(own_miniature, monkeypatch):
    monkeypatch.setattr(fingerprint, "MOST_OPENED", 2)
    before = of(own_miniature)
    assert before.every == 3
    marked = [bool(row[1]) for row in before.rows]
    assert marked == [zlib.crc32(name.encode()) % 3 == 0 for name in before.names]
    path = pictures(own_miniature)[marked.index(False)]
    path.write_bytes(path.read_bytes() + b"\0")
    assert changes(before, of(own_miniature, every=3)) == [f"1 picture with other content, first {FOLDER}{path.name}"]


def source_of(classes: tuple[str, ...], label_map: dict[int, int]) -> DataSource:
    target = ClassTarget(classes, ((0, 0, 0),) * len(classes), label_map)
    return DataSource("x", "train", (Item((Path("a.png"),), {}),), {"segmentation": target})


def test_classes_that_mean_something_else_are_named(tmp_path):
    before = again(split_of(source_of(("road", "sky", "car"), {0: 0, 1: 1, 2: 2, 9: 255}), tmp_path))
    now = split_of(source_of(("road", "car\n", "sky", "tree"), {0: 0, 1: 1, 2: 255, 7: 2}), tmp_path)
    assert changes(before, now) == [
        "4 classes, were 3",
        r"class 1 is now 'car\n', was 'sky'",
        "class 2 is now 'sky', was 'car'",
        "label 2 is now ignored, was 'car'",
        "label 7 is now 'sky', was none",
        "label 9 is now none, was ignored",
    ]
    several = {**source_of(("a",), {0: 0}).targets, "depth": DepthTarget()}
    other = dataclasses.replace(source_of(("b",), {0: 0}), targets={**several, "motion": DepthTarget()})
    found = changes(split_of(dataclasses.replace(other, targets=several), tmp_path), split_of(other, tmp_path))
    assert found == ["motion is new"]


def test_pictures_in_another_order_and_lists_with_one_twice(tmp_path):
    items = tuple(Item((tmp_path / name,), {}) for name in ("b", "a", "a"))
    source = dataclasses.replace(source_of(("a",), {0: 0}), items=items)
    before = again(split_of(source, tmp_path))
    assert before.names == ("b", "a", "a (2)")
    turned = split_of(dataclasses.replace(source, items=items[::-1]), tmp_path)
    assert changes(before, turned) == ["the pictures in another order"]
    elsewhere = split_of(source, tmp_path / "other")
    assert elsewhere.names == (f"{tmp_path.name}/b", f"{tmp_path.name}/a", f"{tmp_path.name}/a (2)")


def test_labels_drawn_from_annotations(tmp_path):
    def source(x: float, file: str) -> DataSource:
        shape = Shape(1, (np.array([[x, 0.0], [4, 0], [4, 4]]),))
        item = Item((tmp_path / "a.png",), {"segmentation": Drawing(Path(file), 3, 8, 8, (shape,))})
        return dataclasses.replace(source_of(("a", "b"), {0: 0, 1: 1}), items=(item,))

    before = split_of(source(0, "old/instances.json"), tmp_path)
    assert changes(before, split_of(source(0, "new/instances.json"), tmp_path)) == []
    assert changes(before, split_of(source(1, "old/instances.json"), tmp_path)) == [
        "1 picture with other labels, first a.png"
    ]


BAD = {
    "rows": [torch.ones(2, 4), [[1, 2, 3, 4]], torch.ones(1, 3, dtype=torch.int64)],
    "names": ["a", torch.zeros(3), torch.zeros(9, dtype=torch.uint8)],
    "every": [0, "1", None],
    "meanings": [[], {"segmentation": 3}, {"x": {"classes": ["a\n"], "label_map": []}}, {"x": {"label_map": [[1]]}}],
}


@pytest.mark.parametrize("key, value", [(key, value) for key, values in BAD.items() for value in values])
def test_a_fingerprint_that_is_none(tmp_path, key, value):
    values = packed(split_of(source_of(("a",), {0: 0}), tmp_path)) | {key: value}
    with pytest.raises(DataError, match=f"^state.*: {key}"):
        unpacked(Fields.of(values, where="state"))


def test_names_that_inflate(tmp_path, monkeypatch):
    values = packed(split_of(source_of(("a",), {0: 0}), tmp_path))
    bomb = np.frombuffer(zlib.compress(bytes(10_000_000)), np.uint8).copy()
    monkeypatch.setattr(fingerprint, "MOST_NAMES", 1000)
    with pytest.raises(DataError, match="names"):
        unpacked(Fields.of(values | {"names": torch.from_numpy(bomb)}, where="state"))


def test_files_that_never_end_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    item = Item((tmp_path / "pipe", tmp_path / "gone"), {"segmentation": Path("/dev/zero")})
    found = split_of(dataclasses.replace(source_of(("a",), {0: 0}), items=(item,)), tmp_path)
    assert found.rows.shape == (1, 4)
