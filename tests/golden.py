"""The published rule that fills every tensor of a network from its key, and pictures for parity tests."""

from __future__ import annotations

import zlib
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from edgeailite.modelcard import ModelCard
from edgeailite.models import Pixel2Pixel, create_model
from edgeailite.preprocessing import Preprocessing

MODEL = "deeplabv3plus_mobilenetv2_tv_edgeailite"


def random_state(name: str) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(name.encode()) & 0xFFFFFFFF)


def golden_fill(key: str, shape: tuple[int, ...]) -> NDArray[Any]:
    leaf = key.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    n = random_state(key).standard_normal(size=shape)
    if len(shape) == 4:
        return (n * np.sqrt(1.4 / (shape[1] * shape[2] * shape[3]))).astype(np.float32)
    if leaf == "running_var":
        return np.exp(0.2 * n).astype(np.float32)
    if leaf == "running_mean":
        return (0.1 * n).astype(np.float32)
    if leaf == "weight":
        return (1.0 + 0.1 * n).astype(np.float32)
    return (0.1 * n).astype(np.float32)


def golden_model(name: str = MODEL, num_classes: int | None = None, **options: Any) -> Pixel2Pixel:
    model = create_model(name, num_classes, **options).eval()
    model.load_state_dict({k: torch.from_numpy(golden_fill(k, tuple(v.shape))) for k, v in model.state_dict().items()})
    return model


def golden_card(size: tuple[int, int], num_classes: int = 19) -> ModelCard:
    palette = tuple((i, 255 - i, 2 * i) for i in range(num_classes))
    names = tuple(f"class {i}" for i in range(num_classes))
    return ModelCard(MODEL, {"segmentation": num_classes}, names, palette, Preprocessing(*size), "none")


def smooth_pictures(count: int, size: tuple[int, int], *, seed: int = 0) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    small = [rng.integers(0, 256, (9, 13, 3), dtype=np.uint8) for _ in range(count)]
    return [cv2.resize(picture, size[::-1], interpolation=cv2.INTER_CUBIC) for picture in small]
