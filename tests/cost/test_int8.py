"""The estimate of the int8 network against the file that export writes."""

import pytest
import torch.nn.functional as F
from torch import nn

from edgeailite.cost import int8_cost, onnx_cost, torch_cost
from edgeailite.export import to_onnx
from tests.sweep import quantized, sweep_card, sweep_model

SIZE = (97, 161)
ENDS = {"interpolate": "segmentation", "interpolate_1": "depth"}  # a file's last layers are called after its outputs


def told(layers):
    """What the tables of both must agree on.

    A ReLU whose result shares its scale with signed values (UNet concatenates both) is a step of its own in the file.
    """
    return sorted(
        (ENDS.get(layer.name, layer.name), layer.operator, layer.macs, layer.parameters, layer.bytes_read,
         layer.bytes_written, layer.element_operations, layer.integer)
        for layer in layers if layer.operator != "relu"
    )  # fmt: skip


CASES = [
    ("deeplabv3plus_mobilenetv2_tv_edgeailite", 1, 1),
    ("resnet18_c1", 2, 1),
    pytest.param("fpn_aspp_regnetx400mf_edgeailite", 1, 2, marks=pytest.mark.slow),
    pytest.param("unet_aspp_mobilenetv2_tv_edgeailite", 2, 1, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "inputs", "outputs"), CASES)
@pytest.mark.parametrize("open_size", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_estimate_is_the_exported_file_layer_by_layer(name, inputs, outputs, open_size, tmp_path):
    network = sweep_model(name, inputs=inputs, outputs=outputs)
    file = tmp_path / "model_int8.onnx"
    exported = to_onnx(quantized(network), sweep_card(network), size=None if open_size else SIZE)
    file.write_bytes(exported.SerializeToString())
    written = onnx_cost(file, SIZE if open_size else None)
    network_cost = torch_cost(network, SIZE, inputs=inputs)
    estimate = int8_cost(network_cost)
    assert told(estimate.layers) == told(written.layers)
    assert written.integer_macs == written.macs == network_cost.macs
    assert (estimate.weight_bytes, estimate.parameters) == (written.weight_bytes, written.parameters)
    assert written.peak_bytes == pytest.approx(network_cost.peak_int8_bytes, rel=0.01)


class Shared(nn.Module):
    """One convolution twice, its first result read by more than the activation behind it."""

    def __init__(self):
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 3, 1, bias=False), nn.ReLU6()

    def forward(self, x):
        first = self.conv(x)
        return F.interpolate(self.conv(self.act(first)) + first, scale_factor=2, mode="bilinear")


def test_what_others_read_is_not_fused_and_shared_weights_count_once():
    cost = int8_cost(torch_cost(Shared(), (8, 8)))
    assert [(layer.name, layer.operator, layer.integer) for layer in cost.layers] == [
        ("image_quantized", "quantize", False),
        ("conv", "convolution", True),
        ("act", "clip", True),
        ("conv", "convolution", True),
        ("add", "add", True),
        ("add_dequantized", "dequantize", False),
        ("interpolate", "resize", False),
    ]
    assert (cost.parameters, cost.weight_bytes) == (9 + 3, 9 + 4 * 3)
    assert cost.memory[-1] == 4 * 192 + 4 * 192 + 4 * 4 * 192  # picture, float logits, and the result


def test_an_output_without_resize_is_dequantized():
    cost = int8_cost(torch_cost(nn.Conv2d(3, 5, 1), (8, 8)))
    assert [layer.operator for layer in cost.layers] == ["quantize", "convolution", "dequantize"]
    assert cost.outputs[0].bytes == 4 * 5 * 64
