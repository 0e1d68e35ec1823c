"""Loss weights per class, from counts of labelled pixels."""

from __future__ import annotations

import torch
from torch import Tensor


def enet_weights(pixels_per_class: Tensor) -> Tensor:
    """Return 1/ln(1.02 + share of pixels), from ENet (Paszke et al., 2016, https://arxiv.org/abs/1606.02147)."""
    share = pixels_per_class.double() / pixels_per_class.sum().clamp(min=1)
    return (1 / torch.log(1.02 + share)).float()


def median_frequency_weights(pixels_per_class: Tensor, pixels_of_images_with_class: Tensor) -> Tensor:
    """Return the median frequency over a class's own; counts (C,) -> float32 (C,), 1 for classes without pixels.

    A class's frequency is its share of the pixels of the images it occurs in: `pixels_of_images_with_class` are all
    pixels of those images, or all labelled ones. Eigen & Fergus (2015, https://arxiv.org/abs/1411.4734).
    For an even number of classes the median is the mean of the middle two. Classes without pixels have no frequency;
    their weight never matters in training, and 1 keeps it finite.
    """
    pixels, around = pixels_per_class.double(), pixels_of_images_with_class.double()
    occurs = pixels > 0
    if not occurs.any():
        return torch.ones_like(pixels, dtype=torch.float32)
    frequency = pixels[occurs] / around[occurs]
    weights = torch.ones_like(pixels)
    weights[occurs] = torch.quantile(frequency, 0.5) / frequency
    return weights.float()
