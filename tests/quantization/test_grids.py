"""Formulas from ranges to codes, against numpy by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeailite.quantization.grids import (
    ActivationGrid,
    WeightGrid,
    bias_on_power_of_two,
    ceil_power_of_two,
    half_away_from_zero,
    short_scale,
)
from edgeailite.quantization.schemes import SCHEMES, Scheme
from tests.quantization.tiny import WITH_TIES


@settings(max_examples=60, deadline=None)
@given(st.floats(2.0**-30, 2.0**20, width=32))
def test_powers_of_two_are_the_smallest_that_hold(x):
    power = ceil_power_of_two(torch.tensor(x)).item()
    assert np.log2(power) == int(np.log2(power))
    assert power / 2 < np.float32(x) <= power


@pytest.mark.parametrize("exponent", range(-20, 20))
def test_a_power_of_two_stays(exponent):
    assert ceil_power_of_two(torch.tensor(2.0**exponent)).item() == 2.0**exponent


@pytest.mark.parametrize("bits", (8, 16))
@pytest.mark.parametrize("scheme", SCHEMES)
@settings(max_examples=30, deadline=None)
@given(low=st.floats(-50, 0), high=st.floats(0.01, 50))
def test_a_range_fits_its_codes_and_zero_has_one(scheme, bits, low, high):
    grid = ActivationGrid(SCHEMES[scheme], bits)
    scale, zero = (value.item() for value in grid.of_range(torch.tensor(low), torch.tensor(high)))
    assert zero == int(zero)
    assert grid.low <= zero <= grid.high
    assert (grid.high - zero) * scale >= high - scale * 1.01  # a power of two may end one step early
    assert (grid.low - zero) * scale <= low + scale * 0.51


def test_without_ties_the_step_of_a_range_is_a_power_of_two():
    grid = ActivationGrid(SCHEMES["portable"])
    for low, high, scale, zero in ((0.0, 3.0, 1 / 64, 0), (-1.0, 2.98, 1 / 64, 64), (-1.0, 3.0, 1 / 32, 32)):
        found = grid.of_range(torch.tensor(low), torch.tensor(high))
        assert [value.item() for value in found] == [scale, zero]


def test_a_range_without_negative_values_uses_all_unsigned_codes():
    low, high = torch.tensor(0.0), torch.tensor(3.0)
    for scheme, scale, zero in (
        ("ort_u8s8", 3 / 255, 0),
        ("s8s8", 3 / 127, 0),
        ("tidl_pow2", 4 / 256, 0),
    ):
        found = ActivationGrid(SCHEMES[scheme]).of_range(low, high)
        torch.testing.assert_close(found[0].item(), scale, rtol=1e-6, atol=0)
        assert found[1].item() == zero


def test_halves_go_where_they_should():
    halves = torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    assert half_away_from_zero(halves).tolist() == [-3, -2, -1, 1, 2, 3]


def test_weight_codes_per_channel_and_per_tensor():
    weight = torch.tensor([[[[0.5]], [[-0.25]]], [[[4.0]], [[1.0]]]])  # (2, 2, 1, 1)
    channels = WeightGrid(SCHEMES["ort_u8s8"], 8)
    scale = channels.scale(weight)
    torch.testing.assert_close(scale, torch.tensor([0.5, 4.0]) / 127)
    assert channels.codes(weight, scale).flatten().tolist() == [127, -64, 127, 32]
    whole = WeightGrid(SCHEMES["tidl_pow2"], 8)
    scale = whole.scale(weight)
    assert scale.tolist() == [4 / 128, 4 / 128]
    assert whole.codes(weight, scale).flatten().tolist() == [16, -8, 127, 32]


def test_a_bias_of_8_bits_has_a_grid_of_its_own():
    bias = torch.tensor([0.9, -0.3, 0.004])
    found = bias_on_power_of_two(bias, 8)
    np.testing.assert_allclose(found, np.round(bias.numpy() * 128) / 128, rtol=0, atol=0)


# --- every formula written out in numpy, at the ends of ranges and codes

RANGES = [(0, 3), (-1, 3), (-5, 0.5), (0.5, 2), (-3, -1), (0, 0), (-3.9, 4), (-4, 1), (0, 4), (-0.3, 100)]
SYMMETRIC = Scheme("symmetric", "without powers of two or signs: no row has it", symmetric=True)
RECORDS = {**SCHEMES, SYMMETRIC.name: SYMMETRIC}


def written_out(name: str, bits: int, low: float, high: float) -> tuple[float, int, int, int]:
    """Scale, zero point, smallest and largest code."""
    low, high = min(low, 0.0), max(high, 0.0)
    high = 1.0 if low == high else high
    codes, longest = 2**bits, max(-low, high)
    if name.startswith("ort") or name == "portable":
        scale = (high - low) / (codes - 1)
        scale = 2.0 ** np.ceil(np.log2(scale)) if name == "portable" else scale
        return scale, int(np.rint(-low / scale)), 0, codes - 1
    if name == "s8s8":
        return longest / (codes // 2 - 1), 0, -codes // 2, codes // 2 - 1
    if name == "tidl_pow2":
        power = 2.0 ** np.ceil(np.log2(longest))
        return (power / codes, 0, 0, codes - 1) if low == 0 else (power / (codes / 2), codes // 2, 0, codes - 1)
    return (
        (longest / (codes - 1), 0, 0, codes - 1) if low == 0 else (longest / (codes // 2 - 1), codes // 2, 0, codes - 1)
    )


@pytest.mark.parametrize("bits", (8, 16))
@pytest.mark.parametrize("name", RECORDS)
def test_scales_zero_points_and_codes_are_those_written_out(name, bits):
    grid = ActivationGrid(RECORDS[name], bits)
    for low, high in RANGES:
        scale, zero, first, last = written_out(name, bits, low, high)
        found = grid.of_range(torch.tensor(float(low)), torch.tensor(float(high)))
        assert (grid.low, grid.high, found[1].item()) == (first, last, zero), (low, high)
        np.testing.assert_allclose(found[0].item(), scale, rtol=1e-6)
        reach = grid.reach(torch.tensor([low]).double(), torch.tensor([high]).double())
        assert [value.item() for value in reach[1:]] == [first - zero, last - zero]
        np.testing.assert_allclose(reach[0].item(), scale, rtol=1e-6)
    limits = torch.iinfo(grid.code_type)
    assert (limits.min, limits.max) == (grid.low, grid.high)


@pytest.mark.parametrize("name", SCHEMES)
def test_weight_codes_end_where_they_should_and_fit_their_type(name):
    record, kinds = SCHEMES[name], {4: torch.int8, 7: torch.int8, 8: torch.int8, 16: torch.int16}
    for bits, kind in kinds.items():
        grid, last = WeightGrid(record, bits), 2 ** (bits - 1) - 1
        last = last // grid.step * grid.step
        first = -last - (name == "tidl_pow2")
        assert (grid.low, grid.high, grid.code_type) == (first, last, kind)
        outside = torch.tensor([-9.0, 9.0]).view(1, 2, 1, 1)
        assert grid.codes(outside, torch.tensor([1 / 2**bits])).flatten().tolist() == [first, last]


@pytest.mark.parametrize("name", WITH_TIES)
def test_weights_next_to_ties_get_the_codes_that_training_gives_them(name):
    """Weight times 1 / scale in float32, as torch's fake quantization has it; division gives some another code."""
    rng, grid = np.random.default_rng(0), WeightGrid(SCHEMES[name], 8)
    scale = torch.from_numpy(rng.uniform(0.001, 0.1, 64).astype(np.float32))
    weight = (torch.arange(-100, 100) + 0.5) * scale[:, None]
    codes = grid.codes(weight[..., None, None], scale)[..., 0, 0]
    products = (weight * (1 / scale)[:, None]).numpy()
    assert (np.rint(products) != np.rint((weight / scale[:, None]).numpy())).any()
    if name == "tidl_pow2":
        np.testing.assert_array_equal(codes, np.copysign(np.floor(np.abs(products) + np.float32(0.5)), products))
        return
    np.testing.assert_array_equal(codes, np.clip(np.rint(products), grid.low, grid.high))
    faked = torch.fake_quantize_per_channel_affine(
        weight, scale, torch.zeros(64, dtype=torch.int32), 0, grid.low, grid.high
    )
    assert torch.equal(codes * scale[:, None], faked)


