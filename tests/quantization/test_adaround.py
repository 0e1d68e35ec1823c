"""AdaRound: what is learned is stored in the weights alone, keeps scales, and errs less than the nearest codes."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from torch import Tensor, fx, nn

from edgeailite.quantization import adaround, calibrate, convert, prepare
from edgeailite.quantization.adaround import sample_patches
from edgeailite.quantization.layerwise import Layer, visit_layers
from edgeailite.quantization.modules import IntegerParameters, QuantConv2d


def network(*, bn: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    first = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=not bn)
    second = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4, bias=not bn)
    norms = [nn.BatchNorm2d(8), nn.BatchNorm2d(8)] if bn else []
    for norm in norms:
        nn.init.uniform_(norm.weight, -1.5, 1.5)
        nn.init.uniform_(norm.running_var, 0.5, 2.0)
    return nn.Sequential(first, *norms[:1], nn.ReLU(), second, *norms[1:], nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()


def pictures(count: int = 3, seed: int = 0) -> list[Tensor]:
    """Smooth, as pictures are: neighbouring inputs are correlated, which is what AdaRound makes use of."""
    generator = torch.Generator().manual_seed(seed)
    small = [torch.randn(4, 3, 6, 6, generator=generator) for _ in range(count)]
    return [nn.functional.interpolate(x, size=(24, 24), mode="bicubic", align_corners=False) for x in small]


def coarse(float_network: nn.Module, bits: int = 4) -> fx.GraphModule:
    """Calibrated, with weights of 4 bits."""
    model = prepare(float_network)
    for module in model.modules():
        if isinstance(module, QuantConv2d):
            module.grid = dataclasses.replace(module.grid, bits=bits)
    calibrate(model, pictures())
    return model.eval()


def parameters(model: fx.GraphModule) -> dict[str, IntegerParameters]:
    found = {}

    def visit(layer: Layer) -> None:
        found[layer.name] = layer.module.integer_parameters(*layer.arguments)

    visit_layers(model, pictures(1), visit)
    return found


@torch.no_grad()
def error(model: fx.GraphModule, float_network: nn.Module, seed: int) -> float:
    return sum(float((model(x) - float_network(x)).square().mean()) for x in pictures(seed=seed))


@pytest.mark.parametrize("bn", [True, False], ids=["bn", "bias"])
def test_the_error_is_lower_than_that_of_the_nearest_codes(bn):
    """Per layer where it was measured, and of the whole network on pictures that were not seen."""
    float_network = network(bn=bn)
    model = coarse(float_network)
    before, names = error(model, float_network, seed=9), list(model.state_dict())
    errors = adaround(model, pictures(), steps=200)
    assert list(model.state_dict()) == names
    assert all(after <= nearest for nearest, after in errors.values())
    assert sum(after < 0.9 * nearest for nearest, after in errors.values()) >= 2
    assert error(model, float_network, seed=9) < 0.9 * before


def test_codes_move_by_one_and_scales_stay():
    model = coarse(network())
    before = parameters(model)
    adaround(model, pictures(), steps=150)
    after = parameters(model)
    moved = 0
    for name, old in before.items():
        new = after[name]
        torch.testing.assert_close(new.weight_scale, old.weight_scale, rtol=1e-6, atol=0)
        step = (new.weight.int() - old.weight.int()).abs()
        assert step.max() <= 1
        assert new.weight.abs().max() <= 7
        moved += int(step.sum())
    assert moved > 20


def test_without_ties_codes_move_by_one_step_of_their_grid_and_scales_stay():
    model = prepare(network(), "portable")
    calibrate(model, pictures())
    before = parameters(model.eval())
    adaround(model, pictures(), steps=150)
    moved = 0
    for name, new in parameters(model).items():
        assert torch.equal(new.weight_scale, before[name].weight_scale)
        steps = (new.weight.int() - before[name].weight.int()).abs()
        assert set(steps.unique().tolist()) <= {0, 4}
        moved += int((steps > 0).sum())
    assert moved > 20


def test_the_float_weight_is_the_centre_of_its_code_and_converts_to_it():
    model = coarse(network())
    errors = adaround(model, pictures(), steps=100)
    learned = parameters(model)
    changed = [name for name, (nearest, after) in errors.items() if after < nearest]
    assert changed
    for name in changed:
        weight, _ = model.get_submodule(name).folded(*arguments_of(model, name)[1:])
        centre = learned[name].weight.float() * learned[name].weight_scale.view(-1, 1, 1, 1)
        torch.testing.assert_close(weight.detach(), centre, rtol=1e-4, atol=1e-6)
    converted = convert(model)
    for name, record in learned.items():
        assert torch.equal(converted.get_submodule(name).weight, record.weight)


def arguments_of(model: fx.GraphModule, name: str) -> tuple[Tensor, ...]:
    found = {}
    visit_layers(model, pictures(1), lambda layer: found.update({layer.name: layer.arguments}))
    return found[name]


def test_it_finds_what_trying_every_rounding_finds():
    """Nine weights up or down: 512 ways; what is learned is among the best of them."""
    torch.manual_seed(2)
    float_network = nn.Sequential(nn.Conv2d(1, 1, 3, bias=False)).eval()
    model = prepare(float_network)
    weights = model.get_submodule("0")
    weights.grid = dataclasses.replace(weights.grid, bits=3)
    images = [x[:, :1] for x in pictures()]
    calibrate(model, images)
    found: list[Layer] = []
    visit_layers(model, images, found.append)
    conv, (scale, *_) = found[0].module, found[0].arguments
    step = conv.integer_parameters(scale).weight_scale.view(1, 1, 1, 1)
    values = float_network[0].weight.detach() / step
    fixed = values.abs() >= values.abs().max() * (1 - 1e-6)

    def loss(codes: Tensor) -> float:
        pairs = zip(found[0].inputs, found[0].targets, strict=True)
        return sum(float((conv.convolve(x, codes * step, None) - y).square().sum()) for x, y in pairs)

    tried = {}
    for ups in itertools.product((0.0, 1.0), repeat=9):
        codes = torch.where(fixed, values.round(), values.floor() + torch.tensor(ups).view(1, 1, 3, 3))
        codes = codes.clamp(-3, 3)
        tried[tuple(codes.flatten().tolist())] = loss(codes)
    nearest = loss(conv.integer_parameters(scale).weight.float())
    adaround(model, images, steps=400)
    learned = loss(conv.integer_parameters(scale).weight.float())
    assert learned < nearest
    assert sum(other < learned * 0.999 for other in tried.values()) < 0.05 * len(tried)


def test_patches_give_the_outputs_of_the_layer():
    """Stride, dilation, padding and groups: convolving the patches is convolving the picture there."""
    model = coarse(network())

    def visit(layer: Layer) -> None:
        inputs = [x + 0 for x in layer.inputs]
        targets = [layer.module.convolve(x, layer.module.weight, None) for x in inputs]
        exact = Layer(layer.name, layer.module, layer.arguments, inputs, targets, None)
        patches = sample_patches(exact, torch.Generator().manual_seed(0))
        by_group = layer.module.weight.view(layer.module.groups, -1, patches.inputs.shape[2])
        again = torch.einsum("ngi,goi->ngo", patches.inputs, by_group)
        torch.testing.assert_close(again, patches.targets, rtol=1e-4, atol=1e-5)

    visit_layers(model, pictures(), visit)


def test_the_seed_fixes_the_result_and_dead_channels_stay():
    states = []
    for seed in (0, 0, 1):
        float_network = network()
        float_network[1].weight.data[3] = 0.0
        model = coarse(float_network)
        adaround(model, pictures(), steps=60, seed=seed)
        states.append(model.state_dict())
        assert all(value.isfinite().all() for value in model.state_dict().values())
        assert torch.equal(model.get_submodule("0").weight[3], float_network[0].weight[3])
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert any(not torch.equal(value, states[2][name]) for name, value in states[0].items())
