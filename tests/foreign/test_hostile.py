"""Malformed and hostile ONNX files end in one line, whatever is wrong with them."""

import os
import random
import time

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgeailite.errors import EdgeailiteError
from edgeailite.foreign.read_onnx import read_onnx
from tests.foreign.onnx_models import model, numbers, weights
from tests.foreign.test_read_onnx import CASES, PARTS
from tests.foreign.test_read_onnx import CONV as CONV_OF_CASES

SECONDS = 5
W = {"w": weights(8, 3, 3, 3)}
CONV = ("Conv", "image w", "y", {})


def simple(**options):
    return model([CONV], W, **options)


def cycle():
    return model([("Add", "image b", "a", {}), ("Relu", "a", "b", {}), ("Relu", "b", "y", {})])


def to_itself():
    return model([("Add", "image y", "y", {})])


def twice():
    return model([("Relu", "image", "y", {}), ("Tanh", "image", "y", {})])


def no_maker():
    return model([("Relu", "nowhere", "y", {})])


def no_output():
    file = simple()
    del file.graph.output[:]
    return file


def no_input():
    file = simple()
    del file.graph.input[:]
    return file


def output_of_nobody():
    file = simple()
    file.graph.output[0].name = "z"
    return file


def no_nodes():
    file = simple()
    del file.graph.node[:]
    return file


def no_shape():
    file = simple()
    file.graph.input[0].type.tensor_type.ClearField("shape")
    return file


def no_type():
    file = simple()
    file.graph.input[0].ClearField("type")
    return file


def huge_side():
    return simple(shape=(1, 3, 2**40, 64))


def negative_side():
    return simple(shape=(1, 3, -5, -(2**60)))


def whole_numbers():
    file = simple()
    file.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    return file


def text_input():
    file = simple()
    file.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    return file


def sequence():
    file = simple()
    file.graph.input[0].CopyFrom(helper.make_tensor_sequence_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8]))
    return file


def unknown_domain():
    file = simple()
    file.graph.node[0].domain = "some.library"
    return file


def library_operator():
    file = simple()
    file.graph.node[0].domain = "com.microsoft"
    return file


def unknown_operator():
    return model([("Attention", "image", "y", {})])


def known_unread():
    return model([("LogSoftmax", "image", "y", {})])


def short_weights():
    file = simple()
    file.graph.initializer[0].raw_data = file.graph.initializer[0].raw_data[:-4]
    return file


def huge_weights():
    file = simple()
    file.graph.initializer[0].dims[0] = 2**62
    return file


def negative_weights():
    file = simple()
    file.graph.initializer[0].dims[0] = -8
    return file


def many_sides():
    file = simple()
    file.graph.initializer[0].dims.extend([1] * 500)
    return file


def not_a_number():
    return model([CONV], {"w": np.full((8, 3, 3, 3), np.nan, np.float32)})


def infinite():
    return model([CONV], {"w": np.full((8, 3, 3, 3), np.inf, np.float32)})


def whole_weights():
    return model([CONV], {"w": np.zeros((8, 3, 3, 3), np.int64)})


def text_weights():
    return model([CONV], {"w": np.array(["a"] * 216).reshape(8, 3, 3, 3)})


def flat_weights():
    return model([CONV], {"w": weights(8, 27)})


def other_channels():
    return model([CONV], {"w": weights(8, 4, 3, 3)})


def negative_stride():
    return model([("Conv", "image w", "y", {"strides": [-1, 1]})], W)


def no_stride():
    return model([("Conv", "image w", "y", {"strides": [0, 0]})], W)


def wrong_pads():
    return model([("Conv", "image w", "y", {"pads": [1, 1]})], W)


def huge_pads():
    return model([("Pad", "image p", "y", {})], {"p": numbers(0, 0, 2**50, 0, 0, 0, 2**50, 0)})


def missing_input():
    return model([("Conv", "image", "y", {})])


def no_attribute():
    return model([("Concat", "image image", "y", {})])


def wrong_attribute():
    file = simple()
    file.graph.node[0].attribute.append(helper.make_attribute("group", "three"))
    return file


def huge_repeat():
    return model([("Expand", "image s", "y", {})], {"s": numbers(2**20, 3, 2**20, 2**20)})


def huge_fill():
    nodes = [("ConstantOfShape", "s", "f", {}), ("Add", "image f", "y", {})]
    return model(nodes, {"s": numbers(2**15, 2**15, 2**15)})


