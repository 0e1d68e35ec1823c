"""What holds for every ONNX file before a runtime sees it; refusals are one line with the file's name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edgeailite.errors import DataError
from edgeailite.onnxfile import own_sizes, read_onnx
from edgeailite.onnxfile.constants import array_of
from edgeailite.onnxfile.wire import MOST_NODES, Damaged, parse
from tests.onnxfile.made import CONV, SIZE, WEIGHT, model, own, quantized


def refused(source: Path | bytes) -> str:
    with pytest.raises(DataError) as error:
        read_onnx(source)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_is_read_as_onnx_reads_it():
    made = model(CONV, {**WEIGHT, "codes": np.arange(-4, 4, dtype=np.int8), "half": np.float16([0.5, -2])})
    file = read_onnx(own(made))
    assert [node.op for node in file.graph.nodes] == ["Conv"]
    assert file.graph.nodes[0].attributes["pads"] == (1, 1, 1, 1)
    assert file.graph.inputs[0].shape == (1, 3, *SIZE)
    assert file.graph.opsets == {"": 21}
    assert file.graph.metadata["classes"] == "road,sky,car,tree"
    for tensor in made.graph.initializer:
        assert np.array_equal(array_of(file.graph.constants[tensor.name]), onnx.numpy_helper.to_array(tensor))


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (TensorProto.FLOAT, [0.5, -1.25, 3e38]),
        (TensorProto.DOUBLE, [0.5, -1e300]),
        (TensorProto.FLOAT16, [0.5, -2.0]),
        (TensorProto.INT64, [-(2**62), 5]),
        (TensorProto.INT32, [-5, 7]),
        (TensorProto.INT8, [-128, 127]),
        (TensorProto.UINT8, [0, 255]),
        (TensorProto.BOOL, [True, False]),
    ],
)
def test_numbers_written_one_by_one_are_read_too(kind, values):
    made = model(CONV, WEIGHT)
    made.graph.initializer.append(helper.make_tensor("listed", kind, [len(values)], values))
    found = array_of(parse(made.SerializeToString()).constants["listed"])
    assert np.array_equal(found, onnx.numpy_helper.to_array(made.graph.initializer[-1]))


def test_graphs_that_are_appended_are_merged_as_protocol_buffers_do():
    data = own()
    added = onnx.ModelProto(graph=onnx.GraphProto(output=[onnx.ValueInfoProto(name="w")])).SerializeToString()
    assert [port.name for port in read_onnx(data + added).graph.outputs] == ["segmentation", "w"]


def cyclic() -> onnx.ModelProto:
    names = [(["image", "b"], ["a"]), (["a", "a"], ["b"]), (["a", "b"], ["segmentation"])]
    return model([helper.make_node("Add", *part) for part in names])


def with_tensor(**fields: object) -> onnx.ModelProto:
    made = model(CONV, WEIGHT)
    made.graph.initializer.append(TensorProto(name="extra", **fields))
    return made


DAMAGED = {
    "cyclic": (cyclic(), "not acyclic"),
    "made twice": (model([*CONV, *CONV], WEIGHT), "made twice"),
    "nobody makes it": (model([helper.make_node("Relu", ["ghost"], ["segmentation"])]), "'ghost', which is made by no"),
    "output of nobody": (model(CONV, WEIGHT, outputs=["nothing"]), "output 'nothing'"),
    "custom operator": (model([helper.make_node("Steal", ["image"], ["segmentation"], domain="evil")]), "evil:Steal"),
    "huge constant": (with_tensor(data_type=1, dims=[1 << 40], raw_data=b"\0\0\0\0"), "4 bytes"),
    "sides below 0": (with_tensor(data_type=1, dims=[-1], raw_data=b""), "a side of -1"),
    "many sides": (with_tensor(data_type=1, dims=[1] * 40, raw_data=b"\0\0\0\0"), "more than 16 sides"),
    "NaN weight": (model(CONV, {"w": np.full((4, 3, 3, 3), np.nan, np.float32)}), r"w: 108 of 108 numbers are NaN"),
    "infinite weight": (model(CONV, {"w": np.full((4, 3, 3, 3), -np.inf, np.float32)}), "infinite"),
    "NaN half": (with_tensor(data_type=10, dims=[1], raw_data=np.float16("nan").tobytes()), "NaN"),
    "NaN bfloat": (with_tensor(data_type=16, dims=[1], raw_data=b"\xc0\x7f"), "NaN"),
    "NaN double": (with_tensor(data_type=11, dims=[1], raw_data=np.float64("nan").tobytes()), "NaN"),
    "NaN in a node": (
        model([helper.make_node("Constant", [], ["c"], value=onnx.numpy_helper.from_array(np.float32([np.nan]))),
               helper.make_node("Add", ["image", "c"], ["segmentation"])]),
        "c: 1 of 1 numbers are NaN",
    ),
    "scale 0": (quantized(scale=0), "s: a quantizer's scale of 0"),
    "scale below 0": (quantized(scale=-1), "a quantizer's scale of -1"),
    "scale too small": (quantized(scale=1e-42), "a quantizer's scale of 1e-42"),
    "scale NaN": (quantized(scale=np.nan), "s: 1 of 1 numbers are NaN"),
    "no nodes": (model([], outputs=[]), "holds no ONNX graph"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_files(kind):
    made, reason = DAMAGED[kind]
    said = refused(made.SerializeToString())
    assert said.startswith("ONNX model: cannot be read as ONNX (")
    assert reason in said


def test_a_mask_of_somebody_else_may_be_infinite():
    nodes = [helper.make_node("Add", ["image", "mask"], ["segmentation"])]
    made = model(nodes, {"mask": np.float32(-np.inf)})
    assert not read_onnx(made.SerializeToString()).is_own
    with pytest.raises(DataError, match="mask: 1 of 1 numbers are infinite"):
        read_onnx(own(made))


def test_names_of_an_exported_file_can_be_printed():
    made = model([helper.make_node("Conv", ["image", "w"], ["segmentation"], name="a\x1b[2J\nb", pads=[1] * 4)], WEIGHT)
    assert "control characters" in refused(own(made))
    assert read_onnx(made.SerializeToString()).graph.nodes[0].name == "a\x1b[2J\nb"


def test_lists_have_an_end(tmp_path):
    nodes = [helper.make_node("Relu", [f"x{i}" if i else "image"], [f"x{i + 1}"]) for i in range(MOST_NODES + 1)]
    assert f"more than {MOST_NODES} nodes" in refused(model(nodes, outputs=["x1"]).SerializeToString())
    path = tmp_path / "wide.onnx"
    path.write_bytes(model(nodes[:600], outputs=[f"x{i + 1}" for i in range(600)]).SerializeToString())
    assert "600 outputs" in refused(path)


@pytest.mark.parametrize("data", [b"", b"nothing", b"\x08", b"\xff" * 40, b"\x3a\xff\xff\xff\xff\x0f", b"\x0b\x0c"])
def test_what_is_no_protocol_buffer(data):
    refused(data)


def test_special_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.onnx")
    assert "a named pipe, not a file" in refused(tmp_path / "pipe.onnx")
    assert "a folder" in refused(tmp_path) or "directory" in refused(tmp_path).lower()
    assert "no such ONNX file; write it with `edgeailite export`" in refused(tmp_path / "none.onnx")
    (tmp_path / "zero.onnx").symlink_to("/dev/zero")
    assert "a device" in refused(tmp_path / "zero.onnx")
    with (tmp_path / "sparse.onnx").open("wb") as file:
        file.truncate(2**31 - 1)
    assert "field of number 0" in refused(tmp_path / "sparse.onnx")


def outside(location: str, **more: str) -> bytes:
    made = model([helper.make_node("Add", ["image", "e"], ["segmentation"])])
    tensor = TensorProto(name="e", data_type=1, dims=[1, 3, *SIZE], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=value)
    made.graph.initializer.append(tensor)
    return made.SerializeToString()


def test_data_outside_the_file_lies_beside_it(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    weights = np.zeros((3, *SIZE), np.float32).tobytes()
    (tmp_path / "secret.bin").write_bytes(weights)
    (folder / "good.bin").write_bytes(weights)
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "inner").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe.bin")
    path = folder / "a.onnx"
    path.write_bytes(outside("good.bin", length=str(len(weights))))
    assert not read_onnx(path).is_whole
    for location, reason in {
        "../secret.bin": "leads out of",
        str(tmp_path / "secret.bin"): "leads out of",
        "..\\secret.bin": "leads out of",
        "": "leads out of",
        "link.bin": "goes through a link",
        "inner/secret.bin": "goes through a link",
        "gone.bin": "cannot be read",
        "pipe.bin": "has not",
    }.items():
        path.write_bytes(outside(location))
        assert reason in refused(path), location
    for key, value in (("length", "10000000"), ("offset", "-4"), ("offset", "many")):
        path.write_bytes(outside("good.bin", **{key: value}))
        refused(path)
    assert "data outside the file" in refused(outside("good.bin"))


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((1, 3, 32, 32), "an input of 1x3x32x32, but the metadata says 1x3x32x48"),
        ((1, 4, 32, 48), "but the metadata says"),
        ((2, 3, 32, 48), "but the metadata says"),
        ((3, 32, 48), "an input of 3 sides"),
    ],
)
def test_an_exported_file_takes_one_picture_of_its_size(shape, reason):
    file = read_onnx(own(model([helper.make_node("Relu", ["image"], ["segmentation"])], shape=shape)))
    with pytest.raises(DataError, match=reason):
        own_sizes(file, SIZE)


def test_sizes_of_an_open_file_are_those_asked_for():
    file = read_onnx(own(model(CONV, WEIGHT, shape=("N", 3, "H", "W"))))
    assert own_sizes(file, (40, 56)).shapes["segmentation"] == (1, 4, 40, 56)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_changed_bytes_are_read_or_damaged(data):
    changed = bytearray(own(quantized()))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(changed) - 1))
        changed[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        if not changed:
            return
    try:
        parse(bytes(changed))
    except Damaged:
        return
