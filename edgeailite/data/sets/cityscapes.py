"""Cityscapes (Cordts et al., CVPR 2016, https://arxiv.org/abs/1604.01685) in all published forms, and `streets`.

Layout: `leftImg8bit/{train,val,test}/CITY/CITY_SEQUENCE_FRAME_leftImg8bit.png`, and by the same split and city
`gtFine/..._gtFine_labelIds.png` (19 classes from label ids 0..33, the rest ignored),
`gtFine/..._gtFine_labelTrainIds.png` (the five-class form: classes 0..4 as stored),
`gtFine/..._gtFine_labelTrainIds_motion.png` (0 = static, 255 = moving: no value is ignored),
`disparity/..._disparity.png` with `camera/..._camera.json` (depth), and for two inputs a second folder of pictures.
Files of a frame are found by CITY_SEQUENCE_FRAME; the published loader pairs second inputs by sorted position.

Depth: stored d is 0 = unknown, else disparity (d - 1)/256 pixels, and depth = fx * baseline / disparity metres, clipped
to 1..255. Kept: the formula, the clip, 0 = unknown. Changed: disparity 0 (d = 1) is infinitely far and so 255 m, where
the published loader makes it 1 m; camera files are looked for when the data set is opened, not when they are needed.

Two inputs come in published order, the second folder first: `leftImg8bit_flow_confidence` (optical flow and its
confidence as a picture), then `leftImg8bit`. `streets` is generated in the same layout with the classes that its
generator draws; its second input is the frame before (`leftImg8bit_previous`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeailite.data.files.images import read_depth
from edgeailite.data.files.listing import Files, check_split, files_below, need_folder, pair, two_files
from edgeailite.data.source import IGNORE, SEGMENTATION, ClassTarget, DataSource, DepthTarget, Item
from edgeailite.errors import DataError, option
from edgeailite.files import read_regular, unreadable
from edgeailite.untrusted import json_value, printable

# label id, class, colour: the 19 classes of the benchmark
CLASS_TABLE: tuple[tuple[int, str, tuple[int, int, int]], ...] = (
    (7, "road", (128, 64, 128)),
    (8, "sidewalk", (244, 35, 232)),
    (11, "building", (70, 70, 70)),
    (12, "wall", (102, 102, 156)),
    (13, "fence", (190, 153, 153)),
    (17, "pole", (153, 153, 153)),
    (19, "traffic light", (250, 170, 30)),
    (20, "traffic sign", (220, 220, 0)),
    (21, "vegetation", (107, 142, 35)),
    (22, "terrain", (152, 251, 152)),
    (23, "sky", (70, 130, 180)),
    (24, "person", (220, 20, 60)),
    (25, "rider", (255, 0, 0)),
    (26, "car", (0, 0, 142)),
    (27, "truck", (0, 0, 70)),
    (28, "bus", (0, 60, 100)),
    (31, "train", (0, 80, 100)),
    (32, "motorcycle", (0, 0, 230)),
    (33, "bicycle", (119, 11, 32)),
)
LABEL_IDS = range(34)  # 0..33; ids without a row above are ignored, as is 255
FIVE_CLASSES = ("road", "sky", "pedestrian", "vehicle", "background")
FIVE_COLOURS = ((128, 64, 128), (70, 130, 180), (220, 20, 60), (0, 0, 142), (0, 0, 0))
SPLITS = ("train", "val", "test")
PICTURES = "leftImg8bit"
FLOW = "leftImg8bit_flow_confidence"
PREVIOUS = "leftImg8bit_previous"
DEPTH_RANGE = (1.0, 255.0)  # metres
CAMERA_BYTES = 1_000_000  # of a camera file

# Published loss weights.
WEIGHTS = (
    0.05570516, 0.32337477, 0.08998544, 1.03602707, 1.03413147, 1.68195437, 5.58540548, 3.56563995, 0.12704978, 1.0,
    0.46783719, 1.34551528, 5.29974114, 0.28342531, 0.9396095, 0.81551811, 0.42679146, 3.6399074, 2.78376194,
)  # fmt: skip
FIVE_WEIGHTS = (0.22567085, 1.89944273, 5.24032014, 1.0, 0.13516443)
MOTION_WEIGHTS = (0.05, 0.95)


def read_disparity(path: Path) -> NDArray[np.float32]:
    """Read depth in metres (H,W) from a disparity PNG and its camera file, 0 = not known. Raises DataError."""
    stored = read_depth(path) * np.float32(256)
    disparity = (stored - 1) / np.float32(256)
    near, far = DEPTH_RANGE
    with np.errstate(divide="ignore"):
        depth = np.clip(np.float32(_focal_times_baseline(camera_file(path))) / disparity, near, far)
    return np.where(stored > 0, depth, 0).astype(np.float32)


def camera_file(disparity: Path) -> Path:
    """Return `camera/SPLIT/CITY/X_camera.json` of `disparity/SPLIT/CITY/X_disparity.png`."""
    root, city = disparity.parents[3], disparity.parent
    return root / "camera" / city.parent.name / city.name / disparity.name.replace("_disparity.png", "_camera.json")


def _focal_times_baseline(path: Path) -> float:
    try:
        camera = json_value(read_regular(path, limit=CAMERA_BYTES), where=str(path))
        product = float(camera["intrinsic"]["fx"]) * float(camera["extrinsic"]["baseline"])
    except OSError as error:
        raise unreadable(path, error, what="camera file", fix="add it") from None
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        reason = error.detail if isinstance(error, DataError) else printable(repr(error))[:160]
        raise DataError(
            f"no intrinsic.fx and extrinsic.baseline in it ({reason})", fix="replace it", path=path
        ) from None
    if not 0 < product < math.inf:
        raise DataError(f"fx * baseline is {product}, expected a number above 0", fix="replace it", path=path)
    return product


@dataclass(frozen=True)
class _Files:
    """Location of a target's label files, and the meaning of their values."""

    folder: str
    suffix: str
    target: ClassTarget | DepthTarget


