"""Label values to classes, pictures to masks: what is wrong is named with the file, the value and the fix."""

from pathlib import Path

import numpy as np
import pytest

from edgeailite.data.source import DataSource, Item, list_pairs, segmentation
from edgeailite.errors import DataError

MASK = Path("masks/0042.png")


def source(label_map: dict[int, int], classes: int = 3) -> DataSource:
    names = tuple(f"class {index}" for index in range(classes))
    item = Item((Path("a.png"),), {"segmentation": MASK})
    return segmentation("toy", "train", (item,), names, ((0, 0, 0),) * classes, label_map)


def test_label_values_become_classes():
    label = np.array([[7, 8, 255], [9, 7, 255]], np.uint8)
    classes = source({7: 0, 8: 1, 9: 255, 255: 255}).main.to_classes(label, MASK, "toy")
    assert classes.tolist() == [[0, 1, 255], [255, 0, 255]]
    assert classes.dtype == np.uint8


@pytest.mark.parametrize(
    "value, dtype",
    [(34, np.uint8), (255, np.uint8), (-1, np.int32), (256, np.uint16), (258, np.int32), (65535, np.uint16)],
)
def test_label_out_of_range_names_everything(value, dtype):
    label = np.zeros((300, 40), dtype)
    label[203, 17] = label[203, 20] = label[250, 3] = value
    with pytest.raises(DataError) as caught:
        source({0: 0, 1: 1, 2: 2}).main.to_classes(label, MASK, "toy")
    message = str(caught.value)
    assert message.startswith(f"masks/0042.png: label {value} (3 pixels, first at x=17 y=203)")
    assert "toy has 3 classes from label values 0..2" in message
    assert f"map {value} to a class or to 255 (ignore)" in message


def test_split_without_pictures_is_an_error():
    with pytest.raises(DataError, match="toy: split 'train' has no pictures"):
        segmentation("toy", "train", (), ("a",), ((0, 0, 0),), {0: 0})


def pairs(root: Path) -> tuple[Item, ...]:
    return list_pairs(
        "toy", root / "i", root / "l", image_pattern="**/*_i.png", image_suffix="_i.png", label_suffix="_l.png"
    )


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_pairs_are_sorted_and_keep_folders_apart(tmp_path):
    touch(*(tmp_path / f"i/{name}_i.png" for name in ("b/x", "a/x", "a/w")))
    touch(*(tmp_path / f"l/{name}_l.png" for name in ("b/x", "a/x", "a/w", "a/without_picture")))
    found = [(str(i.image.relative_to(tmp_path)), str(i.label.relative_to(tmp_path))) for i in pairs(tmp_path)]
    assert found == [(f"i/{name}_i.png", f"l/{name}_l.png") for name in ("a/w", "a/x", "b/x")]


def test_what_lacks_is_named(tmp_path):
    with pytest.raises(DataError, match=r"folder .*i does not exist; set --data_path"):
        pairs(tmp_path)
    (tmp_path / "i").mkdir()
    with pytest.raises(DataError, match=r"folder .*l does not exist; set --data_path"):
        pairs(tmp_path)
    (tmp_path / "l").mkdir()
    with pytest.raises(DataError, match=r"no pictures .* check --data_path"):
        pairs(tmp_path)
    touch(tmp_path / "i/a_i.png")
    with pytest.raises(DataError, match=r"a_i\.png: no label file .*a_l\.png; add it or remove the picture"):
        pairs(tmp_path)
