"""The scheme without ties: sums under every way to round, and networks whose codes are the same in every arithmetic."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from edgeailite.errors import UsageError
from edgeailite.quantization import Plan, convert, integer_exact, learn_ranges, prepare, set_state
from edgeailite.quantization.arithmetic import ARITHMETICS
from edgeailite.quantization.convert import IntegerConv, Quantize
from edgeailite.quantization.graph import is_module
from edgeailite.quantization.integer import Codes, IntegerExact
from edgeailite.quantization.lowered import input_codes
from edgeailite.quantization.lowering import lower
from edgeailite.quantization.modules import ActivationQuantizer, QuantConv2d
from edgeailite.quantization.program import Operator, Value
from edgeailite.quantization.tflite_rules import RULES, quantize_multiplier, run_program
from edgeailite.quantization.tie_free import (
    LEAST_SHIFT,
    MOST_SHIFT,
    TieFreeResize,
    bias_codes,
    mean_rows,
    nearest_rows,
    within_shifts,
)
from edgeailite.quantization.tie_safe import additions_of, tie_safe_additions
from tests.export.test_everything import everything
from tests.export.toy import toy_quantized
from tests.quantization.tiny import pixels, quantized, tiny

Array = NDArray[np.int64]
SHIFTS = range(LEAST_SHIFT, MOST_SHIFT + 1)
REACH = 300  # codes beyond which everybody clamps


# --- numbers


def sums(shift: int, rest: int = 2) -> Array:
    """Sums of 4 n + `rest`: all whose code is within REACH, or those near halves and many others; and huge ones."""
    end = REACH << shift
    if shift <= 9:
        found = np.arange(-end, end)
    else:
        halves = (2 * np.arange(-REACH, REACH, dtype=np.int64) + 1) << (shift - 1)
        near = halves[:, None] + np.arange(-16, 17)
        found = np.concatenate([near.ravel(), np.random.default_rng(shift).integers(-end, end, 20_000)])
    huge = np.array([sign * (2**power + off) for power in (23, 24, 25, 30) for sign in (1, -1) for off in range(-8, 9)])
    found = np.concatenate([found, huge])
    return np.unique(found[found % 4 == rest])


def kernel(name: str, shift: int) -> Callable[[Array], Array]:
    """Codes without zero point, not yet clamped, that the kernels of TensorFlow Lite make of sums."""

    def value(scale: float) -> Value:
        return Value("v", (1,), scale=np.array([scale], np.float32))

    op = Operator("CONV_2D", [value(2.0**-6), value(2.0 ** (6 - shift - 3))], value(2.0**-3))
    return lambda total: np.asarray(RULES[name].requantize(op, total))


def fixed_point_once(total: Array, shift: int) -> Array:
    """One rounding, halves up, of a 31-bit multiplier: builds with TFLITE_SINGLE_ROUNDING."""
    multiplier, exponent = quantize_multiplier(2.0**-shift)
    return (total * multiplier + (1 << (30 - exponent))) >> (31 - exponent)


def twice_halves_up(total: Array, shift: int) -> Array:
    """Two roundings, both with halves up: LiteRT's optimised kernels."""
    multiplier, exponent = quantize_multiplier(2.0**-shift)
    high = (total * multiplier + 2**30) >> 31
    return (high + (1 << (-exponent - 1))) >> -exponent


WAYS: dict[str, Callable[[Array, int], Array]] = {
    "onnxruntime": lambda s, k: np.rint(s.astype(np.float32) * np.float32(2.0**-k)).astype(np.int64),
    "tflite_reference": lambda s, k: kernel("tflite_reference", k)(s),
    "xnnpack": lambda s, k: kernel("xnnpack", k)(s),
    "31 bits, once": fixed_point_once,
    "31 bits, twice, halves up": twice_halves_up,
    "halves up": lambda s, k: (s + (1 << (k - 1))) >> k,
    "halves down": lambda s, k: -((-s + (1 << (k - 1))) >> k),
    "halves away from zero": lambda s, k: np.sign(s) * ((np.abs(s) + (1 << (k - 1))) >> k),
    "halves to zero": lambda s, k: np.sign(s) * -((-np.abs(s) + (1 << (k - 1))) >> k),
}


