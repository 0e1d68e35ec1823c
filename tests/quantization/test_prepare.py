"""Where quantizers stand and which tensors share one, on networks of a few modules."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from edgeailite.quantization import Plan, calibrate, prepare, set_input_range, set_state, wide_parts
from edgeailite.quantization.modules import ActivationQuantizer, ImpliedReLU, QuantConv2d
from edgeailite.quantization.schemes import SCHEMES
from tests.quantization.spelled import BODIES, Spelled
from tests.quantization.tiny import WITH_TIES

Sites = dict[str, list[tuple[str, int]]]  # by range: (tensor, site)


def sites(model: fx.GraphModule) -> Sites:
    found: Sites = {}
    for node in model.graph.nodes:
        if node.op == "call_module" and str(node.target).startswith("ranges."):
            found.setdefault(str(node.target).removeprefix("ranges."), []).append((str(node.args[0]), node.args[1]))
    return found


def nonnegative(model: fx.GraphModule) -> dict[str, tuple[bool, ...]]:
    children = model.ranges.named_children()
    return {name: module.nonnegative for name, module in children if isinstance(module, ActivationQuantizer)}


class Joined(nn.Module):
    """Two convolutions, one behind a ReLU, joined with a pooled and a resized tensor; the last resize leaves."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.relu, self.b = nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(3, 4, 1)
        self.pool, self.c, self.last = nn.MaxPool2d(2), nn.Conv2d(4, 2, 1), nn.Conv2d(10, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        a, b = self.relu(self.a(image)), self.b(image)
        small = self.c(self.pool(b))
        large = F.interpolate(small, size=a.shape[2:], mode="bilinear", align_corners=False)
        joined = self.last(torch.cat([a, b, large], 1))
        return F.interpolate(joined, size=image.shape[2:], mode="bilinear", align_corners=False)


def test_what_is_joined_pooled_or_resized_shares_a_scale_and_is_not_observed_again():
    """Three sites are observed, the others follow; the last resize stays float."""
    model = prepare(Joined())
    found = sites(model)
    assert found.pop("image") == [("image", 0)]
    assert found.pop("last") == [("last", 0)]
    [shared] = found.values()
    observed = [name for name, site in sorted(shared, key=lambda pair: pair[1]) if site >= 0]
    assert sorted(observed) == ["b", "c", "relu"]
    assert sorted(site for _, site in shared if site >= 0) == [0, 1, 2]
    assert sorted(name for name, site in shared if site == -1) == ["cat", "interpolate", "pool"]
    flags = nonnegative(model)
    assert flags["image"] == (False,)
    [name] = set(flags) - {"image", "last"}
    assert dict(zip(observed, flags[name], strict=True)) == {"relu": True, "b": False, "c": False}


class Shown(nn.Module):
    """A convolution that its activation and an addition read, and one whose BatchNorm is not its only reader."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.relu = nn.Conv2d(3, 4, 1), nn.ReLU()
        self.b = nn.Conv2d(4, 4, 1)

    def forward(self, image: Tensor) -> Tensor:
        a = self.a(image)
        return self.b(self.relu(a)) + a


def test_a_convolution_that_others_read_before_its_activation_is_quantized_there_too():
    model = prepare(Shown(), percentile=100.0)
    assert sites(model) == {name: [(name, 0)] for name in ("image", "a", "relu", "b", "add")}
    assert nonnegative(model) == {"image": (False,), "a": (False,), "relu": (True,), "b": (False,), "add": (False,)}


class Branching(nn.Module):
    """A BatchNorm that is not the only reader of its convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, image: Tensor) -> Tensor:
        x = self.conv(image)
        return self.norm(x) + x


def test_a_batch_norm_alone_is_folded_into_a_convolution_of_ones_that_no_checkpoint_has():
    network = Branching().eval()
    torch.nn.init.uniform_(network.norm.running_var, 0.5, 2.0)
    model = prepare(network)
    assert {"conv", "norm_depthwise"} <= set(sites(model))
    assert {key for key in model.state_dict() if not key.startswith("ranges.")} == set(network.state_dict())
    set_state(model, enabled=False)
    image = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(model(image), network(image))


