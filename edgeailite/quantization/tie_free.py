"""Numbers of the scheme `portable`: sums that never lie in the middle between two codes, so that all roundings agree.

A kernel turns the sum S of a layer, (code - zero point) x weight code over its window plus the bias code, into the code
S x M, rounded to the nearest. Arithmetics differ in where halves go, in whether they round once or twice, and in the
precision of M. Proof that none of it matters:

 1. Weight codes are multiples of 4 and bias codes 2 more than one, so S = 4 n + 2 with a whole n, whatever the zero
    point, the groups and the padding (a padded row is the zero point and adds nothing).
 2. All scales are powers of two, so M = 2^-k exactly, in float32 and as a 31-bit multiplier. Halves are where S is an
    odd multiple of 2^(k-1); with k >= 3 these are multiples of 4, and S is none.
 3. TensorFlow Lite's reference halves S first, exactly (S is even), and then rounds S/2 = 2 n + 1, which is odd and no
    odd multiple of 2^(k-2), by k - 1 bits: no half either. And S is exact in float32 below 2^24; with k <= 16 larger
    ones are beyond all codes and clamped by everybody.

So k is kept from LEAST_SHIFT to MOST_SHIFT. Additions have one scale for both summands and the result, each its own
zero point, and add whole numbers. Inner resizes are `TieFreeResize`, computed as such a convolution of copied codes.
The sums are exact in training, too: fake quantization gives the very codes of the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from edgeailite.quantization.modules import ActivationQuantizer

WEIGHT_STEP = 4  # weight codes are its multiples
MIDDLE = 2  # bias codes are as much more than a multiple of WEIGHT_STEP
LEAST_SHIFT, MOST_SHIFT = 3, 16  # bits by which a sum is shifted to become a code
BIAS_LIMIT = 2**30 - MIDDLE


def within_shifts(weight_scale: Tensor, in_scale: Tensor, out_scale: Tensor) -> Tensor:
    """Clamp the scales of a weight, all powers of two, so that in x weight / out is 2^-k with k from 3 to 16."""
    ratio = out_scale / in_scale
    return torch.minimum(torch.maximum(weight_scale, ratio * 2.0**-MOST_SHIFT), ratio * 2.0**-LEAST_SHIFT)


def bias_codes(bias: Tensor, scale: Tensor) -> Tensor:
    """Return the bias codes (float64, whole numbers, 2 more than a multiple of 4) nearest to bias / scale."""
    steps = torch.round((bias.double() / scale.double() - MIDDLE) / WEIGHT_STEP)
    return (steps * WEIGHT_STEP + MIDDLE).clamp(-BIAS_LIMIT, BIAS_LIMIT)


def nearest_rows(old: int, new: int, factor: int, device: torch.device) -> Tensor:
    """Return which of `old` rows is nearest to each of `new`, with factor / 2 more at both ends: int64 (new + factor,).

    Row i of `new` has its centre at (i + 1/2) old / new; outside, the rows at the ends repeat. Without division, for
    files of open size: the rows that begin up to there are counted.

    >>> nearest_rows(3, 6, 2, torch.device("cpu")).tolist()
    [0, 0, 0, 1, 1, 2, 2, 2]
    """
    centres = (2 * torch.arange(new + factor, device=device) - (factor - 1)) * old
    begins = 2 * torch.arange(1, old, device=device) * new
    return (centres[:, None] >= begins[None]).to(torch.int64).sum(1)


def mean_rows(old: int, new: int, factor: int, device: torch.device) -> Tensor:
    """Return the matrix (new, old) of a resize along one axis: means of nearest rows with [1, 2, ..., 2, 1] / 2 factor.

    Where new = factor x old that is bilinear with half-pixel centres, exactly; else about it.
    """
    copies = torch.zeros(new + factor, old, device=device)
    copies.scatter_(1, nearest_rows(old, new, factor, device)[:, None], 1.0)
    return copies.unfold(0, factor + 1, 1) @ taps(factor).to(device) / (2 * factor)


def taps(factor: int) -> Tensor:
    """Return [1, 2, ..., 2, 1], of factor + 1 numbers."""
    return torch.tensor([1.0, *[2.0] * (factor - 1), 1.0])


class TieFreeResize(nn.Module):
    """Resizes (N,C,h,w) to a given size, about `factor` times as large, as `mean_rows` says in both directions.

    `factor` is 2, 4 or 8. When quantized, all values are half of the smallest difference higher, which decides ties: it
    is the bias of the convolution in the file. `source` is the quantizer of the input (in a tuple: no submodule).
    """

    def __init__(self, factor: int, channels: int) -> None:
        super().__init__()
        self.factor, self.channels, self.enabled = factor, channels, True
        self.source: tuple[ActivationQuantizer, ...] = ()

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """`size` is the new (height, width)."""
        rows = mean_rows(x.shape[2], size[0], self.factor, x.device)
        columns = mean_rows(x.shape[3], size[1], self.factor, x.device)
        y = torch.matmul(rows, torch.matmul(x, columns.t()))
        return y + MIDDLE * self.unit * self.source[0].scale if self.enabled else y

    @property
    def unit(self) -> float:
        """Scale of its weight codes, WEIGHT_STEP x [1, 2, ..., 2, 1] in both directions."""
        return 1 / (WEIGHT_STEP * (2 * self.factor) ** 2)
