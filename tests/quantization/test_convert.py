"""What `convert` bakes: ends of codes, activations that codes imply, forms; tests/export/test_everything.py runs it."""

from __future__ import annotations

import importlib
import itertools

import numpy as np
import pytest
import torch
from torch import fx, nn

from edgeailite.quantization import calibrate, convert, prepare, set_input_range
from edgeailite.quantization.convert import CodePool, Form, IntegerConv, IntegerHardswish, Quantize
from edgeailite.quantization.grids import WeightGrid
from edgeailite.quantization.modules import QuantConv2d
from edgeailite.quantization.pooling import region_sums
from edgeailite.quantization.schemes import SCHEMES, Plan
from tests.quantization.tiny import quantized, tiny

module_of_convert = importlib.import_module(
    "edgeailite.quantization.convert"
)  # the package has a function of that name
KINDS = {torch.uint8: (0, 255), torch.int8: (-128, 127), torch.uint16: (0, 65535), torch.int16: (-32768, 32767)}


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_codes_and_values_of_their_ends(kind):
    zero_point = sum(KINDS[kind]) // 3
    pair = Quantize(torch.tensor(0.25), torch.tensor(zero_point, dtype=kind), opset=21)
    assert pair.codes() == KINDS[kind]
    assert pair.bounds() == tuple((code - zero_point) * 0.25 for code in KINDS[kind])
    assert pair.wide() == (KINDS[kind][1] > 255)


# --- activations behind a convolution


def converted(activation: nn.Module, low: float, high: float, *, form: Form = Form()) -> list[str]:  # noqa: B008
    """Kinds of modules from the convolution on, of a network whose result has this range."""
    block = nn.Sequential(nn.Conv2d(3, 4, 1), activation)
    model = prepare(block, percentile=100.0)
    set_input_range(model, 0.0, 1.0)
    calibrate(model, [torch.rand(1, 3, 4, 4)])
    quantizer = model.ranges.get_submodule("1")
    quantizer.low.fill_(low)
    quantizer.high.fill_(high)
    quantizer.update_scale()
    graph = convert(model, form=form)
    called = [graph.get_submodule(str(node.target)) for node in graph.graph.nodes if node.op == "call_module"]
    return [type(module).__name__.removeprefix("Implied") for module in called][1:]


DROPPED, KEPT = ["IntegerConv", "Quantize"], ["IntegerConv", "ReLU", "Quantize"]


@pytest.mark.parametrize(
    ("activation", "low", "high", "expected"),
    [
        (nn.ReLU6(), 0.0, 6.0, DROPPED),
        (nn.ReLU6(), 0.0, 6.00001, DROPPED),  # a thousandth of a step is rounding of the scale
        (nn.ReLU6(), 0.0, 2.5, DROPPED),
        (nn.ReLU6(), 0.0, 6.5, ["IntegerConv", "Quantize", "ReLU6", "Quantize"]),
        (nn.ReLU6(), 0.0, 6.01, ["IntegerConv", "Quantize", "ReLU6", "Quantize"]),
        (nn.ReLU6(), -1.0, 4.0, ["IntegerConv", "Quantize", "ReLU6", "Quantize"]),
        (nn.ReLU(), 0.0, 9.0, KEPT),
        (nn.ReLU(), -1.0, 9.0, ["IntegerConv", "Quantize", "ReLU", "Quantize"]),
        (nn.Hardtanh(-1.0, 1.55), -1.0, 1.55, DROPPED),
        (nn.Hardtanh(-1.0, 1.55), -0.5, 1.05, DROPPED),
        (nn.Hardtanh(-1.0, 1.55), -0.5, 2.05, ["IntegerConv", "Quantize", "Hardtanh", "Quantize"]),
        (nn.Hardtanh(-1.0, 1.55), -1.5, 1.05, ["IntegerConv", "Quantize", "Hardtanh", "Quantize"]),
    ],
)
def test_an_activation_goes_where_codes_clamp_as_it_does(activation, low, high, expected):
    assert converted(activation, low, high) == expected
    if len(expected) == 4:
        assert converted(activation, low, high, form=Form(activation_first=True)) == [expected[0], *expected[2:]]


# --- hard-swish


@pytest.mark.parametrize("kind", [torch.uint8, torch.int8], ids=str)
@pytest.mark.parametrize(("low", "high", "noise"), [(0.2, 1, 1.2), (1, 3, 1.3), (3, 6, 1.2), (6, 40, 1.1)])
def test_a_gate_of_codes_is_a_hard_sigmoid(kind, low, high, noise):
    """By float64 arithmetic: a step at most from the exact function, no shift, little more noise than rounding has."""
    rng = np.random.default_rng(0)
    squares, exact_squares, shifts = [], [], []
    for _ in range(100):
        largest = rng.uniform(low, high)
        least = -largest * rng.uniform(0.3, 1.5)
        scale, first = np.float32((largest - least) / 255), KINDS[kind][0]
        zero = int(np.rint(-least / scale)) + first
        source = Quantize(torch.tensor(scale), torch.tensor(zero, dtype=kind), opset=21)
        values = (np.arange(first, first + 256, dtype=np.float32) - zero) * scale
        module = IntegerHardswish(source)
        exact = values.astype(np.float64) * np.clip(values.astype(np.float64) / 6 + 0.5, 0, 1)
        found = values * module.gate(torch.from_numpy(values)).double().numpy() * float(module.scale)
        step = (exact.max() - exact.min()) / 255
        codes, exact_codes = np.rint(found / step), np.rint(exact / step)
        assert np.abs(codes - exact_codes).max() <= 1
        shifts.append((found - exact).mean() / step)
        squares.append(np.square(codes - exact / step).mean())
        exact_squares.append(np.square(exact_codes - exact / step).mean())
    assert np.abs(shifts).max() < 0.1
    assert np.mean(squares) < noise * np.mean(exact_squares)


