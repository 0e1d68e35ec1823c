"""Every rule of the integer-exact mode against the operator of onnxruntime that it stands for, one operator at a time.

Random values rarely meet a tie, where another order of two float32 operations gives another code. So values are looked
for that lie nearest to one, or every pair of codes is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import fx, nn

from edgeailite.quantization.arithmetic import arithmetic_of
from edgeailite.quantization.convert import CodePool, IntegerConv, Quantize
from edgeailite.quantization.grids import WeightGrid
from edgeailite.quantization.integer import Codes, IntegerExact, _integer_sum, resize_bilinear
from edgeailite.quantization.modules import IntegerParameters, QuantConv2d
from edgeailite.quantization.schemes import SCHEMES
from edgeailite.runtime.saturation import EXACT_SUMS, sums_saturate

Array = NDArray[Any]
MICROSOFT = "com.microsoft"
WEIGHTS = WeightGrid(SCHEMES["ort_u8s8"], 8)


def kernel(kind: str, inputs: Sequence[Array], *, domain: str = "", output: int = TensorProto.UINT8, **how) -> Array:
    """What onnxruntime's operator gives; the first input is fed, the others are constants, None is left out."""
    names = ["" if value is None else f"i{index}" for index, value in enumerate(inputs)]
    shape = list(inputs[0].shape)
    fed = helper.make_tensor_value_info("i0", helper.np_dtype_to_tensor_dtype(inputs[0].dtype), shape)
    constants = [numpy_helper.from_array(v, n) for v, n in zip(inputs[1:], names[1:], strict=True) if v is not None]
    graph = helper.make_graph(
        [helper.make_node(kind, names, ["y"], domain=domain, **how)],
        "one operator",
        [fed],
        [helper.make_tensor_value_info("y", output, None)],
        constants,
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    unsigned = inputs[0].dtype == np.uint8  # sums of signed codes are exact, and wrong with this entry
    for key, value in EXACT_SUMS.items() if unsigned and sums_saturate() else ():
        options.add_session_config_entry(key, value)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"i0": inputs[0]})[0]


def quantize(scale: float, zero_point: int, kind: torch.dtype = torch.uint8) -> Quantize:
    return Quantize(torch.tensor(float(scale)), torch.tensor(zero_point, dtype=kind), opset=21)


def scalars(quantizer: Quantize) -> list[Array]:
    return [quantizer.scale.numpy(), quantizer.zero_point.numpy()]


def run_exact(
    build: Callable[[fx.Graph, list[fx.Node]], fx.Node],
    modules: dict[str, nn.Module],
    *given: Any,
    arithmetic: str | None = None,
) -> Any:
    """`IntegerExact` on a graph of these modules; `given` are its inputs, tensors or codes."""
    root, graph = nn.Module(), fx.Graph()
    for name, module in modules.items():
        root.add_module(name, module)
    graph.output(build(graph, [graph.placeholder(f"x{index}") for index in range(len(given))]))
    return IntegerExact(fx.GraphModule(root, graph), arithmetic=arithmetic).run(*given)


def chain(*modules: nn.Module, given: Any) -> Any:
    """`IntegerExact` on modules one behind another."""

    def build(graph: fx.Graph, nodes: list[fx.Node]) -> fx.Node:
        for index in range(len(modules)):
            nodes = [graph.call_module(f"m{index}", (nodes[0],))]
        return nodes[0]

    return run_exact(build, {f"m{index}": module for index, module in enumerate(modules)}, given)


def codes_of(values: Array, quantizer: Quantize) -> Codes:
    codes = torch.from_numpy(values.astype(np.float32))
    return Codes(codes, quantizer.scale, quantizer.zero_point.float(), quantizer.wide())


def integer_conv(conv: nn.Conv2d, weight: Array, weight_scale: Array, bias: Array, in_scale: float) -> IntegerConv:
    scale = torch.from_numpy(weight_scale)
    parameters = IntegerParameters(torch.from_numpy(weight), scale, torch.from_numpy(bias), scale * in_scale)
    return IntegerConv(QuantConv2d.from_conv(conv, None, WEIGHTS), parameters)


