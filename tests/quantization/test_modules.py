"""The training form of a quantized convolution against torch's convolution and BatchNorm one after the other."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeailite.quantization import calibrate, learn_ranges, prepare, set_input_range, set_state
from edgeailite.quantization.grids import WeightGrid
from edgeailite.quantization.modules import ImpliedReLU, QuantConv2d
from edgeailite.quantization.schemes import SCHEMES

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
