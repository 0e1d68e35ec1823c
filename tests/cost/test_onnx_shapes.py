"""Sizes of ONNX files: open ones, computed ones, and what is refused."""

import contextlib
import tracemalloc

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgeailite.cost import onnx_layers
from edgeailite.errors import DataError, UsageError
from tests.cost.test_onnx_graph import write

WEIGHT = {"w": np.ones((4, 3, 3, 3), np.float32)}
CONV = helper.make_node("Conv", ["x", "w"], ["y"])


def test_open_sizes_and_shape_arithmetic(tmp_path):
    nodes = [
        helper.make_node("Shape", ["x"], ["size"], start=2),
        helper.make_node("Mul", ["size", "two"], ["twice"]),
        helper.make_node("Concat", ["front", "twice"], ["whole"], axis=0),
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Resize", ["c", "", "", "whole"], ["y"], mode="linear"),
    ]
    weights = WEIGHT | {"two": np.array([2, 2]), "front": np.array([1, 4])}
    file = write(tmp_path / "a.onnx", nodes, weights, inputs={"x": ("N", 3, "H", "W")}, outputs={"y": None})
    conv, resize = onnx_layers(file, (10, 12))
    assert (conv.output_shape, resize.output_shape) == ((1, 4, 8, 10), (1, 4, 20, 24))
    assert conv.macs == 80 * 108
    assert onnx_layers(file, (20, 12))[0].macs == 18 * 10 * 108


def test_the_size_of_a_fixed_file_may_be_said_again(tmp_path):
    file = write(tmp_path / "a.onnx", [CONV], WEIGHT, inputs={"x": (1, 3, 10, 12)}, outputs={"y": None})
    assert onnx_layers(file, (10, 12)) == onnx_layers(file)
    with pytest.raises(UsageError, match=r"fixed to 10x12, --img_resize asks for 10 13; leave --img_resize out"):
        onnx_layers(file, (10, 13))


def test_an_open_file_needs_a_size(tmp_path):
    file = write(tmp_path / "a.onnx", [CONV], WEIGHT, inputs={"x": ("N", 3, "H", "W")}, outputs={"y": None})
    with pytest.raises(UsageError, match=r"'x' is of open size; give --img_resize H W"):
        onnx_layers(file)


def test_what_is_no_onnx_file(tmp_path):
    with pytest.raises(DataError, match=r"none\.onnx: no such ONNX file"):
        onnx_layers(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("not a protocol buffer")
    with pytest.raises(DataError, match=r"text\.onnx: "):
        onnx_layers(tmp_path / "text.onnx")
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(DataError, match=r"empty\.onnx: cannot be read as ONNX \(it holds no ONNX graph\)"):
        onnx_layers(tmp_path / "empty.onnx")


def test_shapes_that_cannot_be_known(tmp_path):
    nodes = [helper.make_node("NonZero", ["x"], ["y"], name="where")]
    file = write(tmp_path / "a.onnx", nodes, {}, inputs={"x": (1, 3, 4, 4)}, outputs={})
    with pytest.raises(DataError, match=r"shape of 'y' \(NonZero\) cannot be inferred"):
        onnx_layers(file)


def test_open_sizes_of_what_is_no_picture(tmp_path):
    file = write(tmp_path / "a.onnx", [helper.make_node("Relu", ["x"], ["y"])], {}, inputs={"x": ("N", 3)}, outputs={})
    with pytest.raises(DataError, match=r"input 'x' \[0, 3\]"):
        onnx_layers(file, (10, 10))


def test_control_flow(tmp_path):
    body = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "body",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    node = helper.make_node("If", ["yes"], ["out"], name="choice", then_branch=body, else_branch=body)
    file = write(tmp_path / "a.onnx", [node], {"yes": np.array(True)}, inputs={"x": (1, 3, 4, 4)}, outputs={})
    with pytest.raises(DataError, match=r"If 'choice' holds a graph of its own"):
        onnx_layers(file)


def test_shapes_that_contradict(tmp_path):
    node = helper.make_node("Add", ["x", "offset"], ["y"])
    weights = {"offset": np.ones((1, 3, 10, 5), np.float32)}
    file = write(tmp_path / "a.onnx", [node], weights, inputs={"x": (1, 3, 10, 12)}, outputs={"y": None})
    with pytest.raises(DataError, match=r"a\.onnx: shapes do not fit"):
        onnx_layers(file)


def test_a_foreign_operator_on_constants(tmp_path):
    """Onnx's reference implementation knows no other domain: the value stays unknown, and so does its shape."""
    node = helper.make_node("Magic", ["one"], ["more"], name="magic", domain="com.microsoft")
    file = write(tmp_path / "a.onnx", [CONV, node], WEIGHT | {"one": np.array([1])}, inputs={"x": (1, 3, 10, 12)},
                 outputs={"y": None})  # fmt: skip
    with pytest.raises(DataError, match=r"shape of 'more' \(Magic\) cannot be inferred"):
        onnx_layers(file)


GROWING = {
    "ConstantOfShape": (["many"], {"many": np.array([100_000, 100_000], np.int64)}),
    "Expand": (["one", "many"], {"one": np.ones(1, np.float32), "many": np.array([100_000, 100_000], np.int64)}),
    "Tile": (["some", "many"], {"some": np.ones((9, 9), np.float32), "many": np.array([100_000, 100_000], np.int64)}),
    "Range": (["a", "b", "c"], {"a": np.float32(0), "b": np.float32(1e12), "c": np.float32(1)}),
    "Pad": (["some", "far"], {"some": np.ones((9, 9), np.float32), "far": np.array([10**5] * 4, np.int64)}),
    "Mul": (["down", "across"], {"down": np.ones((20_000, 1), np.float32), "across": np.ones((1, 20_000), np.float32)}),
}


@pytest.mark.parametrize("op", GROWING)
def test_a_constant_that_would_fill_the_memory_is_not_computed(op, tmp_path):
    inputs, constants = GROWING[op]
    nodes = [
        helper.make_node(op, inputs, ["large"]),
        helper.make_node("ReduceMax", ["large"], ["most"], keepdims=0),
        helper.make_node("Add", ["x", "most"], ["y"]),
    ]
    file = write(tmp_path / "a.onnx", nodes, constants, inputs={"x": (1, 3, 4, 4)}, outputs={"y": None})
    tracemalloc.start()
    with contextlib.suppress(DataError):
        onnx_layers(file)
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()


def test_a_graph_that_no_exporter_writes_is_an_error_in_one_line(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "x"], ["y"]), helper.make_node("Identity", ["y"], [""])]
    file = write(tmp_path / "a.onnx", nodes, {}, inputs={"x": (1, 3, 4, 4)}, outputs={"y": None})
    with contextlib.suppress(DataError):
        onnx_layers(file)
