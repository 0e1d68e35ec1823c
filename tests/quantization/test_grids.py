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
)
from edgeailite.quantization.schemes import SCHEMES


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
