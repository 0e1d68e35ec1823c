"""The reader of .tflite files against LiteRT's schema classes, and on files that are damaged in every way."""

from __future__ import annotations

import struct
import time

import numpy as np
import pytest

from edgeailite.errors import DataError
from edgeailite.export.tflite_file import write_tflite
from edgeailite.runtime import tflite_file
from edgeailite.runtime.tflite_file import TfliteFile, read_tflite
from tests.export.programs import every_operator

SECONDS = 2  # of the processor, for one damaged file


@pytest.fixture(scope="module")
def data() -> bytes:
    return write_tflite(every_operator(), metadata={"edgeailite.card": b"{}", "note": "größer".encode()})


@pytest.fixture(scope="module")
def read(data) -> TfliteFile:
    return read_tflite(data)


def test_tensors_and_operators_are_those_that_the_schema_s_own_reader_finds(data, read):
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    model = schema.ModelT.InitFromPackedBuf(data)
    graph = model.subgraphs[0]
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
    types = {code: name for name, code in vars(schema.TensorType).items() if name.isupper()}
    assert len(read.tensors) == len(graph.tensors)
    for mine, theirs in zip(read.tensors, graph.tensors, strict=True):
        assert (mine.name, mine.type) == (theirs.name.decode(), types[theirs.type].lower())
        np.testing.assert_array_equal(mine.shape, theirs.shape)
        quantization = theirs.quantization
        assert (mine.scale is None) == (quantization is None)
        if quantization is not None:
            np.testing.assert_array_equal(mine.scale, quantization.scale)
            np.testing.assert_array_equal(mine.zero_point, quantization.zeroPoint)
            assert mine.axis == quantization.quantizedDimension
        if mine.data is not None:
            assert bytes(mine.data) == model.buffers[theirs.buffer].data.tobytes()
    for mine, theirs in zip(read.nodes, graph.operators, strict=True):
        code = model.operatorCodes[theirs.opcodeIndex]
        assert (mine.kind, mine.version) == (names[code.builtinCode], code.version)
        assert mine.inputs == tuple(theirs.inputs)
        assert mine.outputs == tuple(theirs.outputs)
        if mine.kind == "MAX_POOL_2D":
            assert mine.window == 9


def test_ports_have_the_signature_s_names_and_metadata_are_text(read):
    assert list(read.inputs) == ["image", "image1"]
    assert list(read.outputs) == ["codes", "depth", "label"]
    assert read.tensors[read.outputs["codes"]].name == "head"
    assert read.is_own
    assert read.texts()["note"] == "größer"


def test_constants_are_arrays_of_their_shape(read):
    (weight,) = [tensor for tensor in read.tensors if tensor.name == "stem.weight"]
    assert weight.array().shape == (8, 3, 3, 3)
    (half,) = [tensor for tensor in read.tensors if tensor.name == "half"]
    assert half.array().tolist() == [6, 10]


def with_data_behind(data: bytes, *, beyond: int = 0) -> bytes:
    """The file with its larger constants after the tables, as ai-edge-quantizer writes them."""
    schema, flatbuffers = pytest.importorskip("ai_edge_litert.schema_py_generated"), pytest.importorskip("flatbuffers")
    model = schema.ModelT.InitFromPackedBuf(data)
    moved = [buffer for buffer in model.buffers if buffer.data is not None and len(buffer.data) >= 64]
    contents = [buffer.data.tobytes() for buffer in moved]

    def packed(start: int) -> bytes:
        for buffer, content in zip(moved, contents, strict=True):
            buffer.data, buffer.offset, buffer.size = None, start, len(content)
            start += len(content)
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    assert moved
    return packed(len(packed(2)) + beyond) + b"".join(contents)


def test_constants_behind_the_tables_are_read_and_stay_inside_the_file(data, read):
    found = read_tflite(with_data_behind(data))
    assert {t.name: bytes(t.data or b"") for t in found.tensors} == {t.name: bytes(t.data or b"") for t in read.tensors}
    with pytest.raises(DataError, match="it ends at byte"):
        read_tflite(with_data_behind(data, beyond=1))


def refused_or_read(data: bytes) -> bool:
    """Whether it is read; anything but an answer or a DataError, or a long time, fails the test."""
    began = time.process_time()
    try:
        read_tflite(data)
        read = True
    except DataError as error:
        assert str(error).count("\n") == 0
        read = False
    assert time.process_time() - began < SECONDS
    return read


def test_every_beginning_of_a_file_is_refused(data):
    rng = np.random.default_rng(0)
    lengths = {*range(120), *rng.integers(0, len(data) - 1, 150).tolist()}
    assert not any(refused_or_read(data[:length]) for length in lengths)


@pytest.mark.parametrize("changes", [1, 4, 32])
def test_flipped_bytes_are_refused_or_read(data, changes):
    rng = np.random.default_rng(changes)
    answers = []
    for _ in range(120):
        raw = np.frombuffer(data, np.uint8).copy()
        places = rng.integers(0, len(raw), changes)
        raw[places] = rng.choice(np.array([0, 1, 127, 128, 255], np.uint8), changes)
        answers.append(refused_or_read(raw.tobytes()))
    assert not all(answers)


def test_offsets_and_counts_that_lead_anywhere_are_refused_or_read(data):
    words = [0, 1, 4, 8, len(data) - 4, len(data), 2**31 - 1, 2**31, 2**32 - 1]
    rng = np.random.default_rng(3)
    for place in rng.integers(0, len(data) // 4, 200) * 4:
        raw = bytearray(data)
        raw[place : place + 4] = struct.pack("<I", words[place % len(words)])
        refused_or_read(bytes(raw))


def test_parts_that_are_pointed_to_again_and_again_cost_no_more(data, monkeypatch):
    monkeypatch.setattr(tflite_file, "MOST_READS", 500)
    with pytest.raises(DataError, match="points to its parts more often than files do"):
        read_tflite(data)


@pytest.mark.parametrize(
    ("limit", "value", "reason"),
    [
        ("MOST_METADATA", 4, "more than 4 bytes of metadata"),
        ("LARGEST_TENSOR", 100, "a shape of"),
        ("MOST_SIDES", 3, "a shape of"),
    ],
)
def test_what_is_too_large_is_refused(limit, value, reason, data, monkeypatch):
    monkeypatch.setattr(tflite_file, limit, value)
    with pytest.raises(DataError, match=reason):
        read_tflite(data)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf"), 1e-40])
def test_scales_that_end_a_runtime_s_process_are_refused(scale):
    program = every_operator()
    program.operators[0].output.scale = np.array([scale], np.float32)
    with pytest.raises(DataError, match=r"tensor stem: a scale of"):
        read_tflite(write_tflite(program))


def test_files_that_are_none_are_named(tmp_path, data):
    path = tmp_path / "made.tflite"
    with pytest.raises(
        DataError, match=r"made\.tflite: no such TFLite file; write it with `edgeailite export`, --target tflite"
    ):
        read_tflite(path)
    path.mkdir()
    with pytest.raises(DataError, match=r"made\.tflite: cannot be read as TFLite"):
        read_tflite(path)
    path.rmdir()
    path.write_bytes(data)
    assert read_tflite(path).name == str(path)
