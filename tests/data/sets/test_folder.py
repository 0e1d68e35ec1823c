"""Your own data: layouts, names and counts that are found, `dataset.yaml`, labelling tools, and what is wrong."""

import json
import os
import shutil
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeailite.data import open_dataset
from edgeailite.data.files.images import write_png
from edgeailite.errors import DataError, UsageError
from tests.data.sets.test_coco import rectangle
from tests.data.trees import mask, palette_mask, picture, text

ROAD, CAR, SKY = (128, 64, 128), (0, 0, 142), (70, 130, 180)


def write_folders(root: Path, values: object = (0, 1, 2, 255), images: str = "images", labels: str = "labels") -> Path:
    """Two training pairs, one of them in a folder of its own, and one for validation."""
    for name in ("train/a", "train/deep/b", "val/c"):
        picture(root / images / f"{name}.jpg")
        mask(root / labels / f"{name}.png", values)
    return root


def write_flat(root: Path, images: str = "images", labels: str = "labels") -> Path:
    for name in ("a", "b", "deep/c"):
        picture(root / images / f"{name}.jpg")
        mask(root / labels / f"{name}.png", (0, 1, 2))
    return root


def opened(root: Path, split: str = "train"):
    return open_dataset("folder", root, split)


def names(root: Path, split: str = "train") -> list[tuple[str, str]]:
    """Pairs without folders and suffixes."""
    return [(item.image.stem, Path(item.label).name.partition(".")[0]) for item in opened(root, split).items]


def first_classes(root: Path, split: str = "train", count: int = 4) -> list[int]:
    source = opened(root, split)
    return source.class_map(source.items[0]).ravel()[:count].tolist()


# --- layouts


def test_folders_of_splits(tmp_path):
    write_folders(tmp_path)
    assert names(tmp_path) == [("a", "a"), ("b", "b")]
    assert names(tmp_path, "val") == [("c", "c")]
    source = opened(tmp_path)
    assert source.classes == ("class 0", "class 1", "class 2")
    assert source.palette == ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    assert first_classes(tmp_path) == [0, 1, 2, 255]
    assert source.main.settings == tmp_path / "dataset.yaml"


@pytest.mark.parametrize("images, labels", [("JPEGImages", "SegmentationClass"), ("img", "masks"), ("images", "masks")])
def test_other_names_of_folders(tmp_path, images, labels):
    assert names(write_folders(tmp_path, images=images, labels=labels)) == [("a", "a"), ("b", "b")]


def test_splits_above_images_and_other_names_of_splits(tmp_path):
    for split in ("training", "valid"):
        picture(tmp_path / split / "images/a.bmp")
        mask(tmp_path / split / "labels/a.png", (0, 1))
    assert names(tmp_path) == names(tmp_path, "val") == [("a", "a")]


@pytest.mark.parametrize("place", ["{}.txt", "splits/{}.txt", "ImageSets/Segmentation/{}.txt"])
def test_lists_of_flat_folders(tmp_path, place):
    write_flat(tmp_path)
    (tmp_path / place.format("train")).parent.mkdir(parents=True, exist_ok=True)
    lines = "\ufeff# mine\r\ndeep\\c.jpg\r\nimages/a\r\n"
    (tmp_path / place.format("train")).write_bytes(lines.encode())
    text(tmp_path / place.format("val"), str(tmp_path.resolve() / "images/b.jpg"))
    assert names(tmp_path) == [("c", "c"), ("a", "a")]
    assert names(tmp_path, "val") == [("b", "b")]
    assert len(opened(tmp_path, "val").classes) == 3


def test_any_kind_of_picture_and_mask(tmp_path):
    for name, suffix in (("a", ".png"), ("b", ".jpeg"), ("c", ".bmp"), ("d", ".webp")):
        picture(tmp_path / f"images/train/{name}{suffix}")
        mask(tmp_path / f"labels/train/{name}.png", (0, 1))
    (tmp_path / "images/train/a.png").rename(tmp_path / "images/train/a.PNG")
    assert names(tmp_path) == [(name, name) for name in "abcd"]


def test_validation_has_the_classes_of_train(tmp_path):
    write_folders(tmp_path, (0, 1, 2, 3))
    mask(tmp_path / "labels/val/c.png", 0)
    assert len(opened(tmp_path, "val").classes) == 4


# --- what values mean