@pytest.mark.parametrize(
    ("activation", "expected"),
    [(nn.ReLU(), True), (nn.ReLU6(), True), (nn.Hardtanh(0.5, 2.0), True), (nn.Hardtanh(-0.5, 2.0), False)],
)
def test_a_mean_of_values_without_negative_ones_has_none_and_of_others_may(activation, expected):
    block = nn.Sequential(nn.Conv2d(3, 4, 1), activation, nn.AdaptiveAvgPool2d(2), nn.Conv2d(4, 2, 1))
    assert nonnegative(prepare(block)) == {"input_1": (False,), "1": (expected,), "2": (expected,), "3": (False,)}
    without = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(2))
    assert nonnegative(prepare(without))["1"] == (False,)


def test_a_relu_is_left_to_codes_and_one_called_twice_becomes_two():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.once, self.twice = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.ReLU(), nn.ReLU()
            self.c = nn.Conv2d(4, 4, 1)

        def forward(self, image: Tensor) -> Tensor:
            return self.twice(self.c(self.once(self.b(self.twice(self.a(image))))))

    model = prepare(Twice())
    assert all(isinstance(module, ImpliedReLU) for module in (model.once, model.twice, model.twice_1))
    assert {"once", "twice", "twice_1"} <= {name for name, _ in model.ranges.named_children()}
    limited = prepare(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU6()))
    assert not limited.ranges.get_submodule("1").implies_relu


@pytest.mark.parametrize("scheme", WITH_TIES)
def test_bits_are_the_scheme_s_but_for_the_plan_s_and_wide_parts_are_named(scheme):
    block = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1))
    model = prepare(block, scheme, plan=Plan(weights={"2": 16, "4": 4}, activations={"2": 16}))
    bits = {name: module.grid.bits for name, module in model.named_modules() if isinstance(module, QuantConv2d)}
    assert bits == {"0": SCHEMES[scheme].weight_bits, "2": 16, "3": SCHEMES[scheme].weight_bits, "4": 4}
    assert wide_parts(model) == ["2", "ranges.2"]
    integer = {name: module.integer for name, module in model.named_modules() if isinstance(module, QuantConv2d)}
    assert integer == {"0": True, "2": False, "3": False, "4": True}  # the weight of 2 is wide, and the input of 3


def test_calibration_sees_every_tensor_of_a_shared_scale():
    torch.manual_seed(0)
    network = Joined()
    model = prepare(network, percentile=100.0)
    set_input_range(model, 0.0, 1.0)
    image = torch.rand(1, 3, 8, 8)
    calibrate(model, [image])
    with torch.no_grad():
        a, b = network.relu(network.a(image)), network.b(image)
        c = network.c(network.pool(b))
    quantizer = next(m for name, m in model.ranges.named_children() if name not in ("image", "last"))
    assert float(quantizer.low.min()) == pytest.approx(min(float(v.min()) for v in (b, c)), rel=1e-5)
    assert float(quantizer.high.max()) == pytest.approx(max(float(v.max()) for v in (a, b, c)), rel=1e-5)


@pytest.mark.parametrize(
    ("spelling", "modules"),
    [
        ("hard-swish by parts", ["Hardswish"]),
        ("hard-swish by parts in place", ["Hardswish"]),
        ("a hard-sigmoid that is read twice", ["Hardsigmoid", "Multiply"]),
    ],
)
def test_a_hard_swish_by_its_parts_is_one_module(spelling, modules):
    model = prepare(Spelled(BODIES[spelling]).eval())
    called = [type(model.get_submodule(str(n.target))).__name__ for n in model.graph.nodes if n.op == "call_module"]
    assert [name for name in called if name in ("Hardswish", "Hardsigmoid", "Multiply")] == modules
    gated = nn.Sequential(nn.Conv2d(3, 4, 1), Gate())
    assert any(isinstance(module, nn.Hardsigmoid) for module in prepare(gated.eval()).modules())


class Gate(nn.Module):
    """A hard-sigmoid of something else."""

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(F.relu(x))
