"""COCO's files written small: categories to classes, overlaps, crowds in run lengths, pictures with little on them."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from edgeailite.data import open_dataset
from edgeailite.data.augment.transforms import EvalTransform
from edgeailite.data.loader import Samples
from edgeailite.data.sets.coco import CATEGORIES, VOC_IDS
from edgeailite.errors import DataError, UsageError
from tests.data.trees import picture

H, W = 40, 60


def rectangle(category: int, x: int, y: int, width: int, height: int, **more: object) -> dict[str, object]:
    corners = [x, y, x + width, y, x + width, y + height, x, y + height]
    return {"category_id": category, "segmentation": [corners], "area": width * height, "iscrowd": 0} | more


def write_coco(
    root: Path, annotations: list[list[dict[str, object]]], *, split: str = "train", images="images"
) -> Path:
    """One picture per list of annotations; ids are 10, 20, .. and files in another order than ids."""
    rows, entries = [], []
    for index, shapes in enumerate(annotations):
        name = f"{len(annotations) - index:012d}.jpg"
        picture(root / images / f"{split}2017" / name, size=(H, W))
        rows.append({"id": 10 * (index + 1), "file_name": name, "height": H, "width": W})
        entries += [{"id": len(entries) + n, "image_id": 10 * (index + 1)} | shape for n, shape in enumerate(shapes)]
    content = {
        "images": rows,
        "annotations": entries,
        "categories": [{"id": number, "name": name} for number, name in CATEGORIES.items()],
    }
    path = root / f"annotations/instances_{split}2017.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return root


SHAPES = [rectangle(1, 0, 0, 30, 40), rectangle(90, 20, 0, 20, 40), rectangle(44, 50, 0, 10, 10)]


def regions(classes: np.ndarray) -> list[int]:
    """Person, both, toothbrush, bottle, nothing."""
    return [int(classes[5, x]) for x in (5, 25, 35, 55, 45)]


@pytest.mark.parametrize("images", ["images", "."])
def test_forms(tmp_path, images):
    write_coco(tmp_path, [SHAPES], images=images)
    # 80 classes: person 0, toothbrush 79, bottle 39; VOC: person 15, bottle 5; ids: person 1, bottle 44, no toothbrush
    for name, count, expected in (
        ("coco_segmentation", 80, [0, 255, 79, 39, 255]),
        ("coco_seg21", 21, [15, 15, 0, 5, 0]),
        ("coco_segmentation_ids80", 80, [1, 1, 0, 44, 0]),
    ):
        source = open_dataset(name, tmp_path, "train")
        assert len(source.classes) == len(source.palette) == len(set(source.palette)) == count
        classes = source.class_map(source.items[0])
        assert (classes.shape, regions(classes)) == ((H, W), expected), name
        for value in set(expected) - {0, 255}:
            assert source.classes[value] in ("person", "toothbrush", "bottle")


def test_categories():
    assert len(CATEGORIES) == 80
    assert list(CATEGORIES) == sorted(CATEGORIES)
    names = [
        "airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table", "dog",
        "horse", "motorcycle", "person", "potted plant", "sheep", "couch", "train", "tv",
    ]  # fmt: skip
    assert [CATEGORIES[number] for number in VOC_IDS] == names


def test_overlaps_are_ignored_not_birds(tmp_path):
    write_coco(tmp_path, [[rectangle(1, 0, 0, 30, 40), rectangle(3, 20, 0, 20, 40)]])
    classes = (source := open_dataset("coco_seg21", tmp_path, "train")).class_map(source.items[0])
    assert [int(classes[0, x]) for x in (5, 25, 35)] == [15, 255, 7]


def test_crowds_are_run_lengths_listed_or_compressed(tmp_path):
    listed = {"size": [H, W], "counts": [H * 10, H * 40, H * 10]}
    packed = {"size": [H, W], "counts": "`<Pb1`<"}  # as COCO's own code writes the same mask
    crowd = {"category_id": 1, "area": 1600, "iscrowd": 1}
    write_coco(tmp_path, [[crowd | {"segmentation": listed}], [crowd | {"segmentation": packed}]])
    source = open_dataset("coco_seg21", tmp_path, "train")
    for item in source.items:
        classes = source.class_map(item)
        assert (classes[:, 10:50] == 15).all()
        assert (classes[:, :10] == 0).all()
        assert (classes[:, 50:] == 0).all()


def test_pictures_with_little_on_them_are_left_out_of_training(tmp_path):
    little, enough = [rectangle(1, 0, 0, 25, 40)], [rectangle(1, 0, 0, 26, 40)]  # 1000 and 1040 pixels
    other = [rectangle(90, 0, 0, 40, 40)]  # not one of the 21
    for split in ("train", "val"):
        write_coco(tmp_path, [little, enough, other, []], split=split)
    train, val = (open_dataset("coco_seg21", tmp_path, split) for split in ("train", "val"))
    assert [item.label.picture for item in train.items] == [20]
    assert [item.label.picture for item in val.items] == [40, 30, 20, 10]  # by file name
    assert (val.class_map(val.items[0]) == 0).all()
    everything = open_dataset("coco_segmentation", tmp_path, "val")
    assert (everything.class_map(everything.items[0]) == 255).all()


def test_samples_and_other_processes(tmp_path):
    source = open_dataset("coco_seg21", write_coco(tmp_path, [SHAPES]), "train")
    images, targets = Samples(source, EvalTransform((32, 32)), seed=1)[0, 0]
    assert images[0].shape == (3, 32, 32)
    assert targets["segmentation"].shape == (H, W)
    again = pickle.loads(pickle.dumps(source))  # noqa: S301
    assert (again.class_map(again.items[0]) == source.class_map(source.items[0])).all()


def test_what_is_wrong_is_named(tmp_path):
    with pytest.raises(UsageError, match="coco_seg21 has train, val"):
        open_dataset("coco_seg21", tmp_path, "test")
    write_coco(tmp_path, [SHAPES])
    file = tmp_path / "annotations/instances_train2017.json"
    content = json.loads(file.read_text())

    def fails(message: str, **change: object) -> None:
        file.write_text(json.dumps(content | change))
        with pytest.raises(DataError, match=message):
            source = open_dataset("coco_segmentation", tmp_path, "train")
            source.class_map(source.items[0])

    runs = {"counts": [3, 4], "size": [H, W]}
    entry = {"id": 7, "image_id": 10, "category_id": 1, "area": 2000}
    fails(r"instances_train2017\.json: no list 'annotations'", annotations=None)
    fails(r"\(image id 10\): run lengths add up to 7, expected 40x60", annotations=[entry | {"segmentation": runs}])
    fails(r"json: annotation 7: .*even number", annotations=[entry | {"segmentation": [[1, 2]]}])
    fails(r"annotation 7: .*within 1e\+06 pixels", annotations=[entry | {"segmentation": [[1, 2, 3, 4, 5, 1e300]]}])
    fails(
        r"annotation 7: .*within 1e\+06 pixels", annotations=[entry | {"segmentation": [[1, 2, 3, 4, 5, float("nan")]]}]
    )
    fails(r"annotation 7: .*whole numbers", annotations=[entry | {"segmentation": {"counts": [10**30]}}])
    turned = {"counts": [H * W], "size": [W, H]}
    fails(
        r"run lengths are for 60x40 \(height, width\), expected 40x60", annotations=[entry | {"segmentation": turned}]
    )
    fails(r"json: annotation 7: KeyError\('segmentation'\)", annotations=[entry])
    row = content["images"][0]
    fails(r"image 10: \.\./a\.jpg leaves the data set", images=[row | {"file_name": "../a.jpg"}])
    fails(r"image 10: /a\.jpg is an absolute path outside", images=[row | {"file_name": "/a.jpg"}])
    fails(r"image 10: C:\\a\.jpg is a path of a Windows machine", images=[row | {"file_name": "C:\\a.jpg"}])
    fails(r"gone\\x1b\.jpg: in .*does not exist", images=[row | {"file_name": "gone\x1b.jpg"}])
    fails(
        r"image 10: height 100000 and width 100000, expected at most", images=[row | {"height": 10**5, "width": 10**5}]
    )
    fails(r"file_name, height or width \(TypeError", images=[row | {"file_name": 5}])
    fails(r"image 10, .*jpg, is listed twice", images=[row, row])
    fails(r"image 11, .*jpg, is listed twice", images=[row, row | {"id": 11}])
    fails(r"no annotation belongs to a picture: image_id 10", images=[row | {"id": "10"}])
    fails(r"gone\.jpg: in .*train2017\.json but does not exist", images=[row | {"file_name": "gone.jpg"}])
    fails("an image without id, file_name, height or width", images=[{"id": 10}])
    file.write_text("{")
    with pytest.raises(DataError, match=r"instances_train2017\.json: not JSON"):
        open_dataset("coco_segmentation", tmp_path, "train")
    file.unlink()
    with pytest.raises(DataError, match="annotations cannot be read"):
        open_dataset("coco_segmentation", tmp_path, "train")
