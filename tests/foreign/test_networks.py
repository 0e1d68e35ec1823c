"""Whole networks of torchvision and timm: read, equal in float at two sizes, quantized, and exact in integers."""

from __future__ import annotations

import importlib.util
from functools import partial

import pytest
import timm
import torch
import torchvision
from torch import nn

from benchmarks.foreign.table import FAMILIES, NAMES
from benchmarks.foreign_networks import EXPORTERS, attempt
from edgeailite.foreign import read_module
from edgeailite.quantization import calibrate, integer_exact, prepare

SEGMENTATION = {
    "lraspp": torchvision.models.segmentation.lraspp_mobilenet_v3_large,
    "fcn_resnet50": torchvision.models.segmentation.fcn_resnet50,
    "deeplabv3_mobilenet": torchvision.models.segmentation.deeplabv3_mobilenet_v3_large,
}
CLASSIFIERS = {
    "resnet18": torchvision.models.resnet18,
    "mobilenet_v2": torchvision.models.mobilenet_v2,
    "mobilenet_v3_small": torchvision.models.mobilenet_v3_small,
    "efficientnet_b0": torchvision.models.efficientnet_b0,
    "shufflenet_v2": torchvision.models.shufflenet_v2_x0_5,
    "squeezenet": torchvision.models.squeezenet1_1,
}
TIMM = ("mobilenetv4_conv_small", "efficientnet_lite0", "ghostnet_100", "repvgg_a0", "hardcorenas_a")
MAKERS = {
    **{name: partial(make, weights=None, weights_backbone=None, num_classes=5) for name, make in SEGMENTATION.items()},
    **{name: partial(make, weights=None) for name, make in CLASSIFIERS.items()},
    **{name: partial(timm.create_model, name, pretrained=False) for name in TIMM},
}  # fmt: skip
LEAST = 20  # dB of a network with random weights
STEADY = 15  # dB: a code that lies between two steps may fall on either side in float


def made(name: str) -> nn.Module:
    """A network with random weights, and statistics of BatchNorm that are not the initial ones."""
    torch.manual_seed(0)
    module = MAKERS[name]()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
    return module.eval()


def decibels(expected: torch.Tensor, got: torch.Tensor) -> float:
    """Signal to noise."""
    noise = (expected - got).square().mean().clamp(min=1e-20)
    return float(10 * torch.log10(expected.square().mean() / noise))


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
@torch.no_grad()
def test_a_network_is_read_and_quantized(name):
    module = made(name)
    network = read_module(module, torch.randn(1, 3, 64, 96))
    assert set(network.state_dict()) >= {key for key in module.state_dict() if key.endswith("conv.weight")}
    for size in ((64, 96), (97, 65)):
        x = torch.randn(2, 3, *size)
        expected = module(x)
        expected = expected if isinstance(expected, dict) else {"output": expected}
        for output, value in network(x).items():
            assert torch.allclose(value, expected[output], atol=1e-4 * float(expected[output].abs().max())), output
    x = torch.randn(2, 3, 64, 96)
    quantized = prepare(network)
    calibrate(quantized, [(x,)])
    expected, fake, exact = network(x), quantized(x), integer_exact(quantized)(x)
    for output, value in expected.items():
        assert decibels(value, fake[output]) > LEAST
        assert decibels(fake[output], exact[output]) > STEADY


HAS_SMP = importlib.util.find_spec("segmentation_models_pytorch") is not None  # of the extra `bench`


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name in NAMES if HAS_SMP or not name.startswith("smp.")], ids=lambda name: name.replace("/", "-")
)
def test_a_network_of_the_benchmark_is_proven(name):
    """But for what stays in float."""
    row = attempt(name, EXPORTERS[0])
    assert row["outcome"] in ("proven", "proven but for"), row


def test_the_benchmark_has_54_networks_of_four_families():
    assert len(set(NAMES)) == len(NAMES) == 54
    assert {name.partition(".")[0] for name in NAMES} == set(FAMILIES)
