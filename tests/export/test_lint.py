"""Violations planted in a small quantized graph are found by name; the sum of a pair against all extremes."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeailite.errors import UsageError
from edgeailite.export import lint
from edgeailite.export.lint import CODES, Finding, Graph
from edgeailite.export.targets import TARGETS
from tests.export.toy import toy_quantized

MILD = np.full((4, 2, 3, 3), 5, np.int8)


def graph(*, activations: type = np.int8, size: int | str = 8) -> onnx.ModelProto:
    """`image` -> QDQ -> Conv (QDQ weight, float bias) -> Relu -> QDQ -> Resize to twice the size: all may read it."""
    constants = {
        "scale": np.float32(0.5),
        "zero": activations(0),
        "weight": MILD,
        "weight_scale": np.full(4, 0.25, np.float32),
        "weight_zero": np.zeros(4, np.int8),
        "bias": np.zeros(4, np.float32),
        "sizes": np.array([1, 4, 16, 16], np.int64),
    }
    node = helper.make_node
    nodes = [
        node("QuantizeLinear", ["image", "scale", "zero"], ["a"], name="q0"),
        node("DequantizeLinear", ["a", "scale", "zero"], ["b"], name="dq0"),
        node("DequantizeLinear", ["weight", "weight_scale", "weight_zero"], ["w"], name="dqw", axis=0),
        node("Conv", ["b", "w", "bias"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["r"], name="relu"),
        node("QuantizeLinear", ["r", "scale", "zero"], ["d"], name="q1"),
        node("DequantizeLinear", ["d", "scale", "zero"], ["e"], name="dq1"),
        node("Resize", ["e", "", "", "sizes"], ["out"], name="resize", mode="linear"),
    ]
    made = helper.make_graph(
        nodes,
        "planted",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 2, size, size])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def replace_constant(model: onnx.ModelProto, name: str, value: np.ndarray) -> None:
    old = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    old.CopyFrom(numpy_helper.from_array(np.asarray(value), name))


def named(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.name == name)


def constant(name: str, value: np.ndarray) -> Callable[[onnx.ModelProto], None]:
    return lambda model: replace_constant(model, name, value)


def another_operator(model):
    named(model, "relu").op_type = "Mish"


def newer_opset(model):
    model.opset_import[0].version = 22


def integer_bias(model):
    named(model, "conv").input[2] = "bias_dequantized"
    model.graph.node.insert(2, helper.make_node("DequantizeLinear", ["bias", "weight_scale"], ["bias_dequantized"]))


def quantizer_before_relu(model):
    named(model, "relu").input[0] = "b"


def other_axis(model):
    named(model, "dqw").attribute[0].i = 1


def float_weight(model):
    named(model, "conv").input[1] = "weight"


def cubic(model):
    next(a for a in named(model, "resize").attribute if a.name == "mode").s = b"cubic"


def odd_clip(model):
    replace_constant(model, "bias", np.float32(3.0))
    named(model, "relu").op_type = "Clip"
    named(model, "relu").input.extend(["", "bias"])


def argmax(model):
    model.graph.node.append(helper.make_node("ArgMax", ["out"], ["label"], name="argmax", axis=1, keepdims=0))


DEAD = np.concatenate([MILD[:3], np.zeros_like(MILD[:1])])
PLANTED = [  # target, code, where, what is planted
    ("tensorrt", "operator", "relu", another_operator),
    ("tensorrt", "opset", "model", newer_opset),
    ("tensorrt", "scale", "q0", constant("scale", np.float32(1e-40))),
    ("tidl", "scale", "dqw", constant("weight_scale", np.array([1, 1, np.inf, 1], np.float32))),
    ("tidl", "scale-power", "q0", constant("scale", np.float32(0.3))),
    ("tensorrt", "code-type", "q0", constant("zero", np.uint8(0))),
    ("tensorrt", "code-type", "q0", constant("zero", np.int16(0))),
    ("tensorrt", "zero-point", "q0", constant("zero", np.int8(3))),
    ("tensorrt", "weight-axis", "conv", other_axis),
    ("tensorrt", "bias-codes", "conv", integer_bias),
    ("tensorrt", "before-activation", "relu", quantizer_before_relu),
    ("tensorrt", "float-layer", "conv", float_weight),
    ("tensorrt", "resize-mode", "resize", cubic),
    ("tidl", "clip", "relu", odd_clip),
    ("tidl", "resize-factor", "resize", constant("sizes", np.array([1, 4, 12, 12]))),
    ("tidl", "resize-factor", "resize", constant("sizes", np.array([1, 4, 32, 16]))),
    ("tidl", "argmax", "argmax", argmax),
    ("tensorrt", "dead-channel", "conv", constant("weight", DEAD)),
]


def found(model: onnx.ModelProto, target: str) -> list[Finding]:
    row = TARGETS[target]
    return lint.lint(model, row.checks, operators=row.operators, newest_opset=row.newest_opset)


@pytest.mark.parametrize("target", [name for name, row in TARGETS.items() if row.checks])
def test_a_sound_graph_has_no_findings(target):
    assert found(graph(), target) == []


@pytest.mark.parametrize(("target", "code", "where", "plant"), PLANTED)
def test_what_is_planted_is_found_by_name(target, code, where, plant):
    model = graph()
    plant(model)
    assert (code, where) in {(finding.code, finding.node) for finding in found(model, target)}


def test_an_open_size_is_found():
    assert ("open-size", "image") in {(f.code, f.node) for f in found(graph(size="side"), "tidl")}


def test_every_code_is_tested():
    elsewhere = {"open-size", "saturation", "zero-range"}
    elsewhere |= {"npu-resize", "npu-classes", "npu-weights", "micro-operator"}  # tests/export/targets/test_tflite.py
    assert {code for _, code, _, _ in PLANTED} | elsewhere == set(CODES)


def test_pairs_are_neighbours_in_channels_and_their_sums_are_exact():
    weight = np.random.default_rng(0).integers(-127, 128, (6, 3, 2, 1), dtype=np.int8)
    low, high = lint.pair_sums(weight)
    for channel in range(6):
        flat = [int(weight[channel, c, row, 0]) for row in range(2) for c in range(3)]
        pairs = [flat[i : i + 2] for i in range(0, len(flat), 2)]
        sums = [a * x + b * y for a, b in pairs for x, y in itertools.product((0, 255), repeat=2)]
        assert (low[channel], high[channel]) == (min(sums), max(sums))


def test_any_pair_bounds_every_pair():
    weight = np.random.default_rng(1).integers(-127, 128, (6, 3, 2, 1), dtype=np.int8)
    low, high = lint.any_pair_sums(weight)
    for channel in range(6):
        pairs = itertools.combinations([0, *map(int, weight[channel].flatten())], 2)  # 0: a weight without neighbour
        sums = [a * x + b * y for a, b in pairs for x, y in itertools.product((0, 255), repeat=2)]
        assert (low[channel], high[channel]) == (min(sums), max(sums))


@pytest.mark.parametrize(("target", "saturates"), [("onnxruntime", False), ("openvino", True)])
def test_large_weights_apart_saturate_only_where_any_two_may_meet(target, saturates):
    weight = np.zeros((4, 4, 1, 1), np.int8)
    weight[2, [0, 2], 0, 0] = 100
    model = graph(activations=np.uint8)
    replace_constant(model, "weight", weight)
    named(model, "conv").attribute[0].ints[:] = [0, 0, 0, 0]
    findings = [finding.node for finding in found(model, target) if finding.code == "saturation"]
    assert findings == (["conv"] if saturates else [])


@pytest.mark.parametrize(
    ("pair", "saturates"),
    [((64, 64), False), ((65, 64), True), ((-64, -64), False), ((-64, -65), True), ((127, -127), False)],
)
def test_a_pair_saturates_above_16_bits(pair, saturates):
    weight = np.zeros((4, 2, 1, 1), np.int8)
    weight[2, :, 0, 0] = pair
    model = graph(activations=np.uint8)
    replace_constant(model, "weight", weight)
    named(model, "conv").attribute[0].ints[:] = [0, 0, 0, 0]
    findings = [finding for finding in found(model, "onnxruntime") if finding.code == "saturation"]
    assert [finding.node for finding in findings] == (["conv"] if saturates else [])
    assert all("1 of 4 channels" in finding.detail for finding in findings)


def test_seven_bits_never_saturate_and_signed_activations_are_another_kernel():
    for weight, kind in ((np.full_like(MILD, 63), np.uint8), (np.full_like(MILD, 127), np.int8)):
        model = graph(activations=kind)
        replace_constant(model, "weight", weight)
        assert list(lint.saturation(Graph(model))) == []


def test_a_tensor_that_was_always_zero_is_found():
    model = toy_quantized("ort_u8s8")
    assert lint.lint_ranges(model) == []
    model.ranges.stem_2.high.zero_()
    assert lint.lint_ranges(model) == [Finding("zero-range", "ranges.stem_2")]


def test_lines_name_a_few_and_count_the_rest():
    findings = [Finding("saturation", f"conv{i}", "1 of 2 channels") for i in range(5)]
    (key, text), *rest = lint.lines([*findings, Finding("zero-range", "ranges.add")]).items()
    assert key == "warning: saturation"
    assert "conv0 (1 of 2 channels); conv1" in text
    assert text.endswith("and 2 more")
    assert [key for key, _ in rest] == ["warning: zero-range"]
    twice = [Finding("opset", "model", "opset 21"), Finding("opset", "model", "opset 21")]  # of a target's two files
    assert lint.lines(twice)["error: opset"].count("opset 21") == 1


def test_errors_refuse_with_node_and_fix_and_warnings_do_not():
    lint.refuse_errors([Finding("saturation", "conv")], "tidl")
    with pytest.raises(UsageError, match=r"--target tidl: scale-power: .*--scheme tidl_pow2: q0 \(0\.3\)"):
        lint.refuse_errors([Finding("scale-power", "q0", "0.3")], "tidl")
