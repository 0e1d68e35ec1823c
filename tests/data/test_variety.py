"""Data sets in which one class occurs, or none: refused by training and checks, with what is ignored and the fix."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeailite.data import DATASETS, open_dataset
from edgeailite.data.check import check_dataset
from edgeailite.data.source import DataSource, DepthTarget, Item, segmentation
from edgeailite.data.variety import need_classes
from edgeailite.errors import DataError
from tests.data.corruption import encoded, mask, picture, smooth
from tests.data.trees import text

H, W = 48, 64
STRIPES = np.arange(W, dtype=np.uint8)[None].repeat(H, 0) // 22  # 0, 1, 2: 3168, 3168 and 2880 pixels in three masks
NAMED = "classes: [background, object]"


def write(root: Path, values: object, *, val: object = None, settings: str = "") -> Path:
    """Three training and two validation pictures whose masks hold three values in stripes."""
    for split, count in (("train", 3), ("val", 2)):
        chosen = np.array(values if split == "train" or val is None else val, np.uint8)
        for index in range(count):
            stem = f"{'abc'[index]}{split}x"
            for path in (picture(root, split, stem), mask(root, split, stem)):
                path.parent.mkdir(parents=True, exist_ok=True)
            picture(root, split, stem).write_bytes(encoded(".jpg", smooth(H, W, index + 10 * count)))
            mask(root, split, stem).write_bytes(encoded(".png", chosen[STRIPES]))
    if settings:
        text(root / "dataset.yaml", settings)
    return root


def findings(root: Path, name: str = "folder") -> dict[str, str]:
    """Messages of errors and warnings by code and file."""
    with check_dataset(name, DATASETS[name], root, ("train", "val")) as checkup:
        return {f"{f.code} {f.file}": f.message for f in checkup.findings.kept if f.level != "note"}


def refused(root: Path, split: str = "train", least: int = 2) -> str:
    with pytest.raises(DataError) as caught:
        need_classes(open_dataset("folder", root, split), least)
    return str(caught.value)


@pytest.mark.parametrize(
    "values, settings, seen, told",
    [
        ((0, 255, 255), NAMED, "background", "ignored is label 255 (6048 pixels, 65.6 %)"),
        ((0, 255, 0), "classes: [a, b, c]", "a", "ignored is label 255 (3168 pixels, 34.4 %)"),
        ((0, 1, 1), "reduce_zero_label: true", "class 0", "ignored is label 0 (3168 pixels, 34.4 %)"),
        ((0, 7, 7), "{classes: [a, b], label_map: {7: ignore}}", "a", "ignored is label 7 (6048 pixels, 65.6 %)"),
        ((0, 1, 1), "{classes: [a, b], ignore: 1}", "a", "ignored is label 1 (6048 pixels, 65.6 %)"),
        ((0, 255, 1), "{classes: [a], ignore: 1}", "a", "ignored are labels 255 (3168 pixels, 34.4 %), 1 (2880 pixels"),
        ((0, 0, 0), NAMED, "background", "look whether these masks are the right files, and drawn"),
        ((0, 0, 0), "", "class 0", "look whether these masks are the right files, and drawn"),
        ((1, 1, 1), NAMED, "object", "look whether these masks are the right files, and drawn"),
    ],
)
def test_one_class_is_refused_and_what_is_ignored_named(tmp_path, values, settings, seen, told):
    root = write(tmp_path, values, settings=settings)
    message = refused(root)
    assert message.startswith(
        f"data set folder: split train: only one class occurs, {seen}, so that nothing can be lea"
    )
    assert told in message
    found = findings(root)
    assert message.endswith(found["single-class split train"])
    assert [key for key in found if key.startswith("measures-one")] == []  # for the same reason


@pytest.mark.parametrize(
    "values, settings, advice",
    [
        ((0, 255, 255), NAMED, "label_map: {0: background, 255: object}"),
        ((0, 1, 1), "{classes: [a, b], ignore: 1}", "label_map: {0: a, 1: b}"),
        ((0, 1, 1), "reduce_zero_label: true", "label_map: {0: NAME, 1: class 0}"),
        ((0, 1, 255), "{classes: [a, b], label_map: {0: ignore, 1: ignore}}", "label_map: {0: a, 1: b, 255: NAME}"),
    ],
)
def test_the_advice_is_accepted(tmp_path, values, settings, advice):
    root = write(tmp_path, values, settings=settings)
    assert refused(root).endswith(f"say so in {root}/dataset.yaml: {advice}")
    text(root / "dataset.yaml", advice.replace("NAME", "other"))
    need_classes(open_dataset("folder", root, "train"), 2)
    assert findings(root) == {}


def test_labels_in_the_alpha_channel(tmp_path):
    root = write(tmp_path, (0, 1, 2))
    for path in (root / "labels").rglob("*.png"):
        label = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        path.write_bytes(encoded(".png", np.dstack([label * 0, label * 0, label * 0, label])))
    assert "masks such as atrainx.png have an alpha channel, which is not read: save the labels as grey" in refused(
        root
    )


def test_a_split_without_a_label_is_an_error_for_validation_too(tmp_path):
    root = write(tmp_path, (0, 1, 1), val=(255, 255, 255), settings=NAMED)
    assert "split val: no pixel has a class" in refused(root, "val", 1)
    assert "ignored is label 255 (6144 pixels, 100.0 %)" in findings(root)["nothing-labelled split val"]


def test_a_split_that_measures_one_class_is_warned_of(tmp_path):
    found = findings(write(tmp_path, (0, 1, 1), val=(0, 0, 0), settings=NAMED))
    assert list(found) == ["measures-one-class split val"]
    assert "so that little can be measured" in found["measures-one-class split val"]


def test_a_named_class_in_no_split_is_warned_of_once(tmp_path):
    root = write(tmp_path, (0, 1, 255), settings="classes: [background, ball, box]")
    (found,) = findings(root).items()
    assert found[0] == f"class-nowhere {root}/dataset.yaml"
    assert found[1].startswith(
        "no pixel of box in any split: nothing can be learned of it; ignored is label 255 (4800 pix"
    )
    assert found[1].endswith("label_map: {0: background, 1: ball, 255: box}")
    text(
        root / "dataset.yaml", "{classes: [background, ball, box, car], label_map: {0: background, 1: ball, 255: box}}"
    )
    (found,) = findings(root).items()
    assert found[1].startswith("no pixel of car in any split: nothing can be learned of it; take it out of the classes")


def test_published_data_sets_may_lack_classes(tmp_path):
    assert findings(write(tmp_path, (0, 3, 4)), "camvid") == {}


def test_a_class_in_one_of_many_masks_is_enough_and_masks_are_read_until_it_is_found():
    """Rare things: none is refused for having them in one mask of a hundred."""
    read = []

    def label(index: int) -> np.ndarray:
        read.append(index)
        return np.full((2, 2), int(index == 70), np.uint8)

    items = tuple(Item((Path(f"{n}.png"),), {"segmentation": n}) for n in range(100))
    source = segmentation("many", "train", items, ("a", "b"), ((0, 0, 0), (1, 1, 1)), {0: 0, 1: 1}, label)
    need_classes(source, 2)
    assert len(read) == len(set(read)) <= 100
    read.clear()
    need_classes(source, 1)
    assert len(read) == 1
    need_classes(DataSource("depth", "train", items, {"depth": DepthTarget()}), 2)
    said: list[str] = []
    some = replace(source, items=tuple(Item((Path("x.png"),), {"segmentation": 0}) for _ in range(1001)))
    with pytest.raises(DataError, match="only one class occurs, a"):
        need_classes(some, 2, notice=said.append)
    assert said == ["fewer than 2 classes in 1000 masks of split train; looking at all of them"]
