"""Arrays to tensors, and pictures to normalised network input: the twin of `edgeailite.preprocessing.normalize`."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeailite.data.samples import picture_planes
from edgeailite.preprocessing import Preprocessing

Sample = tuple[tuple[Tensor, ...], dict[str, Tensor]]


def picture_tensor(image: NDArray[np.uint8]) -> Tensor:
    """Turn (H,W,3) uint8 into (3,H,W)."""
    return torch.from_numpy(picture_planes(image))


def to_input(images: Tensor | NDArray[np.uint8], preprocessing: Preprocessing) -> Tensor:
    """Normalise uint8 RGB (N,3,H,W), a tensor or an array, to float32, on the device it is on."""
    given = torch.as_tensor(images)
    ordered = given.flip(1) if preprocessing.channel_order == "BGR" else given
    mean = torch.tensor(preprocessing.mean, device=given.device).view(1, 3, 1, 1)
    scale = torch.tensor(preprocessing.scale, device=given.device).view(1, 3, 1, 1)
    return (ordered.float() - mean) * scale
