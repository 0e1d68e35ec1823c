"""The generated data set `streets`: procedural street scenes in the Cityscapes layout, no download.

A scene is a pure function of (seed, index): a street laid out in metres (`streets_scene`) and rendered with its
previous frame, label map, disparity, dense optical flow and motion mask (`streets_render`), which agree because they
come from the same planes. The same (seed, index) is the same street at every size. Labels are Cityscapes label ids,
14 train classes. At 256x128 one core makes about 55 scenes per second, about 35 with all files written
(benchmarks/streets_difficulty.py). It stands in for a real data set in the demo and the tests; it does not replace one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeailite.data.streets.render import expose, flow_of, geometry_of, lens_for, render
from edgeailite.data.streets.scene import EYE_HEIGHT, TIME_STEP, World, build_world
from edgeailite.data.streets.shapes import SKY
from edgeailite.files import write_atomic

FORMAT_VERSION = 1  # raise it when the same (seed, index) gives other bytes
BASELINE = 0.209313  # metres, as in Cityscapes
VAL_START = 1_000_000  # index of the first validation scene
CITY = "streets"


@dataclass(frozen=True)
class Scene:
    """One generated scene; H and W are the requested size.

    image, previous: (H, W, 3) uint8 RGB, this frame and the one 0.1 s earlier.
    label_ids: (H, W) uint8 Cityscapes label ids; every pixel has a class.
    disparity: (H, W) uint16, Cityscapes encoding: 256 * (fx * baseline / depth) + 1, 0 where invalid (sky).
    flow: (H, W, 2) float32 (u, v) in pixels, from this frame to the previous one; dense, also where occluded.
    motion: (H, W) uint8, 255 on things that move by themselves, else 0.
    camera: Cityscapes camera layout, intrinsics in pixels of this size with pixel centres at integer indices;
        extrinsic z is the height over the ground in metres, pitch in radians is positive downwards, yaw to the right.
    """

    image: NDArray[np.uint8]
    previous: NDArray[np.uint8]
    label_ids: NDArray[np.uint8]
    disparity: NDArray[np.uint16]
    flow: NDArray[np.float32]
    motion: NDArray[np.uint8]
    camera: dict[str, dict[str, float]]


def generate_scene(seed: int, index: int, *, height: int = 128, width: int = 256) -> Scene:
    """Generate scene `index` of the data set `seed`; the same arguments give the same arrays.

    Heights 64 to 1024 and widths 128 to 2048 are allowed; ValueError otherwise and for negative seed or index.
    """
    _check_size(height, width)
    for name, value in (("seed", seed), ("index", index)):
        if value < 0:
            raise ValueError(f"{name}={value}, expected a number >= 0")
    rng = np.random.default_rng(np.random.SeedSequence([seed, index]))
    world, lens = build_world(rng), lens_for(height, width)
    geometry = geometry_of(world.things)
    view = render(geometry, world.light, world.pose, lens)
    earlier = render(geometry, world.light, world.previous, lens, back=TIME_STEP)
    labels = geometry.labels[view.ids].reshape(height, width)
    moves = (geometry.velocities != 0.0).any(axis=1)
    disparity = np.rint(256.0 * lens.fx * BASELINE / view.depth).reshape(height, width) + 1.0
    return Scene(
        image=expose(view, world.light, rng, lens),
        previous=expose(earlier, world.light, rng, lens),
        label_ids=labels,
        disparity=np.where(labels == SKY, 0, np.minimum(disparity, 65535)).astype(np.uint16),
        flow=flow_of(geometry, view, world, lens),
        motion=(moves[view.ids].reshape(height, width) * np.uint8(255)).astype(np.uint8),
        camera=_camera(world, height, width),
    )


def _check_size(height: int, width: int) -> None:
    if not (64 <= height <= 1024 and 128 <= width <= 2048):
        raise ValueError(f"size {height}x{width}, expected a height of 64 to 1024 and a width of 128 to 2048")


def _camera(world: World, height: int, width: int) -> dict[str, dict[str, float]]:
    lens, pose = lens_for(height, width), world.pose
    return {
        "extrinsic": {
            "baseline": BASELINE,
            "pitch": pose.pitch,
            "roll": 0.0,
            "x": 0.0,
            "y": 0.0,
            "yaw": pose.yaw,
            "z": EYE_HEIGHT,
        },
        "intrinsic": {"fx": lens.fx, "fy": lens.fy, "u0": lens.u0, "v0": lens.v0},
    }


def write_streets(
    root: Path,
    *,
    seed: int = 1,
    train: int = 1500,
    val: int = 100,
    height: int = 128,
    width: int = 256,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the data set under `root` in the Cityscapes layout and give back `root`; a complete one is left as it is.

    Folders leftImg8bit, leftImg8bit_previous, gtFine (labelIds and labelTrainIds_motion), disparity, camera and flow,
    each with {train,val}/streets/. Flow is a 16-bit PNG as in KITTI: red u * 64 + 32768, green v * 64 + 32768, blue 1
    (valid). `workers` processes share the work (0: this one); the bytes do not depend on it. `progress(done, total)`
    is called after each scene. A half-written root of the same arguments is completed. `streets.json` is written last
    and holds the arguments. Raises ValueError for a root with other arguments, wrong sizes, or negative counts.
    """
    _check_size(height, width)
    if min(train, val, workers, seed) < 0:
        raise ValueError(f"seed={seed}, train={train}, val={val}, workers={workers}, expected numbers >= 0")
    root = Path(root)
    wanted = {"format": FORMAT_VERSION, "seed": seed, "train": train, "val": val, "height": height, "width": width}
    if _recorded(root / "streets.json", wanted):
        return root
    _recorded(root / "streets.partial.json", wanted)
    root.mkdir(parents=True, exist_ok=True)
    _write_json(root / "streets.partial.json", wanted)
    scenes = [("train", index) for index in range(train)] + [("val", VAL_START + index) for index in range(val)]
    write = partial(_write_scene, root, seed, height, width)
    for done, _ in enumerate(_mapped(write, scenes, workers), start=1):
        if progress is not None:
            progress(done, len(scenes))
    _write_json(root / "streets.json", wanted)
    (root / "streets.partial.json").unlink(missing_ok=True)
    return root


