"""Ways to choose a tensor's range from its calibration values: one row of `OBSERVERS` each.

`minmax`: smallest and largest value of all batches. `ema`: running mean of each batch's smallest and largest value.
`percentile`: running mean of each batch's percentiles. `mse`: the range with the smallest squared error of
quantization. `entropy`: the range whose codes lose the least information (Kullback-Leibler divergence).

The last two gather a histogram over all batches (of about 262,144 values of a tensor in each) and search when
calibration ends, once for all tensors that share a scale. They ask a `Grid` for the codes of a range, so they hold for
any number of bits, symmetric and power-of-two scales. Zeros are left out of the histogram: 0 is a code of every grid
and costs nothing.

Entropy is after S. Migacz, "8-bit inference with TensorRT" (GTC 2017). There, codes are signed and of |x|: 128 levels,
every threshold from 128 of 2048 bins on, bins grouped by equal counts. Changed here: a range has two ends and limit + 1
codes; a bin belongs to the code nearest to its centre; clipped values are added to the outermost kept bin that is not
empty; both ends are searched coarse to fine, while codes are no finer than bins. With 16 bits codes are always finer,
so the range then covers all values seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SAMPLES = 1 << 16  # values that a percentile is taken from
COUNTED = 1 << 18  # values of a tensor that a histogram takes
BINS = 2048  # of a histogram, on each side of 0
SMALLEST = 1 / 64  # of the range seen that a search considers
COARSE, COARSE_PAIRS = 32, 12  # ends tried first: of ranges with one free end, and per end of those with two
FINE = 7  # ends tried in each refinement
REFINEMENTS = 2
AT_ONCE = 128  # ranges whose errors are computed together: bounds the memory

Grid = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""`grid(low, high)` -> (scale, smallest, largest code without the zero point), for any number of ranges at once."""


