"""Files of programs made by hand, read with LiteRT's schema classes, loaded by LiteRT and TensorFlow Lite Micro."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
import pytest

from edgeailite.export.tflite_file import OPERATORS, version_of, write_tflite
from edgeailite.quantization.program import Kind, Operator, Program, Value
from tests.export.programs import Builder, every_operator, pictures, scale

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
interpreter = pytest.importorskip("ai_edge_litert.interpreter")

NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
OPTIONS_OF = {
    "CONV_2D": "Conv2DOptions", "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions", "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions", "REDUCE_MAX": "ReducerOptions", "REDUCE_MIN": "ReducerOptions",
    "ARG_MAX": "ArgMaxOptions",
}  # fmt: skip
LITERT = {"reference": "BUILTIN_REF", "xnnpack": "BUILTIN"}


@pytest.fixture(scope="module")
def program() -> Program:
    return every_operator()


@pytest.fixture(scope="module")
def data(program) -> bytes:
    return write_tflite(program, metadata={"edgeailite.card": b"{}", "note": b"night"})


def read(data: bytes) -> Any:
    return schema.ModelT.InitFromPackedBuf(data)


def values_of(program: Program) -> Iterator[Value]:
    yield from program.inputs
    for operator in program.operators:
        yield from (*operator.inputs, operator.output)


def camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(part.capitalize() for part in others)


def test_every_kind_of_operator_can_be_written_and_is_in_the_program(program):
    assert set(OPERATORS) == set(get_args(Kind)) == {operator.kind for operator in program.operators}


def test_the_file_holds_every_tensor_of_the_program_field_by_field(program, data):
    model = read(data)
    tensors = {tensor.name.decode(): tensor for tensor in model.subgraphs[0].tensors}
    values = {value.name: value for value in values_of(program)}
    assert tensors.keys() == values.keys()
    for name, value in values.items():
        found = tensors[name]
        assert tuple(found.shape) == value.shape
        assert found.type == getattr(schema.TensorType, value.type.upper())
        assert found.hasRank
        if value.scale is None:
            assert found.quantization is None
        else:
            np.testing.assert_array_equal(found.quantization.scale, value.scale)
            np.testing.assert_array_equal(found.quantization.zeroPoint, [value.zero_point] * len(value.scale))
            assert found.quantization.quantizedDimension == value.axis
        if value.data is None:
            assert found.buffer == 0
        else:
            content = model.buffers[found.buffer].data.tobytes()
            np.testing.assert_array_equal(np.frombuffer(content, value.type).reshape(value.shape), value.data)


def test_the_file_holds_every_operator_of_the_program_field_by_field(program, data):
    model = read(data)
    graph = model.subgraphs[0]
    names = [tensor.name.decode() for tensor in graph.tensors]
    assert len(graph.operators) == len(program.operators)
    for found, operator in zip(graph.operators, program.operators, strict=True):
        code = model.operatorCodes[found.opcodeIndex]
        assert NAMES[code.builtinCode] == operator.kind
        assert code.deprecatedBuiltinCode == code.builtinCode < 127
        assert code.version == version_of(operator)
        assert [names[index] for index in found.inputs] == [value.name for value in operator.inputs]
        assert [names[index] for index in found.outputs] == [operator.output.name]
        check_options(found, operator)


def check_options(found: Any, operator: Operator) -> None:
    kind, options = operator.kind, dict(operator.options)
    name = OPTIONS_OF.get(kind, f"{camel(kind.lower())[0].upper()}{camel(kind.lower())[1:]}Options")
    assert found.builtinOptionsType == getattr(schema.BuiltinOptions, name)
    table = found.builtinOptions
    for key, of in (("stride", "stride{}"), ("kernel", "filter{}"), ("dilation", "dilation{}Factor")):
        if key in options:
            sides = ("Height", "Width") if key == "kernel" else ("H", "W")
            assert options.pop(key) == tuple(getattr(table, of.format(side)) for side in sides)
    if "padding" in options:
        assert table.padding == getattr(schema.Padding, options.pop("padding"))
    activation = options.pop("activation", "NONE")
    if hasattr(table, "fusedActivationFunction"):
        assert table.fusedActivationFunction == getattr(schema.ActivationFunctionType, activation)
    if "mode" in options:
        assert table.mode == getattr(schema.MirrorPadMode, options.pop("mode"))
    for key, value in options.items():
        assert getattr(table, camel(key)) == value
    if kind == "ADD":
        assert not table.potScaleInt16
    if kind == "ARG_MAX":
        assert table.outputType == schema.TensorType.INT32


def test_the_signature_and_the_metadata_have_our_names(program, data):
    model = read(data)
    graph, (signature,) = model.subgraphs[0], model.signatureDefs
    assert (model.version, signature.signatureKey, signature.subgraphIndex) == (3, b"serving_default", 0)
    names = [tensor.name.decode() for tensor in graph.tensors]
    for found, wanted, places in (
        (signature.inputs, {value.name: value for value in program.inputs}, graph.inputs),
        (signature.outputs, program.outputs, graph.outputs),
    ):
        assert {one.name.decode(): names[one.tensorIndex] for one in found} == {k: v.name for k, v in wanted.items()}
        assert [names[index] for index in places] == [value.name for value in wanted.values()]
    notes = {entry.name.decode(): model.buffers[entry.buffer].data.tobytes() for entry in model.metadata}
    assert notes == {
        "min_runtime_version": b"2.9.0".ljust(16, b"\0"), "edgeailite.card": b"{}", "note": b"night"
    }  # fmt: skip


def test_the_same_program_gives_the_same_bytes_and_data_is_aligned(program, data):
    assert write_tflite(every_operator(), metadata={"edgeailite.card": b"{}", "note": b"night"}) == data
    for value in values_of(program):
        if value.data is not None and value.data.nbytes >= 64:
            assert data.index(value.data.tobytes()) % 16 == 0


@pytest.mark.parametrize(
    ("kind", "type_", "options", "version"),
    [
        ("CONV_2D", "int8", {}, 3), ("CONV_2D", "int16", {}, 4), ("DEPTHWISE_CONV_2D", "int16", {}, 5),
        ("ADD", "int16", {}, 3), ("QUANTIZE", "int16", {}, 1), ("SLICE", "int16", {}, 4), ("ARG_MAX", "int8", {}, 2),
        ("RESIZE_BILINEAR", "int8", {"half_pixel_centers": True, "align_corners": False}, 3),
        ("RESIZE_BILINEAR", "int8", {"half_pixel_centers": False, "align_corners": True}, 2),
        ("RESIZE_NEAREST_NEIGHBOR", "int8", {"half_pixel_centers": False, "align_corners": True}, 3),
        ("RESIZE_NEAREST_NEIGHBOR", "int8", {"half_pixel_centers": False, "align_corners": False}, 2),
        ("RESIZE_BILINEAR", "int16", {"half_pixel_centers": True, "align_corners": False}, 4),
    ],
)  # fmt: skip
def test_versions_are_those_of_op_version_cc(kind, type_, options, version):
    x = Value("x", (1, 4, 4, 8), type_)
    operator = Operator(kind, [x, Value("w", (8, 1, 1, 8))], Value("y", (1, 4, 4, 8)), options)
    assert version_of(operator) == version


@pytest.mark.parametrize("kernels", LITERT)
def test_litert_computes_every_operator(kernels, program, data):
    model = interpreter.Interpreter(
        model_content=data, experimental_op_resolver_type=interpreter.OpResolverType[LITERT[kernels]], num_threads=1
    )
    runner = model.get_signature_runner("serving_default")
    results = runner(**dict(zip(("image", "image1"), pictures(2), strict=True)))
    assert {name: value.shape for name, value in results.items()} == {k: v.shape for k, v in program.outputs.items()}
    np.testing.assert_array_equal(results["label"], results["codes"].argmax(-1))
    assert len(np.unique(results["codes"])) > 20
    assert len(np.unique(results["depth"])) > 100


def test_tensorflow_lite_micro_computes_the_same_as_litert_s_reference_kernels(data):
    micro = pytest.importorskip("tflite_micro.python.tflite_micro.runtime")
    images = pictures(2)
    there = micro.Interpreter.from_bytes(data, arena_size=1 << 20)
    for index, image in enumerate(images):
        there.set_input(image, index)
    there.invoke()
    model = interpreter.Interpreter(
        model_content=data, experimental_op_resolver_type=interpreter.OpResolverType.BUILTIN_REF
    )
    expected = model.get_signature_runner("serving_default")(image=images[0], image1=images[1])
    for index, name in enumerate(("codes", "depth", "label")):
        np.testing.assert_array_equal(there.get_output(index), expected[name])


@pytest.mark.slow
def test_vela_compiles_a_file_for_an_npu(tmp_path):
    vela = pytest.importorskip("ethosu.vela.vela")
    make = Builder((32, 48))
    x = make.convolution(make.inputs[0], "stem", 8, activation="RELU", scale=scale(0.05), zero_point=-128, stride=2)
    y = make.convolution(x, "head", 5, scale=scale(0.2), zero_point=-7)
    path = tmp_path / "small.tflite"
    path.write_bytes(write_tflite(make.program(segmentation=y), metadata={"edgeailite.card": b"{}"}))
    vela.main([str(path), "--accelerator-config", "ethos-u55-256", "--output-dir", str(tmp_path)])
    compiled = read((tmp_path / "small_vela.tflite").read_bytes())
    kinds = [compiled.operatorCodes[operator.opcodeIndex] for operator in compiled.subgraphs[0].operators]
    assert [code.customCode for code in kinds] == [b"ethos-u"]  # all of it on the NPU
    assert b"edgeailite.card" in [entry.name for entry in compiled.metadata]
