"""A small world for published commands: data where they look for it, and random weights behind published addresses."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import torch

from edgeailite.data.files.images import write_png
from edgeailite.models import MODELS, create_model
from edgeailite.pretrained import PUBLISHED, published_state_dict
from tests.commands.test_train_datasets import write_ade20k, write_voc
from tests.conftest import write_miniature

SIZE = 64
DATA = Path("data/datasets")
FRAMES = ("train/aachen/aachen_000000_000019", "train/ulm/ulm_000001_000019", "val/bonn/bonn_000000_000019")
FLOW = "leftImg8bit_flow_confidence"


def write_cityscapes(root: Path) -> Path:
    """Classes, depth, motion and a second input of three frames."""
    write_miniature(root, train=2, val=1, size=SIZE)
    rng = np.random.default_rng(0)
    for picture in sorted((root / "leftImg8bit").rglob("*.png")):
        stem = picture.relative_to(root / "leftImg8bit").as_posix().removesuffix("_leftImg8bit.png")
        write_png(root / f"{FLOW}/{stem}_flow.png", rng.integers(0, 255, (SIZE, SIZE, 3), np.uint8))
        moving = np.where(np.arange(SIZE) < 9, 255, 0).astype(np.uint8)
        write_png(root / f"gtFine/{stem}_gtFine_labelTrainIds_motion.png", np.tile(moving, (SIZE, 1)))
        write_depth(root / f"disparity/{stem}_disparity.png", 2561)
        camera = root / f"camera/{stem}_camera.json"
        camera.parent.mkdir(parents=True, exist_ok=True)
        camera.write_text(json.dumps({"extrinsic": {"baseline": 0.2}, "intrinsic": {"fx": 2000.0}}))
    return root


def write_depth(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", np.full((SIZE, SIZE), value, np.uint16))[1].tobytes())


def write_kitti(root: Path) -> None:
    for drive in ("train/2011_a_sync", "train/2011_b_sync", "val/2011_c_sync"):
        write_png(root / drive / "image_02/data/0000000005.png", np.full((SIZE, SIZE, 3), 90, np.uint8))
        write_depth(root / drive / "proj_depth/groundtruth/image_02/0000000005.png", 2560)


def write_coco(root: Path) -> None:
    """Two pictures for training, one for validation: a square of category 1 (person)."""
    square = [8, 8, 56, 8, 56, 56, 8, 56]
    for split, count in (("train", 2), ("val", 1)):
        images, annotations = [], []
        for number in range(1, count + 1):
            name = f"{number:012d}.png"
            write_png(root / f"{split}2017/{name}", np.full((SIZE, SIZE, 3), 40 * number, np.uint8))
            images.append({"id": number, "file_name": name, "height": SIZE, "width": SIZE})
            found = {"id": number, "image_id": number, "category_id": 1, "area": 2304.0, "iscrowd": 0}
            annotations.append(found | {"segmentation": [square]})
        content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
        path = root / f"annotations/instances_{split}2017.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))


def write_world(root: Path) -> Path:
    """Every data set of the published commands and of the presets, below `root` as they are published."""
    city = write_cityscapes(root / DATA / "cityscapes/data")
    (root / DATA / "cityscapes_segmentation").symlink_to(city, target_is_directory=True)
    write_voc(root / DATA / "voc")
    write_ade20k(root / DATA)
    write_ade20k(root / "data")
    write_kitti(root / DATA / "kitti/kitti_depth/data")
    for split in ("train", "val"):
        (root / DATA / "kitti" / split).symlink_to(
            root / DATA / "kitti/kitti_depth/data" / split, target_is_directory=True
        )
    write_coco(root / DATA / "coco")
    return root


def backbone(url: str) -> dict[str, torch.Tensor] | dict[str, dict[str, torch.Tensor]]:
    """Random weights as the file behind a published address of a backbone holds them."""
    weights = next(w for w in PUBLISHED if any(file.url == url for file in w.files))
    family, encoder = weights.fits[0].removesuffix("*").split(":")
    name = next(n for n, row in MODELS.items() if row.family == family and row.encoder.startswith(encoder))
    state = create_model(name).encoder.state_dict()
    if family == "ade20k":
        return state
    if "mobilenet" in url:
        return state  # features.0.0.weight, .. as torchvision's
    bare = {key.removeprefix("features."): value for key, value in state.items()}
    return {"model_state": bare} if url.endswith(".pyth") else bare


def save_backbone(url: str, folder: Path) -> Path:
    """The file of `backbone`, made once."""
    path = folder / url.rpartition("/")[2]
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(backbone(url), path)
    return path


def save_network(path: Path, model_name: str, classes: int = 19) -> Path:
    """Random weights of a whole network under published names."""
    torch.manual_seed(0)
    torch.save(published_state_dict(create_model(model_name, classes)), path)
    return path