def test_names_of_a_file(tmp_path):
    write_folders(tmp_path)
    text(tmp_path / "classes.txt", "road", "car", "sky")
    assert opened(tmp_path).classes == ("road", "car", "sky")
    (tmp_path / "classes.txt").unlink()
    text(tmp_path / "labels.txt", "__ignore__", "_background_", "car", "sky", "never seen")  # Labelme's
    assert opened(tmp_path).classes == ("_background_", "car", "sky", "never seen")


def test_settings(tmp_path):
    write_folders(tmp_path, (0, 1, 2, 11))
    text(
        tmp_path / "dataset.yaml", "classes: [road, car, sky]", "palette: [[1, 2, 3], '#040506', '7 8 9']", "ignore: 11"
    )
    source = opened(tmp_path)
    assert (source.classes, source.palette) == (("road", "car", "sky"), ((1, 2, 3), (4, 5, 6), (7, 8, 9)))
    assert first_classes(tmp_path) == [0, 1, 2, 255]


@pytest.mark.parametrize(
    "lines, values, classes, mapped",
    [
        (["ignore: [2, 7]"], (0, 1, 7, 2), 2, [0, 1, 255, 255]),
        (["label_map: {34: ignore}"], (0, 1, 2, 34), 3, [0, 1, 2, 255]),
        (["label_map: {7: road, 8: walk, 26: road, 0: ignore}"], (7, 8, 26, 0), 2, [0, 1, 0, 255]),
        (["label_map: {7: 0, 8: 1, 0: 255}"], (7, 8, 0, 255), 2, [0, 1, 255, 255]),
        (["classes: [a, b]", "label_map: {7: b, 8: a}"], (7, 8, 255, 7), 2, [1, 0, 255, 1]),
        (["label_map: {0: background, 255: object}"], (0, 255, 0, 255), 2, [0, 1, 0, 1]),
        (["reduce_zero_label: true"], (0, 1, 2, 255), 2, [255, 0, 1, 255]),
        (["reduce_zero_label: true", "classes: [a, b, c]"], (0, 1, 3, 255), 3, [255, 0, 2, 255]),
    ],
)
def test_label_values(tmp_path, lines, values, classes, mapped):
    write_folders(tmp_path, values)
    text(tmp_path / "dataset.yaml", *lines)
    assert len(opened(tmp_path).classes) == len(opened(tmp_path).palette) == classes
    assert first_classes(tmp_path) == mapped


@pytest.mark.parametrize(
    "values, dtype, suffix, told, settings, mapped",
    [
        ((0, 1000, 2000), np.uint16, ".png", r"label_map: \{0: NAME, 1000: NAME, 2000: NAME\}",
         "label_map: {0: a, 1000: b, 2000: c}", [0, 1, 2]),
        ((-1, 0, 1), np.int32, ".tif", r"label -1 .*label_map: \{0: class 0, 1: class 1, -1: NAME\}",
         "label_map: {-1: ignore, 0: a, 1: b}", [255, 0, 1]),
        ((-1, 0, 1), np.int32, ".tif", "label -1", "label_map: {-1: ignore}", [255, 0, 1]),
        ((65535, 0, 1), np.uint16, ".png", "label 65535", "ignore: 65535", [255, 0, 1]),
        ((-7, 0, 1), np.int32, ".tif", r"label values -7, 0, 1, which", "label_map: {-7: a, 0: b, 1: b}", [0, 1, 1]),
        ((0, 1, 300), np.int32, ".tif", "values 0, 1, 300, which", "label_map: {0: a, 1: b, 300: ignore}", [0, 1, 255]),
    ],
)  # fmt: skip
def test_label_values_of_16_bits_and_below_zero_are_mapped_as_the_message_says(
    tmp_path, values, dtype, suffix, told, settings, mapped
):
    for name in ("train/a", "val/c"):
        picture(tmp_path / f"images/{name}.jpg")
        path = tmp_path / f"labels/{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(suffix, np.resize(np.array(values, dtype), (6, 8)))[1].tobytes())
    with pytest.raises(DataError, match=told):
        first_classes(tmp_path)
    text(tmp_path / "dataset.yaml", settings)
    assert first_classes(tmp_path, count=3) == mapped


def test_numbers_of_things_are_no_classes(tmp_path):
    picture(tmp_path / "images/train/a.jpg", size=(20, 20))
    path = tmp_path / "labels/train/a.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(cv2.imencode(".png", np.arange(400, dtype=np.uint16).reshape(20, 20))[1].tobytes())
    with pytest.raises(
        DataError, match=r"hold 399 different label values, 0, 1, .*more than the 255 classes that there"
    ):
        opened(tmp_path)