def test_nothing_but_zeros_has_a_scale():
    assert ceil_power_of_two(torch.tensor([0.0, 1e-20])).tolist() == [2.0**-39] * 2


@pytest.mark.parametrize(
    "bias",
    [
        [1.0, -1.0, 0.2],  # the largest code is 127
        [-0.9, 0.3, -0.01],
        [1.0, 2.5 / 128, -2.5 / 128, 3.5 / 128],  # halves
        [3.0, 0.1],
    ],
)
def test_a_bias_of_8_bits_is_the_one_written_out(bias):
    values = np.array(bias, np.float32)
    scale = 2.0 ** np.ceil(np.log2(np.abs(values).max())) / 128
    codes = np.clip(np.copysign(np.floor(np.abs(values / scale) + 0.5), values), -128, 127)
    assert bias_on_power_of_two(torch.from_numpy(values), 8).tolist() == (codes * scale).tolist()


def test_without_ties_a_weight_s_scale_is_the_power_of_two_that_errs_less():
    grid = WeightGrid(SCHEMES["portable"], 8)
    weight = torch.cat(
        [torch.linspace(-1, 1, 400), torch.tensor([1.2] * 400), 0.4 * torch.randn(400), torch.zeros(400)]
    )
    weight = weight.view(4, 400, 1, 1)
    scale = grid.scale(weight)

    def error(scale: torch.Tensor) -> torch.Tensor:
        return (grid.codes(weight, scale) * scale.view(-1, 1, 1, 1) - weight).square().sum((1, 2, 3))

    assert (torch.frexp(scale).mantissa == 0.5).all()
    tried = torch.stack([error(scale * 2.0**power) for power in (-1, 0, 1)])
    assert (tried[1] <= tried[0]).all()
    assert (tried[1] <= tried[2]).all()
    codes = grid.codes(weight, scale)
    assert (codes % 4 == 0).all()
    assert codes.abs().max() == 124


