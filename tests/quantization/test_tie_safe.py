"""Additions that every runtime computes alike: the five rules against oracles, and the search for scales."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, fx, nn

from edgeailite.quantization import calibrate, learn_ranges, prepare, set_input_range, tie_safe
from edgeailite.quantization.modules import ActivationQuantizer
from edgeailite.quantization.schemes import Plan
from edgeailite.quantization.tie_safe import RULES, Sum, agree, make_additions_tie_safe, tie_safe_additions
from tests.quantization.tiny import pixels, tiny

EIGHT_BITS = (0, 255)


def random_sums(count: int, *, seed: int = 0) -> list[Sum]:
    rng = np.random.default_rng(seed)
    sums = []
    for _ in range(count):
        sa, sb = np.exp(rng.uniform(-5, -2, 2)).astype(np.float32)
        sy = np.float32(max(sa, sb) * rng.uniform(0.8, 1.6))
        za, zb, zy = map(int, rng.integers(0, 256, 3))
        sums.append(Sum((sa, sb, sy), (za, zb, zy), 0))
    return sums


SUMS = random_sums(40)


def qlinear_add(total: Sum) -> np.ndarray:
    """All pairs of codes through onnxruntime's kernel."""
    a, b = (np.broadcast_to(codes, (256, 256)).astype(np.uint8) for codes in total.codes())
    names = [f"{part}{kind}" for part in "aby" for kind in ("_scale", "_zero")]
    values = [v for s, z in zip(total.scales, total.zeros, strict=True) for v in (np.float32(s), np.uint8(z))]
    inputs = ["a", names[0], names[1], "b", *names[2:]]
    graph = helper.make_graph(
        [helper.make_node("QLinearAdd", inputs, ["y"], domain="com.microsoft")],
        "one addition",
        [helper.make_tensor_value_info(name, TensorProto.UINT8, [256, 256]) for name in "ab"],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [256, 256])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in zip(names, values, strict=True)],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"a": a, "b": b})[0]


def test_the_first_rule_is_onnxruntime_s_here():
    for total in SUMS[:10]:
        np.testing.assert_array_equal(tie_safe.onnxruntime_x86(total).clip(*EIGHT_BITS), qlinear_add(total))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_rule_is_the_exact_sum_but_next_to_the_middle_between_two_codes(rule):
    for total in SUMS[:5]:
        a, b = total.centred()
        (sa, sb, sy), zero = map(Fraction, map(float, total.scales)), total.zeros[2]
        exact = (a * float(sa / sy) + b * float(sb / sy)) + zero
        got = rule(total)
        apart = np.abs(exact - np.floor(exact) - 0.5) > 1e-3
        assert np.abs(got - exact).max() < 0.51
        np.testing.assert_array_equal(got[apart], np.floor(exact + 0.5)[apart])


def test_each_rule_departs_somewhere():
    """Otherwise the search would not need it."""
    for rule in RULES[1:]:
        assert any((rule(total).clip(*EIGHT_BITS) != RULES[0](total).clip(*EIGHT_BITS)).any() for total in SUMS), rule


@pytest.mark.parametrize("index", range(1, 5))
def test_agreement_needs_every_rule(index, monkeypatch):
    total = next(total for total in random_sums(200, seed=1) if agree(total))
    rule = RULES[index]
    monkeypatch.setattr(
        tie_safe, "RULES", (*RULES[:index], lambda t: rule(t) + (t.codes()[0] == 17), *RULES[index + 1 :])
    )
    assert not agree(total)


def test_powers_of_two_have_sums_in_the_very_middle():
    total = Sum((np.float32(0.25), np.float32(0.25), np.float32(0.5)), (128, 128, 128), 0)
    assert not agree(total)


# --- in a network


def additions(model: fx.GraphModule) -> list[tuple[ActivationQuantizer, ...]]:
    return [addition.quantizers for addition in tie_safe._additions(model)]


def spoil(model: fx.GraphModule) -> None:
    """Move the result's scale to one at which the rules depart."""
    (_, _, y) = additions(model)[0]
    for _ in range(500):
        if tie_safe_additions(model)[0] == 0:
            return
        y.stretch(1.0003)
    raise AssertionError("no scale was found at which the rules depart")


class Residual(nn.Module):
    """Two additions in a row; the first result is a summand of the second, and nothing is resized inside."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 1)]
        )

    def forward(self, *images: Tensor) -> dict[str, Tensor]:
        x = self.layers[0](images[0])
        x = x + self.layers[1](x)
        x = x + self.layers[2](x)
        return {"segmentation": self.layers[3](x)}


def residual() -> Residual:
    torch.manual_seed(0)
    return Residual().eval()


def calibrated(
    scheme: str = "ort_u8s8", *, seed: int = 0, plan: Plan | None = None, network: nn.Module | None = None
) -> fx.GraphModule:
    model = prepare(network or tiny(seed), scheme, plan=plan or Plan(), percentile=100.0)
    set_input_range(model, -2.0, 127 / 64)
    calibrate(model, pixels(seed=1))
    return model


@pytest.mark.parametrize("scheme", ["ort_u8s8", "ort_u8s7", "ort_u8s8_tensor", "s8s8"])
def test_calibration_leaves_additions_that_agree(scheme):
    for seed in range(3):
        assert tie_safe_additions(calibrated(scheme, seed=seed)) == (1, 1)


@pytest.mark.parametrize("learned", [False, True], ids=["observed", "learned"])
def test_scales_move_by_a_hundred_thousandth_at_most_and_zero_points_stay(learned):
    model = calibrated(network=residual())
    if learned:
        learn_ranges(model)
    spoil(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert make_additions_tie_safe(model) == (2, 2)
    assert tie_safe_additions(model) == (2, 2)
    found = {name: value.clone() for name, value in model.state_dict().items()}
    moved = {name for name, value in found.items() if not torch.equal(value, before[name])}
    assert any(name.endswith("scale") for name in moved)
    for name in moved:
        assert name.rpartition(".")[2] in ("low", "high", "scale", "ends")
        logarithms = name.endswith("ends")
        torch.testing.assert_close(
            found[name], before[name], rtol=0 if logarithms else 1.2e-5, atol=1.6e-5 if logarithms else 0
        )
    for module in model.modules():
        if isinstance(module, ActivationQuantizer):
            module.update_scale()  # as conversion and training do
    make_additions_tie_safe(model)
    assert all(torch.equal(value, found[name]) for name, value in model.state_dict().items())


def test_a_scale_that_a_resize_reads_stays_and_a_summand_moves():
    model = calibrated()
    a, b, y = additions(model)[0]
    assert y.grid.exact_resize
    spoiled = False
    for _ in range(500):
        b.stretch(1.0003)
        spoiled = tie_safe_additions(model)[0] == 0
        if spoiled:
            break
    assert spoiled
    kept = y.scale.clone()
    assert make_additions_tie_safe(model) == (1, 1)
    assert torch.equal(y.scale, kept)
    assert a is not b


def test_powers_of_two_and_wide_codes_are_left_as_they_are():
    for model in (calibrated("tidl_pow2"), calibrated(plan=Plan(activations={"encoder_2_2": 16}))):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        assert make_additions_tie_safe(model) == (0, 1)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