def clamped(way: str, total: Array, shift: int) -> Array:
    """A code around any zero point from 0 to 255 lies within 255 of it."""
    return WAYS[way](total, shift).clip(-256, 256)


@pytest.mark.parametrize("shift", SHIFTS)
def test_every_way_to_round_gives_one_code(shift):
    total = sums(shift)
    expected = clamped("halves up", total, shift)
    for way in WAYS:
        np.testing.assert_array_equal(clamped(way, total, shift), expected, err_msg=way)
    nearest = [round(Fraction(int(s), 1 << shift)) for s in total[:: max(1, len(total) // 500)]]
    np.testing.assert_array_equal(expected[:: max(1, len(total) // 500)], np.clip(nearest, -256, 256))


@pytest.mark.parametrize(("shift", "rest"), [(8, 0), (8, 3), (LEAST_SHIFT - 1, 2)])
def test_with_other_biases_or_a_smaller_shift_the_real_kernels_depart(shift, rest):
    """3: TensorFlow Lite's first rounding makes an even number of it, and then a half."""
    total = sums(shift, rest)
    codes = {way: clamped(way, total, shift) for way in ("onnxruntime", "xnnpack", "tflite_reference")}
    assert (codes["onnxruntime"] != codes["tflite_reference"]).any()
    np.testing.assert_array_equal(codes["onnxruntime"], codes["xnnpack"])


def test_biases_are_two_more_than_a_multiple_of_four_and_near():
    bias, scale = torch.linspace(-3, 3, 1001), torch.tensor(2.0**-7)
    codes = bias_codes(bias, scale)
    assert (codes.remainder(4) == 2).all()
    assert (codes * scale - bias).abs().max() <= 2 * scale
    assert (bias_codes(torch.tensor([1e30, -1e30]), scale).remainder(4) == 2).all()


def test_scales_of_weights_are_kept_where_the_proof_holds():
    weight_scale = 2.0 ** torch.arange(-30.0, 20)
    kept = within_shifts(weight_scale, torch.tensor(2.0**-5), torch.tensor(2.0**-3))
    shifts = -torch.log2(kept * 2.0**-5 / 2.0**-3)
    assert (float(shifts.min()), float(shifts.max())) == (LEAST_SHIFT, MOST_SHIFT)
    assert torch.equal(kept, weight_scale.clamp(2.0**-14, 2.0**-1))


# --- resizes


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_a_resize_by_the_factor_is_bilinear(factor):
    x = torch.randn(1, 3, 5, 7, dtype=torch.float64)
    rows, columns = (mean_rows(n, factor * n, factor, torch.device("cpu")).double() for n in (5, 7))
    expected = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    torch.testing.assert_close(rows @ (x @ columns.t()), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("old", "new", "factor"), [(12, 23, 2), (23, 45, 2), (23, 90, 4), (1, 2, 2), (1, 1, 2), (5, 10, 2)]
)
def test_rows_are_the_nearest_and_means_have_weight_one(old, new, factor):
    rows = nearest_rows(old, new, factor, torch.device("cpu")).tolist()
    inner = [int(Fraction(2 * i + 1, 2) * Fraction(old, new)) for i in range(new)]
    assert rows == [inner[0]] * (factor // 2) + inner + [inner[-1]] * (factor // 2)
    assert torch.equal(mean_rows(old, new, factor, torch.device("cpu")).sum(1), torch.ones(new))


# --- networks


class Residual(nn.Module):
    """Grouped and depthwise convolutions, biases and none, additions before a ReLU, a resize by 4, MaxPool, ReLU6."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU6())
        self.grouped = nn.Conv2d(8, 8, 3, 1, 1, groups=2, bias=False)
        self.depthwise = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 2, 2, groups=8), nn.ReLU())
        self.relu, self.pool = nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        self.deep = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8))
        self.end = nn.Conv2d(16, 4, 1, bias=False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        fine = self.stem(x)
        fine = self.relu(self.grouped(fine) + fine)
        fine = self.depthwise(fine) + fine
        coarse = self.deep(self.pool(fine))
        coarse = F.interpolate(coarse, size=fine.shape[2:], mode="bilinear", align_corners=False)
        y = self.end(torch.cat([coarse, fine], 1))
        return {"segmentation": F.interpolate(y, size=x.shape[2:], mode="bilinear", align_corners=False)}


def residual() -> fx.GraphModule:
    torch.manual_seed(3)
    return quantized(Residual(), "portable")


def networks() -> dict[str, fx.GraphModule]:
    return {"tiny": quantized(tiny(), "portable"), "residual": residual()}


NETWORKS = networks()


def codes_by_name(converted: fx.GraphModule, picture: Tensor, arithmetic: str) -> dict[str, Array]:
    """Every quantized tensor by the module that gives it, NCHW, as int8."""
    found: dict[str, Array] = {}
    if not ARITHMETICS[arithmetic].lowered:

        def seen(node: fx.Node, codes: Codes) -> None:
            found[str(node.args[0].target)] = codes.codes.numpy().astype(np.int64) - 128

        IntegerExact(converted, seen, arithmetic).run(picture)
        return found
    program = lower(converted, (picture.shape[2], picture.shape[3]), head="codes")

    def kept(value: Value, numbers: Array) -> None:
        found[value.name] = numbers.transpose(0, 3, 1, 2).astype(np.int64)

    run_program(program, [input_codes(picture[0].numpy(), value) for value in program.inputs], arithmetic, seen=kept)
    return found


@pytest.mark.parametrize("size", [(24, 32), (40, 56), (20, 28)])  # the last two have no whole factors inside
@pytest.mark.parametrize("name", NETWORKS)
def test_all_arithmetics_and_the_simulation_give_the_same(name, size):
    model = NETWORKS[name]
    (picture,) = pixels(1, size, seed=9)[0]
    with torch.no_grad():
        simulated = model(picture)
    for arithmetic in ARITHMETICS:
        found = integer_exact(model, arithmetic)(picture)
        assert all(torch.equal(found[key], simulated[key]) for key in simulated), arithmetic
    converted = convert(model)
    first, *others = (codes_by_name(converted, picture, row) for row in ARITHMETICS)
    for row, other in zip(list(ARITHMETICS)[1:], others, strict=True):
        common = set(first) & set(other)
        assert len(common) >= 4
        assert [key for key in common if not np.array_equal(first[key], other[key])] == [], row


def convolutions(converted: fx.GraphModule) -> Iterator[tuple[Quantize, IntegerConv, Quantize]]:
    """Each convolution with the quantizers of its input and of its result."""
    for node in converted.graph.nodes:
        conv = converted.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(conv, IntegerConv):
            behind = next(iter(node.users))
            while not is_module(behind, Quantize):
                behind = next(iter(behind.users))
            yield converted.get_submodule(node.args[0].target), conv, converted.get_submodule(behind.target)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_file_s_numbers_are_those_of_the_proof(name):
    converted = convert(NETWORKS[name])
    found = list(convolutions(converted))
    assert len(found) >= 4
    for source, conv, output in found:
        assert (conv.weight.long() % 4 == 0).all()
        assert (conv.bias.long() % 4 == 2).all()
        shift = -torch.log2(source.scale * conv.weight_scale / output.scale)
        assert torch.equal(shift, shift.round())
        assert (shift >= LEAST_SHIFT).all()
        assert (shift <= MOST_SHIFT).all()


def test_additions_have_one_scale_and_their_own_zero_points():
    model = NETWORKS["residual"]
    found = [addition.quantizers for addition in additions_of(model)]
    assert len(found) == 2
    assert len({float(q.scale) for three in found for q in three}) == 1
    assert len({int(q.zero_point) for q in found[0]}) > 1
    assert tie_safe_additions(model) == (2, 2)


@pytest.mark.parametrize("fault", ["bias", "shift"])
def test_a_planted_fault_makes_arithmetics_depart(fault):
    """Biases that are multiples of 4; multipliers of 2^-2, whose sums all lie in the middle between two codes."""
    converted = convert(NETWORKS["residual"])
    for source, conv, output in convolutions(converted):
        if fault == "bias":
            conv.bias -= 2
        else:
            conv.weight_scale.fill_(float(output.scale / source.scale / 4))
            conv.weight.copy_(conv.weight.sign() * 4)
    (picture,) = pixels(1, (48, 64), seed=9)[0]
    first, *others = (codes_by_name(converted, picture, row) for row in ARITHMETICS)
    departing = {key for other in others for key in set(first) & set(other) if (first[key] != other[key]).any()}
    assert "stem.0" in departing


def test_training_keeps_the_promise():
    """After steps with moving ranges and statistics, and with learned ranges, the file still is the simulation."""
    torch.manual_seed(0)
    for learned in (False, True):
        model = quantized(Residual(), "portable")
        if learned:
            learn_ranges(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        model.train()
        before = model.state_dict()["stem.0.weight"].clone()
        for step in range(6):
            set_state(model, observing=step < 4, frozen_bn=step >= 3, enabled=True)
            (picture,) = pixels(1, seed=step)[0]
            model(picture)["segmentation"].square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        model.eval()
        assert not torch.equal(model.state_dict()["stem.0.weight"], before)
        (picture,) = pixels(1, seed=77)[0]
        with torch.no_grad():
            expected = model(picture)["segmentation"]
        for arithmetic in ARITHMETICS:
            assert torch.equal(integer_exact(model, arithmetic)(picture)["segmentation"], expected), arithmetic


def test_a_copy_is_connected_to_itself():
    model = copy.deepcopy(NETWORKS["residual"])
    inside = {id(module) for module in model.modules()}
    for module in model.modules():
        if isinstance(module, QuantConv2d):
            assert all(id(quantizer) in inside for quantizer in module.result)
        elif isinstance(module, TieFreeResize):
            assert all(id(quantizer) in inside for quantizer in module.source)
        elif isinstance(module, ActivationQuantizer):
            assert all(id(quantizer) in inside for quantizer in module.tied)


# --- refused by name


class Resized(nn.Module):
    def __init__(self, stride: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, stride, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        fine = self.first(x)
        coarse = F.interpolate(self.second(fine), size=fine.shape[2:], mode="bilinear", align_corners=False)
        return {"segmentation": fine + coarse}


def test_what_has_ties_is_refused_by_name():
    with pytest.raises(UsageError, match="average pooling has ties") as caught:
        prepare(everything(), "portable")
    assert caught.value.path == "pool"
    with pytest.raises(UsageError, match="a resize from 86x86 to 256x256, known are factors 2, 4, 8"):
        prepare(Resized(3), "portable")
    with pytest.raises(UsageError, match="portable has 8 bits everywhere"):
        prepare(tiny(), "portable", plan=Plan(weights={"encoder.0.0": 16}))
    prepare(Resized(2), "portable")


def test_a_tflite_file_whose_last_resize_would_differ_is_refused():
    converted = convert(toy_quantized("portable"))
    with pytest.raises(UsageError, match="9x14 to 17x27, is not by a power of two") as caught:
        lower(converted, (17, 27))
    assert (caught.value.path, caught.value.code, caught.value.fix) == (
        "segmentation",
        "no-fit",
        "take a picture size whose sides are multiples of 2",
    )
    lower(converted, (17, 27), head="codes")
    with pytest.raises(UsageError, match="int8 at full size would have ties"):
        lower(converted, (32, 48), head="quantized")
    program = lower(converted, (32, 48), head="argmax")
    assert [op.kind for op in program.operators[-3:]] == ["DEQUANTIZE", "RESIZE_BILINEAR", "ARG_MAX"]
