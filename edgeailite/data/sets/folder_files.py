"""Finds the files of a split of one's own data; `folder` describes the layouts."""

from __future__ import annotations

import contextlib
import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

from edgeailite.data.files.images import IMAGE_SUFFIXES
from edgeailite.data.files.listing import (
    LABEL_FILE,
    LISTS_FOLDER,
    Files,
    Places,
    by_stem,
    files_below,
    named_again,
    normal,
    not_there,
    pair,
    read_lines,
    read_names,
    relative,
    two_files,
    without_suffix,
)
from edgeailite.data.sets.folder_hints import unread, what_lies_there
from edgeailite.errors import DataError, UsageError
from edgeailite.untrusted import printable

NAME = "folder"
IMAGES = ("images", "JPEGImages", "img", "img_dir")
LABELS = ("labels", "masks", "SegmentationClassPNG", "SegmentationClass", "masks_machine", "annotations", "ann_dir")
ENDINGS = ("_mask", "_masks", "_label", "_labels", "_seg", "_gt")  # that masks append to the name of their picture
BESIDE = "_mask"  # the ending of masks that lie beside their pictures
LISTS = ("{}.txt", "splits/{}.txt", "ImageSets/Segmentation/{}.txt")
POLYGONS = "_annotations.coco.json"  # Roboflow's, beside the pictures of a split
CALLED = {"train": ("train", "training"), "val": ("val", "validation", "valid")}
NO_SPLITS = ("classes", "class_names", "labels", "labelmap", "readme", "license", "requirements", "label_colors")
LOOKED_AT = 2000  # files of a folder, to see what kind it is
_KINDS = "|".join(re.escape(suffix) for suffix in IMAGE_SUFFIXES)
TWO_NAMES = re.compile(rf"^(.+?(?:{_KINDS}))[\s,;]+(.+?(?:{_KINDS}))$", re.IGNORECASE)

Pairs = list[tuple[Path, Path]]


def find(root: Path, split: str, *, needed: bool = True) -> Pairs | Path:
    """Find the pairs of a split, or its file of polygons. UsageError if only other splits exist, else DataError."""
    chosen = root / LISTS_FOLDER / f"{split}.txt"  # before all others, so that what they cannot pair does not matter
    if chosen.is_file() and all(TWO_NAMES.match(line) for line in read_lines(chosen).values()):
        return _listed(root, chosen)
    for called in CALLED.get(split, (split,)):
        folders = [both for both in _folders(root, called) if both[0].is_dir() and both[1].is_dir()]
        if folders:
            images, labels = next((both for both in folders if _has_pictures(both[1])), folders[0])
            return _paired(images, labels)
        if _is_beside(root / called):
            return _beside(root / called)
        file = next((root / form.format(called) for form in LISTS if (root / form.format(called)).is_file()), None)
        if file is not None:
            return _listed(root, file)
        annotations = [path for path in sorted((root / "annotations").glob("*.json")) if _is_of(path, called)]
        if len(annotations) > 1:
            both = annotations[0], annotations[1]
            raise two_files(*both, f"two files of split {split}", "keep one", code="listing")
        if annotations or (root / called / POLYGONS).is_file():
            return annotations[0] if annotations else root / called / POLYGONS
    if not needed:
        return []
    splits = sorted(_splits(root))
    if splits:
        listed = printable(", ".join(splits))
        raise UsageError(f"{root} has {listed}", about="split", value=split, known=tuple(splits))
    raise DataError(
        f"data set {NAME}: folder {root}/images/{split} does not exist",
        fix=(
            f"expected {root}/images/{split} and "
            f"{root}/labels/{split}, or {root}/images, {root}/labels and a list {root}/{split}.txt"
            f"{what_lies_there(root, IMAGES, LABELS)}"
        ),
        code="folder-missing",
    )


