"""The Cityscapes layout in all published forms, written small: pairs, label values, depth, order of inputs."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeailite.data import open_dataset
from edgeailite.data.augment.transforms import EvalTransform
from edgeailite.data.files.images import write_png
from edgeailite.data.loader import Samples
from edgeailite.data.sets.cityscapes import CLASS_TABLE
from edgeailite.data.source import DepthTarget
from edgeailite.data.streets.dataset import BASELINE, generate_scene, write_streets
from edgeailite.errors import DataError, UsageError
from tests.data.trees import mask, picture

NAMES = ["cityscapes_segmentation", "streets"]
# id -> trainId as the Cityscapes scripts publish it (labels.py)
TRAIN_IDS = {
    7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10,
    24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18,
}  # fmt: skip
STEMS = ("train/ulm/ulm_000001_000019", "train/aachen/aachen_000000_000019", "val/bonn/bonn_000000_000019")
SIZE = (4, 9)
CAMERA = {"extrinsic": {"baseline": 0.2}, "intrinsic": {"fx": 2000.0}}


def write_cityscapes(root: Path) -> Path:
    label = np.array([*range(34), 255, 255], np.uint8).reshape(SIZE)
    for stem in STEMS:
        picture(root / f"leftImg8bit/{stem}_leftImg8bit.png", size=SIZE)
        picture(root / f"leftImg8bit_flow_confidence/{stem}_flow.png", size=SIZE)
        write_png(root / f"gtFine/{stem}_gtFine_labelIds.png", label)
        write_png(root / f"gtFine/{stem}_gtFine_color.png", np.zeros((*SIZE, 3), np.uint8))
        mask(root / f"gtFine/{stem}_gtFine_labelTrainIds.png", [0, 1, 2, 3, 4, 255], size=SIZE)
        mask(root / f"gtFine/{stem}_gtFine_labelTrainIds_motion.png", [0, 255], size=SIZE)
        camera = root / f"camera/{stem}_camera.json"
        camera.parent.mkdir(parents=True, exist_ok=True)
        camera.write_text(json.dumps(CAMERA))
        disparity = np.resize(np.array([0, 1, 2, 257, 2561, 65535], np.uint16), SIZE)
        path = root / f"disparity/{stem}_disparity.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", disparity)[1].tobytes())
    return root


@pytest.mark.parametrize("name", NAMES)
def test_pairs_and_labels(tmp_path, name):
    source = open_dataset(name, write_cityscapes(tmp_path), "train")
    assert source.name == name
    assert [item.image.parent.name for item in source.items] == ["aachen", "ulm"]
    assert all(item.label.name == item.image.name.replace("leftImg8bit", "gtFine_labelIds") for item in source.items)
    classes = source.class_map(source.items[0]).ravel()
    assert classes.tolist() == [TRAIN_IDS.get(label_id, 255) for label_id in range(34)] + [255, 255]


def test_classes_colours_and_weights(tmp_path):
    assert {label_id: index for index, (label_id, _, _) in enumerate(CLASS_TABLE)} == TRAIN_IDS
    assert len({name for _, name, _ in CLASS_TABLE}) == len({colour for _, _, colour in CLASS_TABLE}) == 19
    assert CLASS_TABLE[13] == (26, "car", (0, 0, 142))
    weights = open_dataset("cityscapes_segmentation", write_cityscapes(tmp_path), "train").main.class_weights
    assert [round(weight, 4) for weight in weights] == [
        0.0557, 0.3234, 0.0900, 1.0360, 1.0341, 1.6820, 5.5854, 3.5656, 0.1270, 1.0, 0.4678, 1.3455, 5.2997, 0.2834,
        0.9396, 0.8155, 0.4268, 3.6399, 2.7838,
    ]  # fmt: skip


def test_measure_is_val_and_infer_has_pictures_only(tmp_path):
    write_cityscapes(tmp_path)
    source = open_dataset("cityscapes_segmentation_measure", tmp_path, "val")
    assert [(item.image.name, item.label.name) for item in source.items] == [
        ("bonn_000000_000019_leftImg8bit.png", "bonn_000000_000019_gtFine_labelIds.png")
    ]
    with pytest.raises(UsageError, match="--split train: cityscapes_segmentation_measure has val"):
        open_dataset("cityscapes_segmentation_measure", tmp_path, "train")
    for path in (tmp_path / "gtFine").rglob("*.png"):
        path.unlink()
    source = open_dataset("cityscapes_segmentation_infer", tmp_path, "train")
    assert [item.image.parent.name for item in source.items] == ["aachen", "ulm"]
    assert all(item.labels == {} for item in source.items)
    assert len(source.classes) == 19
    with pytest.raises(DataError, match="the data set has pictures only, no labels"):
        source.class_map(source.items[0])


def test_five_classes_are_stored_as_they_are(tmp_path):
    source = open_dataset("cityscapes_segmentation_five_class", write_cityscapes(tmp_path), "train")
    assert source.classes == ("road", "sky", "pedestrian", "vehicle", "background")
    assert source.class_map(source.items[0]).ravel()[:7].tolist() == [0, 1, 2, 3, 4, 255, 0]
    assert [round(weight, 4) for weight in source.main.class_weights] == [0.2257, 1.8994, 5.2403, 1.0, 0.1352]
    assert all(item.label.name.endswith("_gtFine_labelTrainIds.png") for item in source.items)


def test_depth_of_disparity_and_camera(tmp_path):
    source = open_dataset("cityscapes_depth", write_cityscapes(tmp_path), "train")
    assert isinstance(source.targets["depth"], DepthTarget)
    depth = source.targets["depth"].values(source.items[0].labels["depth"], source.name)
    assert (depth.dtype, depth.shape) == (np.float32, SIZE)
    # d = 0: not known; 1: no disparity, infinitely far; 2: 400 m * 256, beyond; 257: 1 px -> 400 m; 2561: 10 px; most
    assert depth.ravel()[:6] == pytest.approx([0, 255, 255, 255, 400 / 10, 400 / (65534 / 256)], rel=1e-6)


def test_near_depth_is_clipped_to_a_metre(tmp_path):
    write_cityscapes(tmp_path)
    near = {"extrinsic": {"baseline": 0.2}, "intrinsic": {"fx": 20.0}}
    for path in (tmp_path / "camera").rglob("*.json"):
        path.write_text(json.dumps(near))
    source = open_dataset("cityscapes_depth", tmp_path, "val")
    assert source.targets["depth"].values(source.items[0].labels["depth"], "").ravel()[5] == 1


def test_motion_has_no_ignored_value(tmp_path):
    source = open_dataset("cityscapes_motion_multi_input", write_cityscapes(tmp_path), "val")
    assert source.classes == ("static", "moving")
    assert source.class_map(source.items[0]).ravel()[:4].tolist() == [0, 1, 0, 1]
    assert source.main.class_weights == (0.05, 0.95)
    assert list(source.items[0].labels) == ["motion"]


def test_three_targets_of_two_inputs_in_published_order(tmp_path):
    source = open_dataset("cityscapes_depth_semantic_motion_multi_input", write_cityscapes(tmp_path), "train")
    assert list(source.targets) == ["depth", "segmentation", "motion"]
    item = source.items[1]
    folders = [path.relative_to(tmp_path).parts[0] for path in item.images]
    assert folders == ["leftImg8bit_flow_confidence", "leftImg8bit"]
    assert item.image == item.images[1]
    assert [path.name for path in item.labels.values()] == [
        "ulm_000001_000019_disparity.png",
        "ulm_000001_000019_gtFine_labelIds.png",
        "ulm_000001_000019_gtFine_labelTrainIds_motion.png",
    ]
    infer = open_dataset("cityscapes_depth_semantic_motion_multi_input_infer", tmp_path, "val")
    assert [len(item.images) for item in infer.items] == [2]
    assert infer.items[0].labels == {}


def test_streets_as_it_is_generated(tmp_path):
    write_streets(tmp_path, train=2, val=1, height=64, width=128)
    source = open_dataset("streets_depth_semantic_motion_multi_input", tmp_path, "train")
    scene = generate_scene(1, 0, height=64, width=128)
    item = source.items[0]
    assert [path.parts[-4] for path in item.images] == ["leftImg8bit_previous", "leftImg8bit"]
    depth = source.targets["depth"].values(item.labels["depth"], source.name)
    valid = scene.disparity > 1
    expected = scene.camera["intrinsic"]["fx"] * BASELINE * 256 / (scene.disparity[valid] - 1.0)
    assert depth[valid] == pytest.approx(np.clip(expected, 1, 255), rel=1e-5)
    assert (depth[scene.disparity == 0] == 0).all()
    motion = source.targets["motion"].values(item.labels["motion"], source.name)
    assert (motion == (scene.motion == 255)).all()
    images, targets = Samples(source, EvalTransform((32, 64)), seed=1)[0, 0]
    assert [tuple(image.shape) for image in images] == [(3, 32, 64)] * 2
    assert {name: tuple(values.shape) for name, values in targets.items()} == dict.fromkeys(source.targets, (64, 128))
    assert len(open_dataset("streets_depth", tmp_path, "val").items) == 1


@pytest.mark.parametrize("name", NAMES)
def test_what_is_wrong_is_named(tmp_path, name):
    with pytest.raises(
        DataError, match=rf"data set {name}: folder .*leftImg8bit/train does not exist; set --data_path"
    ):
        open_dataset(name, tmp_path, "train")
    write_cityscapes(tmp_path)
    with pytest.raises(UsageError, match=f"--split demo: {name} has train, val, test"):
        open_dataset(name, tmp_path, "demo")
    (tmp_path / "gtFine/val/bonn/bonn_000000_000019_gtFine_labelIds.png").unlink()
    with pytest.raises(DataError, match=r"no label file .*bonn_000000_000019_gtFine_labelIds\.png"):
        open_dataset(name, tmp_path, "val")
    (tmp_path / "leftImg8bit/val/bonn/bonn_000000_000019_leftImg8bit.png").unlink()
    with pytest.raises(DataError, match="no pictures"):
        open_dataset(name, tmp_path, "val")
    (tmp_path / "leftImg8bit/train/ulm/ulm_000001_000019_leftImg8bit.png").unlink()
    with pytest.raises(DataError, match=r"ulm_000001_000019_gtFine_labelIds\.png: label file without a picture"):
        open_dataset(name, tmp_path, "train")


def test_what_lacks_in_further_folders_is_named(tmp_path):
    write_cityscapes(tmp_path)
    (tmp_path / "camera/train/ulm/ulm_000001_000019_camera.json").unlink()
    with pytest.raises(
        DataError, match=r"ulm_000001_000019_disparity\.png: no camera file .*ulm_000001_000019_camera\.j"
    ):
        open_dataset("cityscapes_depth", tmp_path, "train")
    picture(tmp_path / "leftImg8bit_flow_confidence/train/ulm/ulm_000001_000019_again.png")
    with pytest.raises(DataError, match=r"two files of the frame ulm/ulm_000001_000019"):
        open_dataset("cityscapes_motion_multi_input", tmp_path, "train")
    (tmp_path / "leftImg8bit_flow_confidence/val/bonn/bonn_000000_000019_flow.png").unlink()
    with pytest.raises(DataError, match=r"bonn_.*_leftImg8bit\.png: no second picture .*flow_confidence/val/bonn/bonn"):
        open_dataset("cityscapes_motion_multi_input", tmp_path, "val")


@pytest.mark.parametrize(
    "content, message",
    [
        ("{", "no intrinsic.fx and extrinsic.baseline"),
        ("{}", "no intrinsic.fx and extrinsic.baseline"),
        ('{"extrinsic": {"baseline": 0}, "intrinsic": {"fx": 9}}', r"fx \* baseline is 0"),
    ],
)
def test_bad_camera_files_are_named(tmp_path, content, message):
    source = open_dataset("cityscapes_depth", write_cityscapes(tmp_path), "val")
    (tmp_path / "camera/val/bonn/bonn_000000_000019_camera.json").write_text(content)
    with pytest.raises(DataError, match=rf"bonn_000000_000019_camera\.json: {message}"):
        source.targets["depth"].values(source.items[0].labels["depth"], source.name)
