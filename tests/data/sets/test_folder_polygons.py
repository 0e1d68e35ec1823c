"""Polygons of labelling tools as a folder's labels: what is background, what is on top, where pictures are."""

import json
from pathlib import Path
from typing import Any

import pytest

from edgeailite.data import DATASETS, open_dataset
from edgeailite.data.check import check_dataset
from edgeailite.errors import DataError
from tests.data.sets.test_coco import rectangle
from tests.data.trees import picture, text

H, W = 40, 60
BALL, BOX = rectangle(1, 0, 0, 10, 40), rectangle(2, 20, 0, 10, 40)
ROAD = rectangle(3, 0, 0, W, H)
CATEGORIES = [{"id": 1, "name": "ball"}, {"id": 2, "name": "box"}, {"id": 3, "name": "road"}]


def write(
    root: Path,
    shapes: list[dict[str, Any]],
    categories: list[dict[str, Any]] = CATEGORIES,
    *,
    name: str = "a.jpg",
    place: str = "images/train/a.jpg",
    file: str = "annotations/instances_train.json",
    **change: object,
) -> Path:
    """One training picture."""
    picture(root / place, size=(H, W))
    content = {
        "images": [{"id": 1, "file_name": name, "height": H, "width": W}],
        "annotations": [{"id": number, "image_id": 1} | shape for number, shape in enumerate(shapes)],
        "categories": categories,
    }
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(json.dumps(content | change))
    return root


def drawn(root: Path) -> tuple[tuple[str, ...], list[int]]:
    """Class names, and the classes at the ball, the box and beside them."""
    source = open_dataset("folder", root, "train")
    classes = source.class_map(source.items[0])
    return source.classes, [int(classes[5, x]) for x in (5, 25, 50)]


@pytest.mark.parametrize("shapes", [[ROAD, BALL, BOX], [BALL, BOX, ROAD], [BALL, ROAD, BOX]])
def test_things_on_a_ground_are_kept_in_any_order(tmp_path, shapes):
    assert drawn(write(tmp_path, shapes)) == (("background", "ball", "box", "road"), [1, 2, 3])


def test_the_order_of_the_file_and_ignoring_can_be_asked_for(tmp_path):
    write(tmp_path, [BALL, ROAD, BOX])
    text(tmp_path / "dataset.yaml", "overlaps: later")
    assert drawn(tmp_path)[1] == [3, 2, 3]
    text(tmp_path / "dataset.yaml", "overlaps: ignore")
    assert drawn(tmp_path)[1] == [255, 255, 3]


def row(number: int | str, name: str, above: str = "") -> dict[str, Any]:
    return {"id": number, "name": name} | ({"supercategory": above} if above else {})


@pytest.mark.parametrize(
    "categories, shapes, settings, names, classes",
    [
        # the root that Roboflow writes
        ([row(0, "things", "none"), row(1, "ball", "things"), row(2, "box", "things")], [BALL, BOX], "",
         ("background", "ball", "box"), [1, 2, 0]),
        # ids from 0 on
        ([row(0, "ball"), row(2, "box")], [BALL | {"category_id": 0}, BOX], "",
         ("background", "ball", "box"), [1, 2, 0]),
        # a category without annotations that is the background
        ([row(0, "Background"), row(1, "ball"), row(2, "box")], [BALL, BOX], "",
         ("Background", "ball", "box"), [1, 2, 0]),
        ([row(1, "ball"), row(2, "box"), row(9, "_background_")], [BALL, BOX], "",
         ("_background_", "ball", "box"), [1, 2, 0]),
        # an annotated background: what has no annotation is not known
        ([row(1, "ball"), row(2, "background")], [BALL, BOX], "", ("ball", "background"), [0, 1, 255]),
        # a category for what does not count
        ([row(1, "ball"), row(2, "ignore")], [BALL, BOX], "", ("background", "ball"), [1, 255, 0]),
        ([row(1, "ball"), row(2, "box")], [BALL, BOX], "background: false", ("ball", "box"), [0, 1, 255]),
    ],
)  # fmt: skip
def test_background(tmp_path, categories, shapes, settings, names, classes):
    write(tmp_path, shapes, categories)
    if settings:
        text(tmp_path / "dataset.yaml", settings)
    assert drawn(tmp_path) == (names, classes)