@pytest.mark.parametrize("name", WITH_TIES)
def test_a_weight_s_scale_is_of_its_largest_absolute_value(name):
    weight = torch.tensor([[-2.0, 1.0], [0.25, 0.125]]).view(2, 2, 1, 1)
    last = 2 ** (SCHEMES[name].weight_bits - 1) - 1
    largest = np.array([2.0, 0.25]) if SCHEMES[name].per_channel else np.array([2.0, 2.0])
    expected = largest / (128 if SCHEMES[name].power_of_two else last)
    np.testing.assert_allclose(WeightGrid(SCHEMES[name], SCHEMES[name].weight_bits).scale(weight), expected, rtol=1e-6)


def test_short_scales_have_eight_significant_bits_and_lie_just_below():
    scales = torch.exp(torch.linspace(-20, 5, 4000))
    for kind in (torch.float32, torch.float64):
        short = short_scale(scales.to(kind))
        mantissa, _ = torch.frexp(short)
        assert torch.equal(mantissa * 256, (mantissa * 256).round())
        ratio = short / scales.to(kind)
        assert (float(ratio.max()) <= 1) and float(ratio.min()) > 1 - 2**-7
        assert torch.equal(short_scale(short), short)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_scales_are_short_where_asked_for_and_only_of_8_bits(scheme):
    low, high = torch.tensor(-1.234), torch.tensor(2.345)
    plain = ActivationGrid(SCHEMES[scheme]).of_range(low, high)
    short = ActivationGrid(SCHEMES[scheme], exact_resize=True).of_range(low, high)
    assert short[0] == short_scale(plain[0])
    wide = [ActivationGrid(SCHEMES[scheme], 16, exact).of_range(low, high) for exact in (False, True)]
    assert wide[0] == wide[1]
