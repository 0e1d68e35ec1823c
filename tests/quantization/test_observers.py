"""Observers against searches and sums written out in numpy, for every row of the table."""

from __future__ import annotations

from functools import partial
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgeailite.config import Observer
from edgeailite.errors import DataError, UsageError
from edgeailite.quantization import OBSERVERS, calibrate, prepare, set_state
from edgeailite.quantization.grids import ActivationGrid
from edgeailite.quantization.modules import ActivationQuantizer
from edgeailite.quantization.observers import (
    BINS,
    Histogram,
    best_range,
    divergence,
    squared_error,
)
from edgeailite.quantization.schemes import SCHEMES

SCHEME = SCHEMES["ort_u8s8"]


@pytest.mark.parametrize("observer", get_args(Observer))
@pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 3)])
def test_tensors_of_few_sides_have_a_range(observer, shape):
    """A number for a picture, (N,) or none at all, is what a network may end in."""
    quantizer = ActivationQuantizer(ActivationGrid(SCHEME, 8), [False], percentile=99.9, observer=observer)
    quantizer.observing, quantizer.enabled = True, False
    x = torch.linspace(-1, 3, max(1, int(np.prod(shape)))).reshape(shape)
    quantizer(x, 0)
    set_state(nn.ModuleList([quantizer]), observing=False, enabled=True)
    found = quantizer(x, 0)
    assert found.shape == x.shape
    assert (found - x).abs().max() <= (4 / 255 if observer in ("minmax", "ema", "percentile") else 1.0)


