"""Label values to classes, pictures to masks: what is wrong is named with the file, the value and the fix."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgeailite.data.source import ClassTarget, DataSource, Item, list_pairs, segmentation
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


def test_error_names_the_file_of_settings():
    target = ClassTarget(("a", "b"), ((0, 0, 0),) * 2, {0: 0, 1: 1}, settings=Path("mine/dataset.yaml"))
    with pytest.raises(DataError, match=r'correct the mask, or add "7: ignore", or a class, to label_map in mine/dat'):
        target.to_classes(spotted(7, 1), MASK, "folder")


@pytest.mark.parametrize(
    "label_map, fix",
    [
        ({0: 0, 100: 1}, r'; add "7: NAME" \(NAME a class, or ignore\) to label_map in dataset\.yaml, or correct'),
        ({0: 0, 1: 1, 255: 255}, r"; name every value in dataset\.yaml: label_map: \{0: a, 1: b, 7: NAME\} \(NAME a"),
    ],
)
def test_a_value_of_many_pixels_is_offered_a_class_first(label_map, fix):
    target = ClassTarget(("a", "b"), ((0, 0, 0),) * 2, label_map, settings=Path("dataset.yaml"))
    with pytest.raises(DataError, match=fix):
        target.to_classes(spotted(7, 10), MASK, "folder")
    with pytest.raises(DataError, match='; correct the mask, or add "7: ignore"'):
        target.to_classes(spotted(7, 9), MASK, "folder")


def spotted(value: int, count: int) -> np.ndarray:
    """10,000 pixels, some of which hold a value."""
    label = np.zeros((100, 100), np.uint8)
    label.flat[:count] = value
    return label


def test_camera_is_the_picture_of_an_item():
    item = Item((Path("flow.png"), Path("camera.png")), {}, camera=1)
    assert item.image == Path("camera.png")


@given(
    st.dictionaries(st.integers(0, 255), st.integers(0, 4) | st.just(255), min_size=1),
    arrays(np.uint16, (5, 7), elements=st.integers(0, 300)),
)
def test_to_classes_gives_classes_or_ignore_or_an_error(label_map, label):
    target = ClassTarget(("a", "b", "c", "d", "e"), ((0, 0, 0),) * 5, label_map)
    if set(np.unique(label)) <= set(label_map):
        classes = target.to_classes(label, MASK, "toy")
        assert set(np.unique(classes)) <= {0, 1, 2, 3, 4, 255}
        assert all(label_map[int(v)] == c for v, c in zip(label.ravel(), classes.ravel().tolist(), strict=True))
    else:
        with pytest.raises(DataError, match="label"):
            target.to_classes(label, MASK, "toy")


def pairs(root: Path) -> tuple[Item, ...]:
    return list_pairs("toy", root / "i", root / "l", image_suffix="_i.png", label_suffix="_l.png")


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_pairs_are_sorted_and_keep_folders_apart(tmp_path):
    touch(*(tmp_path / f"i/{name}_i.png" for name in ("b/x", "a/x", "a/w")))
    touch(*(tmp_path / f"l/{name}_l.png" for name in ("b/x", "a/x", "a/w")))
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
    touch(tmp_path / "i/a_i.png", tmp_path / "i/b_i.png")
    with pytest.raises(DataError, match=r"a_i\.png: no label file .*a_l\.png \(and 1 more\); add it or remove the pic"):
        pairs(tmp_path)
    touch(tmp_path / "l/a_l.png", tmp_path / "l/b_l.png", tmp_path / "l/c_l.png")
    with pytest.raises(DataError, match=r"c_l\.png: label file without a picture; add the picture or remove"):
        pairs(tmp_path)
