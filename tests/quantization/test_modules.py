"""The training form of a quantized convolution against torch's convolution and BatchNorm one after the other."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeailite.quantization import calibrate, learn_ranges, prepare, set_input_range, set_state
from edgeailite.quantization.grids import ActivationGrid, WeightGrid
from edgeailite.quantization.modules import ActivationQuantizer, ImpliedReLU, QuantConv2d
from edgeailite.quantization.observers import OBSERVERS, Histogram, best_range
from edgeailite.quantization.schemes import SCHEMES
from tests.quantization.tiny import WITH_TIES

SCALE = torch.tensor(0.01)


def pair(*, bias: bool = False, groups: int = 1) -> tuple[nn.Conv2d, nn.BatchNorm2d, QuantConv2d, nn.BatchNorm2d]:
    """A convolution with its BatchNorm, and the same as one quantized convolution with a BatchNorm of its own."""
    torch.manual_seed(0)
    conv, bn = (
        nn.Conv2d(4, 6 if groups == 1 else 4, 3, bias=bias, groups=groups),
        nn.BatchNorm2d(6 if groups == 1 else 4),
    )
    with torch.no_grad():
        bn.weight.uniform_(0.5, 1.5)
        bn.weight[1] *= -1
        bn.bias.uniform_(-1, 1)
        bn.running_mean.uniform_(-1, 1)
        bn.running_var.uniform_(0.2, 3)
    own = copy.deepcopy(bn)
    return conv, bn, QuantConv2d.from_conv(copy.deepcopy(conv), own, WeightGrid(SCHEMES["ort_u8s8"], 8)), own


def tensors(bn: nn.BatchNorm2d) -> list[Tensor]:
    names = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return [getattr(bn, name) for name in names]


@pytest.mark.parametrize("options", [{}, {"bias": True}, {"groups": 4}])
def test_batch_statistics_have_the_values_and_gradients_of_conv_and_batch_norm(options):
    conv, bn, quantized, own = pair(**options)
    quantized.enabled = False
    x = torch.randn(3, 4, 9, 8, requires_grad=True)
    ours_x = x.detach().clone().requires_grad_()
    expected, ours = bn(conv(x)), quantized.train()(ours_x, SCALE, *tensors(own))
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    weight = torch.randn_like(expected)
    (expected * weight).sum().backward()
    (ours * weight).sum().backward()
    pairs = [(ours_x, x), (quantized.weight, conv.weight), (own.weight, bn.weight), (own.bias, bn.bias)]
    for got, wanted in pairs:
        torch.testing.assert_close(got.grad, wanted.grad, rtol=1e-3, atol=2e-3)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        torch.testing.assert_close(getattr(own, name), getattr(bn, name), rtol=1e-4, atol=1e-4)


def test_statistics_are_those_of_the_quantized_weights():
    """What the file multiplies: its bias is made of them, and so takes the mean error of rounding weights off."""
    conv, bn, quantized, own = pair()
    quantized.grid = WeightGrid(SCHEMES["ort_u8s8"], 4)  # coarse, to tell them from the float ones
    x = torch.randn(3, 4, 9, 8) + 1
    factor = (own.weight / (own.running_var + own.eps).sqrt()).detach()
    codes = quantized.integer_parameters(SCALE, *tensors(own))
    weight = codes.weight * codes.weight_scale.view(-1, 1, 1, 1) / factor.view(-1, 1, 1, 1)
    y = F.conv2d(x, weight)
    quantized.train()(x, SCALE, *tensors(own))
    expected = 0.9 * bn.running_mean + 0.1 * y.mean((0, 2, 3))
    torch.testing.assert_close(own.running_mean, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(own.running_var, 0.9 * bn.running_var + 0.1 * y.var((0, 2, 3)), rtol=1e-4, atol=1e-4)
    assert (own.running_mean - 0.9 * bn.running_mean - 0.1 * conv(x).mean((0, 2, 3))).abs().max() > 1e-3


def test_batch_statistics_of_a_batch_norm_with_a_large_epsilon():
    conv, bn, quantized, own = pair()
    bn.eps = own.eps = quantized.bn_eps = 0.1
    quantized.enabled = False
    x = torch.randn(3, 4, 9, 8)
    torch.testing.assert_close(quantized.train()(x, SCALE, *tensors(own)), bn(conv(x)), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(own.running_var, bn.running_var, rtol=1e-4, atol=1e-4)


def test_momentum_is_the_batch_norm_s_and_torch_s_default_where_it_has_none():
    for momentum, expected in ((0.03, 0.03), (None, 0.1)):
        bn = nn.BatchNorm2d(4, eps=0.25, momentum=momentum)
        found = QuantConv2d.from_conv(nn.Conv2d(3, 4, 1), bn, WeightGrid(SCHEMES["ort_u8s8"], 8))
        assert (found.bn_momentum, found.bn_eps) == (expected, 0.25)


def test_fixed_statistics_give_what_evaluation_gives():
    _, _, quantized, own = pair()
    x = torch.randn(3, 4, 9, 8)
    quantized.frozen_bn = True
    trained = quantized.train()(x, SCALE, *tensors(own))
    assert torch.equal(trained, quantized.eval()(x, SCALE, *tensors(own)))


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_relu_that_codes_imply_changes_nothing_where_it_is_left_out(scheme, learned):
    """Equal values, gradients and observed ranges, also of a pooling that shares the scale, and with quantizers off."""
    torch.manual_seed(0)
    block = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 2, 1))
    x = torch.rand(2, 3, 12, 12)
    model = prepare(block, scheme)
    set_input_range(model, 0.0, 1.0)
    calibrate(model, [x])
    if learned:
        learn_ranges(model)
    assert isinstance(model.get_submodule("2"), ImpliedReLU) == (not SCHEMES[scheme].signed)
    plain = copy.deepcopy(model)
    plain.set_submodule("2", nn.ReLU())
    for quantizer in plain.ranges.children():
        quantizer.behind_relu = False
    for enabled in (True, False):
        for network in (model, plain):
            set_state(network.train(), observing=True, enabled=enabled)
            network.zero_grad()
        ours, expected = model(x), plain(x)
        assert torch.equal(ours, expected)
        ours.square().sum().backward()
        expected.square().sum().backward()
        for (name, got), wanted in zip(model.named_parameters(), plain.parameters(), strict=True):
            if got.grad is not None or wanted.grad is not None:
                torch.testing.assert_close(got.grad, wanted.grad, rtol=1e-5, atol=1e-6, msg=name)
        for name, value in plain.state_dict().items():
            torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-6, atol=0)


# --- written out in numpy


@pytest.mark.parametrize("sites", [[True], [False], [True, False]])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_fake_quantization_and_its_gradient_are_the_ones_written_out(scheme, sites):
    grid = ActivationGrid(SCHEMES[scheme])
    quantizer = ActivationQuantizer(grid, sites, percentile=100.0)
    quantizer.set_range(0.0 if all(sites) else -1.3, 2.9)
    scale, zero = quantizer.scale.numpy(), int(quantizer.zero_point)
    codes = (np.arange(-300, 600) / 2).astype(np.float32)  # halves, and codes outside
    x = torch.from_numpy(codes * scale).requires_grad_()
    steps = x.detach().numpy() * (1 / scale)
    rounded = np.floor(steps + np.float32(0.5)) if scheme == "tidl_pow2" else np.rint(steps)
    y = quantizer(x.view(1, 1, 1, -1), 0)
    expected = np.clip(rounded, grid.low - zero, grid.high - zero) * scale
    np.testing.assert_array_equal(y.detach().numpy().ravel(), expected)
    y.sum().backward()
    inside = (steps > grid.low - zero - 0.49) & (steps < grid.high - zero + 0.49)
    outside = (steps < grid.low - zero - 0.51) | (steps > grid.high - zero + 0.51)
    assert (x.grad.numpy()[inside] == 1).all()
    assert (x.grad.numpy()[outside] == 0).all()


def test_a_tensor_between_sites_is_quantized_and_not_observed():
    """Site -1: a resize or a pooling, whose range is that of its input; and what is fixed stays."""
    quantizer = ActivationQuantizer(ActivationGrid(SCHEMES["ort_u8s8"]), [False, True], percentile=100.0).train()
    quantizer.observing = True
    wide, narrow = torch.linspace(-1, 2, 90).view(1, 1, 9, 10), torch.linspace(-3, 5, 90).view(1, 1, 9, 10)
    quantizer(wide, 0)
    assert (quantizer.low.tolist(), quantizer.high.tolist(), quantizer.count.tolist()) == ([-1, 0], [2, 0], [1, 0])
    quantizer(narrow, 1)
    assert (quantizer.low.tolist(), quantizer.high.tolist(), quantizer.count.tolist()) == ([-1, 0], [2, 5], [1, 1])
    assert quantizer.scale.item() == pytest.approx(6 / 255)
    before = copy.deepcopy(quantizer.state_dict())
    quantizer(9 * wide, -1)
    quantizer.eval()(9 * wide, 0)
    quantizer.train().set_range(-1.0, 5.0)
    quantizer(9 * wide, 0)
    assert all(torch.equal(before[name], value) for name, value in quantizer.state_dict().items() if name == "count")
    assert quantizer.scale.item() == pytest.approx(6 / 255)
    assert (quantizer.low.tolist(), quantizer.high.tolist()) == ([-1, -1], [5, 5])


def test_ranges_are_running_means_whose_newest_batch_counts_at_least_a_fiftieth():
    quantizer = ActivationQuantizer(ActivationGrid(SCHEMES["ort_u8s8"]), [False], percentile=100.0).train()
    low = high = 0.0
    for update in range(1, 121):
        ends = (-1.0 - update % 3, 2.0 + update % 5)
        quantizer.observe(torch.linspace(*ends, 90).view(1, 1, 9, 10), 0)
        rate = max(1 / update, 0.02)
        low, high = low + rate * (ends[0] - low), high + rate * (ends[1] - high)
        assert quantizer.low.item() == pytest.approx(low, rel=1e-4)
        assert quantizer.high.item() == pytest.approx(high, rel=1e-4)
    assert quantizer.count.item() == 120


def test_a_union_of_ranges_holds_every_batch():
    grid = ActivationGrid(SCHEMES["ort_u8s8"])
    quantizer = ActivationQuantizer(grid, [False], percentile=100.0, observer="minmax").train()
    for low, high in ((-1.0, 1.0), (-0.5, 3.0), (-4.0, 0.5), (-0.1, 0.1)):
        quantizer.observe(torch.linspace(low, high, 90).view(1, 1, 9, 10), 0)
    assert (quantizer.low.item(), quantizer.high.item()) == (-4.0, 3.0)


@pytest.mark.parametrize(("sites", "lows"), [([False, False], [-1.0, -0.2]), ([True, False], [0.0, -1.0])])
def test_a_learned_range_begins_as_the_union_of_its_sites(sites, lows):
    quantizer = ActivationQuantizer(ActivationGrid(SCHEMES["ort_u8s8"]), sites, percentile=100.0)
    quantizer.low.copy_(torch.tensor(lows))
    quantizer.high.copy_(torch.tensor([0.5, 3.0]))
    quantizer.learn()
    assert (quantizer.scale.item(), quantizer.zero_point.item()) == (pytest.approx(4 / 255), 64)


@pytest.mark.parametrize("observer", ["mse", "entropy"])
def test_a_search_ends_calibration_for_all_sites_but_not_for_what_is_fixed(observer):
    grid, sites = ActivationGrid(SCHEMES["ort_u8s8"]), [False, True]
    quantizer = ActivationQuantizer(grid, sites, percentile=100.0, observer=observer).train()
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(1, 2, 60, 60, generator=generator) ** 5, torch.randn(1, 2, 60, 60, generator=generator).relu()]
    for site, part in enumerate(parts):
        quantizer.observe(part, site)
    fixed = copy.deepcopy(quantizer)
    fixed.set_range(-1.0, 1.0)
    histograms = [Histogram(), Histogram()]
    for histogram, part in zip(histograms, parts, strict=True):
        histogram.add(part)
    low, high = best_range(OBSERVERS[observer].measure, histograms, grid.reach)
    quantizer.low.fill_(-1e4)
    quantizer.high.fill_(1e4)
    quantizer.settle()
    assert quantizer.low.tolist() == [pytest.approx(low), 0]
    assert quantizer.high.tolist() == [pytest.approx(high)] * 2
    assert quantizer.scale.item() == pytest.approx((high - low) / 255)
    assert quantizer.observer == OBSERVERS[observer].then
    assert not any(histogram.width for histogram in quantizer.histograms)
    fixed.settle()
    assert (fixed.low.tolist(), fixed.high.tolist()) == ([-1, -1], [1, 1])


FORMS = {
    "BatchNorm": {},
    "bias and BatchNorm": {"bias": True},
    "groups": {"groups": 4},
    "geometry": {"stride": (2, 1), "padding": (0, 2), "dilation": (1, 2)},
}


def numbers(
    scheme: str, form: dict[str, Any], *, plain: bool
) -> tuple[QuantConv2d, list[Tensor], np.ndarray, np.ndarray]:
    """A quantized convolution, its BatchNorm's tensors, and the folded weight and bias in float64."""
    torch.manual_seed(1)
    conv, bn = nn.Conv2d(4, 8, 3, **({"bias": False} | form)), nn.BatchNorm2d(8, eps=0.01)
    with torch.no_grad():
        for values, low, high in (
            (bn.weight, 0.5, 1.5),
            (bn.bias, -1, 1),
            (bn.running_mean, -1, 1),
            (bn.running_var, 0.1, 3),
        ):
            values.uniform_(low, high)
        bn.weight[1] *= -1
        if conv.bias is not None:
            conv.bias.uniform_(-2, 2)
    weight = conv.weight.detach().double().numpy()
    bias = np.zeros(8) if conv.bias is None else conv.bias.detach().double().numpy()
    quantized = QuantConv2d.from_conv(
        conv, None if plain else bn, WeightGrid(SCHEMES[scheme], SCHEMES[scheme].weight_bits)
    )
    if plain:
        return quantized.eval(), [], weight, bias
    factor = bn.weight.detach().double().numpy() / np.sqrt(bn.running_var.double().numpy() + 0.01)
    bias = bn.bias.detach().double().numpy() + (bias - bn.running_mean.double().numpy()) * factor
    return quantized.eval(), tensors(bn), weight * factor.reshape(-1, 1, 1, 1), bias


