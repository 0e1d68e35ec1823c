"""Every rule of `tflite_rules` against the kernels it stands for, one operator at a time.

Scales and zero points are random. Random sums rarely meet a tie, where another order of roundings gives another code,
so sums are looked for that lie next to one, or every pair of codes is tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeailite.errors import UsageError
from edgeailite.quantization.program import Kind, Operator, Program, Value
from edgeailite.quantization.tflite_rules import KERNELS, RULES, WIDE_RULES, multiply, quantize_multiplier, run_program
from tests.tflite_schema import INT8_VERSIONS, INT16_VERSIONS, NOT_IN_MICRO, NOT_IN_XNNPACK, check_everywhere

pytest.importorskip("ai_edge_litert")
Array = NDArray[Any]
SEEDS = range(3)
NARROW = {
    "CAST", "DEPTH_TO_SPACE", "MUL", "REDUCE_MAX", "REDUCE_MIN", "RESHAPE", "SPACE_TO_DEPTH", "SUB", "TRANSPOSE",
}  # fmt: skip
"""Operators that are written in 8 bits alone."""


def tensor(name: str, shape: Sequence[int], scale: float = 0.02, zero_point: int = 0, kind: str = "int8") -> Value:
    return Value(name, tuple(shape), kind, np.array([scale], np.float32), zero_point)


def constant(name: str, data: Array, scale: Array | None = None, axis: int = 0) -> Value:
    return Value(name, data.shape, str(data.dtype), scale, axis=axis, data=data)


def random_codes(rng: np.random.Generator, value: Value) -> Array:
    limits = np.iinfo(value.type)
    return rng.integers(limits.min, limits.max + 1, value.shape).astype(value.type)


def check(kind: str, inputs: list[Value], output: Value, codes: list[Array], **options: Any) -> dict[str, Array]:
    """Compare one operator in both arithmetics with all runtimes; give back its codes by arithmetic."""
    given = [value for value in inputs if value.data is None]
    program = Program(given, {output.name: output}, [Operator(kind, inputs, output, options)])
    check_everywhere(program, codes)
    return {arithmetic: run_program(program, codes, arithmetic)[output.name] for arithmetic in RULES}


GEOMETRIES = {  # input, kernel, output channels, groups, options
    "dense": ((1, 9, 7, 6), (3, 3), 5, 1, {}),
    "one by one": ((1, 6, 5, 24), (1, 1), 16, 1, {}),
    "strides of each side": ((1, 9, 8, 4), (3, 5), 3, 1, {"stride": (2, 1)}),
    "no padding": ((1, 9, 8, 4), (3, 3), 3, 1, {"stride": (2, 2), "padding": "VALID"}),
    "dilated": ((1, 9, 7, 3), (3, 3), 4, 1, {"dilation": (2, 2)}),
    "depthwise": ((1, 9, 7, 19), (3, 3), 19, 19, {"stride": (2, 2)}),
    "depthwise, dilated": ((1, 9, 7, 8), (3, 3), 8, 8, {"dilation": (4, 4)}),
    "depthwise, two of each": ((1, 7, 7, 5), (3, 3), 10, 5, {}),
    "groups": ((1, 9, 7, 12), (3, 3), 9, 3, {"stride": (2, 2)}),
    "long": ((1, 3, 3, 600), (3, 3), 8, 1, {}),
}


def convolution(geometry: str, rng: np.random.Generator, kind: str = "int8") -> tuple[str, list[Value], Value, dict]:
    shape, kernel, channels, groups, changes = GEOMETRIES[geometry]
    options = {"stride": (1, 1), "dilation": (1, 1), "padding": "SAME"} | changes
    depthwise = groups == shape[3]
    weight_shape = (1, *kernel, channels) if depthwise else (channels, *kernel, shape[3] // groups)
    weight = rng.integers(-127, 128, weight_shape).astype(np.int8)
    x = tensor("x", shape, rng.uniform(0.01, 0.05), int(rng.integers(-128, 128)), kind)
    if kind == "int16":
        x.zero_point = 0
    scale = rng.uniform(0.002, 0.006, channels).astype(np.float32)
    spread = 70 * (75 if kind == "int8" else 20000) * np.sqrt(weight[..., 0].size if depthwise else weight[0].size)
    bias_scale = (x.scale * scale).astype(np.float32)
    bias = rng.integers(-int(spread), int(spread), channels).astype("int32" if kind == "int8" else "int64")
    reach = [d * (k - 1) + 1 for d, k in zip(options["dilation"], kernel, strict=True)]
    out = [
        -(-n // s) if options["padding"] == "SAME" else (n - r) // s + 1
        for n, s, r in zip(shape[1:3], options["stride"], reach, strict=True)
    ]
    step = spread * float(bias_scale.mean()) / (60 if kind == "int8" else 15000)
    y = tensor("y", (1, *out, channels), step, 0 if kind == "int16" else int(rng.integers(-128, 128)), kind)
    if depthwise:
        options["depth_multiplier"] = channels // groups
    constants = [
        constant("weight", weight, scale, 3 if depthwise else 0),
        constant("bias", bias, bias_scale),
    ]
    return "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", [x, *constants], y, options


@pytest.mark.parametrize("kind", ["int8", "int16"])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_convolutions_of_any_geometry(geometry, kind):
    for seed, activation in enumerate(("NONE", "RELU", "RELU6")):
        rng = np.random.default_rng(seed)
        name, inputs, y, options = convolution(geometry, rng, kind)
        if activation == "RELU6":
            y.scale = np.array([6 / rng.uniform(60, 200)], np.float32) if kind == "int8" else y.scale
        check(name, inputs, y, [random_codes(rng, inputs[0])], **options, activation=activation)


def sums_next_to_ties(multiplier: float, count: int) -> Array:
    """Sums whose product with `multiplier` lies nearest to a half, below and above."""
    sums = np.arange(int(-120 / multiplier), int(120 / multiplier))
    products = np.abs(sums * multiplier)
    return sums[np.argsort(np.abs(products - np.floor(products) - 0.5))[:count]]


@pytest.mark.parametrize("seed", SEEDS)
def test_sums_next_to_ties(seed):
    """Weights of 0: the sum of each channel is its bias. The two arithmetics differ in some of them."""
    rng = np.random.default_rng(seed)
    x, scale = tensor("x", (1, 1, 1, 1), rng.uniform(0.01, 0.05)), rng.uniform(0.001, 0.01)
    y = tensor("y", (1, 1, 1, 4096), float(x.scale[0]) * scale * 2**18 / 120, 3)
    bias = sums_next_to_ties(float(x.scale[0]) * float(np.float32(scale)) / float(y.scale[0]), 4096).astype(np.int32)
    scales = np.full(4096, scale, np.float32)
    parts = [constant("weight", np.zeros((4096, 1, 1, 1), np.int8), scales), constant("bias", bias, x.scale * scales)]
    options = {"stride": (1, 1), "dilation": (1, 1), "padding": "VALID", "activation": "NONE"}
    found = check("CONV_2D", [x, *parts], y, [np.ones((1, 1, 1, 1), np.int8)], **options)
    assert (found["xnnpack"] != found["tflite_reference"]).any()


def test_sums_beyond_24_bits():
    """XNNPACK rounds the whole sum to float32, the bias included."""
    rng = np.random.default_rng(0)
    x, scales = tensor("x", (1, 1, 1, 1), 0.0123, -100), np.full(4096, 0.00321, np.float32)
    bias = (rng.integers(2**28, 2**30, 4096) * rng.choice([-1, 1], 4096)).astype(np.int32)
    weight = rng.integers(-127, 128, (4096, 1, 1, 1)).astype(np.int8)
    y = tensor("y", (1, 1, 1, 4096), float(x.scale[0] * scales[0]) * 2**30 / 120)
    parts = [constant("weight", weight, scales), constant("bias", bias, x.scale * scales)]
    options = {"stride": (1, 1), "dilation": (1, 1), "padding": "VALID", "activation": "NONE"}
    check("CONV_2D", [x, *parts], y, [np.full((1, 1, 1, 1), 101, np.int8)], **options)


@pytest.mark.parametrize("scale", [4.0, 12.0, 0.05])
def test_the_code_of_six_where_it_is_a_tie(scale):
    """6 / 4 and 6 / 12 end in a half, which one arithmetic rounds up and the other to even."""
    for zero_point in (-128, -127, 0, 1):
        x, y = tensor("x", (1, 1, 256, 1), scale), tensor("y", (1, 1, 256, 1), scale, zero_point)
        zero = tensor("zero", (1, 1, 256, 1), scale)
        codes = [np.arange(-128, 128).astype(np.int8).reshape(x.shape), np.zeros(x.shape, np.int8)]
        check("ADD", [x, zero], y, codes, activation="RELU6")


@pytest.mark.parametrize("activation", ["NONE", "RELU"])
@pytest.mark.parametrize("seed", range(6))
def test_every_pair_of_codes_is_added(seed, activation):
    rng = np.random.default_rng(seed)
    a, b = (tensor(name, (1, 256, 256, 1), rng.uniform(0.01, 0.04), int(rng.integers(-128, 128))) for name in "ab")
    if seed > 3:
        b.scale = b.scale * np.float32(rng.uniform(0.005, 0.05))
    y = tensor("y", a.shape, rng.uniform(0.02, 0.06), int(rng.integers(-128, 128)))
    codes = np.meshgrid(*[np.arange(-128, 128).astype(np.int8)] * 2, indexing="ij")
    check("ADD", [a, b], y, [part.reshape(a.shape) for part in codes], activation=activation)


@pytest.mark.parametrize("kind", ["int8", "int16"])
def test_additions_that_xnnpack_leaves_to_others(kind):
    """The kernels of LiteRT that are not the reference take other steps, which few sums show."""
    shape, differing = (1, 50, 101, 11), 0  # not in whole blocks of 16
    for exponent in (-0.5, -11, -15.5, -17, -19.5, -21, -33):
        rng = np.random.default_rng(0)
        zeros = [0, 0, 0] if kind == "int16" else rng.integers(-128, 128, 3).tolist()
        steps = (0.05 * rng.uniform(0.5, 1), 0.05 * 2**exponent, 0.05)
        a, b, y = (tensor(*parts, kind) for parts in zip("aby", [shape] * 3, steps, zeros, strict=True))
        found = check("ADD", [a, b], y, [random_codes(rng, a) // 2, random_codes(rng, b)], activation="NONE")
        differing += int((found["xnnpack"] != found["tflite_reference"]).sum())
    assert differing > 0


SIZES = [(1, 1), (1, 5), (4, 1), (7, 9), (6, 3)]
NEW_SIZES = [(1, 1), (2, 11), (13, 4), (28, 36), (9, 9), (97, 53)]


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("new", NEW_SIZES, ids=str)
def test_resizes(new, corners):
    rng = np.random.default_rng(0)
    for old in SIZES:
        x, y = tensor("x", (1, *old, 5)), tensor("y", (1, *new, 5))
        size = constant("size", np.array(new, np.int32))
        check(
            "RESIZE_BILINEAR",
            [x, size],
            y,
            [random_codes(rng, x)],
            align_corners=corners,
            half_pixel_centers=not corners,
        )


def test_resizes_of_16_bits():
    x, y = tensor("x", (1, 7, 9, 5), kind="int16"), tensor("y", (1, 28, 20, 5), kind="int16")
    size = constant("size", np.array(y.shape[1:3], np.int32))
    codes = [random_codes(np.random.default_rng(0), x)]
    check("RESIZE_BILINEAR", [x, size], y, codes, align_corners=False, half_pixel_centers=True)


@pytest.mark.parametrize("kind", ["int8", "int16"])
@pytest.mark.parametrize("seed", range(5))
def test_averages(seed, kind):
    rng = np.random.default_rng(seed)
    shape = (1, *(int(length) for length in rng.integers(1, 14, 2)), 7)
    zeros = [0, 0] if kind == "int16" else rng.integers(-128, 128, 2).tolist()
    x = tensor("x", shape, rng.uniform(0.01, 0.05), zeros[0], kind)
    y = tensor("y", (1, 1, 1, 7), float(x.scale[0]) * rng.uniform(0.2, 1.1), zeros[1], kind)
    axes = constant("axes", np.array([1, 2], np.int32))
    check("MEAN", [x, axes], y, [random_codes(rng, x)], keep_dims=True)


@pytest.mark.parametrize("axes", [[3], [2], [1, 2, 3]])
def test_averages_over_other_axes(axes):
    rng = np.random.default_rng(len(axes))
    x = tensor("x", (1, 6, 8, 16), 0.02, 7)
    shape = [1 if axis in axes else side for axis, side in enumerate(x.shape)]
    y = tensor("y", shape, 0.013, 5)
    check("MEAN", [x, constant("axes", np.array(axes, np.int32))], y, [random_codes(rng, x)], keep_dims=True)


@pytest.mark.parametrize("kind", ["MUL", "SUB"])
@pytest.mark.parametrize("seed", range(4))
def test_every_pair_of_codes(kind, seed):
    """65,536 pairs; the last scale of a product is one that XNNPACK leaves to LiteRT."""
    rng = np.random.default_rng(seed)
    scales, zeros = rng.uniform(0.01, 0.05, 2), rng.integers(-128, 128, 3).tolist()
    a, b = (tensor(name, (1, 256, 256, 1), scales[i], zeros[i]) for i, name in enumerate("ab"))
    of_product = scales.prod() * (rng.uniform(40, 250) if seed < 3 else 2.0**17)
    y = tensor("y", a.shape, of_product if kind == "MUL" else scales.max() * rng.uniform(0.7, 2), zeros[2])
    every = np.arange(-128, 128).astype(np.int8)
    pairs = [every.repeat(256).reshape(a.shape), np.tile(every, 256).reshape(a.shape)]
    for activation in ("NONE", "RELU"):
        check(kind, [a, b], y, pairs, activation=activation)


@pytest.mark.parametrize("kind", ["MUL", "SUB", "ADD"])
@pytest.mark.parametrize("shape", [(1, 1, 1, 16), (1, 6, 8, 1), (1, 1, 1, 1)])
def test_broadcast(kind, shape):
    rng = np.random.default_rng(0)
    x, other, y = tensor("x", (1, 6, 8, 16), 0.02, 3), tensor("g", shape, 0.03, -9), tensor("y", (1, 6, 8, 16), 0.05, 4)
    codes = [random_codes(rng, value) for value in (x, other)]
    check(kind, [x, other], y, codes, activation="NONE")
    fixed = constant("fixed", codes[1], other.scale)
    fixed.zero_point = other.zero_point
    check(kind, [x, fixed], y, codes[:1], activation="NONE")


@pytest.mark.parametrize("seed", SEEDS)
def test_quantizing_to_16_bits_and_back(seed):
    rng = np.random.default_rng(seed)
    narrow = tensor("x", (1, 1, 256, 1), rng.uniform(0.01, 0.05), int(rng.integers(-128, 128)))
    wide = tensor("y", (1, 1, 256, 1), float(narrow.scale[0]) / 128, kind="int16")
    check("QUANTIZE", [narrow], wide, [np.arange(-128, 128).astype(np.int8).reshape(narrow.shape)])
    wide = tensor("x", (1, 1, 65536, 1), rng.uniform(1e-4, 2e-4), kind="int16")
    narrow = tensor("y", wide.shape, float(wide.scale[0]) * rng.uniform(150, 300), int(rng.integers(-128, 128)))
    check("QUANTIZE", [wide], narrow, [np.arange(-(2**15), 2**15).astype(np.int16).reshape(wide.shape)])


@pytest.mark.parametrize("kind", ["int8", "int16"])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_maximum_pooling(padding, kind):
    rng = np.random.default_rng(0)
    for shape, kernel, stride in (((1, 9, 8, 3), (3, 3), (2, 2)), ((1, 7, 6, 4), (2, 3), (1, 2))):
        x = tensor("x", shape, 0.02, 0 if kind == "int16" else 100, kind)
        out = [
            -(-n // s) if padding == "SAME" else (n - k) // s + 1
            for n, k, s in zip(shape[1:3], kernel, stride, strict=True)
        ]
        y = tensor("y", (1, *out, shape[3]), 0.02, x.zero_point, kind)
        check("MAX_POOL_2D", [x], y, [random_codes(rng, x)], kernel=kernel, stride=stride, padding=padding)


@pytest.mark.parametrize("kind", ["int8", "int16"])
def test_copies_of_codes(kind):
    rng, zero = np.random.default_rng(0), 0 if kind == "int16" else 7
    x, z = tensor("x", (1, 5, 4, 3), 0.02, zero, kind), tensor("z", (1, 5, 4, 2), 0.02, zero, kind)
    codes, others = random_codes(rng, x), random_codes(rng, z)
    pads = constant("pads", np.array([(0, 0), (2, 1), (1, 3), (0, 0)], np.int32))
    padded = tensor("y", (1, 8, 8, 3), 0.02, zero, kind)
    check("PAD", [x, pads], padded, [codes])
    check("MIRROR_PAD", [x, pads], padded, [codes], mode="SYMMETRIC")
    check("CONCATENATION", [x, z], tensor("y", (1, 5, 4, 5), 0.02, zero, kind), [codes, others], axis=3)
    begin, size = (constant(name, np.array(v, np.int32)) for name, v in (("b", [0, 1, 2, 0]), ("s", [1, 3, 2, 3])))
    check("SLICE", [x, begin, size], tensor("y", (1, 3, 2, 3), 0.02, zero, kind), [codes])
    if kind == "int8":  # of what a resize copies there are no 16 bits
        places = constant("places", np.array([0, 0, 2, 1, 3, 3], np.int32))
        check("GATHER", [x, places], tensor("y", (1, 5, 6, 3), 0.02, zero, kind), [codes], axis=2)
        shape = constant("shape", np.array([1, 10, 2, 3], np.int32))
        check("RESHAPE", [x, shape], tensor("y", (1, 10, 2, 3), 0.02, zero, kind), [codes])


COPIES = {  # operator, input, output, what stands beside the input, options
    "reshape": ("RESHAPE", (1, 6, 8, 16), (1, 768), [1, 768], {}),
    "transpose": ("TRANSPOSE", (1, 6, 8, 16), (1, 16, 6, 8), [0, 3, 1, 2], {}),
    "transpose of five": ("TRANSPOSE", (1, 2, 8, 6, 8), (1, 8, 2, 6, 8), [0, 2, 1, 3, 4], {}),
    "depth to space": ("DEPTH_TO_SPACE", (1, 6, 8, 16), (1, 12, 16, 4), None, {"block_size": 2}),
    "space to depth": ("SPACE_TO_DEPTH", (1, 6, 9, 4), (1, 2, 3, 36), None, {"block_size": 3}),
    "largest": ("REDUCE_MAX", (1, 6, 8, 16), (1, 6, 8, 1), [3], {"keep_dims": True}),
    "smallest": ("REDUCE_MIN", (1, 6, 8, 16), (1, 1, 1, 16), [1, 2], {"keep_dims": True}),
}


@pytest.mark.parametrize("name", COPIES)
def test_further_copies(name):
    kind, before, after, beside, options = COPIES[name]
    x, y = tensor("x", before, 0.02, 7), tensor("y", after, 0.02, 7)
    more = [] if beside is None else [constant("beside", np.array(beside, np.int32))]
    check(kind, [x, *more], y, [random_codes(np.random.default_rng(0), x)], **options)


def test_a_table_of_every_code():
    """CAST, ADD and GATHER, a table per channel."""
    rng = np.random.default_rng(0)
    x, y = tensor("x", (1, 16, 16, 3)), tensor("y", (1, 16, 16, 3), 0.03, 4)
    entries = constant("table", rng.integers(-128, 128, 3 * 256).astype(np.int8), y.scale)
    entries.zero_point = 4
    start = constant("start", np.array([128, 384, 640], np.int32).reshape(1, 1, 1, 3))
    numbers, places = (Value(name, x.shape, "int32") for name in ("codes", "places"))
    program = Program([x], {"y": y}, [
        Operator("CAST", [x], numbers),
        Operator("ADD", [numbers, start], places, {"activation": "NONE"}),
        Operator("GATHER", [entries, places], y, {"axis": 0}),
    ])  # fmt: skip
    codes = np.arange(-128, 128).astype(np.int8).reshape(1, 16, 16, 1).repeat(3, 3)
    check_everywhere(program, [codes])
    for arithmetic in RULES:
        found = run_program(program, [codes], arithmetic)["y"]
        np.testing.assert_array_equal(found.reshape(256, 3), entries.data.reshape(3, 256).T)


@pytest.mark.parametrize("factor", [2, 4, 6, 8, 16])
def test_enlarging_by_whole_factors_copies_codes(factor):
    x = tensor("x", (1, 11, 13, 2))
    y = tensor("y", (1, 11 * factor, 13 * factor, 2))
    codes, size = random_codes(np.random.default_rng(0), x), constant("size", np.array(y.shape[1:3], np.int32))
    flags = {"align_corners": False, "half_pixel_centers": False}
    found = check("RESIZE_NEAREST_NEIGHBOR", [x, size], y, [codes], **flags)
    for result in found.values():
        np.testing.assert_array_equal(result, codes.repeat(factor, 1).repeat(factor, 2))


def test_classes_and_values():
    rng = np.random.default_rng(0)
    x, axis = tensor("x", (1, 9, 8, 5), 0.0371, 5), constant("axis", np.array([3], np.int32))
    codes = rng.integers(-3, 3, x.shape).astype(np.int8)  # many equals
    check("ARG_MAX", [x, axis], Value("y", (1, 9, 8), "int32"), [codes])
    check("DEQUANTIZE", [x], Value("y", x.shape, "float32"), [random_codes(rng, x)])
    wide = tensor("x", (1, 9, 8, 5), 0.00371, 0, "int16")
    check("DEQUANTIZE", [wide], Value("y", x.shape, "float32"), [random_codes(rng, wide)])


def test_multipliers_next_to_powers_of_two():
    assert quantize_multiplier(1 - 2.0**-40) == (2**30, 1)
    assert quantize_multiplier(2.0**-40) == (0, 0)
    assert multiply(np.array([3, -3, 5]), 2**30, 0).tolist() == [2, -1, 3]  # the first rounding takes halves up
    assert multiply(np.array([6, -6, 10]), 2**30, -1).tolist() == [2, -2, 3]  # the second away from zero


def test_what_the_tables_hold():
    assert set(INT8_VERSIONS) == set(KERNELS) == set(get_args(Kind))
    assert set(INT16_VERSIONS) == set(KERNELS) - {"ARG_MAX", "GATHER"} - NARROW
    assert set(KERNELS) >= NOT_IN_MICRO | NOT_IN_XNNPACK
    assert set(WIDE_RULES) == set(RULES)


def test_what_does_not_fit_is_refused():
    x, y = tensor("x", (1, 2, 2, 3)), Value("y", (1, 2, 2, 3), "float32")
    program = Program([x], {"y": y}, [Operator("DEQUANTIZE", [x], y)])
    with pytest.raises(UsageError, match="known: tflite_reference, xnnpack"):
        run_program(program, [np.zeros(x.shape, np.int8)], "ruy")
    for wrong in ([], [np.zeros((1, 3, 2, 2), np.int8)], [np.zeros(x.shape, np.float32)]):
        with pytest.raises(UsageError, match="NHWC"):
            run_program(program, wrong, "xnnpack")