def huge_resize():
    return model([("Resize", "image n s", "y", {"mode": "linear"})],
                 {"n": np.zeros(0, np.float32), "s": np.array([1, 1, 1e9, 1e9], np.float32)})  # fmt: skip


def negative_reshape():
    return model([("Reshape", "image s", "y", {})], {"s": numbers(-1, -1)})


def wrong_axis():
    return model([("Concat", "image image", "y", {"axis": 9})])


def wrong_perm():
    return model([("Transpose", "image", "y", {"perm": [0, 1, 7, 3]})])


def wrong_place():
    return model([("Gather", "image i", "y", {"axis": 1})], {"i": numbers(-400)})


def branch():
    inner = helper.make_graph([helper.make_node("Relu", ["image"], ["z"])], "inner", [],
                              [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)])  # fmt: skip
    return model([("If", "k", "y", {"then_branch": inner, "else_branch": inner})], {"k": np.array(True)})


def loop():
    inner = helper.make_graph([], "inner", [], [])
    return model([("Loop", "n k image", "y", {"body": inner})], {"n": numbers(2**60), "k": np.array(True)})


def function():
    file = simple()
    node = helper.make_node("Relu", ["a"], ["b"])
    file.functions.append(helper.make_function("own", "F", ["a"], ["b"], [node], [helper.make_opsetid("", 18)]))
    file.opset_import.append(helper.make_opsetid("own", 1))
    file.graph.node[0].domain = "own"
    return file


def sparse():
    file = simple()
    values = numpy_helper.from_array(weights(1), "s")
    file.graph.sparse_initializer.append(
        helper.make_sparse_tensor(values, numpy_helper.from_array(numbers(0), "i"), [4])
    )
    return file


def old_opset():
    return simple(opset=9)


def quantized():
    return model([("QuantizeLinear", "image s z", "q", {}), ("DequantizeLinear", "q s z", "y", {})],
                 {"s": np.float32(0.1), "z": np.uint8(128)})  # fmt: skip


def zero_variance():
    ones = {name: np.ones(3, np.float32) for name in "gom"}
    return model([("BatchNormalization", "image g o m v", "y", {})], {**ones, "v": np.ones(4, np.float32)})


def labels():
    return model([("ArgMax", "image", "y", {"axis": 1})])


def computed_weights():
    return model([("Conv", "image image", "y", {})], shape=(3, 3, 8, 8))


def matrix_on_the_left():
    return model([("MatMul", "w image", "y", {})], {"w": weights(8, 8)}, shape=(1, 3, 8, 8))


def mean_of_a_side_that_is_open():
    nodes = [("LayerNormalization", "image g o", "y", {})]
    return model(nodes, {"g": weights(161), "o": weights(161)})


def instances_in_a_row():
    nodes = [("Reshape", "image s", "r", {}), ("InstanceNormalization", "r g g", "y", {})]
    return model(nodes, {"s": numbers(0, 3, -1), "g": weights(3)})


def constant_output():
    file = model([("Relu", "image", "y", {})], {"k": weights(4)})
    file.graph.output[0].name = "k"
    return file


def wide_gaps():
    return model([("ConvTranspose", "image w", "y", {"dilations": [30_000, 30_000]})], {"w": weights(3, 1, 2, 2)})


def many_copies():
    nodes = [("Tile", f"{'k' if i == 0 else f'k{i}'} n", f"k{i + 1}", {}) for i in range(20)]
    return model([*nodes, ("Add", "image k20", "y", {})], {"k": weights(1, 1, 1, 1), "n": numbers(1, 1, 4, 4)})


def deep_name():
    return model([("Softmax", "image", "a", {"axis": 77}), ("Relu", "a", "y", {})])


MAKERS = [
    value for value in list(globals().values()) if callable(value) and getattr(value, "__module__", "") == __name__
]
MAKERS = [maker for maker in MAKERS if maker is not simple]


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
def test_one_line_for_a_file_that_is_no_good(maker, tmp_path):
    path = tmp_path / "file.onnx"
    path.write_bytes(maker().SerializeToString())
    began = time.process_time()
    with pytest.raises(EdgeailiteError) as caught:
        read_onnx(path)
    text = str(caught.value)
    assert "\n" not in text and "file.onnx" in text and ";" in text and len(text) < 1000
    assert time.process_time() - began < SECONDS


