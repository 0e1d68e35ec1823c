"""Additions that every arithmetic computes alike: all pairs of codes, and the search for scales in networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

from edgeailite.quantization import calibrate, learn_ranges, prepare, set_input_range, tie_safe
from edgeailite.quantization.arithmetic import ARITHMETICS, Arithmetic
from edgeailite.quantization.convert import Quantize
from edgeailite.quantization.modules import ActivationQuantizer
from edgeailite.quantization.schemes import Plan
from edgeailite.quantization.tie_safe import agree, all_sums, make_tie_safe, tie_safe_additions
from tests.quantization.tiny import pixels, tiny

ROWS = list(ARITHMETICS.values())
Grids = tuple[Quantize, Quantize, Quantize]


def grid(scale: float, zero_point: int, kind: torch.dtype = torch.uint8) -> Quantize:
    return Quantize(torch.tensor(float(scale)), torch.tensor(zero_point, dtype=kind), opset=21)


def random_grids(count: int, *, seed: int = 0, kind: torch.dtype = torch.uint8) -> list[Grids]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        sa, sb = np.exp(rng.uniform(-5, -2, 2)).astype(np.float32)
        scales = sa, sb, np.float32(max(sa, sb) * rng.uniform(0.8, 1.6))
        zeros = rng.integers(0, 256, 3) if kind == torch.uint8 else (0, 0, 0)
        a, b, y = (grid(scale, int(zero), kind) for scale, zero in zip(scales, zeros, strict=True))
        found.append((a, b, y))
    return found


@pytest.mark.parametrize("kind", [torch.uint8, torch.int8], ids=str)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_arithmetic_gives_the_exact_sum_but_next_to_the_middle_between_two_codes(row, kind):
    """Rows are codes of a, columns of b; signed codes begin at -128."""
    for a, b, y in random_grids(4, kind=kind):
        low, high = y.codes()
        codes = np.arange(low, high + 1).astype(np.float64)
        first, second = ((codes - int(q.zero_point)) * float(q.scale) for q in (a, b))
        exact = (first[:, None] + second) / float(y.scale) + int(y.zero_point)
        apart = np.abs(exact - np.floor(exact) - 0.5) > 1e-3
        got = all_sums(row, a, b, y)
        assert got.shape == (256, 256)
        np.testing.assert_array_equal(got[apart], np.floor(exact + 0.5).clip(low, high)[apart])


def test_each_arithmetic_departs_somewhere():
    """Otherwise the search would not need it."""
    grids = random_grids(40)
    for row in ROWS[1:]:
        assert any((all_sums(row, *three) != all_sums(ROWS[0], *three)).any() for three in grids), row.name


@pytest.mark.parametrize("name", list(ARITHMETICS)[1:])
def test_agreement_needs_every_arithmetic(name, monkeypatch):
    three = next(three for three in random_grids(200, seed=1) if agree(*three))
    whole = tie_safe.all_sums

    def spoiled(row: Arithmetic, *grids: Quantize) -> np.ndarray:
        sums = whole(row, *grids)
        sums[17, 200] += row.name == name
        return sums

    monkeypatch.setattr(tie_safe, "all_sums", spoiled)
    assert not agree(*three)


def test_powers_of_two_have_sums_in_the_very_middle():
    assert not agree(grid(0.25, 128), grid(0.25, 128), grid(0.5, 128))


# --- in a network


def additions(model: fx.GraphModule) -> list[tuple[ActivationQuantizer, ...]]:
    return [addition.quantizers for addition in tie_safe.additions_of(model)]


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
    assert make_tie_safe(model)["additions"] == (2, 2)
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
    make_tie_safe(model)
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
    assert make_tie_safe(model)["additions"] == (1, 1)
    assert torch.equal(y.scale, kept)
    assert a is not b


def test_powers_of_two_and_wide_codes_are_left_as_they_are():
    for model in (calibrated("tidl_pow2"), calibrated(plan=Plan(activations={"encoder_2_2": 16}))):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        assert make_tie_safe(model)["additions"] == (0, 1)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