@pytest.mark.parametrize("plain", [False, True], ids=["folded", "alone"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scheme", WITH_TIES)
def test_codes_are_the_folded_weight_and_bias_and_training_computes_with_them(scheme, form, plain):
    """The float network is the reference: of the weight within half a step, of the bias within half of its own."""
    quantized, bn, weight, bias = numbers(scheme, FORMS[form], plain=plain)
    found = quantized.integer_parameters(SCALE, *bn)
    assert (found.weight.dtype, found.bias.dtype) == (torch.int8, torch.int32)
    scale = found.weight_scale.double().numpy()
    assert scale.shape == ((8,) if SCHEMES[scheme].per_channel else ())
    np.testing.assert_array_equal(found.bias_scale.numpy(), SCALE.numpy() * found.weight_scale.numpy())
    values = found.weight.double().numpy() * scale.reshape(-1, 1, 1, 1)
    clipped = scheme == "tidl_pow2"  # its largest code may end one step early
    steps = np.broadcast_to(scale.reshape(-1, 1, 1, 1), weight.shape)
    assert (np.abs(values - weight) <= (1.0 if clipped else 0.5001) * steps).all()
    biases = found.bias.double().numpy() * found.bias_scale.double().numpy()
    own_step = 2.0 ** np.ceil(np.log2(max(np.abs(bias).max(), 1e-9))) / 128 if clipped else 0.0
    assert (np.abs(biases - bias) <= 0.51 * found.bias_scale.numpy() + own_step + 1e-7).all()
    if clipped and bias.any():
        assert (np.abs(biases / own_step - np.rint(biases / own_step)) < 0.01).all()
    x = torch.randn(2, 4, 9, 8)
    geometry = (quantized.stride, quantized.padding, quantized.dilation, quantized.groups)
    expected = F.conv2d(x.double(), torch.from_numpy(values), torch.from_numpy(biases), *geometry)
    torch.testing.assert_close(quantized(x, SCALE, *bn).double(), expected, rtol=1e-5, atol=1e-5)
    quantized.enabled = False
    expected = F.conv2d(x.double(), torch.from_numpy(weight), torch.from_numpy(bias), *geometry)
    torch.testing.assert_close(quantized(x, SCALE, *bn).double(), expected, rtol=1e-5, atol=1e-5)


def test_bias_codes_are_the_nearest_whole_numbers_and_halves_even():
    """Divided in float64: in float32 a code of 2^27 would be off by several."""
    scale = torch.tensor([0.25, 0.25, 0.25, 1e-7, 1e-7])
    bias = torch.tensor([0.625, -0.625, 0.2, 13.0, -7.0])
    expected = np.rint(bias.double().numpy() / scale.double().numpy())
    conv = QuantConv2d.from_conv(nn.Conv2d(1, 5, 1), None, WeightGrid(SCHEMES["ort_u8s8"], 8))
    assert conv._bias_codes(bias, scale).tolist() == expected.tolist() == [2, -2, 1, *expected[3:]]
    assert np.rint(bias.numpy() / scale.numpy()).tolist() != expected.tolist()


@pytest.mark.parametrize("bias", [5.0, -5.0])
@pytest.mark.parametrize("scheme", WITH_TIES)
def test_the_bias_of_a_dead_channel_fits_32_bits_and_keeps_its_value(scheme, bias):
    conv = nn.Conv2d(3, 4, 1)
    with torch.no_grad():
        conv.weight.zero_()
        conv.bias.copy_(torch.tensor([bias, 0.5, 0.0, -0.25]))
    found = QuantConv2d.from_conv(conv, None, WeightGrid(SCHEMES[scheme], 8)).integer_parameters(SCALE)
    assert found.bias.long().abs().max() <= 2**30
    torch.testing.assert_close(found.bias * found.bias_scale, conv.bias.detach(), rtol=1e-6, atol=0.04)
    if SCHEMES[scheme].power_of_two:
        assert torch.frexp(found.weight_scale).mantissa == 0.5


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_with_16_bits_the_bias_stays_as_it_is(bits):
    conv = nn.Conv2d(3, 4, 1)
    quantized = QuantConv2d.from_conv(conv, None, WeightGrid(SCHEMES["ort_u8s8"], bits)).eval()
    found = quantized.integer_parameters(SCALE)
    assert quantized.integer == (bits < 16)
    assert found.weight.dtype == (torch.int16 if bits == 16 else torch.int8)
    assert found.bias.dtype == (torch.float32 if bits == 16 else torch.int32)
    values = found.bias if bits == 16 else found.bias * found.bias_scale
    x = torch.randn(1, 3, 4, 4)
    expected = F.conv2d(x, found.weight * found.weight_scale.view(-1, 1, 1, 1), values)
    torch.testing.assert_close(quantized(x, SCALE), expected, rtol=1e-5, atol=1e-6)
    if bits == 16:
        assert torch.equal(found.bias, conv.bias)
