"""A spelling never changes an answer, and never ends in a traceback."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from edgeailite.errors import UsageError
from edgeailite.quantization import calibrate, convert, integer_exact, prepare, set_input_range, set_state
from edgeailite.quantization.adaround import adaround
from edgeailite.quantization.bias_correction import correct_bias
from edgeailite.quantization.graph import named_outputs, trace
from edgeailite.quantization.modules import ImpliedReLU
from edgeailite.quantization.normalise import normalise
from tests.quantization.spelled import BODIES, WIDTH, Body, Spelled, block
from tests.quantization.tiny import pixels

SIZE = (32, 48)


def network(body: Body) -> nn.Module:
    torch.manual_seed(0)
    made = Spelled(body)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return made.eval()


def same(found: object, expected: object, *, tolerance: float) -> None:
    ours, theirs = named_outputs(found), named_outputs(expected)
    assert list(ours) == list(theirs)
    for name, value in theirs.items():
        assert ours[name].shape == value.shape
        error = (ours[name] - value).square().mean().sqrt()
        assert error <= tolerance * value.std(), f"{name}: {error / value.std():.3g}"


@pytest.mark.parametrize("spelling", BODIES)
def test_the_normal_form_is_the_same_function(spelling):
    float_network = network(BODIES[spelling])
    (image,) = pixels(1, SIZE)[0]
    with torch.no_grad():
        expected = float_network(image)
        traced = trace(float_network)
        normalise(traced)
        same(traced(image), expected, tolerance=1e-6)
        code = traced.code
        normalise(traced)  # the normal form comes back unchanged
        assert traced.code == code
        prepared = prepare(float_network)
        keys = {key for key in prepared.state_dict() if not key.startswith("ranges.")}
        assert keys <= set(float_network.state_dict())  # those of layers that are called
        set_state(prepared, enabled=False)
        same(prepared(image), expected, tolerance=1e-5)
        same(prepared(pixels(1, (45, 63))[0][0]), float_network(pixels(1, (45, 63))[0][0]), tolerance=1e-5)


@pytest.mark.parametrize("spelling", BODIES)
def test_integers_are_near_the_float_network(spelling):
    float_network = network(BODIES[spelling])
    prepared = prepare(float_network, percentile=100.0)
    set_input_range(prepared, -2.0, 127 / 64)
    calibrate(prepared, pixels(2, SIZE, seed=1))
    (image,) = pixels(1, SIZE, seed=2)[0]
    with torch.no_grad():
        exact = integer_exact(prepared)(image)
        assert all(isinstance(value, Tensor) for value in exact.values())
        same(exact, float_network(image), tolerance=0.1)
        same(exact, prepared.eval()(image), tolerance=0.03)


class Followed(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return image if image.sum() > 0 else -image


class Attended(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return image @ image.transpose(2, 3)


REFUSED = [
    (Followed(), "Followed: torch.fx cannot follow it"),
    (Attended(), "matmul: matmul cannot be quantized to int8"),
    (Spelled(lambda net, x: F.softmax(net.last(net.a(x)), 1)), "softmax: softmax cannot be quantized"),
    (Spelled(lambda net, x: net.a(x).fill_(1.0)), "fill_: fill_ cannot be quantized"),
    (Spelled(lambda net, x: net.a(x) * x.shape[2]), "mul: mul of a tensor and a size cannot be quantized"),
    (Spelled(lambda net, x: torch.max(net.a(x), net.b(net.a(x)))), "max_1: max cannot be quantized"),
    (
        Spelled(lambda net, x: F.interpolate(net.a(x), scale_factor=1.5)),
        "interpolate: scale_factor 1.5 depends on the size",
    ),
    (Spelled(lambda net, x: F.interpolate(net.a(x), size=9, mode="area")), "interpolate: a resize with mode 'area'"),
    (Spelled(lambda net, x: F.pad(net.a(x), (1, 1), value=float("-inf"))), "pad: F.pad with -inf"),
    (Spelled(lambda net, x: (net.a(x), x.shape[2])), "output1: an output that is no tensor"),
    (nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)), "1: a BatchNorm without running"),
    (nn.Sequential(parametrizations.weight_norm(nn.Conv2d(3, 4, 1))), "0: its weight is computed from other tensors"),
    (nn.Sequential(nn.MaxPool2d(2, return_indices=True)), "0: a pooling that returns indices"),
    (nn.Sequential(nn.AvgPool2d(3, 2, 1, divisor_override=2)), "0: an AvgPool2d with divisor_override cannot"),
    (nn.Sequential(nn.ConvTranspose2d(3, 3, 2, 2)), "0: ConvTranspose2d cannot be quantized"),
    (nn.Sequential(nn.GroupNorm(1, 3)), "0: GroupNorm cannot be quantized"),
]


@pytest.mark.parametrize(("refused", "message"), REFUSED)
def test_what_has_no_meaning_in_integers_is_one_line_that_names_it(refused, message):
    with pytest.raises(UsageError, match="(?s)^" + message.replace("(", r"\(")) as raised:
        prepare(refused)
    assert "\n" not in str(raised.value)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_older_weight_norm_is_refused_too():
    with pytest.raises(UsageError, match="its weight is computed from other tensors"):
        prepare(nn.Sequential(nn.utils.weight_norm(nn.Conv2d(3, 4, 1))))


def test_a_part_that_is_changed_in_place_and_read_later_is_refused():
    def body(net: nn.Module, image: Tensor) -> Tensor:
        x = net.conv(net.a(image))
        x[:, :4].relu_()
        return net.last(x)

    with pytest.raises(UsageError, match="changes a part of a tensor in place"):
        prepare(Spelled(body))


def test_calls_of_one_layer_have_ranges_of_their_own():
    prepared = prepare(network(BODIES["a layer twice"]))
    names = [name for name, _ in prepared.ranges.named_children()]
    assert {"relu", "relu_1"} <= set(names)
    assert isinstance(prepared.relu, ImpliedReLU)
    assert isinstance(prepared.relu_1, ImpliedReLU)
    converted = convert(prepared)
    assert converted.conv.bias_scale.shape == converted.conv_1.bias_scale.shape
    assert torch.equal(converted.conv.weight, converted.conv_1.weight)


def test_training_reaches_constants_and_linear_layers():
    for spelling, names in (("gate", {"gate"}), ("mean of a picture", {"linear.weight", "linear.bias"})):
        prepared = prepare(network(BODIES[spelling]), percentile=100.0)
        calibrate(prepared, pixels(2, SIZE))
        outputs = named_outputs(prepared.train()(torch.cat([x for (x,) in pixels(2, SIZE)])))
        sum(value.square().mean() for value in outputs.values()).backward()
        with_gradient = {
            name for name, p in prepared.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0
        }
        assert names <= with_gradient


def test_refinements_know_linear_layers_and_lone_norms():
    """Weights move within a step, biases by the mean error; the network stays near the float one."""
    torch.manual_seed(0)
    layers = (block(3, WIDTH), nn.BatchNorm2d(WIDTH), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, 5))
    network_ = nn.Sequential(*layers)
    prepared = prepare(network_.eval(), percentile=100.0)
    batches = [torch.cat([x for (x,) in pixels(8, SIZE, seed=seed)]) for seed in (1, 2)]
    calibrate(prepared, batches)
    before = prepared.get_submodule("4").weight.clone()
    assert "4" in adaround(prepared, batches, steps=20)
    assert prepared.get_submodule("4").weight.shape == before.shape == (5, WIDTH)
    assert "4" in correct_bias(prepared, batches)
    same(integer_exact(prepared)(batches[0]), network_(batches[0]).detach(), tolerance=0.1)


class Sharing(nn.Module):
    """A convolution with two BatchNorms, one per call."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.conv = block(3, WIDTH), nn.Conv2d(WIDTH, WIDTH, 1)
        self.first, self.second = nn.BatchNorm2d(WIDTH), nn.BatchNorm2d(WIDTH)

    def forward(self, image: Tensor) -> Tensor:
        return self.second(self.conv(self.first(self.conv(self.a(image)))))


def test_a_layer_called_twice_may_have_two_norms():
    torch.manual_seed(0)
    float_network = Sharing()
    nn.init.uniform_(float_network.first.weight, 0.5, 2.0)
    prepared = prepare(float_network.eval(), percentile=100.0)
    calibrate(prepared, pixels(2, SIZE))
    (image,) = pixels(1, SIZE, seed=2)[0]
    same(integer_exact(prepared)(image), float_network(image).detach(), tolerance=0.1)
