"""Training samples per second on one core: this loader, torchvision's reference pipeline, plain OpenCV, decoding alone.

    python benchmarks/loader.py --images 12 --rounds 9
    EDGEAILITE_CAMVID=FOLDER python benchmarks/loader.py

In one process, without loader processes; one sample at a time and the pipelines in turn, so that a busy machine slows
all of them. Every pipeline reads files and gives a picture (3,H,W) and a label (H,W) int64 of the crop's size:

- ours: `edgeailite.data.loader.Samples` with the default augmentation (affine warp with rotation, colour jitter), with
  file checks and the check of label values; `published`: the published pipeline; `cache`: ours from `data cache`.
- torchvision: its reference segmentation steps in transforms.v2 with PIL: RandomResize of the short edge from once to
  twice the network's (ours draws 1 to 2, too), RandomHorizontalFlip, RandomCrop with padding, PILToTensor, float32 in
  0..1; label int64. `torchvision, uint8`: the same without the conversion to float32.
- opencv: what people write: imread, random resize (bilinear), crop with padding, flip, transpose, int64. No checks, no
  rotation, no colours.
- decode: reading and decoding both files with OpenCV, the limit where OpenCV decodes. Ours may pass it
  where `isal` is installed (`edgeailite.data.files.png`) or with a cache.

torchvision and opencv map label values by a table, as ours does.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from edgeailite.data import DataSource, open_dataset
from edgeailite.data.augment.extras import Extras
from edgeailite.data.augment.published import PublishedTransform
from edgeailite.data.augment.transforms import TrainTransform
from edgeailite.data.files.cache import open_cache, write_cache
from edgeailite.data.loader import Samples
from edgeailite.data.streets.dataset import write_streets
from edgeailite.environment import cpu_model

Size = tuple[int, int]
Pipeline = Callable[[int, int], Any]  # (round, item) -> sample
JITTER = Extras(color_jitter=0.3)


def main() -> None:
    """Print a table per data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=12, help="scenes; of CamVid, eight times as many pictures")
    parser.add_argument("--rounds", type=int, default=9, help="passes over them")
    parser.add_argument("--size", type=int, nargs=2, default=(1024, 2048), help="height and width of the scenes")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{cpu_model()}; one core; OpenCV {cv2.__version__}, torchvision {torchvision.__version__}, PIL {_pil()}")
    print(f"isal {'installed' if find_spec('isal') else 'not installed: PNG files are decoded by OpenCV alone'}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        height, width = args.size
        write_streets(root / "streets", train=args.images, val=0, height=height, width=width)
        source = open_dataset("streets", root / "streets", "train")
        compare(f"streets, {width}x{height} PNG", source, root, size=(384, 768), crop=(384, 768), args=args)
        if "EDGEAILITE_CAMVID" in os.environ:
            source = open_dataset("camvid", Path(os.environ["EDGEAILITE_CAMVID"]), "train")
            args.images *= 8
            for crop in ((360, 480), (240, 320)):
                compare("camvid, 480x360 JPEG", source, root, size=(360, 480), crop=crop, args=args)


def compare(title: str, source: DataSource, folder: Path, *, size: Size, crop: Size, args: argparse.Namespace) -> None:
    """Print images per second and the ratio to every other pipeline's time, median over rounds and spread."""
    chosen = list(range(0, len(source.items), max(1, len(source.items) // args.images)))[: args.images]
    pipelines = make_pipelines(source, folder / "cache", size, crop)
    times: dict[str, list[float]] = {name: [] for name in pipelines}
    for turn in range(args.rounds + 1):
        spent = dict.fromkeys(pipelines, 0.0)
        for index in chosen:
            for name, pipeline in pipelines.items():
                began = time.perf_counter()
                pipeline(turn, index)
                spent[name] += time.perf_counter() - began
        if turn > 0:  # the first round warms up
            for name, seconds in spent.items():
                times[name].append(seconds / len(chosen))
    print(f"\n{title} -> {crop[1]}x{crop[0]} training samples, {len(chosen)} pictures, {args.rounds} rounds")
    print(f"{'pipeline':<20} {'images/s':>9} {'ms':>8}   {'speed / torchvision':>24}   {'speed / decode':>22}")
    for name, values in times.items():
        ratios = [_ratio(times[other], values) for other in ("torchvision", "decode")]
        seconds = statistics.median(values)
        print(f"{name:<20} {1 / seconds:>9.1f} {1000 * seconds:>8.2f}   {ratios[0]:>24}   {ratios[1]:>22}")


def make_pipelines(source: DataSource, folder: Path, size: Size, crop: Size) -> dict[str, Pipeline]:
    """The pipelines by name; `ours` and those it is compared with first."""
    affine = TrainTransform(size, crop, extras=JITTER)
    ours = Samples(source, affine, seed=1)
    published = Samples(source, PublishedTransform(size, crop), seed=1)
    write_cache(source, folder, size=size)
    cached = Samples(open_cache(source, folder, size=size), affine, seed=1)
    return {
        "ours": lambda turn, index: ours[turn, index],
        "torchvision": torchvision_pipeline(source, size, crop, floats=True),
        "torchvision, uint8": torchvision_pipeline(source, size, crop, floats=False),
        "opencv": opencv_pipeline(source, size, crop),
        "decode": lambda turn, index: decode(source, index),
        "ours, published": lambda turn, index: published[turn, index],
        "ours, cache": lambda turn, index: cached[turn, index],
    }


def decode(source: DataSource, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Picture and label as OpenCV decodes them, from bytes in memory as fast as it can."""
    item = source.items[index]
    return (
        cv2.imdecode(np.frombuffer(item.image.read_bytes(), np.uint8), cv2.IMREAD_COLOR),
        cv2.imdecode(np.frombuffer(item.label.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED),
    )


def torchvision_pipeline(source: DataSource, size: Size, crop: Size, *, floats: bool) -> Pipeline:
    """The documented steps of torchvision's segmentation reference, in transforms.v2 with its default, PIL pictures."""
    steps: list[Any] = [
        v2.RandomResize(min_size=min(size), max_size=2 * min(size)),
        v2.RandomHorizontalFlip(0.5),
        v2.RandomCrop(crop, pad_if_needed=True, fill={tv_tensors.Mask: 255, "others": 0}),
        v2.PILToTensor(),
    ]
    if floats:
        steps.append(v2.ToDtype({torch.Tensor: torch.float32, "others": None}, scale=True))
    transform, table = v2.Compose(steps), label_table(source)

    def pipeline(turn: int, index: int) -> tuple[Tensor, Tensor]:
        item = source.items[index]
        torch.manual_seed(1000 * turn + index)
        label = tv_tensors.Mask(torch.from_numpy(np.array(Image.open(item.label))))
        image, label = transform(Image.open(item.image).convert("RGB"), label)
        return image, torch.from_numpy(cv2.LUT(label.numpy(), table).astype(np.int64))

    return pipeline


def opencv_pipeline(source: DataSource, size: Size, crop: Size) -> Pipeline:
    """Resize, crop, flip, transpose, as in many a repository."""
    table = label_table(source)

    def pipeline(turn: int, index: int) -> tuple[Tensor, Tensor]:
        item = source.items[index]
        rng = np.random.default_rng([turn, index])
        image = cv2.cvtColor(cv2.imread(str(item.image)), cv2.COLOR_BGR2RGB)
        label = cv2.LUT(cv2.imread(str(item.label), cv2.IMREAD_UNCHANGED), table)
        scale = rng.uniform(1, 2)
        new = max(crop[1], round(size[1] * scale)), max(crop[0], round(size[0] * scale))
        image = cv2.resize(image, new, interpolation=cv2.INTER_LINEAR)
        label = cv2.resize(label, new, interpolation=cv2.INTER_NEAREST)
        top, left = rng.integers(0, (new[1] - crop[0], new[0] - crop[1]), endpoint=True)
        part = slice(top, top + crop[0]), slice(left, left + crop[1])
        image, label = image[part], label[part]
        if rng.random() < 0.5:
            image, label = image[:, ::-1], label[:, ::-1]
        return torch.from_numpy(image.transpose(2, 0, 1).copy()), torch.from_numpy(label.astype(np.int64))

    return pipeline


def label_table(source: DataSource) -> NDArray[np.uint8]:
    """Label value -> class."""
    table = np.full(256, 255, np.uint8)
    table[list(source.main.label_map)] = list(source.main.label_map.values())
    return table


def _ratio(others: list[float], values: list[float]) -> str:
    """How many times as fast, median over rounds and the range of 10 to 90 %."""
    low, middle, high = np.percentile(np.array(others) / np.array(values), (10, 50, 90))
    return f"{middle:.2f} ({low:.2f} .. {high:.2f})"


def _pil() -> str:
    import PIL

    return PIL.__version__


if __name__ == "__main__":
    main()