class Histogram:
    """Counts of non-zero values in 2 x 2048 equal bins around 0; where values lie outside, bins double their width."""

    def __init__(self) -> None:
        self.width, self.low, self.high = 0.0, 0.0, 0.0
        self.counts = torch.zeros(2 * BINS, dtype=torch.float64)

    def add(self, x: Tensor) -> None:
        """Count a regular sample of `x`; one with NaN or infinity is left out (`calibrate` refuses it)."""
        sample = sampled(x, COUNTED).float()
        each = x.numel() / max(sample.numel(), 1)  # so that tensors of one scale count by their size
        x = sample[sample != 0]
        low, high = x.aminmax() if x.numel() else (x.new_zeros(()), x.new_zeros(()))
        largest = max(-float(low), float(high))
        if not 0 < largest < float("inf"):
            return
        self.low, self.high = min(self.low, float(low)), max(self.high, float(high))
        self.width = self.width or largest / BINS
        while BINS * self.width < largest:
            self._widen()
        reach = BINS * self.width
        self.counts += torch.histc(x, 2 * BINS, -reach, reach).double().cpu() * each

    def _widen(self) -> None:
        merged = self.counts.view(-1, 2).sum(1)
        self.counts = torch.zeros_like(self.counts)
        self.counts[BINS // 2 : BINS + BINS // 2] = merged
        self.width *= 2

    def used(self) -> tuple[Tensor, Tensor]:
        """Edges (B + 1) and counts (B) from the first to the last bin that is not empty; (1) and (0) of no values."""
        filled = torch.nonzero(self.counts).flatten()
        first, last = (int(filled[0]), int(filled[-1]) + 1) if len(filled) else (BINS, BINS)
        edges = (torch.arange(first, last + 1, dtype=torch.float64) - BINS) * self.width
        return edges, self.counts[first:last]


def extremes(x: Tensor, percentile: float) -> tuple[Tensor, Tensor]:
    """Smallest and largest value; `percentile` is not looked at."""
    low, high = x.aminmax()
    return low, high


def sampled(x: Tensor, count: int) -> Tensor:
    """About `count` values of (..., H, W), (W) or a number at regular positions; all where there are fewer."""
    stride = max(1, int((x.numel() / count) ** 0.5))
    return torch.atleast_2d(x)[..., ::stride, ::stride].flatten()


def value_range(x: Tensor, percentile: float) -> tuple[Tensor, Tensor]:
    """Return the smallest and largest value, or (below 100) percentiles of a sample of at most 65,536 values."""
    if percentile >= 100:
        return extremes(x, percentile)
    sample = sampled(x, SAMPLES)
    count = int(sample.numel() * (1 - percentile / 100)) + 1  # few: a seventh of the time of kthvalue
    return sample.topk(count, largest=False).values[-1], sample.topk(count).values[-1]


def squared_error(histogram: Histogram, scale: Tensor, bottom: Tensor, top: Tensor) -> Tensor:
    """Sum of squared errors of each of K grids, values spread evenly over their bin.

    The integral over a bin is exact, so bins may be wider or narrower than the codes.
    """
    edges, counts = histogram.used()
    x = edges / scale[:, None]  # (K, B + 1), in codes
    inside = torch.minimum(torch.maximum(x, bottom[:, None]), top[:, None])
    code = inside.round()
    integral = code / 12 + (inside - code) ** 3 / 3 + (x - inside) ** 3 / 3
    return (integral.diff(dim=1) / x.diff(dim=1) * counts).sum(1) * scale**2


def divergence(histogram: Histogram, scale: Tensor, bottom: Tensor, top: Tensor) -> Tensor:
    """Kullback-Leibler divergence of each of K grids: of the clipped values from those their codes tell apart."""
    edges, counts = histogram.used()
    codes = ((edges[1:] + edges[:-1]) / 2 / scale[:, None]).round()  # (K, B)
    below, above = codes < bottom[:, None], codes > top[:, None]
    kept = (counts > 0) & ~below & ~above
    p, inside = counts * kept, counts * kept
    first, last = kept.int().argmax(1, keepdim=True), counts.numel() - 1 - kept.int().flip(1).argmax(1, keepdim=True)
    p = p.scatter_add(1, first, (counts * below).sum(1, keepdim=True))
    p = p.scatter_add(1, last, (counts * above).sum(1, keepdim=True))
    group = torch.nn.functional.pad((codes.diff(dim=1) != 0).cumsum(1), (1, 0))
    empty = torch.zeros_like(p)
    sums, members = empty.scatter_add(1, group, inside), empty.scatter_add(1, group, kept.double())
    q = (sums / members.clamp(min=1)).gather(1, group)
    p, q = p / p.sum(1, keepdim=True), q * kept / inside.sum(1, keepdim=True)
    found = torch.where(kept, p * torch.log(p / q), 0.0).sum(1)
    return torch.where((scale >= histogram.width) & kept.any(1), found, torch.inf)


Measure = Callable[[Histogram, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Observer:
    """`of_batch(x, percentile)` returns a batch's range. Ranges of batches are joined if `union` is set, else averaged.

    `measure` is what a search at the end of calibration makes small; `then` is how training moves the range from there.
    """

    of_batch: Callable[[Tensor, float], tuple[Tensor, Tensor]]
    then: str
    union: bool = False
    measure: Measure | None = None


OBSERVERS: dict[str, Observer] = {
    "minmax": Observer(extremes, then="ema", union=True),
    "ema": Observer(extremes, then="ema"),
    "percentile": Observer(value_range, then="percentile"),
    "mse": Observer(value_range, then="percentile", measure=squared_error),
    "entropy": Observer(value_range, then="percentile", measure=divergence),
}
DEFAULT_OBSERVER = "percentile"


def best_range(measure: Measure, histograms: Sequence[Histogram], grid: Grid) -> tuple[float, float]:
    """Find the range whose grid has the smallest measure, summed over tensors that share it; ties go to the widest.

    Ends are tried from the range seen down to 1/64 of it, in equal ratios, then twice finer around the best.
    """
    low, high = min(h.low for h in histograms), max(h.high for h in histograms)
    seen = [h for h in histograms if h.width]
    if not seen:
        return low, high
    widest = torch.tensor([[low], [high]], dtype=torch.float64)
    count = COARSE_PAIRS if low < 0 < high else COARSE
    ratio = SMALLEST ** (1 / (count - 1))
    steps = ratio ** torch.arange(count, dtype=torch.float64)
    for _ in range(1 + REFINEMENTS):
        lows = torch.maximum(low * steps, widest[0]) if low < 0 else widest[0]
        highs = torch.minimum(high * steps, widest[1]) if high > 0 else widest[1]
        low, high = _best(measure, seen, grid, torch.cartesian_prod(lows, highs))
        finer = torch.linspace(-1, 1, FINE, dtype=torch.float64)
        steps, ratio = ratio**finer, ratio ** (2 / (FINE - 1))
    return low, high


def _best(measure: Measure, histograms: Sequence[Histogram], grid: Grid, pairs: Tensor) -> tuple[float, float]:
    errors = []
    for part in pairs.split(AT_ONCE):
        codes = grid(part[:, 0], part[:, 1])
        errors.append(torch.stack([measure(histogram, *codes) for histogram in histograms]).sum(0))
    low, high = pairs[torch.cat(errors).argmin()].tolist()
    return low, high
