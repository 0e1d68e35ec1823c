"""Learned ranges: gradients against the papers' formulas, what is kept, shared, saved and exported."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from edgeailite.export import to_onnx
from edgeailite.quantization import calibrate, convert, integer_exact, learn_ranges, prepare, set_input_range, set_state
from edgeailite.quantization.grids import ActivationGrid
from edgeailite.quantization.learned import initial_ends, range_of_ends
from edgeailite.quantization.modules import ActivationQuantizer
from edgeailite.quantization.schemes import DEFAULT_SCHEME, SCHEMES
from edgeailite.runtime import load_onnx, run
from tests.golden import golden_card, golden_model, smooth_pictures

SIZE = (64, 64)


def quantizer(scheme: str, sites: list[bool], low: float, high: float) -> ActivationQuantizer:
    """A learned range that began as the given one."""
    module = ActivationQuantizer(ActivationGrid(SCHEMES[scheme]), sites, percentile=100.0)
    module.low.fill_(low)
    module.high.fill_(high)
    module.learn()
    module.observing = True
    return module.train()


def values(low: float, high: float) -> Tensor:
    """A feature map with values inside and outside."""
    generator = torch.Generator().manual_seed(0)
    return torch.empty(2, 3, 8, 8).uniform_(1.4 * low - 0.1, 1.4 * high, generator=generator)


def written_formula(module: ActivationQuantizer, x: Tensor, weight: Tensor) -> tuple[Tensor, list[float]]:
    """Gradients of sum(weight * y), element by element in float64: for x and for the logarithms of the ends."""
    scale, zero = float(module.scale), int(module.zero_point)
    lowest, highest = module.grid.low - zero, module.grid.high - zero
    assert module.ends is not None
    high, low = module.ends.detach()[[0, -1]].exp2().tolist()
    for_x, slopes = torch.zeros_like(x).flatten(), [0.0, 0.0]
    for index, (v, w) in enumerate(zip(x.flatten().tolist(), weight.flatten().tolist(), strict=True)):
        below, above = v / scale < lowest - 0.5, v / scale > highest + 0.5
        half_up = module.grid.scheme.half_up
        code = math.floor(v / scale + 0.5) if half_up else round(v / scale)
        of_scale = lowest if below else highest if above else code - v / scale  # LSQ, equation 3
        of_offset = float(below or above)  # LSQ+, equation 6
        for_x[index] = 0 if below or above else w
        if len(module.ends) == 1:  # scale is the end times a number
            slopes[0] += w * of_scale * scale * math.log(2)
        else:  # scale = (high + low) / codes; offset: the low end
            codes = highest - lowest
            at_high = of_scale / codes - of_offset * lowest / codes
            at_low = -of_scale / codes + of_offset * highest / codes
            slopes[0] += w * at_high * high * math.log(2)
            slopes[1] -= w * at_low * low * math.log(2)
    factor = 1 / math.sqrt(max(highest, 1) * x[0].numel())
    return for_x.view_as(x), [factor * slope for slope in slopes[: len(module.ends)]]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("sites", [[True], [False]])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_gradients_are_those_of_the_formulas(scheme, sites, layout):
    low, high = (0.0 if all(sites) else -0.7), 3.1
    module = quantizer(scheme, sites, low, high)
    x = values(low, high).to(memory_format=layout).requires_grad_()
    y = module(x, 0)
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    for_x, slopes = written_formula(module, x.detach(), weight)
    (weight.to(memory_format=layout) * y).sum().backward()
    torch.testing.assert_close(x.grad, for_x)
    torch.testing.assert_close(module.ends.grad, torch.tensor(slopes), rtol=1e-3, atol=1e-6)
    assert len(module.ends) == (2 if sites == [False] and not SCHEMES[scheme].symmetric else 1)


@pytest.mark.parametrize("sites", [[True], [False]])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_values_are_those_of_a_tracked_range(scheme, sites):
    low, high = (0.0 if all(sites) else -0.7), 3.1
    tracked = ActivationQuantizer(ActivationGrid(SCHEMES[scheme]), sites, percentile=100.0)
    tracked.set_range(low, high)
    module = quantizer(scheme, sites, low, high)
    torch.testing.assert_close(module.scale, tracked.scale, rtol=1e-6, atol=0)
    assert module.zero_point == tracked.zero_point
    tracked.scale.copy_(module.scale)
    x = values(low, high)
    assert torch.equal(module(x, 0), tracked(x, 0))
    assert torch.equal(module(torch.zeros(1, 1, 1, 1), 0), torch.zeros(1, 1, 1, 1))  # zero has a code


def test_a_range_learns_to_leave_out_what_is_rare_and_to_reach_what_is_not():
    """Least squares: 0.1 % of outliers are not worth coarse steps; a range that began too short grows."""
    x = torch.rand(1, 1, 100, 100, generator=torch.Generator().manual_seed(0))
    x.view(-1)[:10] = 8.0
    for began in (8.0, 0.1):
        module = quantizer("ort_u8s8", [True], 0.0, began)
        optimizer = torch.optim.Adam([module.ends], lr=0.08, eps=1e-14)
        target = x.clamp(max=1.0)
        for _ in range(100):
            optimizer.zero_grad()
            (module(x, 0) - target).square().mean().backward()
            optimizer.step()
        assert 0.8 < module.ends.exp2().item() < 1.6


def test_an_end_that_calibration_found_at_zero_can_move():
    for low, high in ((0.0, 0.0), (0.0, 2.0), (-2.0, 0.0)):
        ends = initial_ends(low, high, negative=True, symmetric=False)
        found = range_of_ends(ends, negative=True)
        assert torch.isfinite(ends).all()
        assert found[0] < 0 < found[1]
    assert initial_ends(0.0, 0.0, negative=False, symmetric=True).exp2() == 1.0


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return golden_model(num_classes=5)


def pictures(count: int) -> Tensor:
    stacked = torch.stack([torch.from_numpy(p.transpose(2, 0, 1).copy()) for p in smooth_pictures(count, SIZE)])
    return (stacked.float() - 128) / 64


def learned(network: nn.Module, scheme: str = "ort_u8s8"):
    model = prepare(network, scheme)
    set_input_range(model, *golden_card(SIZE).preprocessing.input_range)
    calibrate(model, [pictures(2)])
    learn_ranges(model)
    return model


def moved(model, steps: int = 1) -> None:
    """Updates of a training, the last without a forward pass behind it."""
    set_state(model.train(), observing=True, frozen_bn=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-14)
    for _ in range(steps):
        optimizer.zero_grad()
        model(pictures(2))["segmentation"].square().mean().backward()
        optimizer.step()


def test_keys_are_the_tracked_ones_and_one_parameter_per_scale(network):
    tracked, model = prepare(network), learned(network)
    added = set(model.state_dict()) - set(tracked.state_dict())
    scales = {name for name, _ in model.ranges.named_children()} - {"image"}
    assert added == {f"ranges.{name}.ends" for name in scales}
    assert set(tracked.state_dict()) < set(model.state_dict())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_file_has_the_range_of_the_last_update(network, scheme):
    """What is saved, converted and exported is what the parameters say, without a forward pass between."""
    model = learned(network, scheme)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    moved(model)
    baked = {name: module.scale for name, module in convert(model).ranges.named_children()}
    saved = model.state_dict()
    changed = [name for name in before if name.endswith(".ends") and not torch.equal(before[name], saved[name])]
    assert len(changed) > 0.9 * len(baked)
    again = prepare(network, scheme)
    learn_ranges(again)
    again.load_state_dict(saved)
    for name, scale in baked.items():
        whole = name.removesuffix("_codes").removesuffix("_values")  # halves, where a resize reads codes
        assert torch.equal(scale, saved[f"ranges.{whole}.scale"]), name
    image = pictures(1)
    expected = model.eval()(image)["segmentation"]
    assert torch.equal(again.eval()(image)["segmentation"], expected)
    exact = integer_exact(again)(image)["segmentation"]
    assert (exact - expected).abs().mean() < 2 * baked["decoders_0_pred_1_0"]
    if scheme == DEFAULT_SCHEME:  # tests/quantization/test_schemes.py has them all
        data = to_onnx(again, golden_card(SIZE, 5), size=SIZE).SerializeToString()
        assert (run(load_onnx(data, threads=1), image.numpy())["segmentation"] == exact.numpy()).all()


def test_fixed_ranges_have_gradients_of_zero(network):
    """Not none: several processes wait for each other's."""
    model = learned(network)
    set_state(model.train(), observing=False, frozen_bn=True)
    model(pictures(1))["segmentation"].square().mean().backward()
    ends = [module.ends for module in model.modules() if isinstance(module, ActivationQuantizer)]
    assert all(e.grad is not None and not e.grad.any() for e in ends if e is not None)
