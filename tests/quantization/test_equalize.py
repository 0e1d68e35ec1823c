"""Equalization: the same function from weights of more equal size."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from edgeailite.models import create_model
from edgeailite.quantization import calibrate, equalize, prepare
from edgeailite.quantization.equalize import find_pairs
from tests.golden import golden_model


def block(*, activation: type[nn.Module] | None = nn.ReLU, bn: bool = True, bias: bool = False) -> nn.Sequential:
    """Pointwise, depthwise, grouped, pointwise: a chain of three pairs."""
    torch.manual_seed(0)
    sizes = [(3, 8, 1, 1), (8, 8, 3, 8), (8, 8, 3, 2), (8, 4, 1, 1)]
    layers: list[nn.Module] = []
    for inputs, outputs, kernel, groups in sizes:
        layers.append(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=bias or not bn))
        layers += [nn.BatchNorm2d(outputs)] if bn else []
        layers += [activation()] if activation is not None else []
    chain = nn.Sequential(*layers)
    for module in chain.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return chain.eval()


def unbalanced(chain: nn.Sequential) -> nn.Sequential:
    """The same function from the first pair's channels of very different size."""
    result = copy.deepcopy(chain)
    first, bn, second = result[0], result[1], result[3]
    size = torch.logspace(-1.5, 1.5, 8)
    with torch.no_grad():
        assert isinstance(first, nn.Conv2d)
        bn.weight *= size
        bn.bias *= size
        second.weight /= size.view(-1, 1, 1, 1)
    return result


def pictures(count: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, 12, 12, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6, None])
@pytest.mark.parametrize("bn, bias", [(True, False), (True, True), (False, True)])
def test_the_function_stays_and_weights_move(activation, bn, bias):
    chain = block(activation=activation, bn=bn, bias=bias)
    before = copy.deepcopy(chain.state_dict())
    equal = equalize(chain, [pictures()])
    assert all(torch.equal(before[name], value) for name, value in chain.state_dict().items()), "a copy is changed"
    assert list(equal.state_dict()) == list(before)
    assert any(not torch.equal(before[name], value) for name, value in equal.state_dict().items())
    x = pictures(seed=1)
    torch.testing.assert_close(equal(x), chain(x), rtol=1e-4, atol=1e-5)


def test_a_planted_imbalance_goes():
    """Channels' sizes, and what a shared range per tensor costs, are those of the network before it was planted."""
    chain = block()
    planted = unbalanced(chain)
    x = pictures(16)
    torch.testing.assert_close(planted(x), chain(x), rtol=1e-4, atol=1e-4)
    errors = {}
    for name, network in (("planted", planted), ("equal", equalize(planted)), ("before", chain)):
        model = prepare(network, percentile=100.0)
        calibrate(model, [x])
        errors[name] = float((model(x) - chain(x)).detach().square().mean())
    assert errors["equal"] < 0.2 * errors["planted"]
    assert errors["equal"] < 3 * errors["before"]


def test_sizes_of_a_channel_are_equal_on_both_sides_afterwards():
    chain = equalize(unbalanced(block()))
    bn, second_bn = chain[1], chain[4]
    out = (chain[0].weight.abs().amax((1, 2, 3)) * bn.weight / (bn.running_var + bn.eps).sqrt()).detach()
    into = chain[3].weight.abs().amax((1, 2, 3)) * second_bn.weight / (second_bn.running_var + second_bn.eps).sqrt()
    torch.testing.assert_close(out, into.detach(), rtol=0.03, atol=0)


def test_relu6_stays_where_it_may_clip():
    """A channel that reaches 3 keeps its factor; without pictures all do."""
    chain = block(activation=nn.ReLU6)
    chain[1].bias.data[0] = 5.0
    before = chain[1].weight.clone()
    equal = equalize(chain, [pictures()])
    moved = equal[1].weight != before
    assert not moved[0]
    assert moved.any()
    x = pictures(64, seed=5)
    torch.testing.assert_close(equal(x), chain(x), rtol=1e-4, atol=1e-4)
    assert torch.equal(equalize(chain)[1].weight, before)


class Branches(nn.Module):
    """The first tensor has two readers, the second one."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.act_a, self.act_b = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act_a(self.a(x))
        return x + self.c(self.act_b(self.b(x)))


class Shared(nn.Module):
    """One convolution is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(self.a(x)))


def test_only_tensors_with_one_reader_are_between_a_pair():
    assert [pair.name for pair in find_pairs(Branches())] == ["c"]
    assert find_pairs(Shared()) == []
    assert [pair.name for pair in find_pairs(block())] == ["3", "6", "9"]
    assert find_pairs(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Hardtanh(-1, 1), nn.Conv2d(3, 3, 1))) == []


def test_dead_channels_stay():
    chain = block()
    chain[1].weight.data[2] = 0.0
    chain[3].weight.data[3] = 0.0
    equal = equalize(chain)
    assert torch.equal(equal[1].bias[2:4], chain[1].bias[2:4])
    assert all(value.isfinite().all() for value in equal.state_dict().values())


def test_a_channel_with_a_bias_alone_does_not_take_the_range():
    chain = block()
    chain[1].weight.data[2], chain[1].bias.data[2] = 1e-9, 0.5
    before = (chain[1].bias.abs() + 3 * chain[1].weight.abs()).max()
    equal = equalize(chain)
    assert equal[1].bias[2] <= 4.01 * before
    torch.testing.assert_close(equal(pictures()), chain(pictures()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["deeplabv3plus_mobilenetv2_tv_edgeailite", "fpn_aspp_regnetx400mf_edgeailite"])
def test_whole_networks_keep_their_function(name):
    network = golden_model(name, num_classes=3)
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        y, equal = network(x)["segmentation"], equalize(network)(x)["segmentation"]
    torch.testing.assert_close(equal, y, rtol=1e-3, atol=1e-3 * float(y.abs().max()))


def test_a_network_with_relu6_has_pairs():
    assert len(find_pairs(create_model("mobilenetv2dilated_c1_deepsup", 3).eval())) > 20
