"""Sizes and costs of graphs are those of a run, and what a file of ours may not hold."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from edgeailite.onnxfile.shapes import RULES, Limits, sizes_of
from edgeailite.onnxfile.wire import Damaged, parse
from tests.onnxfile.made import SIZE, loop, model

LIMITS = Limits(elements=2**26, operations=10**12)
PICTURE = {"image": (1, 3, *SIZE)}


def one(op: str, *inputs: str, constants: dict | None = None, outputs: int = 1, **attributes) -> onnx.ModelProto:
    names = ["segmentation", *(f"more{index}" for index in range(1, outputs))]
    return model([helper.make_node(op, ["image", *inputs], names, **attributes)], constants or {})


def numbers(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def weight(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


LIKE_A_RUN = {
    "conv": one("Conv", "w", constants={"w": weight(8, 3, 3, 5)}, pads=[1, 2, 1, 2], strides=[2, 2], dilations=[2, 1]),
    "conv of groups": one("Conv", "w", constants={"w": weight(6, 1, 3, 3)}, group=3),
    "same padding": one("Conv", "w", constants={"w": weight(2, 3, 3, 3)}, auto_pad="SAME_UPPER", strides=[2, 3]),
    "transposed": one(
        "ConvTranspose", "w", constants={"w": weight(3, 5, 4, 4)}, strides=[2, 2], pads=[1] * 4, output_padding=[1, 0]
    ),
    "max pool": one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
    "average pool, rounded up": one("AveragePool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    "global pool": one("GlobalAveragePool"),
    "resize by scales": one("Resize", "", "s", constants={"s": np.array([1, 1, 2, 1.5], np.float32)}, mode="linear"),
    "resize to sizes": one("Resize", "", "", "s", constants={"s": numbers(1, 3, 11, 13)}, mode="nearest"),
    "concat": one("Concat", "image", axis=1),
    "broadcast": one("Add", "b", constants={"b": weight(5, 1, 1, 1, 48)}),
    "where": model([helper.make_node("Where", ["c", "image", "b"], ["segmentation"])],
                   {"c": np.ones((2, 1, 1, 1, 1), np.bool_), "b": weight(48)}),
    "matmul": one("MatMul", "b", constants={"b": weight(48, 7)}),
    "reshape": one("Reshape", "s", constants={"s": numbers(0, -1, 16)}),
    "flatten": one("Flatten", axis=2),
    "squeeze": one("Squeeze", "a", constants={"a": numbers(0)}),
    "unsqueeze": one("Unsqueeze", "a", constants={"a": numbers(0, -1)}),
    "transpose": one("Transpose", perm=[0, 2, 3, 1]),
    "slice backwards": one("Slice", "a", "b", "c", "d", constants={
        "a": numbers(-1), "b": numbers(-1000), "c": numbers(3), "d": numbers(-2)}),
    "gather": one("Gather", "i", constants={"i": np.zeros((2, 2), np.int64)}, axis=1),
    "split": one("Split", outputs=2, axis=3, num_outputs=2),
    "pad": one("Pad", "p", constants={"p": numbers(0, 0, 1, 2, 0, 0, 3, 4)}),
    "expand": one("Expand", "s", constants={"s": numbers(2, 1, 1, 1, 1)}),
    "tile": one("Tile", "s", constants={"s": numbers(1, 2, 1, 3)}),
    "depth to space": one("Transpose", perm=[0, 1, 2, 3]),
    "sum": one("ReduceSum", "a", constants={"a": numbers(2, 3)}, keepdims=0),
    "mean": one("ReduceMean", keepdims=1),
    "argmax": one("ArgMax", axis=1, keepdims=0),
    "shape": one("Shape", start=1),
    "constant of shape": model([
        helper.make_node("Shape", ["image"], ["s"]), helper.make_node("ConstantOfShape", ["s"], ["segmentation"])]),
    "sizes computed in the file": model(
        [
            helper.make_node("Shape", ["image"], ["all"]),
            helper.make_node("Slice", ["all", "two", "four"], ["sides"]),
            helper.make_node("Div", ["sides", "two"], ["half"]),
            helper.make_node("Concat", ["ends", "half"], ["wanted"], axis=0),
            helper.make_node("Resize", ["image", "", "", "wanted"], ["segmentation"], mode="linear"),
        ],
        {"two": numbers(2), "four": numbers(4), "ends": numbers(1, 3)},
    ),
    "range": model(
        [
            helper.make_node("Shape", ["image"], ["all"]),
            helper.make_node("Gather", ["all", "three"], ["width"]),
            helper.make_node("Range", ["zero", "width", "one"], ["segmentation"]),
        ],
        {"three": np.int64(3), "zero": np.int64(0), "one": np.int64(5)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", LIKE_A_RUN)
def test_sizes_are_those_that_onnxruntime_gives(kind):
    data = LIKE_A_RUN[kind].SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    [result] = session.run(["segmentation"], {"image": np.zeros(PICTURE["image"], np.float32)})
    assert sizes_of(parse(data), PICTURE, LIMITS).shapes["segmentation"] == result.shape


def test_operations_are_multiply_accumulates():
    made = one("Conv", "w", constants={"w": weight(8, 3, 3, 3)}, pads=[1] * 4)
    assert sizes_of(parse(made.SerializeToString()), PICTURE, LIMITS).operations == 8 * 27 * SIZE[0] * SIZE[1]


BOMBS = {
    "loop": (loop(2**62), "Loop .* is no operator that export writes"),
    "random": (one("RandomNormalLike"), "RandomNormalLike .* is no operator"),
    "of another library": (
        model([helper.make_node("Relu", ["image"], ["segmentation"], domain="com.microsoft")]),
        "Relu .* is no operator",
    ),
    "tile": (one("Tile", "s", constants={"s": numbers(1, 1, 1000, 1000)}), "Tile .* gives 1x3x32000x48000 values"),
    "expand": (one("Expand", "s", constants={"s": numbers(10**6, 3, 32, 48)}), "Expand"),
    "pad": (one("Pad", "p", constants={"p": numbers(0, 0, 0, 0, 0, 0, 10**5, 10**5)}), "Pad"),
    "resize": (one("Resize", "", "s", constants={"s": np.array([1, 1, 1e3, 1e3], np.float32)}), "Resize"),
    "pads of a convolution": (one("Conv", "w", constants={"w": weight(4, 3, 1, 1)}, pads=[30_000] * 4), "Conv"),
    "concat of concats": (
        model([helper.make_node("Concat", [f"x{i}" if i else "image"] * 2, [f"x{i + 1}" if i < 29 else "segmentation"],
                                axis=1) for i in range(30)]),
        "Concat",
    ),
    "outer product": (
        model([helper.make_node("Reshape", ["image", "a"], ["x"]), helper.make_node("Reshape", ["image", "b"], ["y"]),
               helper.make_node("MatMul", ["x", "y"], ["z"]), helper.make_node("MatMul", ["z", "z"], ["v"]),
               *(helper.make_node("MatMul", ["v", "z"], [f"v{i}" if i else "segmentation"]) for i in range(12))],
              {"a": numbers(4608, 1), "b": numbers(1, 4608)}),
        "brings it to 1.* operations",
    ),
    "window": (one("AveragePool", kernel_shape=[9_000, 9_000], pads=[5_000] * 4), "operations"),
    "range": (
        model([helper.make_node("Range", ["a", "b", "c"], ["segmentation"])],
              {"a": np.float32(0), "b": np.float32(1e12), "c": np.float32(1)}),
        "Range",
    ),
    "size that depends on the picture": (
        model([helper.make_node("ReduceSum", ["image"], ["s"], keepdims=0),
               helper.make_node("Cast", ["s"], ["i"], to=7),
               helper.make_node("Range", ["a", "i", "b"], ["segmentation"])], {"a": np.int64(0), "b": np.int64(1)}),
        "cannot be known before it runs",
    ),
    "weight of other channels": (one("Conv", "w", constants={"w": weight(4, 5, 1, 1)}), "3 channels for a kernel"),
    "axis outside": (one("Concat", "image", axis=9), "axis 9"),
    "no stride": (one("MaxPool", kernel_shape=[2, 2], strides=[0, 0]), "at least 1"),
    "window larger than the picture": (one("MaxPool", kernel_shape=[99, 99]), "without elements"),
    "another type of attribute": (one("Concat", "image", axis="1"), "Concat"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BOMBS)
def test_what_a_file_of_ours_may_not_hold(kind):
    made, reason = BOMBS[kind]
    with pytest.raises(Damaged, match=reason):
        sizes_of(parse(made.SerializeToString()), PICTURE, LIMITS)


def test_every_operator_has_a_rule_that_fails_politely():
    """A rule that meets an operator without inputs or attributes says so, whatever the operator."""
    for op in RULES:
        graph = parse(model([helper.make_node(op, [], ["segmentation"])]).SerializeToString())
        try:
            sizes_of(graph, PICTURE, LIMITS)
        except Damaged as error:
            assert op in str(error)
