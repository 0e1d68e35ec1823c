"""GigaMACs and parameters: the published numbers, and a hand formula on random layers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgeailite.cost import complexity, layer_macs, torch_layers
from edgeailite.models import create_model, list_models
from edgeailite.models.fusing import fuse
from edgeailite.models.shapes_only import shapes_only
from tests.networks import by_default_or_slow

NAME = "deeplabv3plus_mobilenetv2_tv_edgeailite"
PUBLISHED = [((384, 768), 19, 3.545358), ((512, 512), 21, 3.161391), ((512, 512), 32, 3.216179)]


def on_meta(name: str, num_classes: int) -> nn.Module:
    with shapes_only():
        return create_model(name, num_classes)


@pytest.mark.parametrize(("size", "num_classes", "giga_macs"), PUBLISHED)
def test_published_giga_macs(size, num_classes, giga_macs):
    assert complexity(on_meta(NAME, num_classes), size).giga_macs == pytest.approx(giga_macs, abs=5e-5)


def test_published_parameters():
    assert complexity(on_meta(NAME, 19), (64, 64)).parameters == 2425024


def hand_macs(layer: nn.Conv2d | nn.ConvTranspose2d, inside: torch.Size, outside: torch.Size) -> int:
    """Products per position: kernel area x channels in x channels out of a group; positions where the kernel is put."""
    positions = inside if isinstance(layer, nn.ConvTranspose2d) else outside
    kernel = layer.kernel_size[0] * layer.kernel_size[1]
    return positions[2] * positions[3] * kernel * layer.in_channels * layer.out_channels // layer.groups


@st.composite
def convolutions(draw) -> tuple[nn.Conv2d | nn.ConvTranspose2d, tuple[int, int]]:
    """A layer on three channels and a picture (height, width) for it."""
    kind, groups = draw(st.sampled_from([nn.Conv2d, nn.ConvTranspose2d])), draw(st.sampled_from([1, 3]))
    small = st.integers(1, 4)
    layer = kind(
        3,
        groups * draw(small),
        (draw(small), draw(small)),
        stride=(draw(small), draw(small)),
        padding=draw(st.integers(0, 2)),
        dilation=draw(st.integers(1, 3)),
        groups=groups,
        bias=draw(st.booleans()),
    )
    return layer, (draw(st.integers(20, 40)), draw(st.integers(20, 40)))


@settings(max_examples=60, deadline=None)
@given(convolutions())
def test_hand_formula_on_random_convolutions(case):
    layer, height_width = case
    x = torch.zeros(1, 3, *height_width)
    [counted] = torch_layers(layer, height_width)
    assert complexity(layer, height_width).macs == counted.macs == hand_macs(layer, x.shape, layer(x).shape)
    assert counted.output_shape == layer(x).shape
    assert counted.parameters == sum(p.numel() for p in layer.parameters())
    assert counted.bytes_read == 4 * (x.numel() + counted.parameters)
    assert counted.bytes_written == 4 * layer(x).numel()


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


def flop_counter_macs(model: nn.Module, height_width: tuple[int, int]) -> int:
    """Half of what torch's own counter says of convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.empty(1, 3, *height_width, device="meta"))
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("name", by_default_or_slow(list_models()))
def test_torch_counts_the_same_and_layers_add_up(name):
    model = on_meta(name, 19)
    macs = complexity(model, (64, 96)).macs
    fused = fuse(model)  # as in the file
    assert macs == flop_counter_macs(fused, (64, 96))
    layers = dict(layer_macs(model, (64, 96)))
    assert sum(layers.values()) == macs
    assert all(isinstance(fused.get_submodule(layer), nn.Conv2d) for layer in layers)


def test_the_network_is_left_as_it_was():
    model = create_model(NAME)
    model.encoder.eval()
    modes = [module.training for module in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    complexity(model, (64, 64))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
