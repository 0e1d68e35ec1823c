import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeailite.data.streets.dataset import VAL_START, Scene, generate_scene, write_streets
from edgeailite.data.streets.shapes import BICYCLE, BUS, CAR, PERSON, RIDER, ROAD, SKY

FIELDS = ("image", "previous", "label_ids", "disparity", "flow", "motion")


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [generate_scene(1, VAL_START + index) for index in range(40)]


def same(a: Scene, b: Scene) -> bool:
    return a.camera == b.camera and all(getattr(a, f).tobytes() == getattr(b, f).tobytes() for f in FIELDS)


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_scene_has_the_documented_shapes_and_types() -> None:
    scene = generate_scene(3, 4, height=96, width=160)
    expected = {
        "image": ((96, 160, 3), np.uint8),
        "previous": ((96, 160, 3), np.uint8),
        "label_ids": ((96, 160), np.uint8),
        "disparity": ((96, 160), np.uint16),
        "flow": ((96, 160, 2), np.float32),
        "motion": ((96, 160), np.uint8),
    }
    assert {name: (getattr(scene, name).shape, getattr(scene, name).dtype) for name in FIELDS} == expected


def test_scene_is_a_function_of_seed_and_index() -> None:
    scene = generate_scene(1, 0)
    assert same(scene, generate_scene(1, 0))
    assert not same(scene, generate_scene(1, 1))
    assert not same(scene, generate_scene(2, 0))


@pytest.mark.parametrize("index", [0, 7, 11])
def test_scene_is_the_same_street_at_any_size(index: int) -> None:
    small, large = generate_scene(1, index), generate_scene(1, index, height=256, width=512)
    assert (large.label_ids[::2, ::2] == small.label_ids).mean() > 0.9
    shrunk = cv2.resize(large.image, (256, 128), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk.astype(float) - small.image).mean() < 12


def test_at_least_twelve_classes_occur_each_in_a_quarter_of_the_scenes(scenes: list[Scene]) -> None:
    present = np.array([np.bincount(scene.label_ids.ravel(), minlength=256) > 0 for scene in scenes]).mean(axis=0)
    assert np.count_nonzero(present) >= 12
    assert present[present > 0].min() >= 0.25


def test_road_disparity_follows_from_the_camera_file(scenes: list[Scene]) -> None:
    for scene in scenes[:10]:
        inner, outer = scene.camera["intrinsic"], scene.camera["extrinsic"]
        rows, columns = np.nonzero(scene.label_ids == ROAD)
        slope = (rows - inner["v0"]) / inner["fy"]
        depth = outer["z"] / (slope * np.cos(outer["pitch"]) + np.sin(outer["pitch"]))
        near = (depth > 0) & (depth < 100)
        expected = inner["fx"] * outer["baseline"] / depth[near]
        found = (scene.disparity[rows, columns][near].astype(float) - 1) / 256
        np.testing.assert_allclose(found, expected, atol=1 / 256)


def test_disparity_is_invalid_in_the_sky_only(scenes: list[Scene]) -> None:
    for scene in scenes:
        np.testing.assert_array_equal(scene.disparity == 0, scene.label_ids == SKY)


def warped(scene: Scene) -> np.ndarray:
    """The previous image brought to this one by the flow."""
    height, width = scene.motion.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(scene.previous, x + scene.flow[..., 0], y + scene.flow[..., 1], cv2.INTER_LINEAR)


def visible(scene: Scene) -> np.ndarray:
    """Pixels whose point lies inside the previous image."""
    height, width = scene.motion.shape
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    u, v = x + scene.flow[..., 0], y + scene.flow[..., 1]
    return (u >= 0) & (v >= 0) & (u <= width - 1) & (v <= height - 1)


def test_flow_takes_the_previous_image_to_this_one(scenes: list[Scene]) -> None:
    ratios = []
    for scene in scenes:
        static = visible(scene) & (scene.motion == 0)
        error = np.abs(warped(scene).astype(float) - scene.image).mean(axis=2)[static]
        still = np.abs(scene.previous.astype(float) - scene.image).mean(axis=2)[static]
        assert np.median(error) < 12  # the noise of two sensors alone is about 6
        ratios.append(error.mean() / still.mean())
    assert np.mean(ratios) < 0.8


def test_flow_takes_moving_things_along(scenes: list[Scene]) -> None:
    gains = []
    for scene in scenes:
        moving = visible(scene) & (scene.motion == 255) & (np.abs(scene.flow).max(axis=2) > 1.5)
        if moving.sum() > 200:
            error = np.abs(warped(scene).astype(float) - scene.image)[moving].mean()
            gains.append(error / np.abs(scene.previous.astype(float) - scene.image)[moving].mean())
    assert len(gains) >= 5
    assert np.mean(gains) < 0.7


