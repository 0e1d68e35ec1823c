"""What quantization must survive, on a network of a few convolutions; export and files: tests/export/test_faults.py.

Elsewhere: dead channels, all-zero tensors and percentiles as parameters (test_quantization.py), learned up-sampling and
align_corners (tests/export/test_every_network.py), bad calibration pictures (test_calibrate.py).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from edgeailite.quantization import convert, integer_exact
from edgeailite.quantization.convert import IntegerConv, Quantize
from edgeailite.quantization.graph import ADDITIONS
from edgeailite.quantization.schemes import SCHEMES
from tests.quantization.tiny import Tiny, pixels, quantized, tiny

HUGE = "huge weights"
IMAGE = pixels(1, seed=8)[0][0]


def _zero_range(network: Tiny) -> None:
    network.encoder[1][1].weight.zero_()
    network.encoder[1][1].bias.zero_()


def _dead_channel(network: Tiny) -> None:
    network.encoder[0][1].weight[3] = 0


def _denormal_weights(network: Tiny) -> None:
    network.decoders[0].weight[1] = 1e-40
    network.encoder[2][0].weight[2] = 1e-41


def _huge_weights(network: Tiny) -> None:
    network.decoders[0].weight[1] = 1e20


def _all_weights_zero(network: Tiny) -> None:
    network.decoders[1].weight.zero_()
    network.decoders[1].bias.zero_()


FAULTS: dict[str, Callable[[Tiny], None]] = {
    "zero-range tensor": _zero_range,
    "dead channel": _dead_channel,
    "denormal weights": _denormal_weights,
    HUGE: _huge_weights,
    "all weights zero": _all_weights_zero,
}


def faulty(*faults: str) -> Tiny:
    """The network with faults in its weights."""
    network = tiny()
    with torch.no_grad():
        for fault in faults:
            FAULTS[fault](network)
    return network


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("fault", FAULTS)
def test_scales_stay_positive_and_results_finite(fault, scheme):
    model = quantized(faulty(fault), scheme)
    scales = [value for name, value in convert(model).state_dict().items() if name.endswith("scale")]
    assert all(torch.isfinite(scale).all() and (scale > 0).all() for scale in scales)
    for network in (model, integer_exact(model)):
        for value in network(IMAGE).values():
            assert torch.isfinite(value).all()


@pytest.mark.parametrize("fault", [name for name in FAULTS if name != HUGE])
def test_results_stay_near_float(fault):
    network = faulty(fault)
    expected, got = network(IMAGE), integer_exact(quantized(network))(IMAGE)
    for name, value in expected.items():
        assert (got[name] - value).abs().mean() <= 0.05 * value.std() + 1e-6


def test_depthwise_weights_have_a_scale_per_channel():
    converted = convert(quantized(tiny()))
    depthwise = converted.get_submodule("encoder.1.0")
    assert isinstance(depthwise, IntegerConv)
    assert depthwise.weight_scale.shape == (8,)
    assert len(depthwise.weight_scale.unique()) == 8


def test_what_is_added_has_scales_of_its_own_and_what_is_joined_shares_one():
    converted = convert(quantized(tiny()))
    added = next(node for node in converted.graph.nodes if node.target in ADDITIONS)
    quantizers = [converted.get_submodule(str(node.target)) for node in (*added.args, next(iter(added.users)))]
    assert all(isinstance(quantizer, Quantize) for quantizer in quantizers)
    assert len({float(quantizer.scale) for quantizer in quantizers}) == 3
    joined = next(node for node in converted.graph.nodes if node.target is torch.cat)
    assert len({str(source.target) for source in joined.args[0]}) == 1


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (2, 3), (5, 4), (37, 61)])
@pytest.mark.parametrize("batch", [1, 3])
def test_small_and_odd_sizes_keep_their_shape(size, batch):
    image = torch.rand(batch, 3, *size)
    found = integer_exact(quantized(tiny()))(image)
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "segmentation": (batch, 4, *size),
        "depth": (batch, 1, *size),
    }


def test_a_batch_gives_what_its_pictures_give_alone():
    model = integer_exact(quantized(tiny()))
    images = torch.cat([image for (image,) in pixels(8)])
    together = model(images)["segmentation"]
    assert torch.equal(together, torch.cat([model(image[None])["segmentation"] for image in images]))


def test_calibration_leaves_training_mode_and_statistics_as_they_were():
    network = tiny().train()
    model = quantized(network)
    statistics = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    fresh = [m for m in tiny().modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(torch.equal(a.running_mean, b.running_mean) for a, b in zip(statistics, fresh, strict=True))