def check_conv(
    conv: nn.Conv2d, x: Array, weight: Array, weight_scale: Array, bias: Array, ends: list[Quantize]
) -> None:
    """`ends` are the quantizers of the input and of the result."""
    module = integer_conv(conv, weight, weight_scale, bias, float(ends[0].scale))
    got = chain(module, ends[1], given=codes_of(x, ends[0]))
    zeros = np.zeros(weight_scale.shape, np.int8)
    output = TensorProto.UINT8 if ends[1].zero_point.dtype == torch.uint8 else TensorProto.INT8
    expected = kernel(
        "QLinearConv",
        [x, *scalars(ends[0]), weight, weight_scale, zeros, *scalars(ends[1]), bias],
        output=output,
        strides=conv.stride,
        pads=[*conv.padding, *conv.padding],
        dilations=conv.dilation,
        group=conv.groups,
    )
    np.testing.assert_array_equal(got.codes.numpy(), expected)


GEOMETRIES = {
    "dense": {"in_channels": 6, "out_channels": 5, "kernel_size": 3, "padding": 1},
    "stride and padding of each side": {
        "in_channels": 4, "out_channels": 3, "kernel_size": (3, 5), "stride": (2, 1), "padding": (0, 2),
    },
    "dilated": {"in_channels": 3, "out_channels": 4, "kernel_size": 3, "padding": 2, "dilation": 2},
    "depthwise": {"in_channels": 8, "out_channels": 8, "kernel_size": 3, "padding": 1, "groups": 8},
    "groups": {"in_channels": 12, "out_channels": 9, "kernel_size": 3, "stride": 2, "padding": 1, "groups": 3},
}  # fmt: skip


@pytest.mark.parametrize("kind", [torch.uint8, torch.int8], ids=str)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_convolutions_of_any_geometry(geometry, kind):
    rng, conv = np.random.default_rng(len(geometry)), nn.Conv2d(**GEOMETRIES[geometry])
    weight = rng.integers(-127, 128, conv.weight.shape).astype(np.int8)
    low, high = (0, 256) if kind == torch.uint8 else (-128, 128)
    x = rng.integers(low, high, (2, conv.in_channels, 9, 7)).astype(np.uint8 if kind == torch.uint8 else np.int8)
    x_end = quantize(0.031, 77 if kind == torch.uint8 else 0, kind)
    spread = np.sqrt(weight[0].size) * 75 * 73 * 0.031 * 0.004
    for scales in (rng.uniform(0.002, 0.006, conv.out_channels).astype(np.float32), np.array(0.004, np.float32)):
        bias = rng.integers(-9000, 9000, conv.out_channels).astype(np.int32)
        for step, zero_point in ((spread / 40, 101), (spread / 300, 0)):  # the second clamps most
            end = quantize(step, zero_point if kind == torch.uint8 else 0, kind)
            check_conv(conv, x, weight, scales, bias, [x_end, end])


def near_ties(multiplier: np.float32, sums: Array, count: int) -> Array:
    """Those of `sums` whose product lies nearest to a half (several of the nearest below and above it)."""
    products = sums.astype(np.float32).astype(np.float64) * np.float64(multiplier)
    return sums[np.argsort(np.abs(np.abs(products - np.floor(products)) - 0.5))[:count]]


@pytest.mark.parametrize("zero_point", [0, 1, 128])
@pytest.mark.parametrize("seed", range(2))
def test_sums_next_to_ties_are_rounded_as_onnxruntime_does(seed, zero_point):
    """Weights of 0: the sum of each channel is its bias."""
    rng = np.random.default_rng(seed)
    x_end, scale = quantize(rng.uniform(0.01, 0.05), 3), np.array(rng.uniform(0.001, 0.01), np.float32)
    y_end = quantize(float(x_end.scale) * float(scale) * 2**20 / 120, zero_point)
    multiplier = x_end.scale.numpy() * scale / y_end.scale.numpy()
    ends = (-zero_point / multiplier, (255 - zero_point) / multiplier)
    bias = near_ties(multiplier, np.arange(*map(int, ends), dtype=np.int32), 4096)
    weight = np.zeros((len(bias), 1, 1, 1), np.int8)
    conv = nn.Conv2d(1, len(bias), 1)
    check_conv(conv, np.full((1, 1, 1, 1), 9, np.uint8), weight, scale, bias, [x_end, y_end])