def test_a_table_of_labels_is_the_whole_table(tmp_path):
    write_folders(tmp_path, (7, 0))
    text(tmp_path / "dataset.yaml", "label_map: {7: road, 8: walk}")
    source = opened(tmp_path)
    message = r"label 0 \(24 pixels.*classes from label values 7, 8 \(ignored: 255\); .*add \"0: NAME\".*dataset\.yaml"
    with pytest.raises(DataError, match=message):
        source.class_map(source.items[0])


# --- colours


def write_colours(root: Path, *lines: str) -> Path:
    colours = np.resize(np.array([ROAD, CAR, SKY], np.uint8), (6, 8, 3))
    for name in ("train/a", "val/c"):
        picture(root / f"images/{name}.jpg")
        write_png(root / f"labels/{name}.png", colours)
    text(root / "dataset.yaml", *lines)
    return root


@pytest.mark.parametrize(
    "line",
    [
        'colors: {"128,64,128": road, "0 0 142": car, "#4682b4": ignore}',
        "colors: {road: [128, 64, 128], car: [0, 0, 142], ignore: [70, 130, 180]}",
    ],
)
def test_colours(tmp_path, line):
    source = opened(write_colours(tmp_path, line))
    assert (source.classes, source.palette) == (("road", "car"), (ROAD, CAR))
    assert first_classes(tmp_path) == [0, 1, 255, 0]


def test_two_colours_of_one_class(tmp_path):
    write_colours(tmp_path, "classes: [other, car]", 'colors: {"128,64,128": other, "70,130,180": 0, "0,0,142": car}')
    assert first_classes(tmp_path) == [0, 1, 0, 0]
    assert opened(tmp_path).palette == (ROAD, CAR)


def test_unknown_colour_is_named_with_the_nearest(tmp_path):
    write_colours(tmp_path, "colors: {road: [128, 64, 128], car: [0, 0, 140]}")
    source = opened(tmp_path)
    message = (
        r"labels/train/a\.png: colour \(0, 0, 142\) \(16 pixels, first at x=1 y=0\) has no class; the nearest known is "
        r'\(0, 0, 140\) \(car\); correct the mask, or add "0,0,142: CLASS" \(or ignore\) to colors in .*dataset\.yaml'
    )
    with pytest.raises(DataError, match=message):
        source.class_map(source.items[0])


def test_colour_masks_without_settings_show_what_to_write(tmp_path):
    write_colours(tmp_path)
    message = r"a\.png: colour mask \(3 colours\), expected class indices; say in .*dataset\.yaml.*colors: \{\""
    with pytest.raises(DataError, match=message):
        opened(tmp_path)


def test_colours_are_not_offered_where_numbers_have_a_meaning(tmp_path):
    source = opened(write_colours(tmp_path, "label_map: {0: road, 7: car}"))
    with pytest.raises(DataError, match=r"3 colours\), .*dataset\.yaml says what numbers mean: save the mask again as"):
        source.class_map(source.items[0])


def test_jpeg_masks_are_refused(tmp_path):
    write_colours(tmp_path, "colors: {road: [128, 64, 128]}")
    (tmp_path / "labels/train/a.png").unlink()
    picture(tmp_path / "labels/train/a.jpg")
    source = opened(tmp_path)
    with pytest.raises(DataError, match=r"a\.jpg: JPEG blurs label values"):
        source.class_map(source.items[0])
    (tmp_path / "dataset.yaml").unlink()
    with pytest.raises(DataError, match=r"a\.jpg: JPEG blurs label values"):
        opened(tmp_path)


# --- labelling tools


def test_cvat(tmp_path):
    write_flat(tmp_path, "JPEGImages", "SegmentationClass")
    for name in ("a", "b", "deep/c"):
        palette_mask(tmp_path / f"SegmentationClass/{name}.png", np.resize([0, 2, 1], (6, 8)), [(0, 0, 0), CAR, ROAD])
    text(
        tmp_path / "labelmap.txt",
        "# label:color_rgb:parts:actions",
        "background:0,0,0::",
        "car:0,0,142::",
        "road:128,64,128::",
    )
    text(tmp_path / "ImageSets/Segmentation/train.txt", "a", "b")
    assert opened(tmp_path).classes == ("background", "car", "road")
    assert opened(tmp_path).palette == ((0, 0, 0), CAR, ROAD)
    assert first_classes(tmp_path) == [0, 2, 1, 0]


