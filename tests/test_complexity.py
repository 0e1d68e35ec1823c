"""GigaMACs and parameters: the published numbers, and a hand formula on random layers."""

import random

import pytest
import torch
from torch import nn

from edgeailite.complexity import complexity, layer_macs
from edgeailite.models import create_model, list_models
from tests.networks import by_default_or_slow

NAME = "deeplabv3plus_mobilenetv2_tv_edgeailite"
PUBLISHED = [((384, 768), 19, 3.545358), ((512, 512), 21, 3.161391), ((512, 512), 32, 3.216179)]


def shapes_only(name: str, num_classes: int) -> nn.Module:
    with torch.device("meta"):
        return create_model(name, num_classes)


@pytest.mark.parametrize(("size", "num_classes", "giga_macs"), PUBLISHED)
def test_published_giga_macs(size, num_classes, giga_macs):
    assert complexity(shapes_only(NAME, num_classes), size).giga_macs == pytest.approx(giga_macs, abs=5e-5)


def test_published_parameters():
    assert complexity(shapes_only(NAME, 19), (64, 64)).parameters == 2425024


def hand_macs(layer: nn.Conv2d | nn.ConvTranspose2d, inside: torch.Size, outside: torch.Size) -> int:
    """Products per position: kernel area x channels in x channels out of a group; positions where the kernel is put."""
    positions = inside if isinstance(layer, nn.ConvTranspose2d) else outside
    kernel = layer.kernel_size[0] * layer.kernel_size[1]
    return positions[2] * positions[3] * kernel * layer.in_channels * layer.out_channels // layer.groups


@pytest.mark.parametrize("seed", range(12))
def test_hand_formula_on_random_convolutions(seed):
    choose = random.Random(seed)
    groups = choose.choice([1, 3])
    kind = choose.choice([nn.Conv2d, nn.ConvTranspose2d])
    layer = kind(
        3,
        groups * choose.randint(1, 5),
        (choose.randint(1, 5), choose.randint(1, 5)),
        stride=choose.randint(1, 3),
        padding=choose.randint(0, 2),
        dilation=choose.randint(1, 3),
        groups=groups,
        bias=choose.random() < 0.5,
    )
    x = torch.zeros(1, 3, choose.randint(20, 40), choose.randint(20, 40))
    assert complexity(layer, tuple(x.shape[2:])).macs == hand_macs(layer, x.shape, layer(x).shape)


@pytest.mark.parametrize("bias", [True, False])
def test_linear_layers_count_and_the_rest_does_not(bias):
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(3), nn.Linear(3, 7, bias), nn.ReLU())
    assert complexity(pooled, (32, 32)).macs == 3 * 7


class Difference(nn.Module):
    """Two pictures in, through one shared layer and a weight of its own."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Conv2d(3, 4, 1)
        self.kernel = nn.Parameter(torch.zeros(2, 4, 3, 3))

    def forward(self, first, second):
        return nn.functional.conv2d(self.shared(first) - self.shared(second), self.kernel)


def test_several_inputs_and_layers_of_ones_own():
    model = Difference()
    expected = [("", 8 * 8 * 9 * 4 * 2), ("shared", 2 * 10 * 10 * 3 * 4)]
    assert layer_macs(model, (10, 10), inputs=2) == expected
    assert complexity(model, (10, 10), inputs=2).macs == sum(macs for _, macs in expected)


@pytest.mark.parametrize("name", by_default_or_slow(list_models()))
def test_layers_add_up(name):
    model = shapes_only(name, 19)
    layers = dict(layer_macs(model, (64, 96)))
    assert sum(layers.values()) == complexity(model, (64, 96)).macs
    assert all(isinstance(model.get_submodule(layer), nn.Conv2d) for layer in layers)


def test_the_network_is_left_as_it_was():
    model = create_model(NAME)
    model.encoder.eval()
    modes = [module.training for module in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    complexity(model, (64, 64))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
