"""Adaptive average pooling in a form that exports with open sizes and that integer kernels can repeat bit for bit.

Region i of s along an axis of length L covers floor(i L / s) to ceil((i + 1) L / s), as in torch. It becomes two
products with 0/1 matrices that the file builds from the size it meets, divided by the areas. On codes the sums are
whole numbers, exact in float32 in any order while 255 x area < 2^24 (regions up to 256x256); one multiplication by
scale / area follows, which rounds alike everywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RegionPool(nn.Module):
    """`nn.AdaptiveAvgPool2d` from sums over regions."""

    def __init__(self, output_size: tuple[int, int]) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        sums, areas = region_sums(x, self.output_size)
        return sums / areas


def per_axis(value: int | tuple[int, int]) -> tuple[int, int]:
    """Return kernel, stride or padding of a window for height and width, which torch takes as one number, too.

    >>> per_axis(3)
    (3, 3)
    """
    return value if isinstance(value, tuple) else (value, value)


def pool_size(pool: nn.AdaptiveAvgPool2d) -> tuple[int, int]:
    """Height and width that `pool` gives. Raises ValueError where it keeps the input's."""
    size = pool.output_size
    height, width = size if isinstance(size, tuple) else (size, size)
    if height is None or width is None:
        raise ValueError(f"AdaptiveAvgPool2d({size}): give both sizes")
    return height, width


def region_sums(x: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Sums of (N,C,H,W) over the regions, (N,C,*size), and the areas, `size`."""
    rows, columns = (
        regions(x.shape[axis], count, x.device).to(x.dtype) for axis, count in zip((2, 3), size, strict=True)
    )
    areas = areas_of(rows, columns)
    if size == (1, 1):  # a product with one scale behind it might be fused to another order of rounding
        return x.sum((2, 3), keepdim=True), areas
    return torch.matmul(rows, torch.matmul(x, columns.t())), areas


def areas_of(rows: Tensor, columns: Tensor) -> Tensor:
    """Return how many places each region has, from the `regions` of both axes."""
    return rows.sum(1, keepdim=True) * columns.sum(1)


def regions(length: int, count: int, device: torch.device | None = None) -> Tensor:
    """(count, length) float32: 1 where a position of an axis lies in a region. Without division, for exactness."""
    scaled = (torch.arange(length, device=device) * count)[None]
    index = torch.arange(count, device=device)[:, None]
    next_index = torch.arange(1, count + 1, device=device)[:, None]
    return ((scaled > index * length - count) & (scaled < next_index * length)).float()
