"""Recognises which data set a folder holds, from the names in it, where `dataset_name` is not given."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from edgeailite.console import log
from edgeailite.data.sets.cityscapes import PICTURES
from edgeailite.data.streets.dataset import CITY
from edgeailite.errors import option
from edgeailite.untrusted import printable

OWN = "folder"
VOC_PICTURE = re.compile(r"\d{4}_\d{6}\.jpg")
ADE_PICTURE = re.compile(r"ADE_train_\d{8}\.jpg")
LOOKED_AT = 20  # names of a folder


def dataset_name_of(given: str, path: Path | None, *, otherwise: str, told: bool = True) -> str:
    """Return the name of a data set: the one that is given, else what `path` holds, without a path `otherwise`.

    What was recognised is told in a note, unless `told` is False.

    >>> dataset_name_of("", Path("data/night"), otherwise="streets")
    'streets'
    """
    if given or path is None:
        return given or otherwise
    name = recognised(path)
    if told:
        what = "pictures and masks of your own" if name == OWN else f"the layout of {name}"
        log(f"data: {printable(str(path))} is read as {what}; {option('dataset_name')} NAME says otherwise")
    return name


def recognised(root: Path) -> str:
    """Return the name of the published data set whose layout a folder has, else "folder", for data of one's own.

    VOC and ADE20K are recognised by the names of their pictures as well, because labelling tools write their layouts.
    """
    if (root / PICTURES).is_dir() and (root / "gtFine").is_dir():
        generated = any((root / PICTURES / split / CITY).is_dir() for split in ("train", "val"))
        return "streets" if generated else "cityscapes_segmentation"
    for base in (root / "VOCdevkit/VOC2012", root / "VOC2012", root):
        lists = base / "ImageSets/Segmentation"
        if (lists / "val.txt").is_file() and _has(base / "JPEGImages", VOC_PICTURE):
            extra = (lists / "trainaug_noval.txt").is_file() and (base / "SegmentationClassAug").is_dir()
            return "voc_segmentation" if extra else "voc_segmentation_original"
    for base in (root, root / "ADEChallengeData2016"):
        if (base / "annotations/training").is_dir() and _has(base / "images/training", ADE_PICTURE):
            return "ade20k_segmentation"
    return OWN


def _has(folder: Path, name: re.Pattern[str]) -> bool:
    """Return True if one of the first files of a folder has such a name."""
    return any(name.fullmatch(path.name) for path in islice(_entries(folder), LOOKED_AT))


def _entries(folder: Path) -> Iterator[Path]:
    try:
        yield from folder.iterdir()
    except OSError:
        return