_IDS = dict.fromkeys((*LABEL_IDS, IGNORE), IGNORE) | {row[0]: index for index, row in enumerate(CLASS_TABLE)}
_CLASSES, _COLOURS = tuple(row[1] for row in CLASS_TABLE), tuple(row[2] for row in CLASS_TABLE)

SEMANTIC = _Files("gtFine", "_gtFine_labelIds.png", ClassTarget(_CLASSES, _COLOURS, _IDS, class_weights=WEIGHTS))
FIVE = _Files(
    "gtFine",
    "_gtFine_labelTrainIds.png",
    ClassTarget(
        FIVE_CLASSES, FIVE_COLOURS, {value: value for value in range(5)} | {IGNORE: IGNORE}, class_weights=FIVE_WEIGHTS
    ),
)
MOTION = _Files(
    "gtFine",
    "_gtFine_labelTrainIds_motion.png",
    ClassTarget(("static", "moving"), ((0, 0, 0), (119, 11, 32)), {0: 0, 255: 1}, class_weights=MOTION_WEIGHTS),
)
DEPTH = _Files("disparity", "_disparity.png", DepthTarget(read_disparity))


def _frames(name: str, folder: Path, suffix: str) -> Files:
    """List a folder's files by the name before the suffix, CITY/CITY_SEQUENCE_FRAME; those of flow by its three
    parts.
    """
    files = files_below(need_folder(name, folder), suffix)
    frames: Files = {}
    for relative, path in files.items():
        city, _, file = relative.rpartition("/")
        stem = path.name.removesuffix(suffix) if suffix.startswith("_") else "_".join(file.split("_")[:3])
        frame = f"{city}/{stem}"
        other = frames.setdefault(frame, path)
        if other is not path:
            raise two_files(other, path, f"two files of the frame {frame}", "remove one of them")
    return frames


def _open(
    root: Path,
    split: str,
    *,
    name: str,
    targets: Mapping[str, _Files],
    second: str | None = None,
    splits: tuple[str, ...] = SPLITS,
    labels: bool = True,
) -> DataSource:
    """A form of the layout: its targets in the order of the outputs, and the folder of its second input."""
    check_split(name, split, splits)
    pictures = _frames(name, root / PICTURES / split, f"_{PICTURES}.png")
    if not pictures:
        raise DataError(
            f"data set {name}: no pictures *_{PICTURES}.png in {root / PICTURES / split}",
            fix=f"check {option('data_path')}",
            code="empty-split",
        )
    streams = [pictures]
    if second is not None:
        others = _frames(name, root / second / split, ".png")
        pair(name, pictures, others, what="second picture", expected=f"{root / second / split}/{{}}*.png")
        streams.insert(0, others)
    files: dict[str, Files] = {}
    for key, kind in targets.items() if labels else ():
        found = _frames(name, root / kind.folder / split, kind.suffix)
        pair(name, pictures, found, expected=f"{root / kind.folder / split}/{{}}{kind.suffix}")
        files[key] = found
        if kind is DEPTH:
            cameras = _frames(name, root / "camera" / split, "_camera.json")
            pair(name, found, cameras, what="camera file", expected=f"{root / 'camera' / split}/{{}}_camera.json")
    items = tuple(
        Item(
            tuple(stream[frame] for stream in streams),
            {key: found[frame] for key, found in files.items()},
            camera=len(streams) - 1,
        )
        for frame in sorted(pictures)
    )
    return DataSource(name, split, items, {key: kind.target for key, kind in targets.items()})


Form = Callable[[Path, str], DataSource]
_SEMANTIC: Mapping[str, _Files] = {SEGMENTATION: SEMANTIC}
_THREE: Mapping[str, _Files] = {"depth": DEPTH, SEGMENTATION: SEMANTIC, "motion": MOTION}


def _form(name: str, targets: Mapping[str, _Files], second: str | None = None) -> dict[str, Form]:
    """A form, with `_measure` (val, its labels) and `_infer` (pictures only), as published for inference."""
    common = partial(_open, targets=targets, second=second)
    return {
        name: partial(common, name=name),
        f"{name}_measure": partial(common, name=f"{name}_measure", splits=("val",)),
        f"{name}_infer": partial(common, name=f"{name}_infer", labels=False),
    }


CITYSCAPES: dict[str, Form] = {
    **_form("cityscapes_segmentation", _SEMANTIC),
    "cityscapes_segmentation_five_class": partial(
        _open, name="cityscapes_segmentation_five_class", targets={SEGMENTATION: FIVE}
    ),
    "cityscapes_depth": partial(_open, name="cityscapes_depth", targets={"depth": DEPTH}),
    **_form("cityscapes_segmentation_multi_input", _SEMANTIC, FLOW),
    **_form("cityscapes_motion_multi_input", {"motion": MOTION}, FLOW),
    **_form("cityscapes_depth_semantic_motion_multi_input", _THREE, FLOW),
}
STREETS: dict[str, Form] = {
    "streets": partial(_open, name="streets", targets=_SEMANTIC),
    "streets_depth": partial(_open, name="streets_depth", targets={"depth": DEPTH}),
    "streets_motion_multi_input": partial(
        _open, name="streets_motion_multi_input", targets={"motion": MOTION}, second=PREVIOUS
    ),
    "streets_depth_semantic_motion_multi_input": partial(
        _open, name="streets_depth_semantic_motion_multi_input", targets=_THREE, second=PREVIOUS
    ),
}
