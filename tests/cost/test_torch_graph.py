"""Layers as torch executes them, and memory as torch holds it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgeailite.cost import torch_cost, torch_layers
from edgeailite.models import create_model
from tests.cost.profiled import profiled_peak

SIZE = (128, 256)
PROFILED = [
    "deeplabv3plus_mobilenetv2_tv_edgeailite",
    "unet_aspp_mobilenetv2_tv_edgeailite",
    "fpn_aspp_regnetx400mf_edgeailite",
    "deeplabv3plus_resnet50_p5_edgeailite",
    "resnet18dilated_ppm_deepsup",
    "mobilenetv2dilated_c1_deepsup",
    pytest.param("resnet50_upernet", marks=pytest.mark.slow),
    pytest.param("hrnetv2_c1", marks=pytest.mark.slow),
    pytest.param("v1_vgg16_dilated8_c1_bilinear", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("name", PROFILED)
def test_peak_memory_is_what_the_profiler_sees(name):
    model = create_model(name)
    measured = profiled_peak(model, torch.zeros(1, 3, *SIZE))
    assert torch_cost(model, SIZE).peak_bytes == pytest.approx(measured, rel=0.01)


class Residual(nn.Module):
    """x + f(x), with activations in place or not."""

    def __init__(self, *, inplace: bool):
        super().__init__()
        self.conv, self.bn, self.act = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(inplace)

    def forward(self, x):
        kept = self.act(self.bn(self.conv(x)))
        return F.interpolate(x + kept, scale_factor=2, mode="bilinear")


@pytest.mark.parametrize("inplace", [True, False])
def test_memory_layer_by_layer(inplace):
    picture = 4 * 3 * 8 * 8
    # conv: x and its result; BatchNorm: one more; then only its result stays, and a ReLU of its own makes another;
    # `kept` is held while the sum and the picture of twice the size are made
    expected = (2, 3, 2 if inplace else 3, 3, 7)
    cost = torch_cost(Residual(inplace=inplace), (8, 8))
    assert cost.memory == tuple(picture * count for count in expected)
    assert cost.peak_bytes == profiled_peak(Residual(inplace=inplace), torch.zeros(1, 3, 8, 8))


def test_layers_of_a_small_network():
    cost = torch_cost(Residual(inplace=True), (8, 8))
    elements = 3 * 8 * 8
    told = [
        (layer.name, layer.operator, layer.macs, layer.parameters, layer.element_operations) for layer in cost.layers
    ]
    assert told == [
        ("conv", "convolution", 81 * 64, 84, elements),  # the bias
        ("bn", "batch_norm", 0, 6, 2 * elements),
        ("act", "relu", 0, 0, elements),
        ("add", "add", 0, 0, elements),
        ("interpolate", "resize", 0, 0, 7 * 4 * elements),
    ]
    conv, bn, act, add, _ = cost.layers
    assert act.inputs[0].name == act.outputs[0].name == bn.outputs[0].name
    assert [value.name for value in add.inputs] == ["image", "bn"]
    assert (bn.weight_bytes, cost.weight_bytes) == (4 * 12, 4 * (84 + 12))  # with running statistics
    assert conv.intensity == pytest.approx((2 * 81 * 64 + elements) / (4 * (elements + 84 + elements)))
    assert cost.element_operations == sum(layer.element_operations for layer in cost.layers)
    assert cost.bytes_moved == sum(layer.bytes_read + layer.bytes_written for layer in cost.layers)


class Others(nn.Module):
    """What the networks of the project do not use alike: pooling, a linear layer, a chunk, a product of two results."""

    def __init__(self):
        super().__init__()
        self.pool, self.linear = nn.MaxPool2d(2), nn.Linear(3, 5)

    def forward(self, x):
        first, second = self.pool(x).chunk(2, dim=2)
        rows = self.linear(first.permute(0, 2, 3, 1))
        return rows.flatten(0, 2) @ rows.flatten(0, 2).t() + second.mean()


def test_only_learned_products_count():
    pool, *others = torch_layers(Others(), (8, 8))
    assert [(layer.name, layer.operator, layer.macs, layer.kernel) for layer in others if layer.macs] == [
        ("linear", "linear", 8 * 15, (5, 3))
    ]
    assert "mm" in [layer.operator for layer in others]
    assert pool.element_operations == 4 * 3 * 16
    assert pool.outputs[1].item_bytes == 8  # torch makes the places of the maxima, too


@pytest.mark.parametrize("name", ["resnet18_ppm", "unet_aspp_mobilenetv2_tv_edgeailite"])
def test_shapes_are_those_of_a_real_pass(name):
    model, seen = create_model(name).eval(), {}
    for path, module in model.named_modules():
        if not list(module.children()):
            module.register_forward_hook(lambda m, args, result, path=path: seen.__setitem__(path, result.shape))
    with torch.inference_mode():
        model(torch.zeros(1, 3, 65, 97))
    layers = {layer.name: layer for layer in torch_layers(model, (65, 97))}
    compared = [path for path in seen if path in layers]
    assert len(compared) > 50
    assert all(layers[path].output_shape == seen[path] for path in compared)
