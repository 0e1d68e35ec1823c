"""Arrays to tensors, and pictures to normalised network input: the twin of `edgeailite.preprocessing.normalize`."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeailite.preprocessing import Preprocessing

Sample = tuple[tuple[Tensor, ...], dict[str, Tensor]]


def picture_tensor(image: NDArray[np.uint8]) -> Tensor:
    """Turn (H,W,3) uint8 into (3,H,W). OpenCV splits channels four times as fast as numpy copies a view."""
    planes = np.empty((3, *image.shape[:2]), np.uint8)
    cv2.split(image, list(planes))
    return torch.from_numpy(planes)


def target_tensor(values: NDArray[Any]) -> Tensor:
    """Copy a target, maybe from a mapped file: class map (H,W) uint8 -> int64, depth (H,W) stays float32."""
    return torch.from_numpy(values.astype(np.float32 if values.dtype == np.float32 else np.int64))


def to_input(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Normalise uint8 RGB (N,3,H,W) to float32, on the device it is on."""
    ordered = images.flip(1) if preprocessing.channel_order == "BGR" else images
    mean = torch.tensor(preprocessing.mean, device=images.device).view(1, 3, 1, 1)
    scale = torch.tensor(preprocessing.scale, device=images.device).view(1, 3, 1, 1)
    return (ordered.float() - mean) * scale