def whole(root: Path) -> Pairs:
    """Find the pairs of a folder without splits: pictures and masks in a folder each, or beside one another.

    Raises DataError where there are none.
    """
    images, labels = (next((root / n for n in names if _has_pictures(root / n)), None) for names in (IMAGES, LABELS))
    if images is not None and labels is not None:
        return _paired(images, labels)
    if _is_beside(root):
        return _beside(root)
    fix = f"expected {root}/images and {root}/labels{what_lies_there(root, IMAGES, LABELS)}"
    raise DataError(f"data set {NAME}: no pictures with masks in {root}", fix=fix, code="folder-missing")


def picture_folders(root: Path, split: str, file: Path) -> list[Path]:
    """List the folders that may hold the pictures of a file of polygons, the likeliest first."""
    named = [root / name for name in IMAGES]
    places = [file.parent] if file.name == POLYGONS else []
    for called in CALLED.get(split, (split,)):
        places += [images / called for images in named]
        places += [root / called, *(root / called / name for name in IMAGES)]
    return [place for place in [*places, *named] if place.is_dir()] + [root]


def _folders(root: Path, split: str) -> Iterator[tuple[Path, Path]]:
    for images in IMAGES:
        for labels in LABELS:
            yield root / images / split, root / labels / split
            yield root / split / images, root / split / labels


def _is_of(path: Path, called: str) -> bool:
    return path.stem == called or path.stem.endswith(f"_{called}")


def _splits(root: Path) -> set[str]:
    """Names that `find` would find."""
    names = {entry.name for images in IMAGES for entry in (root / images).glob("*") if entry.is_dir()}
    with os.scandir(root) as entries:
        below = [root / entry.name for entry in entries if entry.is_dir()]
    for entry in below:
        beside = (entry / POLYGONS).is_file() or _is_beside(entry)
        if beside or any((entry / images).is_dir() for images in IMAGES):
            names.add(entry.name)
    lists = [path for form in (*LISTS, f"{LISTS_FOLDER}/{{}}.txt") for path in root.glob(form.format("*"))]
    names |= {path.stem for path in lists if path.stem.lower() not in NO_SPLITS}
    names |= {path.stem.rpartition("_")[2] for path in (root / "annotations").glob("*.json")}
    return {name for name in names if isinstance(_quiet(root, name), Path | list)}


def _quiet(root: Path, name: str) -> Pairs | Path | None:
    try:
        return find(root, name, needed=False) or None
    except DataError:
        return []


def _has_pictures(folder: Path) -> bool:
    """Tell if one of the first files at some depth is a picture."""
    files = (name for _, _, names in os.walk(folder) for name in names)
    return any(name.lower().endswith(IMAGE_SUFFIXES) and name[0] != "." for name in islice(files, LOOKED_AT))


def _is_beside(folder: Path) -> bool:
    """Tell if a folder holds pictures with their masks beside them."""
    if folder.name in (*IMAGES, *LABELS) or not folder.is_dir():
        return False
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        stems = {name.rpartition(".")[0] for name in _picture_names(entries)}
        return any(stem.endswith(BESIDE) and stem.removesuffix(BESIDE) in stems for stem in stems)
    return False


def _picture_names(entries: Iterable[os.DirEntry[str]]) -> Iterator[str]:
    names = (entry.name for entry in islice(entries, LOOKED_AT))
    return (name for name in names if name.lower().endswith(IMAGE_SUFFIXES) and name[0] != ".")


# --- pairs


def _paired(images: Path, labels: Path) -> Pairs:
    pictures, masks = _pictures_and_masks(images, labels)
    return pair(NAME, pictures, masks, expected=f"{labels}/{{}}.png")