def test_labelme(tmp_path):
    write_flat(tmp_path, "JPEGImages", "SegmentationClassPNG")
    text(tmp_path / "class_names.txt", "_background_", "car", "road")
    text(tmp_path / "train.txt", "a")
    assert opened(tmp_path).classes == ("_background_", "car", "road")
    assert first_classes(tmp_path) == [0, 1, 2, 0]


def test_supervisely(tmp_path):
    picture(tmp_path / "train/img/a.jpg")
    values = np.resize([0, 1, 2], (6, 8)).astype(np.uint8)
    write_png(tmp_path / "train/masks_machine/a.jpg.png", np.stack([values] * 3, -1))
    (tmp_path / "obj_class_to_machine_color.json").write_text(json.dumps({"car": [1, 1, 1], "road": [2, 2, 2]}))
    assert names(tmp_path) == [("a", "a")]
    assert opened(tmp_path).classes == ("background", "car", "road")
    assert first_classes(tmp_path) == [0, 1, 2, 0]


def write_polygons(
    root: Path, split: str, prefix: str = "stuff", categories: tuple[str, ...] = ("car", "road")
) -> Path:
    picture(root / f"images/{split}_1.jpg", size=(20, 30))
    shapes = [rectangle(5, 0, 0, 10, 20), rectangle(3, 8, 0, 10, 20), rectangle(3, 12, 0, 10, 20)]
    content = {
        "images": [{"id": 1, "file_name": f"{split}_1.jpg", "height": 20, "width": 30}],
        "annotations": [{"id": number, "image_id": 1} | shape for number, shape in enumerate(shapes)],
        "categories": [{"id": number, "name": name} for number, name in zip((5, 3), categories, strict=True)],
    }
    path = root / f"annotations/{prefix}_{split}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return root


def test_polygons(tmp_path):
    """Categories by id: road (3), car (5). Of two things of one size the later is on top."""
    write_polygons(tmp_path, "train")
    source = opened(tmp_path)
    assert source.classes == ("background", "road", "car")
    classes = source.class_map(source.items[0])
    assert [int(classes[3, x]) for x in (2, 9, 11, 15, 25)] == [2, 1, 1, 1, 0]
    text(tmp_path / "dataset.yaml", "overlaps: ignore")
    classes = opened(tmp_path).class_map(source.items[0])
    assert [int(classes[3, x]) for x in (2, 9, 11, 15, 25)] == [2, 255, 1, 1, 0]
    text(tmp_path / "dataset.yaml", "background: false", "palette: [[1, 1, 1], [2, 2, 2]]")
    source = opened(tmp_path)
    assert (source.classes, source.palette) == (("road", "car"), ((1, 1, 1), (2, 2, 2)))
    assert [int(source.class_map(source.items[0])[3, x]) for x in (2, 11, 25)] == [1, 0, 255]


@pytest.mark.parametrize("place", ["images/train", "img", "."])
def test_pictures_of_polygons(tmp_path, place):
    write_polygons(tmp_path, "train")
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    (tmp_path / "elsewhere/train_1.jpg").rename(tmp_path / place / "train_1.jpg")
    assert [item.image for item in opened(tmp_path).items] == [tmp_path / place / "train_1.jpg"]


def test_polygons_that_do_not_fit(tmp_path):
    write_polygons(tmp_path, "train")
    write_polygons(tmp_path, "val", categories=("bus", "road"))
    with pytest.raises(DataError, match=r"stuff_val\.json: its categories are not those of .*stuff_train\.json"):
        opened(tmp_path, "val")
    write_polygons(tmp_path, "train", prefix="instances")
    with pytest.raises(
        DataError, match=r"instances_train\.json and .*stuff_train\.json: two files of split train"
    ) as caught:
        opened(tmp_path)
    assert caught.value.code == "listing"
    (tmp_path / "annotations/instances_train.json").unlink()
    text(tmp_path / "dataset.yaml", "classes: [a, b]")
    with pytest.raises(
        DataError, match=r"dataset\.yaml: .*stuff_train\.json names the classes; only palette, background"
    ):
        opened(tmp_path)


# --- what is wrong