def swished(*, plan: Plan | None = None, form: Form = Form(), last: nn.Module | None = None) -> list[str]:  # noqa: B008
    """Kinds of modules behind the first convolution."""
    block = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Hardswish(), last or nn.Identity(), nn.Conv2d(4, 4, 1))
    model = prepare(block, plan=plan or Plan())
    calibrate(model, [torch.rand(1, 3, 4, 4)])
    return [type(module).__name__ for module in convert(model, form=form).children()]


def test_a_hard_swish_of_8_bits_becomes_integer_kernels():
    assert "IntegerHardswish" in swished()
    assert "IntegerHardswish" in swished(last=nn.ReLU())
    assert "IntegerHardswish" in swished(last=nn.Hardtanh(0.0, 0.1))
    for plan in (Plan(activations={"0": 16}), Plan(activations={"1": 16})):
        assert "Hardswish" in swished(plan=plan)
    assert "Hardswish" in swished(plan=Plan(activations={"2": 16}), last=nn.ReLU())
    assert "Hardswish" in swished(form=Form(signed=True))


# --- forms


def pairs(graph: fx.GraphModule) -> dict[str, Quantize]:
    return {name: module for name, module in graph.named_modules() if isinstance(module, Quantize)}


def test_signed_codes_are_those_of_the_middle_and_no_others():
    """Same scales, same values; codes and zero point 128 lower where that is 0 then."""
    model = quantized(tiny(), "tidl_pow2")
    plain, signed = pairs(convert(model)), pairs(convert(model, form=Form(signed=True)))
    assert {int(pair.zero_point) for pair in plain.values()} == {0, 128}
    for name, pair in plain.items():
        other = signed[name]
        assert other.scale == pair.scale
        middle = int(pair.zero_point) == 128
        assert (int(other.zero_point), other.zero_point.dtype) == (0, torch.int8 if middle else torch.uint8), name
        assert other.bounds() == pair.bounds()
    affine = quantized(tiny())
    plain, signed = pairs(convert(affine)), pairs(convert(affine, form=Form(signed=True)))
    others = [name for name, pair in plain.items() if int(pair.zero_point) != 128]
    assert len(others) > 3
    assert all(signed[name].zero_point.dtype == torch.uint8 for name in others)


def test_biases_are_floats_on_their_grid_where_a_form_wants_them():
    model = quantized(tiny())
    plain, floats = convert(model), convert(model, form=Form(float_bias=True))
    convolutions = [(name, module) for name, module in plain.named_modules() if isinstance(module, IntegerConv)]
    assert len(convolutions) == 5
    for name, module in convolutions:
        other = floats.get_submodule(name)
        assert module.integer
        assert not other.integer
        assert module.bias.dtype == torch.int32
        assert torch.equal(other.bias, module.bias * module.bias_scale)
        for mine, its in itertools.zip_longest(module.values(), other.values()):
            torch.testing.assert_close(mine, its, rtol=0, atol=0)


@pytest.mark.parametrize("scheme", ["ort_u8s8", "tidl_pow2"])
def test_values_of_a_convolution_are_its_codes_times_its_scales(scheme):
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 6, (3, 5), (2, 1), (0, 2), (1, 2), 2)
    quantized = QuantConv2d.from_conv(conv, None, WeightGrid(SCHEMES[scheme], 8))
    parameters = quantized.integer_parameters(torch.tensor(0.02))
    module = IntegerConv(quantized, parameters)
    assert module.geometry == ((2, 1), (0, 2), (1, 2), 2)
    weight, bias = module.values()
    steps = parameters.weight_scale.view(-1, 1, 1, 1)
    assert torch.equal(weight, parameters.weight.float() * steps)
    assert torch.equal(bias, parameters.bias.float() * parameters.bias_scale)
    assert not module.weight_zero_point.any()
    assert not module.bias_zero_point.any()
    assert (module.weight_zero_point.dtype, module.bias_zero_point.dtype) == (torch.int8, torch.int32)
    assert torch.equal(module.bias_scale, parameters.weight_scale * torch.tensor(0.02))


def test_a_pooling_reads_codes_with_the_zero_point_and_the_scale_of_its_input():
    block = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d((2, 3)), nn.Conv2d(4, 2, 1))
    model = prepare(block, percentile=100.0)
    set_input_range(model, -1.0, 1.0)
    calibrate(model, [2 * torch.rand(1, 3, 8, 8) - 1])
    graph = convert(model)
    pool, source = graph.get_submodule("1"), model.ranges.get_submodule("0")
    assert isinstance(pool, CodePool)
    assert pool.output_size == (2, 3)
    assert (pool.scale, pool.one, pool.zero_point) == (source.scale, 1.0, source.zero_point)
    assert source.zero_point != 0


@pytest.mark.parametrize("size", [(1, 1), (2, 3)])
def test_the_file_s_pooling_multiplies_sums_by_one_factor_as_the_integer_one_does(size, monkeypatch):
    """In float32, (sum x scale) / area has other bits than sum x (scale / area)."""
    pair = Quantize(torch.tensor(0.0371), torch.tensor(91, dtype=torch.uint8), opset=21)
    monkeypatch.setattr(
        module_of_convert, "dequantize_linear", lambda x, scale, zero, opset: (x - zero.float()) * scale
    )
    codes = torch.randint(0, 256, (2, 8, 13, 10), generator=torch.Generator().manual_seed(0)).float()
    pool = CodePool(size, pair)
    sums, areas = region_sums(codes - 91, size)
    assert torch.equal(pool(codes), sums * (pair.scale / areas))
    assert not torch.equal(pool(codes), sums * pair.scale / areas)