@pytest.mark.parametrize("sign", [1, -1])
def test_sums_beyond_24_bits_are_rounded_once(sign):
    """The bias alone would be rounded to float32, and the sum again."""
    rng = np.random.default_rng(0)
    x_end, scale = quantize(0.0123, 0), np.array(0.00321, np.float32)
    y_end = quantize(float(x_end.scale) * float(scale) * 2**30 / 250, 0 if sign > 0 else 255)
    multiplier = np.float64(x_end.scale.numpy() * scale / y_end.scale.numpy())
    bias, summed = rng.integers(2**28, 2**30 - 2**15, 2**22), rng.integers(1, 128, 2**22)
    once = np.rint((bias + summed).astype(np.float32) * multiplier)
    twice = np.rint((bias.astype(np.float32) + summed.astype(np.float32)) * multiplier)
    chosen = np.flatnonzero(once != twice)[:1000]
    assert len(chosen) > 4
    weight = (sign * np.append(summed[chosen], 1)).astype(np.int8).reshape(-1, 1, 1, 1)
    bias = (sign * np.append(bias[chosen], 0)).astype(np.int32)
    check_conv(nn.Conv2d(1, len(bias), 1), np.ones((1, 1, 1, 1), np.uint8), weight, scale, bias, [x_end, y_end])


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize(("channels", "groups", "kernel_size"), [(1502, 1, 1), (400, 1, 3), (520, 4, 3), (260, 2, 3)])
def test_the_largest_sums_are_exact(channels, groups, kernel_size, balanced):
    """Also where they are large on the way alone, and where one channel's is small."""
    conv = nn.Conv2d(channels, 3 * groups, kernel_size, groups=groups)
    weight = torch.full(conv.weight.shape, 127, dtype=torch.int8)
    weight[::3].flatten(1)[:, ::2] -= 8  # not all sums are multiples of a power of two
    weight[1::3] = -weight[1::3]
    weight[2::3] = 1 if balanced else 0
    if balanced:
        weight[:, weight.shape[1] // 2 :] *= -1
    module = integer_conv(conv, weight.numpy(), np.array(1.0, np.float32), np.zeros(3 * groups, np.int32), 1.0)
    codes = torch.full((1, channels, 3, 3), 255)
    codes[..., 1] = 253
    codes[:, -1, ..., 0] = 252
    expected = F.conv2d(codes.double(), weight.double(), None, 1, 0, 1, groups)
    half = F.conv2d(codes.double(), weight.double().abs(), None, 1, 0, 1, groups) / 2
    assert 2**24 < half.max() < 2**31
    assert torch.equal(_integer_sum(module, codes.float()).double(), expected)


# Scales and zero points under which one pair of 65,536 or a few get another code where the two sides change places.
TELLING = (27, 28, 45, 52, 60, 232, 393)


def addition_ends(seed: int, kind: torch.dtype = torch.uint8) -> list[Quantize]:
    """Quantizers of two inputs and of their sum."""
    low, rng = torch.iinfo(kind).min, np.random.default_rng(seed)
    scales, zeros, step = rng.uniform(0.01, 0.04, 2), rng.integers(0, 256, 2), rng.uniform(0.02, 0.06)
    middle = 128 - float((128 - zeros) @ scales) / step
    sides = [quantize(scale, low + int(zero), kind) for scale, zero in zip(scales, zeros, strict=True)]
    return [*sides, quantize(step, low + int(np.clip(round(middle), 0, 255)), kind)]


@pytest.mark.parametrize("kind", [torch.uint8, torch.int8], ids=str)
@pytest.mark.parametrize("seed", [0, 1, *TELLING])
def test_every_pair_of_codes_is_added_as_onnxruntime_does(seed, kind):
    low = torch.iinfo(kind).min
    codes = np.arange(low, low + 256).astype(np.uint8 if kind == torch.uint8 else np.int8)
    a, b = (part[None, None] for part in np.meshgrid(codes, codes, indexing="ij"))
    *sides, end = addition_ends(seed, kind)
    given = [codes_of(value, side) for value, side in zip((a, b), sides, strict=True)]
    got = run_exact(added, {"end": end}, *given).codes.numpy()
    parts = [a, *scalars(sides[0]), b, *scalars(sides[1]), *scalars(end)]
    output = TensorProto.UINT8 if kind == torch.uint8 else TensorProto.INT8
    np.testing.assert_array_equal(got, kernel("QLinearAdd", parts, domain=MICROSOFT, output=output))


def added(graph: fx.Graph, nodes: list[fx.Node]) -> fx.Node:
    """Two inputs, their sum, the quantizer "end"."""
    return graph.call_module("end", (graph.call_function(torch.add, tuple(nodes)),))


def test_concatenations_copy_codes_in_their_order():
    end, rng = quantize(0.02, 5), np.random.default_rng(0)
    parts = [rng.integers(0, 256, (1, channels, 2, 3)).astype(np.uint8) for channels in (3, 1, 2)]
    given = [codes_of(part, end) for part in parts]
    got = run_exact(lambda graph, nodes: graph.call_function(torch.cat, (nodes, 1)), {}, *given)
    np.testing.assert_array_equal(got.codes.numpy(), np.concatenate(parts, 1))
    assert (got.scale, got.zero_point) == (end.scale, 5)


def test_maximum_pooling_takes_the_largest_code():
    x, end = np.random.default_rng(0).integers(0, 256, (2, 3, 9, 8)).astype(np.uint8), quantize(0.02, 100)
    got = chain(nn.MaxPool2d(3, 2, 1), given=codes_of(x, end))
    expected = kernel("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    np.testing.assert_array_equal(got.codes.numpy(), expected)
    assert (got.scale, got.zero_point) == (end.scale, 100)


@pytest.mark.parametrize("kind", [torch.uint8, torch.int8, torch.uint16, torch.int16], ids=str)
def test_values_next_to_ties_are_quantized_as_onnxruntime_does(kind):
    info, rng = torch.iinfo(kind), np.random.default_rng(1)
    for scale in (1 / 64, *rng.uniform(1e-4, 3.0, 12)):
        end = quantize(float(scale), int(rng.integers(info.min, info.max + 1)), kind)
        steps = rng.integers(-300, 300, 4000) if info.max < 256 else rng.integers(-40000, 40000, 4000)
        x = (steps + 0.5).astype(np.float32) * end.scale.numpy()
        x = np.concatenate([x, np.nextafter(x, np.float32(9e9)), np.nextafter(x, np.float32(-9e9)), x * 99])
        x = x.reshape(1, 1, 4, -1)
        output = helper.np_dtype_to_tensor_dtype(end.zero_point.numpy().dtype)
        expected = kernel("QuantizeLinear", [x, *scalars(end)], output=output)
        got = chain(end, given=torch.from_numpy(x))
        np.testing.assert_array_equal(got.codes.numpy(), expected)
        assert got.wide == (info.bits == 16)
        values = kernel("DequantizeLinear", [expected, *scalars(end)], output=TensorProto.FLOAT)
        np.testing.assert_array_equal(got.dequantize().numpy(), values)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (6, 6)])