def test_no_data_and_no_split(tmp_path):
    with pytest.raises(DataError, match=r"folder .*/gone/ does not exist; set --data_path"):
        opened(tmp_path / "gone")
    with pytest.raises(
        DataError, match=r"folder .*images/train does not exist; expected .*images/train and .*labels/tra"
    ):
        opened(tmp_path)
    write_folders(tmp_path)
    text(tmp_path / "splits/tiny.txt", "train/a")
    with pytest.raises(UsageError, match=r"--split dev: .* has tiny, train, val$"):
        opened(tmp_path, "dev")
    assert names(tmp_path, "tiny") == [("a", "a")]


def test_lone_files_are_named(tmp_path):
    write_folders(tmp_path)
    mask(tmp_path / "labels/train/lone.png")
    with pytest.raises(DataError, match=r"labels/train/lone\.png: label file without a picture; add the picture"):
        opened(tmp_path)
    (tmp_path / "labels/train/a.png").unlink()
    with pytest.raises(DataError, match=r"images/train/a\.jpg: no label file .*labels/train/a\.png; add it or remove"):
        opened(tmp_path)


def test_two_pictures_of_one_name(tmp_path):
    write_folders(tmp_path)
    picture(tmp_path / "images/train/a.png")
    with pytest.raises(DataError, match=r"train/a\.jpg and .*train/a\.png: two files of one name 'a'; rename"):
        opened(tmp_path)


def test_empty_split_and_wrong_lists(tmp_path):
    (tmp_path / "images/train").mkdir(parents=True)
    (tmp_path / "labels/train").mkdir(parents=True)
    with pytest.raises(DataError, match="no pictures"):
        opened(tmp_path)
    write_flat(root := tmp_path / "flat")
    for line, message in (
        ("b\nnone", r"train\.txt: line 2: no picture none in .*images; add it or take"),
        ("C:\\a.png", r"train\.txt: line 1: C:\\a\.png is a path of a Windows machine"),
        ("/else/a.png", "absolute path outside"),
        ("../a.png", "leaves the data set"),
        ("", "an empty list"),
    ):
        (root / "train.txt").write_text(line)
        with pytest.raises(DataError, match=message):
            opened(root)
    (root / "train.txt").write_text("a")
    (root / "labels/a.png").unlink()
    with pytest.raises(DataError, match=r"images/a\.jpg: no label file .*labels/a\.png; add it or take it off .*train"):
        opened(root)


@pytest.mark.parametrize(
    "values, message",
    [
        ((0, 255), r"only the label values 0, 255: not two classes; .*label_map: \{0: background, 255: object\}"),
        (255, r"hold only the label values 255: not two classes"),
        (
            (0, 128, 200),
            r"label values 0, 128, 200, which do not number classes in a row; .*: \{0: NAME, 128: NAME, 200: NAME\}$",
        ),
        (range(0, 250, 10), r"0, 10, .*, 190, \.\.\., which .*label_map: \{0: NAME, .*, 190: NAME, \.\.\.\}$"),
    ],
)
def test_values_that_are_no_classes(tmp_path, values, message):
    with pytest.raises(DataError, match=message):
        opened(write_folders(tmp_path, values))


def test_only_background_is_one_class(tmp_path):
    assert opened(write_folders(tmp_path, 0)).classes == ("class 0",)