def _pictures_and_masks(images: Path, labels: Path) -> tuple[Files, Files]:
    """Both by the name of the picture. DataError where one folder has no files that are read, only others."""
    pictures = by_stem(files_below(images, IMAGE_SUFFIXES))
    masks = _masks(files_below(labels, IMAGE_SUFFIXES), pictures)
    if pictures and not masks:
        raise DataError(f"no masks in it{unread(labels, 'add a mask for each picture')}", path=labels)
    if masks and not pictures:
        problem = f"no pictures in it{unread(images, 'add a picture for each mask')}"
        raise DataError(problem, path=images, code="empty-split")
    lone = next((stem for stem in masks if stem not in pictures), None)
    if lone is not None:
        other = next((path for path in images.glob(f"{glob.escape(lone)}.*") if path.is_file()), None)
        if other is not None:
            raise DataError(
                f"{LABEL_FILE} without a picture",
                fix=f"{printable(str(other))} is there, which is not read: convert it to PNG or JPEG",
                path=masks[lone],
                code="mask-without-picture",
            )
    return pictures, masks


def _beside(folder: Path) -> Pairs:
    """Masks beside their pictures: a.jpg and a_mask.png."""
    files = files_below(folder, IMAGE_SUFFIXES)
    masks = {name: path for name, path in files.items() if name.rpartition(".")[0].endswith(BESIDE)}
    pictures = by_stem({name: path for name, path in files.items() if name not in masks})
    return pair(NAME, pictures, _masks(masks, pictures), expected=f"{folder}/{{}}{BESIDE}.png")


def _masks(files: Mapping[str, Path], pictures: Files) -> Files:
    """Masks by the name of their picture, to which some tools add its suffix (a.jpg.png) or a word (a_mask.png)."""
    masks: Files = {}
    for stem, path in by_stem(files).items():
        name = _picture_of(stem, pictures)
        other = masks.setdefault(name, path)
        if other is not path:
            raise two_files(other, path, f"two files of one name {name!r}", "rename or remove one of them")
    return masks


def _picture_of(stem: str, pictures: Files) -> str:
    if stem in pictures:
        return stem
    shorter = [without_suffix(stem), *(stem.removesuffix(ending) for ending in ENDINGS)]
    return next((name for name in shorter if name in pictures), without_suffix(stem))


# --- lists


def _listed(root: Path, file: Path) -> Pairs:
    lines = read_lines(file)
    if all(TWO_NAMES.match(line) for line in lines.values()):
        return _two_names(root, file, lines)
    images, labels = (
        next((root / name for name in names if (root / name).is_dir()), root / names[0]) for names in (IMAGES, LABELS)
    )
    for below in (images, labels):
        if not below.is_dir():
            raise DataError(
                f"data set {NAME}: folder {below} does not exist",
                fix=(f"{file} lists names in it{what_lies_there(root, IMAGES, LABELS)}"),
                code="folder-missing",
            )
    pictures, masks = _pictures_and_masks(images, labels)
    pairs = []
    for name, number in read_names(file, root=root).items():
        stem = normal(without_suffix(name.removeprefix(f"{images.name}/")))
        if stem not in pictures:
            raise not_there(file, number, f"no picture {printable(name)} in {images}")
        if stem not in masks:
            problem, fix = f"no {LABEL_FILE} {labels}/{stem}.png", f"add it or take it off {file}"
            raise DataError(problem, fix=fix, path=pictures[stem], code="missing-mask")
        pairs.append((pictures[stem], masks[stem]))
    return pairs


def _two_names(root: Path, file: Path, lines: Mapping[int, str]) -> Pairs:
    """A list with a picture and its mask a line, relative to the data set, as PaddleSeg and CamVid have it."""
    below, places, seen = f"{root.resolve()}/", Places(), dict[Path, int]()
    pairs = []
    for number, line in lines.items():
        found = TWO_NAMES.match(line)
        both = []
        for name in found.groups() if found else ():
            inside = name.startswith("/") and not name.startswith(below) and places.find(root / name[1:]) is not None
            path = root / relative(name[1:] if inside else name, below, path=file, line=number)
            there = places.find(path)
            if there is None:
                raise not_there(file, number, f"there is no {printable(str(path))}")
            both.append(there)
        picture, mask = both
        if picture in seen:
            raise named_again(file, number, str(picture), seen[picture])
        seen[picture] = number
        pairs.append((picture, mask))
    return pairs
