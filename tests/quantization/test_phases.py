"""Phases of an enlarging convolution: their results, put in order, are those of the convolution as it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from edgeailite.quantization import calibrate, convert, integer_exact, prepare, set_input_range
from edgeailite.quantization.convert import IntegerConv
from edgeailite.quantization.enlarge import convolve_resizes
from edgeailite.quantization.enlarge_codes import EnlargeCodes
from edgeailite.quantization.lowering import lower
from edgeailite.quantization.phases import LARGEST_WEIGHT, MOST_PHASES, fold, phase_convolutions
from edgeailite.quantization.tflite_rules import RULES, run_program
from edgeailite.quantization.tie_free import WEIGHT_STEP, taps
from tests.quantization.test_enlarge import enlarging
from tests.quantization.tiny import pixels
from tests.tflite_schema import check_everywhere, int8_codes


@pytest.mark.parametrize("step", [1, WEIGHT_STEP])
@pytest.mark.parametrize("factor", [2, 4, 6, 8, 10, 12, 14, 16, 32])
def test_phases_in_order_are_the_convolution(factor, step):
    weight = torch.outer(taps(factor), taps(factor)).to(torch.int8)[None].repeat(3, 1, 1) * step
    repeats, weights = fold(weight.numpy(), factor)
    count = factor // repeats
    assert weights.shape == (count, count, 3, repeats + 1, repeats + 1)
    assert np.abs(weights).max() <= LARGEST_WEIGHT and count <= MOST_PHASES
    codes = torch.randint(-128, 128, (1, 3, 4, 5), generator=torch.Generator().manual_seed(0)).double()
    expected = F.conv2d(EnlargeCodes(factor)(codes), weight[:, None].double(), groups=3)
    few = F.pad(codes, (1, 1, 1, 1), mode="replicate").repeat_interleave(repeats, 2).repeat_interleave(repeats, 3)
    found = torch.empty(1, 3, 5 * factor, 6 * factor, dtype=torch.float64)
    for row in range(count):
        for column in range(count):
            part = torch.from_numpy(weights[row, column])[:, None].double()
            found[:, :, row::count, column::count] = F.conv2d(few, part, groups=3)
    half = factor // 2
    assert torch.equal(found[:, :, half:-half, half:-half], expected)


def test_random_weights_are_folded_too():
    weight = np.random.default_rng(0).integers(-9, 10, (2, 9, 9)).astype(np.int8)
    _, weights = fold(weight, 8)
    assert all(int(part.sum()) == int(weight.astype(int).sum()) for part in weights.sum(2, dtype=int).reshape(16, -1))


@pytest.mark.parametrize("scheme", ["ort_u8s8", "portable"])
def test_each_part_has_the_scale_and_bias_of_the_whole(scheme):
    model = prepare(enlarging(4), scheme, percentile=100.0)
    set_input_range(model, -2.0, 127 / 64)
    calibrate(model, pixels(seed=1))
    convolved = convolve_resizes(convert(model.eval()), (24, 32))
    (whole,) = (m for m in convolved.modules() if isinstance(m, IntegerConv) and m.weight.shape[-1] == 5)
    repeats, parts = phase_convolutions(whole, 4)
    assert (repeats, len(parts)) == ((1, 4) if scheme == "ort_u8s8" else (2, 2))
    for part in parts:
        assert part.weight.shape == (len(parts) * 4, 1, repeats + 1, repeats + 1)
        assert set(part.weight_scale.reshape(-1).tolist()) == set(whole.weight_scale.reshape(-1).tolist())
        assert set(part.bias.tolist()) == set(whole.bias.tolist())
        assert int(part.weight.to(int).sum((1, 2, 3))[0]) == int(whole.weight.to(int).sum((1, 2, 3))[0])


@pytest.mark.parametrize("factor", [4, 8])
def test_a_scheme_without_ties_stays_without(factor):
    """Its weights are four times as large, so codes are repeated more often."""
    pytest.importorskip("ai_edge_litert")
    model = prepare(enlarging(factor), "portable", percentile=100.0)
    set_input_range(model, -2.0, 127 / 64)
    calibrate(model, pixels(seed=1))
    program, (image,) = lower(convert(model.eval()), (24, 32)), pixels(1, seed=5)[0]
    assert sum(op.kind == "RESHAPE" for op in program.operators) == 1
    codes = int8_codes(program, image)
    check_everywhere(program, codes)
    expected = integer_exact(model)(image)["segmentation"].permute(0, 2, 3, 1).numpy()
    for arithmetic in RULES:
        np.testing.assert_array_equal(run_program(program, codes, arithmetic)["segmentation"], expected)