@pytest.mark.parametrize(
    "line, message",
    [
        ("clases: [a, b]", "unknown key 'clases'; did you mean classes"),
        ("- a", "expected keys and values, one of classes"),
        ("classes: [a", "not YAML"),
        ("classes: road", "classes: expected a list of 1 to 255 different names"),
        ("classes: [a, a]", "classes: expected different names, found 'a' twice"),
        ("classes: [road, 'Road ']", "classes: expected different names, found 'road' and 'Road '"),
        ("classes: [a, ignore]", "classes: ignore is the word for pixels that do not count"),
        ("classes: [yes, b]", "classes: True is no text to YAML; write the name in quotes"),
        ("classes: [1.5, b]", "classes: 1.5 is no text to YAML"),
        ("classes: ['', b]", "classes: '' is no class name"),
        ('classes: ["a\\e[2J", b]', r"classes: 'a\\x1b\[2J' is no class name"),
        ('label_map: {0: "a\\nerror: b", 1: c}', r"classes: 'a\\nerror: b' is no class name"),
        ("classes: [&a [x, x], *a]", "classes: .* is no text to YAML"),
        ("label_map: {0: a, 0: b}", "'0' is given twice; keep one"),
        ("{label_map: {0: a, 1: b}, ignore: 1}", "label value 1 is a class in label_map and stands under ignore"),
        ("overlaps: larger", "overlaps: 'larger', expected smaller or later or ignore"),
        ("{classes: [a, b], palette: [[0, 0, 0]]}", "palette: expected a list of 2 colours"),
        ("palette: [[0, 0, 300]]", "palette: expected a list of colours"),
        ("{classes: [a], label_map: {3: b}}", "label_map: 'b' is no class; classes are a, or ignore"),
        ("{classes: [a], label_map: {3: 1}}", "label_map: 1 is no class; classes are a"),
        (
            "label_map: {4294967296: a}",
            "label_map: 4294967296 is no label value; expected whole numbers from -2147483648",
        ),
        ("label_map: {a: 3}", "label_map: 'a' is no label value"),
        ("label_map: {3: a, 4: 1}", "classes by name and by number"),
        ("label_map: 3", "label_map: expected rows such as 34: ignore"),
        ("ignore: 0.5", "ignore: 0.5 is no label value"),
        ("colors: {road: [1, 2]}", "colors: no colour in 'road'"),
        ('colors: {"1,1,1": a, "#010101": b}', r"colors: \(1, 1, 1\) is given twice"),
        ("colors: 3", "colors: expected rows such as"),
        ("reduce_zero_label: 1", "reduce_zero_label: 1, expected true or false"),
        ("{reduce_zero_label: true, label_map: {1: a}}", "give one of reduce_zero_label, label_map and colors"),
    ],
)
def test_settings_that_cannot_be_meant(tmp_path, line, message):
    write_folders(tmp_path)
    text(tmp_path / "dataset.yaml", line)
    with pytest.raises(DataError, match=rf"dataset\.yaml: {message}"):
        opened(tmp_path)


@pytest.mark.parametrize(
    "file, content, message",
    [
        ("labelmap.txt", "car:1,2::", r"line 1: 'car:1,2::', expected name:red,green,blue::"),
        ("labelmap.txt", "a:1,1,1::\nb:1,1,1::", "line 2: .*a colour of its own"),
        ("obj_class_to_machine_color.json", "[]", "no names with colours"),
        ("obj_class_to_machine_color.json", '{"a": [1]}', r"'a': \[1\] is no colour"),
        ("classes.txt", "a\na", "classes: expected different names, found 'a' twice"),
        ("classes.txt", "a\nignore\nb", "classes: ignore is the word for pixels that do not count"),
        ("classes.txt", "a\x1b]0;x\nb", r"classes: 'a\\x1b\]0;x' is no class name"),
        ("train/_classes.csv", "Pixel Value, Class\n0, a\n2, b", "expected a row VALUE, NAME for each of 0, 1, .."),
    ],
)
def test_tool_files_that_cannot_be_meant(tmp_path, file, content, message):
    write_folders(tmp_path)
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(content)
    with pytest.raises(DataError, match=rf"{file}: {message}"):
        opened(tmp_path)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["", "reduce_zero_label: true", "ignore: [1, 3]", "label_map: {0: a, 1: b, 7: ignore, 9: a}"]),
    st.lists(st.integers(0, 12) | st.just(255), min_size=1, max_size=20),
)
def test_classes_are_classes_or_ignored(tmp_path, line, values):
    write_folders(tmp_path, values)
    text(tmp_path / "dataset.yaml", line)
    try:
        source = opened(tmp_path)
        classes = source.class_map(source.items[0])
    except DataError:
        return
    assert set(np.unique(classes)) <= {*range(len(source.classes)), 255}


@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_long_lists_cost_microseconds_a_name(tmp_path, count):
    """With as many files: 100,000 names in 2 seconds, on slow processors in 6."""
    listed = [f"{number:06d}" for number in range(count)]
    for below, suffix in (("images", "jpg"), ("labels", "png")):
        (tmp_path / below).mkdir()
        for name in listed:
            os.mknod(f"{tmp_path}/{below}/{name}.{suffix}")
    text(tmp_path / "train.txt", *listed)
    text(tmp_path / "classes.txt", "a", "b")
    seconds = []
    for _ in range(2):
        began = time.process_time()
        source = opened(tmp_path)
        seconds.append(time.process_time() - began)
    shutil.rmtree(tmp_path)
    assert len(source.items) == count
    assert min(seconds) < 60e-6 * count, seconds
