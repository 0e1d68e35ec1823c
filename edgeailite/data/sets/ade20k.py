"""ADE20K scene parsing, 150 classes (Zhou et al., CVPR 2017, and arXiv:1608.05442), in all published forms.

Layout: `ADEChallengeData2016/{images,annotations}/{training,validation}/ADE_{train,val}_%08d.{jpg,png}`; the data path
is that folder or the one above it. Masks hold 0 = other and 1..150. Forms:

- `ade20k_segmentation`: the 150 classes, 0 is ignored (CSAIL's; published edgeailite means the next by this name);
- `ade20k_segmentation_151`: 0 is class "other"; `ade20k_seg_noweights` is the same without class weights;
- `ade20k_seg_class32`: classes 0..31, labels from 32 on are in class 0.

Weights are mean(share)/share, with shares as in the table and the rest of the pixels in class 0.

Lists of CSAIL's toolkits are used where they stand in the data path or in `data` below it, and a split may be the path
of one: `training.odgt`, `validation.odgt` (a JSON record a line: fpath_img, fpath_segm relative to the folder above
ADEChallengeData2016; other keys, as of version 2, do not matter) and `ADE20K_object150_{train,val}.txt` (version 1:
`training/NAME.jpg`, relative to images and annotations).

Names, colours and shares (`ade20k_classes.csv`) are those of the benchmark's objectInfo150 and color150 tables, which
MIT CSAIL publishes with its toolkit (BSD-3-Clause); 149 colours are distinct: road and skyscraper share one.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from pathlib import Path

import numpy as np

from edgeailite.data.files.listing import (
    check_split,
    need_folder,
    need_listed,
    read_lines,
    read_names,
    relative,
    without_suffix,
)
from edgeailite.data.source import IGNORE, SEGMENTATION, DataSource, Item, list_pairs, segmentation
from edgeailite.errors import DataError
from edgeailite.untrusted import Fields, json_value

FOLDER = "ADEChallengeData2016"
SPLITS = {"train": "training", "val": "validation"}
LISTS = {
    "train": ("training.odgt", "train.odgt", "ADE20K_object150_train.txt"),
    "val": ("validation.odgt", "val.odgt", "ADE20K_object150_val.txt"),
}
CLASSES = 150


@dataclass(frozen=True)
class Form:
    """Classes of a form: how many labels keep a class, whether 0 is one, whether there are published weights."""

    labels: int = CLASSES
    other: bool = False
    weighted: bool = False


@cache
def _table() -> list[dict[str, str]]:
    text = files("edgeailite.data").joinpath("ade20k_classes.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def label_map(form: Form) -> dict[int, int]:
    """Label values 0..150 and 255 to classes."""
    if not form.other:
        return {0: IGNORE, IGNORE: IGNORE} | {value: value - 1 for value in range(1, CLASSES + 1)}
    kept = {value: value if value <= form.labels else 0 for value in range(CLASSES + 1)}
    return kept | {IGNORE: IGNORE}


def class_weights(form: Form) -> tuple[float, ...]:
    """Return mean(share)/share of "other" and the labels that keep a class."""
    shares = [float(row["share"]) for row in _table()]
    kept = np.array([1 - sum(shares[: form.labels]), *shares[: form.labels]])
    return tuple(float(weight) for weight in kept.mean() / kept)


def names_and_colours(form: Form = Form()) -> tuple[tuple[str, ...], tuple[tuple[int, int, int], ...]]:
    """Return the names and colours of a form's classes."""
    rows = _table()[: form.labels]
    names = tuple(row["name"] for row in rows)
    colours = tuple((int(row["red"]), int(row["green"]), int(row["blue"])) for row in rows)
    return (("other", *names), ((0, 0, 0), *colours)) if form.other else (names, colours)


def _ade20k(root: Path, split: str, *, name: str, form: Form) -> DataSource:
    places = (root, root / FOLDER, root / "data" / FOLDER)
    base = next((place for place in places if (place / "images").is_dir()), root / FOLDER)
    if split.endswith((".odgt", ".txt")):
        file: Path | None = Path(split) if Path(split).exists() else root / split
    else:
        check_split(name, split, SPLITS)
        lists = (folder / entry for folder in (root, root / "data") for entry in LISTS[split])
        file = next((path for path in lists if path.is_file()), None)
    if file is None:
        items = list_pairs(
            name,
            base / "images" / SPLITS[split],
            base / "annotations" / SPLITS[split],
            image_suffix=".jpg",
            label_suffix=".png",
        )
    else:
        items = read_list(file, above=base.parent, images=base / "images", labels=base / "annotations")
    names, colours = names_and_colours(form)
    weights = class_weights(form) if form.weighted else None
    return segmentation(name, split, items, names, colours, label_map(form), class_weights=weights)


def read_list(file: Path, *, above: Path, images: Path, labels: Path) -> tuple[Item, ...]:
    """Read an odgt list (paths relative to `above`) or a version 1 list (relative to `images` and `labels`)."""
    need_folder("ade20k", images)
    if file.suffix == ".odgt":
        pairs = {number: _record(line, file, number, above) for number, line in read_lines(file).items()}
    else:
        stems = {number: without_suffix(name) for name, number in read_names(file, root=images).items()}
        pairs = {number: (images / f"{stem}.jpg", labels / f"{stem}.png") for number, stem in stems.items()}
    need_listed(file, pairs)
    return tuple(Item((image,), {SEGMENTATION: label}) for image, label in pairs.values())


def _record(line: str, file: Path, number: int, above: Path) -> tuple[Path, Path]:
    try:
        where = f"{file}: line {number}"
        record = Fields.of(json_value(line, where=where), where=where)
        names = record.text("fpath_img"), record.text("fpath_segm")
    except DataError as error:
        problem = f"no record with fpath_img and fpath_segm ({error.detail})"
        raise DataError(problem, fix="mend or remove it", path=file, line=number) from None
    image, label = (above / relative(name, f"{above.resolve()}/", path=file, line=number) for name in names)
    return image, label


ADE20K = {
    name: partial(_ade20k, name=name, form=form)
    for name, form in {
        "ade20k_segmentation": Form(),
        "ade20k_segmentation_151": Form(other=True, weighted=True),
        "ade20k_seg_noweights": Form(other=True),
        "ade20k_seg_class32": Form(labels=31, other=True, weighted=True),
    }.items()
}