def test_averages_are_whole_sums_times_one_factor(size):
    x, end = np.random.default_rng(2).integers(0, 256, (2, 3, 13, 10)).astype(np.uint8), quantize(0.0371, 91)
    got = chain(CodePool(size, end), given=codes_of(x, end)).numpy()
    for i, j in np.ndindex(*size):
        rows = slice(i * 13 // size[0], -(-(i + 1) * 13 // size[0]))
        columns = slice(j * 10 // size[1], -(-(j + 1) * 10 // size[1]))
        part = x[:, :, rows, columns].astype(np.int64) - 91
        factor = end.scale.numpy() / np.float32(part[0, 0].size)
        np.testing.assert_array_equal(got[:, :, i, j], part.sum((2, 3)).astype(np.float32) * factor)


@pytest.mark.parametrize("old", [(1, 1), (1, 5), (4, 1), (7, 9), (6, 3)])
@pytest.mark.parametrize("new", [(1, 1), (2, 11), (13, 4), (28, 36), (9, 9), (5, 9)])
def test_resizes_have_onnxruntime_s_bits(old, new):
    x = np.random.default_rng(3).normal(size=(2, 3, *old)).astype(np.float32)
    how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    sizes = np.array([2, 3, *new], np.int64)
    expected = kernel("Resize", [x, None, None, sizes], output=TensorProto.FLOAT, **how)
    np.testing.assert_array_equal(resize_bilinear(torch.from_numpy(x), new, arithmetic_of().blend).numpy(), expected)


def test_an_activation_behind_a_quantizer_works_on_values_and_behind_a_kernel_on_codes():
    x, end = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16), quantize(0.05, 120)
    got = chain(nn.ReLU6(), quantize(0.05, 120), given=codes_of(x, end))
    values = np.clip((x.astype(np.float32) - 120) * np.float32(0.05), 0, 6)
    np.testing.assert_array_equal(got.codes.numpy(), np.rint(values / np.float32(0.05)) + 120)
    conv = integer_conv(
        nn.Conv2d(1, 1, 1), np.ones((1, 1, 1, 1), np.int8), np.array(1.0, np.float32), np.zeros(1, np.int32), 0.05
    )
    got = chain(conv, nn.ReLU(), quantize(0.05, 0), given=codes_of(x, end))
    np.testing.assert_array_equal(got.codes.numpy(), np.maximum(x.astype(int) - 120, 0))


@pytest.mark.parametrize("which", ["input", "weight", "result"])
def test_convolutions_with_16_bits_are_computed_in_float(which):
    """Within one code of 16 bits of what the values give; in the input and the weight the bias is float, too."""
    rng, conv = np.random.default_rng(4), nn.Conv2d(4, 3, 3, padding=1)
    high = {"input": 65536, "weight": 256, "result": 256}[which]
    x_end = quantize(0.031, 77) if high == 256 else quantize(0.0002, 30000, torch.uint16)
    x = rng.integers(0, high, (1, 4, 6, 5))
    weight = (
        rng.integers(-30000, 30000, conv.weight.shape)
        if which == "weight"
        else rng.integers(-127, 128, conv.weight.shape)
    )
    scales = rng.uniform(2e-5, 6e-5, 3) if which == "weight" else rng.uniform(0.002, 0.006, 3)
    bias = rng.integers(-900, 900, 3) if which == "result" else rng.normal(size=3)
    values = bias * 0.031 * scales if which == "result" else bias
    kinds = (np.int16 if which == "weight" else np.int8, np.int32 if which == "result" else np.float32)
    module = integer_conv(conv, weight.astype(kinds[0]), scales.astype(np.float32), bias.astype(kinds[1]), 0.031)
    module.integer = which == "result"
    floats = (x - int(x_end.zero_point)) * float(x_end.scale)
    weights = torch.from_numpy(weight * scales.reshape(-1, 1, 1, 1))
    expected = F.conv2d(torch.from_numpy(floats), weights, torch.from_numpy(values), padding=1).numpy()
    step = float(np.abs(expected).max() / 120)
    y_end = quantize(step / 256, 32000, torch.uint16) if which == "result" else quantize(step, 128)
    got = chain(module, y_end, given=codes_of(x, x_end))
    assert got.wide == (which == "result")
    assert np.abs(got.dequantize().numpy() - expected).max() <= 0.51 * float(y_end.scale)


@pytest.mark.parametrize("which", [0, 1, 2], ids=["first", "second", "sum"])
def test_additions_with_16_bits_are_computed_in_float(which):
    """In every bit, of a million pairs: sums of values, not of codes."""
    rng = np.random.default_rng(5)
    ends = [quantize(0.0313, 100), quantize(0.0217, 90), quantize(0.0531, 128)]
    ends[which] = quantize(float(ends[which].scale) / 256, 30000, torch.uint16)
    x = [rng.integers(0, 65536 if end.wide() else 256, (1, 1, 1000, 1000)) for end in ends[:2]]
    got = run_exact(added, {"end": ends[2]}, *(codes_of(value, end) for value, end in zip(x, ends, strict=False)))
    first, second = (
        (v - int(e.zero_point)).astype(np.float32) * e.scale.numpy() for v, e in zip(x, ends, strict=False)
    )
    expected = np.rint((first + second) / ends[2].scale.numpy()) + int(ends[2].zero_point)
    np.testing.assert_array_equal(got.codes.numpy(), np.clip(expected, *ends[2].codes()))
