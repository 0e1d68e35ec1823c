"""Where each rewrite applies and where it must not, on files of a few operators; onnxruntime runs both files.

tests/export/test_passes.py has whole networks and the command's options.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgeailite.export.passes import apply_passes
from edgeailite.onnxfile import read_onnx
from edgeailite.runtime.saturation import exact_sums

Array = NDArray[Any]
Shape = tuple[int, int, int]  # outputs, inputs per group, groups
SIZE = (9, 7)


class File:
    """An int8 file as it grows, operator by operator; names are counted."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def node(self, kind: str, *inputs: str, **how: Any) -> str:
        name = f"{kind}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=f"{name}/{kind}", **how))
        return name

    def constant(self, value: Array) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def codes(self, x: str, *, scale: float = 0.05, zero_point: int = 3) -> str:
        """Quantized."""
        ends = [self.constant(np.array(scale, np.float32)), self.constant(np.array(zero_point, np.uint8))]
        return self.node("QuantizeLinear", x, *ends)

    def values(self, codes: str) -> str:
        """Dequantized, with the constants of the quantizer."""
        quantizer = next(node for node in self.nodes if node.output[0] == codes)
        return self.node("DequantizeLinear", codes, *quantizer.input[1:])

    def pair(self, x: str, **ends: Any) -> str:
        return self.values(self.codes(x, **ends))

    def dequantized(self, codes: Array, *, like: str = "", per_tensor: bool = False) -> str:
        """A weight or bias; `like` is another one whose constants it shares."""
        if like:
            shared = next(node for node in self.nodes if node.output[0] == like)
            return self.node("DequantizeLinear", *shared.input, axis=0)
        count = () if per_tensor else (codes.shape[0],)
        scale = self.rng.uniform(0.001, 0.004, count).astype(np.float32)
        given = (codes, np.asarray(scale), np.zeros(count, codes.dtype))
        return self.node("DequantizeLinear", *(self.constant(value) for value in given), axis=0)

    def weight(self, outputs: int, width: int, kernel: int = 3, **more: Any) -> str:
        return self.dequantized(self.rng.integers(-127, 128, (outputs, width, kernel, kernel)).astype(np.int8), **more)

    def bias(self, outputs: int, **more: Any) -> str:
        return self.dequantized(self.rng.integers(-900, 900, outputs).astype(np.int32), **more)

    def conv(self, x: str, shape: Shape, *, weight: str = "", bias: str = "", kernel: int = 3, act: str = "") -> str:
        """Convolution that keeps the size, and its activation ("Relu", "Clip" or "")."""
        outputs, width, groups = shape
        names = [x, weight or self.weight(outputs, width, kernel), bias or self.bias(outputs)]
        y = self.node("Conv", *names, group=groups, pads=[kernel // 2] * 4)
        if act == "Clip":
            return self.node(act, y, *(self.constant(np.array(end, np.float32)) for end in (0, 6)))
        return self.node(act, y) if act else y

    def block(self, x: str, shape: Shape, **more: Any) -> str:
        """A convolution with its quantizer."""
        return self.pair(self.conv(x, shape, **more))

    def output(self, name: str, kind: int = TensorProto.FLOAT, *, rank: int = 4) -> None:
        shape = [f"{name}.{axis}" for axis in range(rank)]
        self.outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def model(self, channels: int) -> onnx.ModelProto:
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, channels, "height", "width"])
        graph = helper.make_graph(self.nodes, "file", [image], self.outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        onnx.checker.check_model(model)
        return model


def results(model: onnx.ModelProto, level: str, channels: int) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    for key, value in exact_sums(read_onnx(model.SerializeToString()), {}).items():
        options.add_session_config_entry(key, value)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(1).uniform(-2, 2, (1, channels, *SIZE)).astype(np.float32)
    return session.run(None, {"image": image})


def shapes(model: onnx.ModelProto) -> list[Shape]:
    maker = {node.output[0]: node for node in model.graph.node}
    sizes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if node.op_type == "Conv":
            outputs, width = sizes[maker[node.input[1]].input[0]][:2]
            found.append((outputs, width, next(a.i for a in node.attribute if a.name == "group")))
    return found


def constants(model: onnx.ModelProto, kind: str) -> list[Array]:
    """The second inputs of nodes of a kind: scales, amounts of padding."""
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return [values[node.input[1]] for node in model.graph.node if node.op_type == kind]


def sums_of_weights(model: onnx.ModelProto) -> list[int]:
    """Of absolute codes, per convolution: what is added are zeros."""
    maker = {node.output[0]: node for node in model.graph.node}
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    weights = [maker[node.input[1]].input[0] for node in model.graph.node if node.op_type == "Conv"]
    return [int(np.abs(values[name].astype(int)).sum()) for name in weights]


def image(file: File, **ends: Any) -> str:
    return file.pair("image", scale=1 / 64, zero_point=128, **ends)


Case = tuple[int, Callable[[File], None], list[Shape]]  # channels of the picture, the file, shapes behind the rewrite


def picture(channels: int, shape: Shape, expected: Shape) -> Case:
    return channels, lambda file: file.output(file.block(image(file), shape)), [expected]


def two_readers_of_the_picture(file: File) -> None:
    x = image(file)
    for _ in range(2):
        file.output(file.block(x, (4, 3, 1)))


def asked_for_its_size(file: File) -> None:
    file.output(file.node("Shape", "image"), TensorProto.INT64, rank=1)
    file.output(file.block(image(file), (4, 3, 1)))


def picture_without_bias(file: File) -> None:
    file.output(file.pair(file.node("Conv", image(file), file.weight(4, 3), group=1, pads=[1] * 4)))


def picture_with_float_bias(file: File) -> None:
    bias = file.constant(np.linspace(-1, 1, 4).astype(np.float32))
    file.output(file.block(image(file), (4, 3, 1), bias=bias))


def groups(shape: Shape, expected: Shape) -> Case:
    return shape[1] * shape[2], lambda file: file.output(file.block(image(file), shape)), [expected]


def two_grouped_with_one_weight(file: File) -> None:
    """And one scale, one bias: each is changed for one of them alone."""
    x, weight, bias = image(file), file.weight(12, 2), file.bias(12)
    y = file.block(x, (12, 2, 6), weight=weight, bias=bias)
    other = file.dequantized(np.zeros(0), like=weight)
    file.output(file.block(y, (12, 2, 6), weight=other, bias=file.dequantized(np.zeros(0), like=bias)))


def depthwise(channels: int, **more: Any) -> Callable[[File, str], str]:
    return lambda file, x: file.block(x, (channels, 1, channels), **more)


def between_dense(file: File, act: str = "", **more: Any) -> None:
    x = file.block(image(file), (10, 4, 1), act=act, **more)
    file.output(file.block(file.block(x, (10, 1, 10), act=act), (5, 10, 1), kernel=1))


def between_dense_with_one_weight(file: File) -> None:
    """Twice: both first convolutions read one weight, its scales and zero points, and one bias."""
    x, weight, bias = image(file), file.weight(10, 4), file.bias(10)
    for again in (False, True):
        constants = [file.dequantized(np.zeros(0), like=name) if again else name for name in (weight, bias)]
        y = file.block(x, (10, 4, 1), weight=constants[0], bias=constants[1])
        file.output(file.block(file.block(y, (10, 1, 10)), (5, 10, 1)))


def of_one_scale(file: File) -> None:
    x = file.block(
        image(file), (10, 4, 1), weight=file.weight(10, 4, per_tensor=True), bias=file.bias(10, per_tensor=True)
    )
    y = file.block(x, (10, 1, 10), weight=file.weight(10, 1, per_tensor=True))
    file.output(file.block(y, (5, 10, 1)))


def behind_a_tensor_that_others_read(file: File) -> None:
    """Values of the first convolution are added later: channels come from Pad."""
    x = file.block(image(file), (10, 4, 1))
    y = file.block(file.block(x, (10, 1, 10)), (10, 10, 1))
    file.output(file.pair(file.node("Add", x, y)))


def two_behind_one_tensor(file: File) -> None:
    """Both get channels of their own, and what else reads the tensor does not."""
    x = file.block(image(file), (10, 4, 1))
    for _ in range(2):
        file.output(file.block(file.block(x, (10, 1, 10)), (5, 10, 1)))
    file.output(x)


def behind_codes_that_others_read(file: File) -> None:
    codes = file.codes(file.conv(image(file), (10, 4, 1)))
    file.output(file.block(file.values(codes), (2, 10, 1)))
    file.output(file.block(file.block(file.values(codes), (10, 1, 10)), (5, 10, 1)))


def behind_an_activation_that_others_read(file: File) -> None:
    y = file.conv(image(file), (10, 4, 1))
    relu = file.node("Relu", y)
    file.output(file.block(file.block(file.pair(relu), (10, 1, 10)), (5, 10, 1)))
    file.output(relu)


def behind_sums_that_leave(file: File) -> None:
    y = file.conv(image(file), (10, 4, 1))
    file.output(y)
    file.output(file.block(file.block(file.pair(file.node("Relu", y)), (10, 1, 10)), (5, 10, 1)))


def before_two_dense(file: File) -> None:
    x = file.block(file.block(image(file), (10, 4, 1)), (10, 1, 10))
    for outputs in (3, 4):
        file.output(file.block(x, (outputs, 10, 1)))


def before_a_dense_and_an_addition(file: File) -> None:
    x = file.block(image(file), (10, 4, 1))
    y = file.block(x, (10, 1, 10))
    file.output(file.block(y, (3, 10, 1)))
    file.output(file.pair(file.node("Add", x, y)))


def before_an_output(file: File) -> None:
    y = file.block(file.block(image(file), (10, 4, 1)), (10, 1, 10))
    file.output(file.block(y, (3, 10, 1)))
    file.output(y)


def before_codes_that_leave(file: File) -> None:
    codes = file.codes(file.conv(file.block(image(file), (10, 4, 1)), (10, 1, 10)))
    file.output(file.block(file.values(codes), (3, 10, 1)))
    file.output(codes, TensorProto.UINT8)


def before_sums_that_leave(file: File) -> None:
    y = file.conv(file.block(image(file), (10, 4, 1)), (10, 1, 10))
    file.output(file.block(file.pair(y), (3, 10, 1)))
    file.output(y)


def before_a_pooling_of_codes(file: File) -> None:
    codes = file.codes(file.conv(file.block(image(file), (10, 4, 1)), (10, 1, 10)))
    file.output(file.block(file.values(codes), (3, 10, 1)))
    file.output(file.node("MaxPool", codes, kernel_shape=[3, 3]), TensorProto.UINT8)


def before_a_grouped(file: File) -> None:
    y = file.block(file.block(image(file), (34, 4, 1)), (34, 1, 34))
    file.output(file.block(y, (34, 34, 1)))
    file.output(file.block(y, (34, 34, 1), bias=file.constant(np.ones(34, np.float32))))


def two_depthwise(file: File) -> None:
    """The first stays; the second gets its channels from Pad."""
    y = file.block(file.block(file.block(image(file), (10, 4, 1)), (10, 1, 10)), (10, 1, 10))
    file.output(file.block(y, (3, 10, 1)))


def depthwise_with_two_results_each(file: File) -> None:
    y = file.block(file.block(image(file), (10, 4, 1)), (20, 1, 10))
    file.output(file.block(y, (3, 20, 1)))


def depthwise_on_the_picture(file: File) -> None:
    file.output(file.block(file.block(image(file), (4, 1, 4)), (3, 4, 1)))


def its_size_is_asked_for(file: File) -> None:
    y = file.block(file.block(image(file), (10, 4, 1)), (10, 1, 10))
    ends = [file.constant(np.array([axis])) for axis in (2, 4)]
    file.output(file.node("Slice", file.node("Shape", y), *ends), TensorProto.INT64, rank=1)
    file.output(file.block(y, (3, 10, 1)))


GROWN: list[Shape] = [(16, 4, 1), (16, 1, 16), (5, 16, 1)]
PADDED: list[Shape] = [(10, 4, 1), (16, 1, 16), (5, 16, 1)]
KEPT: list[Shape] = [(10, 4, 1), (10, 1, 10), (3, 10, 1)]
CASES: dict[str, Case] = {
    "picture of 3": picture(3, (4, 3, 1), (4, 4, 1)),
    "picture of 1": picture(1, (4, 1, 1), (4, 4, 1)),
    "picture of 4": picture(4, (4, 4, 1), (4, 4, 1)),
    "picture of 5": picture(5, (4, 5, 1), (4, 5, 1)),
    "depthwise on a picture of 3": picture(3, (3, 1, 3), (3, 1, 3)),
    "two readers of the picture": (3, two_readers_of_the_picture, [(4, 3, 1)] * 2),
    "the picture's size is asked for": (3, asked_for_its_size, [(4, 4, 1)]),
    "picture, no bias": (3, picture_without_bias, [(4, 3, 1)]),
    "picture, float bias": (3, picture_with_float_bias, [(4, 3, 1)]),
    "groups to one": groups((12, 2, 6), (12, 12, 1)),
    "groups to one of 64": groups((8, 16, 4), (8, 64, 1)),
    "groups to two": groups((12, 20, 6), (12, 60, 2)),
    "groups of which no two fit": groups((6, 40, 3), (6, 40, 3)),
    "groups whose number has no divisor that fits": groups((10, 20, 5), (10, 20, 5)),
    "depthwise with nothing behind it": groups((6, 1, 6), (6, 1, 6)),
    "two grouped with one weight": (12, two_grouped_with_one_weight, [(12, 12, 1)] * 2),
    "between dense": (4, between_dense, GROWN),
    "between dense, Relu": (4, lambda file: between_dense(file, "Relu"), GROWN),
    "between dense, Clip": (4, lambda file: between_dense(file, "Clip"), GROWN),
    "between dense, twice, with one weight": (4, between_dense_with_one_weight, 2 * GROWN),
    "one scale for all channels": (4, of_one_scale, GROWN),
    "behind a tensor that others read": (4, behind_a_tensor_that_others_read, [*PADDED[:2], (10, 16, 1)]),
    "two behind one tensor": (4, two_behind_one_tensor, [*PADDED, *PADDED[1:]]),
    "behind codes that others read": (4, behind_codes_that_others_read, [PADDED[0], (2, 10, 1), *PADDED[1:]]),
    "behind an activation that others read": (4, behind_an_activation_that_others_read, PADDED),
    "behind sums that leave": (4, behind_sums_that_leave, PADDED),
    "before two dense": (4, before_two_dense, [*GROWN[:2], (3, 16, 1), (4, 16, 1)]),
    "before a dense and an addition": (4, before_a_dense_and_an_addition, KEPT),
    "before an output": (4, before_an_output, KEPT),
    "before codes that leave": (4, before_codes_that_leave, KEPT),
    "before sums that leave": (4, before_sums_that_leave, KEPT),
    "before a pooling of codes": (4, before_a_pooling_of_codes, KEPT),
    "before one in float": (4, before_a_grouped, [(34, 4, 1), (34, 1, 34), (34, 34, 1), (34, 34, 1)]),
    "two depthwise": (4, two_depthwise, [(10, 4, 1), (10, 1, 10), (16, 1, 16), (3, 16, 1)]),
    "depthwise with two results each": (4, depthwise_with_two_results_each, [(10, 4, 1), (20, 1, 10), (3, 20, 1)]),
    "depthwise on the picture": (4, depthwise_on_the_picture, [(16, 1, 16), (3, 16, 1)]),
    "its size is asked for": (4, its_size_is_asked_for, [*GROWN[:2], (3, 16, 1)]),
}


@pytest.mark.parametrize("name", CASES)
def test_the_rewritten_file_has_the_shapes_of_the_rules_and_every_bit(name):
    channels, build, expected = CASES[name]
    file = File()
    build(file)
    plain = file.model(channels)
    rewritten = apply_passes(copy.deepcopy(plain), "onnxruntime")
    onnx.checker.check_model(rewritten)
    assert shapes(rewritten) == expected
    assert sums_of_weights(rewritten) == sums_of_weights(plain)
    assert all((scale > 0).all() for scale in constants(rewritten, "DequantizeLinear"))
    assert all(amounts.any() for amounts in constants(rewritten, "Pad"))
    read = {name for node in rewritten.graph.node for name in node.input}
    assert {tensor.name for tensor in rewritten.graph.initializer} <= read
    for level in ("EXTENDED", "ALL"):
        for before, after in zip(results(plain, level, channels), results(rewritten, level, channels), strict=True):
            np.testing.assert_array_equal(after, before)