@pytest.mark.parametrize(
    "name, place",
    [
        ("a.jpg", "images/train/a.jpg"),
        ("train\\a.jpg", "images/train/a.jpg"),
        ("images/train/a.jpg", "images/train/a.jpg"),
        ("images\\train\\a.jpg", "images/train/a.jpg"),
        ("./a.jpg", "images/a.jpg"),
        ("a.jpg", "train/a.jpg"),
        ("a.jpg", "train/images/a.jpg"),
        ("sub/a.jpg", "sub/a.jpg"),
    ],
)
def test_names_with_folders_and_back_slashes(tmp_path, name, place):
    source = open_dataset("folder", write(tmp_path, [BALL], name=name, place=place), "train")
    assert source.items[0].image == tmp_path / place


def test_annotations_beside_the_pictures(tmp_path):
    write(tmp_path, [BALL, BOX], place="train/a.jpg", file="train/_annotations.coco.json")
    assert drawn(tmp_path)[1] == [1, 2, 0]


@pytest.mark.parametrize(
    "shapes, change, message",
    [
        (
            [BALL | {"segmentation": []}],
            {},
            "annotation 0 has no polygon, a box only, so that its thing would be learned",
        ),
        ([{"category_id": 1, "bbox": [0, 0, 9, 9]}], {}, "annotation 0: KeyError"),
        ([BALL | {"segmentation": [[1, 2, 3, 4]]}], {}, "annotation 0: .*at least 6 coordinates"),
        ([BALL | {"category_id": "1"}], {}, "category_id '1' is none of the categories that are classes"),
        ([BALL | {"category_id": 9}], {}, "category_id 9 is none of the categories"),
        ([BALL | {"image_id": "1"}], {}, "no annotation belongs to a picture: image_id '1' is not among the images"),
        ([BALL], {"categories": []}, "0 categories, expected 1 to 254"),
        ([BALL], {"categories": [row(1, "a"), row(1, "b")]}, "categories a and b have one id, 1; give each its own"),
        ([BALL], {"categories": [row(1, "a"), row(2, "A ")]}, "found 'a' and 'A '; make them one, or rename one"),
        ([BALL], {"categories": [row(1, "a\x1b[2J")]}, r"classes: 'a\\x1b\[2J' is no class name"),
        ([BALL], {"categories": [{"id": 1}]}, "a category without id or name"),
        ([BALL], {"categories": [5]}, "a category without id or name"),
        ([BALL], {"annotations": [5]}, "annotation None: TypeError"),
        ([BALL], {"categories": [row("\x1b[2J", "a")]}, r"none of the categories that are classes \('\\x1b\[2J'\)"),
    ],
)
def test_what_cannot_be_meant_is_one_line(tmp_path, shapes, change, message):
    write(tmp_path, shapes, **change)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset("folder", tmp_path, "train")
    assert str(caught.value).startswith(f"{tmp_path}/annotations/instances_train.json: ")
    assert "\n" not in str(caught.value)


def test_one_polygon_without_a_list_around_it(tmp_path):
    (corners,) = BALL["segmentation"]
    assert drawn(write(tmp_path, [BALL | {"segmentation": corners}, BOX]))[1] == [1, 2, 0]


def test_a_bad_file_of_annotations_is_named_for_each_split(tmp_path):
    for split in ("train", "val"):
        write(tmp_path, [BALL | {"segmentation": []}], file=f"annotations/instances_{split}.json",
              place=f"images/{split}/a.jpg")  # fmt: skip
    with check_dataset("folder", DATASETS["folder"], tmp_path, ("train", "val")) as checkup:
        assert [Path(f.file).name for f in checkup.findings.kept] == ["instances_train.json", "instances_val.json"]


def test_a_category_without_a_pixel_is_warned_of(tmp_path):
    for split in ("train", "val"):
        write(tmp_path, [BALL, BOX], file=f"annotations/instances_{split}.json", place=f"images/{split}/a.jpg")
    with check_dataset("folder", DATASETS["folder"], tmp_path, ("train", "val")) as checkup:
        (found,) = [f for f in checkup.findings.kept if f.code == "class-nowhere"]
    assert found.message.startswith("no pixel of road in any split: nothing can be learned of it; annotate it")