def values(kind: str, count: int = 20000, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(1, 1, 100, count // 100, generator=generator)
    return {
        "gauss": normal,
        "relu": normal.relu(),
        "laplace": normal * normal.abs(),
        "outlier": normal + _spike(normal),
    }[kind]


def _spike(x: Tensor) -> Tensor:
    spike = torch.zeros_like(x)
    spike[..., 0, 0] = 60.0
    return spike


def symmetric_grid(low: Tensor, high: Tensor, *, limit: int) -> tuple[Tensor, Tensor, Tensor]:
    scale = torch.maximum(-low, high) / limit
    return scale, torch.full_like(scale, -limit), torch.full_like(scale, limit)


def power_of_two_grid(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    scale = torch.exp2(torch.ceil(torch.log2(torch.maximum(-low, high) / 127)))
    return scale, torch.full_like(scale, -128), torch.full_like(scale, 127)


GRIDS = {
    "uint8": ActivationGrid(SCHEME, 8).reach,
    "uint4": ActivationGrid(SCHEME, 4).reach,
    "uint16": ActivationGrid(SCHEME, 16).reach,
    "int8": partial(symmetric_grid, limit=127),
    "power of two": power_of_two_grid,
}


def error_of(x: np.ndarray, grid, low: float, high: float) -> float:
    """Mean squared error of quantizing, in numpy."""
    scale, bottom, top = (float(v) for v in grid(torch.tensor([low]).double(), torch.tensor([high]).double()))
    return float(np.mean((np.clip(np.rint(x / scale), bottom, top) * scale - x) ** 2))


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("kind", ["gauss", "relu", "laplace", "outlier"])
def test_mse_is_as_good_as_trying_every_range(kind, grid):
    x = values(kind)
    histogram = Histogram()
    histogram.add(x)
    found = best_range(squared_error, [histogram], grid)
    x = x.double().numpy().ravel()
    lows = x.min() * np.linspace(0.05, 1, 24) if x.min() < 0 else [0.0]
    tried = min(error_of(x, grid, low, high) for low in lows for high in x.max() * np.linspace(0.05, 1, 48))
    assert error_of(x, grid, *found) < 1.03 * tried


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_squared_error_of_a_histogram_is_that_of_its_values(grid):
    x = values("laplace")
    histogram = Histogram()
    histogram.add(x)
    for share in (1.0, 0.5, 0.2):
        low, high = share * float(x.min()), share * float(x.max())
        codes = grid(torch.tensor([low]).double(), torch.tensor([high]).double())
        found = float(squared_error(histogram, *codes)) / x.numel()
        assert found == pytest.approx(error_of(x.double().numpy().ravel(), grid, low, high), rel=0.03)


def test_sites_of_one_scale_are_searched_together():
    """The range of the sum of errors: neither that of one site, nor the union."""
    wide, narrow = values("gauss"), 0.2 * values("laplace", seed=1)
    histograms = [Histogram(), Histogram()]
    for histogram, x in zip(histograms, (wide, narrow), strict=True):
        histogram.add(x)
    grid = GRIDS["uint4"]
    found = best_range(squared_error, histograms, grid)
    both = torch.cat([wide.flatten(), narrow.flatten()]).double().numpy()
    ends = np.linspace(0.3, 1, 30)
    tried = min(error_of(both, grid, low, high) for low in both.min() * ends for high in both.max() * ends)
    assert error_of(both, grid, *found) < 1.02 * tried


def kl_reference(counts: np.ndarray, centres: np.ndarray, scale: float, bottom: int, top: int) -> float:
    """Bin by bin, as the docstring says it."""
    codes = np.rint(centres / scale)
    kept = [i for i in range(len(counts)) if bottom <= codes[i] <= top and counts[i] > 0]
    p = {i: float(counts[i]) for i in kept}
    p[kept[0]] += sum(counts[i] for i in range(len(counts)) if codes[i] < bottom)
    p[kept[-1]] += sum(counts[i] for i in range(len(counts)) if codes[i] > top)
    q = {}
    for i in kept:
        group = [j for j in kept if codes[j] == codes[i]]
        q[i] = sum(counts[j] for j in group) / len(group)
    total_p, total_q = sum(p.values()), sum(q.values())
    return sum(p[i] / total_p * np.log(p[i] / total_p / (q[i] / total_q)) for i in kept)


@pytest.mark.parametrize("share", [1.0, 0.6, 0.3])
@pytest.mark.parametrize("kind", ["gauss", "relu"])
def test_divergence_against_sums_bin_by_bin(kind, share):
    histogram = Histogram()
    histogram.add(values(kind, 2000))
    low, high = (torch.tensor([share * end]).double() for end in (histogram.low, histogram.high))
    scale, bottom, top = ActivationGrid(SCHEME, 5).reach(low, high)
    edges, counts = histogram.used()
    centres = ((edges[1:] + edges[:-1]) / 2).numpy()
    expected = kl_reference(counts.numpy(), centres, float(scale), int(bottom), int(top))
    assert float(divergence(histogram, scale, bottom, top)) == pytest.approx(expected, rel=1e-6)


def test_entropy_cuts_a_lone_outlier_and_keeps_what_fills_its_range():
    for kind, smallest, largest in (("outlier", 2.0, 20.0), ("even", 0.9, 1.0)):
        x = torch.rand(1, 1, 100, 200) if kind == "even" else values(kind)
        histogram = Histogram()
        histogram.add(x)
        assert smallest < best_range(divergence, [histogram], GRIDS["uint8"])[1] <= largest


def test_entropy_of_16_bits_keeps_all_that_was_seen():
    histogram = Histogram()
    histogram.add(values("outlier"))
    assert best_range(divergence, [histogram], GRIDS["uint16"]) == (histogram.low, histogram.high)


def test_a_histogram_that_grows_counts_as_one_that_knew():
    """Bins double: of each value the bin may be wider, but none is lost and none moves across 0."""
    parts = [values("gauss", seed=s) * 3.0**s for s in range(4)]
    histogram = Histogram()
    for part in parts:
        histogram.add(part)
    x = torch.cat([part.flatten() for part in parts]).numpy()
    assert histogram.counts.numel() == 2 * BINS
    assert histogram.counts.sum() == np.count_nonzero(x)
    edges, counts = histogram.used()
    expected = np.histogram(x[x != 0], edges.numpy())[0]
    assert np.abs(counts.numpy() - expected).sum() <= 1e-3 * x.size  # float32 at the edges of bins
    assert (histogram.low, histogram.high) == (float(x.min()), float(x.max()))


def test_zeros_and_tensors_without_a_range_count_nothing():
    histogram = Histogram()
    for x in (torch.zeros(1, 1, 4, 4), torch.full((1, 1, 2, 2), float("nan")), torch.full((1, 1, 1, 1), float("inf"))):
        histogram.add(x)
    assert histogram.width == 0
    assert best_range(squared_error, [histogram], GRIDS["uint8"]) == (0.0, 0.0)


@pytest.mark.parametrize(
    "observer, expected",
    [("minmax", (-4.0, 8.0)), ("ema", (-2.5, 5.0)), ("percentile", (-2.5, 5.0))],
)
def test_ranges_of_several_batches(observer, expected):
    quantizer = ActivationQuantizer(ActivationGrid(SCHEME), [False], percentile=100.0, observer=observer).train()
    for low, high in ((-1.0, 8.0), (-4.0, 2.0)):
        quantizer.observe(torch.tensor([low, high]).view(1, 1, 1, 2), 0)
    assert (float(quantizer.low), float(quantizer.high)) == pytest.approx(expected)


class Sums(nn.Module):
    """A shared scale: a concatenation of a ReLU's output and of one with negative values."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(8, 2, 1)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.c(torch.cat([self.relu(self.a(x)), self.b(x)], 1))


def sums() -> Sums:
    torch.manual_seed(0)
    return Sums().eval()


def batches(count: int = 3) -> list[Tensor]:
    return [torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(s)) for s in range(count)]


@pytest.mark.parametrize("observer", OBSERVERS)
def test_every_observer_gives_a_working_network(observer):
    network = sums()
    model = prepare(network, observer=observer)
    keys = set(model.state_dict())
    calibrate(model, batches())
    assert set(model.state_dict()) == keys
    x = batches(1)[0]
    y, fake = network(x), model(x)
    assert 0 < (y - fake).square().mean() < 1e-2 * y.square().mean()
    shared = next(m for m in model.modules() if isinstance(m, ActivationQuantizer) and len(m.nonnegative) == 2)
    assert [float(low) == 0 for low in shared.low] == list(shared.nonnegative)
    assert (shared.high > 0).all()


@pytest.mark.parametrize("observer", OBSERVERS)
def test_training_moves_ranges_from_where_calibration_left_them(observer):
    model = prepare(sums(), observer=observer)
    calibrate(model, batches(4))
    quantizer = next(iter(model.ranges.children()))
    before = quantizer.high.clone()
    set_state(model, observing=True)
    model.train()(10 * batches(1)[0])
    assert (quantizer.high > before).any()
    assert (quantizer.high < 4 * before).all(), "a running mean, no jump"
    assert all(not histogram.width for histogram in quantizer.histograms)


@pytest.mark.parametrize("observer", OBSERVERS)
def test_one_picture_and_one_of_zeros_give_usable_scales(observer):
    model = prepare(sums(), observer=observer)
    calibrate(model, [torch.randn(1, 3, 8, 8)])
    with pytest.warns(UserWarning, match="of one colour"):
        calibrate(black := prepare(sums(), observer=observer), [torch.full((2, 3, 8, 8), -2.0)] * 2)
    for quantizer in (*model.ranges.children(), *black.ranges.children()):
        assert quantizer.scale.isfinite()
        assert quantizer.scale > 1e-6
    assert black(torch.randn(1, 3, 8, 8)).isfinite().all()


@pytest.mark.parametrize("observer", OBSERVERS)
def test_pictures_and_weights_with_nan_are_refused_by_name(observer):
    pictures = batches(2)
    pictures[1][1, 0, 3, 3] = float("nan")
    with pytest.raises(DataError, match=r"d\.png: holds NaN"):
        calibrate(prepare(sums(), observer=observer), pictures, names=["a.png", "b.png", "c.png", "d.png"])
    network = sums()
    network.b.bias.data[0] = float("inf")
    with pytest.raises(DataError, match=r"calibration picture 0: the network gives NaN"):
        calibrate(prepare(network, observer=observer), batches(1))


def test_unknown_observer_and_no_batches():
    with pytest.raises(UsageError, match="unknown observer 'best'; known: minmax, ema"):
        prepare(sums(), observer="best")
    with pytest.raises(ValueError, match="at least one batch"):
        calibrate(prepare(sums()), [])


def test_the_option_offers_the_table():
    assert get_args(Observer) == tuple(OBSERVERS)