def outside(path, location, **more):
    """A file whose weights lie outside it, at `location`."""
    file = simple()
    tensor = file.graph.initializer[0]
    raw, tensor.data_location = tensor.raw_data, TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=str(value))
    path.write_bytes(file.SerializeToString())
    return raw


@pytest.mark.parametrize(
    ("location", "more"),
    [
        ("../secret.bin", {}),
        ("/etc/passwd", {}),
        ("folder/../../secret.bin", {}),
        ("..\\secret.bin", {}),
        ("missing.bin", {}),
        ("", {}),
        ("link.bin", {}),
        ("data.bin", {"offset": -8}),
        ("data.bin", {"offset": 10**18}),
        ("data.bin", {"length": 10**18}),
        ("data.bin", {"offset": "many"}),
        ("data.bin", {"length": 8}),
        (".", {}),
    ],
)
def test_one_line_for_weights_outside_the_folder(location, more, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    raw = outside(folder / "file.onnx", location, **more)
    (tmp_path / "secret.bin").write_bytes(raw)
    (folder / "data.bin").write_bytes(raw)
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(EdgeailiteError) as caught:
        read_onnx(folder / "file.onnx")
    assert "\n" not in str(caught.value) and "file.onnx" in str(caught.value)


def test_reads_weights_beside_the_file(tmp_path):
    raw = outside(tmp_path / "file.onnx", "data.bin", offset=64)
    (tmp_path / "data.bin").write_bytes(bytes(64) + raw)
    network = read_onnx(tmp_path / "file.onnx")
    values = [value for value in network.state_dict().values() if value.shape == (8, 3, 3, 3)]
    assert [value.numpy().tobytes() for value in values] == [raw]


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 100, b"hello", b"\x08\x07", os.urandom(64)], ids=["none", "zeros", "text", "stub", "noise"]
)
def test_one_line_for_a_file_that_is_no_onnx(content, tmp_path):
    (tmp_path / "file.onnx").write_bytes(content)
    with pytest.raises(EdgeailiteError) as caught:
        read_onnx(tmp_path / "file.onnx")
    assert "\n" not in str(caught.value)


def test_one_line_for_a_cut_file(tmp_path):
    whole = simple().SerializeToString()
    for end in range(1, len(whole), 97):
        with pytest.raises(EdgeailiteError):
            read_onnx(whole[:end])


def test_takes_a_loaded_model():
    assert read_onnx(onnx.load_from_string(simple().SerializeToString())).graph is not None


NUMBERS = (0, -1, 1, 2, 3, 7, -9, 100, 2**40, -(2**62))
CHANGES = 200


def changed(rng, files):
    """One of the files of `test_read_onnx` with an attribute, an input, an operator or a constant changed."""
    file = onnx.ModelProto()
    file.CopyFrom(rng.choice(files))
    graph = file.graph
    for _ in range(rng.choice((1, 1, 2, 3))):
        node, way = rng.choice(graph.node), rng.randrange(5)
        if way == 0 and node.attribute:
            attribute = rng.choice(node.attribute)
            if attribute.ints:
                attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(NUMBERS)
            else:
                attribute.i = rng.choice(NUMBERS)
        elif way == 1 and node.input:
            names = ["", "image", "c", *(tensor.name for tensor in graph.initializer)]
            node.input[rng.randrange(len(node.input))] = rng.choice(names)
        elif way == 2 and node.input:
            del node.input[rng.randrange(len(node.input))]
        elif way == 3:
            node.op_type = rng.choice([other.op_type for one in files for other in one.graph.node])
        elif way == 4 and graph.initializer:
            tensor = rng.choice(graph.initializer)
            value = numpy_helper.to_array(tensor)
            forms = (value.reshape(-1), value.astype(np.int64), value[..., None], np.zeros(0, value.dtype), -value)
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(rng.choice(forms)), tensor.name))
    return file


def test_changed_files_are_read_and_run_or_refused_in_one_line():
    rng = random.Random(1)
    files = [model([CONV_OF_CASES, *nodes], PARTS | constants) for nodes, constants, _ in CASES.values()]
    read = 0
    for _ in range(CHANGES):
        file = changed(rng, files)
        try:
            network = read_onnx(file)
        except EdgeailiteError as error:
            assert "\n" not in str(error)
            continue
        with torch.no_grad():
            assert set(network(torch.zeros(2, 3, 48, 64))) == {"y"}
        read += 1
    assert 0.1 * CHANGES < read < 0.9 * CHANGES