def _recorded(path: Path, wanted: dict[str, int]) -> bool:
    """True when the file records these arguments, False when there is no file; ValueError for other arguments."""
    if not path.exists():
        return False
    found = json.loads(path.read_text())
    if found != wanted:
        raise ValueError(f"{path}: holds {found}, but {wanted} was asked for; use another folder or delete this one")
    return True


def _mapped(write: Callable[[tuple[str, int]], None], scenes: list[tuple[str, int]], workers: int) -> Iterator[None]:
    if workers == 0:
        yield from map(write, scenes)
        return
    # spawn: the parent may hold threads (torch, OpenCV) that do not survive a fork
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        yield from pool.map(write, scenes, chunksize=4)


def _one_thread() -> None:
    cv2.setNumThreads(1)


def _write_scene(root: Path, seed: int, height: int, width: int, scene: tuple[str, int]) -> None:
    """Write one scene's files; the label map last, so that a scene that has it is complete."""
    split, index = scene
    stem = f"{CITY}_{index:06d}_000019"

    def path(kind: str, suffix: str) -> Path:
        return root / kind / split / CITY / f"{stem}_{suffix}"

    last = path("gtFine", "gtFine_labelIds.png")
    if last.exists():
        return
    made = generate_scene(seed, index, height=height, width=width)
    _write_png(path("leftImg8bit", "leftImg8bit.png"), made.image[:, :, ::-1])
    _write_png(path("leftImg8bit_previous", "leftImg8bit.png"), made.previous[:, :, ::-1])
    _write_png(path("gtFine", "gtFine_labelTrainIds_motion.png"), made.motion)
    _write_png(path("disparity", "disparity.png"), made.disparity)
    _write_png(path("flow", "flow.png"), _encoded_flow(made.flow)[:, :, ::-1])
    _write_json(path("camera", "camera.json"), made.camera)
    _write_png(last, made.label_ids)


def _encoded_flow(flow: NDArray[np.float32]) -> NDArray[np.uint16]:
    """KITTI encoding in RGB order (H, W, 3): u, v, valid; what does not fit 16 bits is invalid."""
    coded = np.rint(flow * 64.0 + 32768.0)
    valid = ((coded >= 0) & (coded <= 65535)).all(axis=2, keepdims=True)
    return np.concatenate((np.where(valid, coded, 0.0), valid), axis=2).astype(np.uint16)


def _write_png(path: Path, pixels: NDArray[Any]) -> None:
    """Write atomically; compression 1 is several times faster than the default and a few per cent larger."""
    encoded, data = cv2.imencode(".png", np.ascontiguousarray(pixels), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not encoded:
        raise ValueError(f"{path}: cannot be encoded as PNG")
    _replace(path, data.tobytes())


def _write_json(path: Path, content: dict[str, Any]) -> None:
    _replace(path, (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, data)
