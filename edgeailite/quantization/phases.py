"""Large resizes with fewer multiplications: a convolution of repeated codes, one phase of its results at a time.

A resize by k is codes repeated k times and a convolution of k + 1 taps in each direction (`enlarge`). Of k + 1
neighbours most are copies of one code, so their weights may be added up. With each code repeated m times only, m a
divisor of k, m + 1 taps are left; their weights differ among the n = k / m results that lie within one copy, the
phases. Sums stay as they are, to the last bit. In LiteRT the resize of 256 channels of 24x48 by 4 takes 11 ms instead
of 18, by 8 it takes 45 instead of 4,098 (`benchmarks/resizes.py`).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgeailite.quantization.convert import IntegerConv
from edgeailite.quantization.grids import WeightGrid
from edgeailite.quantization.modules import IntegerParameters, QuantConv2d
from edgeailite.quantization.schemes import DEFAULT_SCHEME, SCHEMES

MOST_PHASES = 5  # of one direction: as many parts has a concatenation that XNNPACK takes
LARGEST_WEIGHT = 127


def phase_convolutions(module: IntegerConv, factor: int) -> tuple[int, list[IntegerConv]]:
    """Split the convolution of codes that are repeated `factor` times, depthwise with kernel `factor` + 1.

    Returns how often codes are repeated for its parts, and one convolution per phase of the rows. Each takes the
    channels as many times as there are parts, once per phase of the columns, and gives them in that order.
    """
    repeats, weights = fold(module.weight[:, 0].numpy(), factor)
    count, channels = factor // repeats, module.weight.shape[0]
    grid = WeightGrid(SCHEMES[DEFAULT_SCHEME], 8)
    conv = nn.Conv2d(count * channels, count * channels, repeats + 1, groups=count * channels, bias=False)

    def of_columns(values: torch.Tensor) -> torch.Tensor:
        return values.repeat(count) if values.dim() else values

    scale, bias, bias_scale = map(of_columns, (module.weight_scale, module.bias, module.bias_scale))
    parts = [torch.from_numpy(part.reshape(-1, 1, repeats + 1, repeats + 1)) for part in weights]
    return repeats, [
        IntegerConv(QuantConv2d.from_conv(conv, None, grid), IntegerParameters(part, scale, bias, bias_scale))
        for part in parts
    ]


def fold(weight: NDArray[np.int8], factor: int) -> tuple[int, NDArray[np.int8]]:
    """Return the fewest repeats m with which the added weights are codes, and the weights of each phase.

    `weight` is (channels, k + 1, k + 1) for the factor k; the result (n, n, channels, m + 1, m + 1), first the phase of
    the rows, then that of the columns. With m = k it is the weight itself.

    >>> ramp = np.array([1, 2, 2, 2, 1], np.int8)
    >>> repeats, weights = fold(np.outer(ramp, ramp)[None], 4)
    >>> repeats, weights[0, 3, 0].tolist()
    (1, [[7, 49], [1, 7]])
    """
    for repeats in range(1, factor + 1):
        if factor % repeats or factor // repeats > MOST_PHASES:
            continue
        count = factor // repeats
        cell = (np.arange(count)[:, None] + np.arange(factor + 1)) // count  # (n, k + 1): the copy that a tap reads
        adds = (cell[:, None] == np.arange(repeats + 1)[:, None]).astype(np.int64)  # (n, m + 1, k + 1)
        folded = np.einsum("uas,vbt,cst->uvcab", adds, adds, weight.astype(np.int64))
        if np.abs(folded).max() <= LARGEST_WEIGHT:
            return repeats, folded.astype(np.int8)
    raise AssertionError("weights that are codes stay codes")