def test_only_people_and_vehicles_move(scenes: list[Scene]) -> None:
    movers = {PERSON, RIDER, CAR, BUS, BICYCLE}
    for scene in scenes:
        assert set(np.unique(scene.motion)) <= {0, 255}
        assert set(np.unique(scene.label_ids[scene.motion == 255])) <= movers
        assert (scene.motion[scene.label_ids == RIDER] == 255).all()


def test_write_streets_lays_the_files_out_as_cityscapes(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    root = write_streets(tmp_path / "s", train=2, val=1, progress=lambda done, total: seen.append((done, total)))
    stem, scene = "streets_000001_000019", generate_scene(1, 1)
    names = set(files_of(root))
    assert len(names) == 3 * 7 + 1
    assert f"leftImg8bit/val/streets/streets_{VAL_START}_000019_leftImg8bit.png" in names
    assert seen == [(1, 3), (2, 3), (3, 3)]

    def read(kind: str, suffix: str) -> np.ndarray:
        return cv2.imread(str(root / kind / "train" / "streets" / f"{stem}_{suffix}.png"), cv2.IMREAD_UNCHANGED)

    np.testing.assert_array_equal(read("leftImg8bit", "leftImg8bit")[..., ::-1], scene.image)
    np.testing.assert_array_equal(read("leftImg8bit_previous", "leftImg8bit")[..., ::-1], scene.previous)
    np.testing.assert_array_equal(read("gtFine", "gtFine_labelIds"), scene.label_ids)
    np.testing.assert_array_equal(read("gtFine", "gtFine_labelTrainIds_motion"), scene.motion)
    np.testing.assert_array_equal(read("disparity", "disparity"), scene.disparity)
    flow = read("flow", "flow")[..., ::-1]
    assert flow.dtype == np.uint16 and (flow[..., 2] == 1).all()
    np.testing.assert_allclose((flow[..., :2].astype(float) - 32768) / 64, scene.flow, atol=1 / 128 + 1e-3)
    assert json.loads((root / f"camera/train/streets/{stem}_camera.json").read_text()) == scene.camera


def test_the_bytes_do_not_depend_on_the_workers(tmp_path: Path) -> None:
    alone = write_streets(tmp_path / "alone", train=3, val=2, height=64, width=128)
    shared = write_streets(tmp_path / "shared", train=3, val=2, height=64, width=128, workers=2)
    assert files_of(alone) == files_of(shared)


def test_a_half_written_root_is_completed(tmp_path: Path) -> None:
    root = write_streets(tmp_path / "s", train=2, val=1, height=64, width=128)
    whole = files_of(root)
    (root / "streets.json").rename(root / "streets.partial.json")
    (root / "gtFine/val/streets" / f"streets_{VAL_START}_000019_gtFine_labelIds.png").unlink()
    (root / "leftImg8bit/val/streets" / f"streets_{VAL_START}_000019_leftImg8bit.png").write_bytes(b"cut sho")
    write_streets(root, train=2, val=1, height=64, width=128)
    assert files_of(root) == whole


def test_a_complete_root_is_left_alone(tmp_path: Path) -> None:
    root = write_streets(tmp_path / "s", train=1, val=0, height=64, width=128)
    image = root / "leftImg8bit/train/streets/streets_000000_000019_leftImg8bit.png"
    image.write_bytes(b"touched")
    write_streets(root, train=1, val=0, height=64, width=128)
    assert image.read_bytes() == b"touched"


@pytest.mark.parametrize("record", ["streets.json", "streets.partial.json"])
def test_a_root_with_other_arguments_is_refused(tmp_path: Path, record: str) -> None:
    root = write_streets(tmp_path / "s", train=1, val=0, height=64, width=128)
    (root / "streets.json").rename(root / record)
    with pytest.raises(ValueError, match=r"'seed': 1.*'seed': 2"):
        write_streets(root, seed=2, train=1, val=0, height=64, width=128)


@pytest.mark.parametrize(("height", "width"), [(32, 128), (64, 64), (2048, 2048), (128, 4096)])
def test_sizes_out_of_range_are_named(height: int, width: int) -> None:
    with pytest.raises(ValueError, match=rf"{height}x{width}.*64 to 1024.*128 to 2048"):
        generate_scene(1, 0, height=height, width=width)


def test_negative_numbers_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"index=-1"):
        generate_scene(1, -1)
    with pytest.raises(ValueError, match=r"train=-5"):
        write_streets(tmp_path, train=-5)
