"""Bias correction: a planted shift goes, and a correction of one layer is that of sums in float64."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, fx, nn

from edgeailite.quantization import calibrate, correct_bias, prepare, set_state
from edgeailite.quantization.layerwise import visit_layers
from edgeailite.quantization.modules import QuantConv2d


def network(*, bn: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, outputs, groups in ((3, 8, 1), (8, 8, 8), (8, 4, 1)):
        layers.append(nn.Conv2d(inputs, outputs, 3, padding=1, groups=groups, bias=not bn))
        layers += [nn.BatchNorm2d(outputs), nn.ReLU()] if bn else [nn.ReLU()]
    return nn.Sequential(*layers[:-1]).eval()


def pictures() -> list[Tensor]:
    return [torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(s)) for s in range(3)]


def coarse(float_network: nn.Module) -> fx.GraphModule:
    """Calibrated, with weights of 3 bits: their error has a mean."""
    model = prepare(float_network)
    for module in model.modules():
        if isinstance(module, QuantConv2d):
            module.grid = dataclasses.replace(module.grid, bits=3)
    calibrate(model, pictures())
    return model.eval()


@torch.no_grad()
def mean_errors(model: fx.GraphModule, float_network: nn.Module) -> Tensor:
    return torch.stack([(model(x) - float_network(x)).double().mean((0, 2, 3)) for x in pictures()]).mean(0).abs()


@pytest.mark.parametrize("bn", [True, False], ids=["bn", "bias"])
def test_the_mean_error_of_the_output_goes(bn):
    float_network = network(bn=bn)
    model = coarse(float_network)
    before = mean_errors(model, float_network)
    names = list(model.state_dict())
    errors = correct_bias(model, pictures())
    after = mean_errors(model, float_network)
    assert list(model.state_dict()) == names
    assert list(errors) == [name for name, module in model.named_modules() if isinstance(module, QuantConv2d)]
    assert after.max() < 0.1 * before.max()


def test_a_planted_shift_is_taken_off_where_it_was_planted():
    """What quantization would add, added by hand: the first layer takes it off, so the others meet none."""
    float_network = network(bn=False)
    model = prepare(float_network)
    calibrate(model, pictures())
    planted = torch.linspace(-0.2, 0.2, 8)
    conv = model.get_submodule("0")
    whole = type(conv).forward

    class Shifted(type(conv)):  # type: ignore[misc]
        def forward(self, *args: Tensor) -> Tensor:
            y = whole(self, *args)
            return y + planted.view(1, -1, 1, 1) if self.enabled else y

    conv.__class__ = Shifted
    before = conv.bias.clone()
    errors = correct_bias(model, pictures())
    torch.testing.assert_close(conv.bias - before, -planted, atol=5e-3, rtol=0)
    assert errors["0"] == pytest.approx(0.2, abs=5e-3)
    assert max(error for name, error in errors.items() if name != "0") < 0.02


def test_a_convolution_without_a_bias_is_left_out():
    torch.manual_seed(0)
    float_network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1, bias=False)).eval()
    model = coarse(float_network)
    weight = model.get_submodule("2").weight.clone()
    assert list(correct_bias(model, pictures())) == ["0"]
    assert torch.equal(model.get_submodule("2").weight, weight)


class Branching(nn.Module):
    """Reads a tensor twice, and shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.act = nn.Conv2d(3, 4, 3, 2), nn.Conv2d(4, 4, 1), nn.Conv2d(8, 2, 1), nn.ReLU()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        low = self.act(self.a(x))
        y = self.c(torch.cat([low, self.b(low) + low], 1))
        return {"y": nn.functional.interpolate(y, size=x.shape[-2:], mode="bilinear", align_corners=False)}


def test_layers_are_visited_in_order_with_what_the_whole_network_computes():
    torch.manual_seed(0)
    model = prepare(Branching().eval())
    calibrate(model, pictures())
    seen = {}
    visit_layers(model, pictures(), lambda layer: seen.update({layer.name: layer}))
    assert list(seen) == ["a", "b", "c"]
    expected: dict[str, dict[bool, list[tuple[Tensor, Tensor]]]] = {}
    for name, module in model.named_modules():
        if name in seen:
            module.register_forward_hook(
                lambda module, inputs, output, name=name: (
                    expected.setdefault(name, {}).setdefault(module.enabled, []).append((inputs[0], output))
                )
            )
    with torch.no_grad():
        for enabled in (False, True):
            set_state(model, enabled=enabled)
            for batch in pictures():
                model(batch)
    for name, layer in seen.items():
        for i in range(3):
            torch.testing.assert_close(layer.targets[i], expected[name][False][i][1])
            torch.testing.assert_close(layer.inputs[i], expected[name][True][i][0])
    assert seen["a"].activation is not None
    assert seen["b"].activation is None


def test_no_batches():
    with pytest.raises(ValueError, match="at least one batch"):
        correct_bias(coarse(network()), [])
