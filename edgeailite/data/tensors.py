"""Pictures to normalised network input, in torch: the twin of `edgeailite.preprocessing.normalize`."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeailite.preprocessing import Preprocessing


def to_input(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """uint8 RGB (N,3,H,W) -> normalised float32, on the device it is on."""
    ordered = images.flip(1) if preprocessing.channel_order == "BGR" else images
    mean = torch.tensor(preprocessing.mean, device=images.device).view(1, 3, 1, 1)
    scale = torch.tensor(preprocessing.scale, device=images.device).view(1, 3, 1, 1)
    return (ordered.float() - mean) * scale
