"""The roofline against sums by hand."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch

from edgeailite.cost import Layer, int8_layers, torch_layers
from edgeailite.cost.devices import Figure, estimate, list_devices, load_profile
from edgeailite.cost.devices.roofline import kind_of
from edgeailite.cost.operations import ACTIVATIONS
from edgeailite.errors import UsageError
from edgeailite.models import create_model
from tests.cost.devices.layers import RATES, convolution, device, plain

KIND_CASES = [
    (convolution("a", 3, 32, kernel=3), "stem"),
    (convolution("a", 64, 32, kernel=3), "dense"),
    (convolution("a", 64, 32), "pointwise"),
    (convolution("a", 62, 32), "pointwise_unaligned"),
    (convolution("a", 64, 64, kernel=3, groups=64), "depthwise"),
    (convolution("a", 54, 54, kernel=3, groups=54), "depthwise_unaligned"),
    (convolution("a", 64, 64, kernel=3, groups=4), "grouped"),
    (convolution("a", 38, 38, kernel=3, groups=2), "grouped_unaligned"),
    (plain("a", "resize", 64), "resize"),
    (plain("a", "resize", 19), "resize_unaligned"),
    (plain("a", "add", 19), "elementwise"),
    (plain("a", "linear", 19), "linear"),
    (plain("a", "relu", 19), None),
    (plain("a", "batch_norm", 19), None),
    *((plain("a", activation, 19), None) for activation in ACTIVATIONS),
    (plain("a", "resize_nearest", 64), "resize"),
    (plain("a", "resize_nearest", 19), "resize_unaligned"),
]


@pytest.mark.parametrize(("layer", "kind"), KIND_CASES, ids=lambda value: str(getattr(value, "operator", value)))
def test_kinds(layer, kind):
    assert kind_of(layer, 8) == kind
    assert kind_of(layer) == (None if kind is None else kind.removesuffix("_unaligned"))


def test_one_layer_bound_by_computing_and_one_by_memory():
    computing = convolution("c", 256, 256, kernel=3)  # 604 M MACs at 100 G/s: 6.04 ms; 4.5 MB at 10 GB/s: 0.45 ms
    macs, moved = 256 * 256 * 9 * 32 * 32, 4 * (2 * 256 * 32 * 32 + 256 * 256 * 9)
    [found] = estimate([computing], device()).layers
    assert (found.kind, found.bound) == ("dense", "compute")
    assert found.milliseconds == pytest.approx(macs / 100e9 * 1e3 + 0.005)
    [found] = estimate([computing], device(bandwidth=0.1)).layers
    assert found.bound == "memory"
    assert found.milliseconds == pytest.approx(moved / 0.1e9 * 1e3 + 0.005)


def test_on_chip_memory_holds_what_fits():
    profile = device(bandwidth=0.1)
    fast = replace(profile, on_chip_memory=Figure(1e5, "x"), on_chip_bandwidth=Figure(1e3, "x"))
    small, large = plain("a", "add", 8, side=16), plain("a", "add", 64, side=64)
    assert estimate([small], fast).milliseconds < estimate([small], profile).milliseconds
    assert estimate([large], fast).milliseconds == estimate([large], profile).milliseconds


def test_a_network_is_the_sum_and_has_a_band():
    layers = [
        convolution("a", 64, 64, kernel=3),
        plain("a", "relu", 64),
        plain("b", "add", 64),
        plain("c", "resize", 19),
    ]
    found = estimate(layers, device())
    assert [layer.name for layer in found.layers] == ["a", "b", "c"]
    assert found.milliseconds == pytest.approx(sum(layer.milliseconds for layer in found.layers))
    assert (found.low, found.high) == pytest.approx((found.milliseconds / 2, found.milliseconds * 2))


def test_types_have_rates_of_their_own():
    times = [
        estimate([convolution("a", 256, 256, kernel=3, integer=integer)], device(overhead=0)).milliseconds
        for integer in (False, True)
    ]
    assert times[0] / times[1] == pytest.approx(RATES["int8"]["dense"] / RATES["float32"]["dense"])


def test_fused_operators_cost_nothing_and_fallback_goes_to_the_host():
    add = plain("a", "add", 64)
    assert estimate([add], replace(device(), fused=("float32 add",))).milliseconds == 0
    assert estimate([add], replace(device(), fused=("int8 add",))).milliseconds > 0
    [found] = estimate([add], device(fallback=("add",))).layers
    assert (found.bound, found.milliseconds) == ("host", pytest.approx(2 * 64 * 32 * 32 * 4 / 1e6 + 0.1))


def test_a_type_the_device_lacks_is_said():
    profile = device()
    integer_only = replace(profile, rates={"int8": profile.rates["int8"]})
    with pytest.raises(UsageError, match=r"device planted: no rate for float32 pointwise \(a\); it has int8"):
        estimate([convolution("a", 8, 8)], integer_only)


@cache
def integer_network(model: str, classes: int = 19) -> tuple[Layer, ...]:
    """Layers of an int8 network at 512x512."""
    with torch.device("meta"):
        return int8_layers(torch_layers(create_model(model, classes), (512, 512)))


@pytest.mark.parametrize("name", list_devices())
def test_int8_networks_have_estimates_on_every_device(name):
    profile = load_profile(name)
    found = estimate(integer_network("deeplabv3plus_mobilenetv2_tv_edgeailite", 32), profile)
    assert 0 < found.low < found.milliseconds < found.high
    assert estimate(integer_network("fpn_aspp_regnetx800mf_edgeailite", 21), profile).milliseconds > found.milliseconds


@pytest.mark.parametrize(
    ("model", "classes", "without_resize", "published"),
    [  # edgeai-tensorlab, edgeai-benchmark/tests/tidl_goldenref_evm.csv; the ADE20K32 file ends before the resize
        ("deeplabv3plus_mobilenetv2_tv_edgeailite", 32, True, 7.457),
        ("fpn_aspp_regnetx800mf_edgeailite", 21, False, 13.585),
    ],
)
def test_tda4vm_meets_the_vendors_times_that_it_was_tuned_to(model, classes, without_resize, published):
    """A test of the file, not of the estimate: its shares of the peak were chosen with these two numbers in view."""
    layers = integer_network(model, classes)
    found = estimate(layers[:-1] if without_resize else layers, load_profile("tda4vm"))
    assert found.milliseconds == pytest.approx(published, rel=0.25)
