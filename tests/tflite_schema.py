"""Programs in the real runtimes: a writer with LiteRT's own schema classes, LiteRT and TensorFlow Lite Micro.

The writer shares nothing with the package's, so each checks the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.quantization.program import Operator, Program, Value

Array = NDArray[Any]
KERNELS = {"reference": "BUILTIN_REF", "xnnpack": "BUILTIN", "without delegate": "BUILTIN_WITHOUT_DEFAULT_DELEGATES"}
"""Our words for LiteRT's choices of kernels."""

INT8_VERSIONS = {
    "ADD": 2, "ARG_MAX": 2, "CONCATENATION": 2, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "DEQUANTIZE": 2, "MAX_POOL_2D": 2,
    "MEAN": 2, "MIRROR_PAD": 2, "PAD": 2, "QUANTIZE": 1, "RESIZE_BILINEAR": 3, "RESIZE_NEAREST_NEIGHBOR": 2, "SLICE": 2,
}  # fmt: skip
INT16_VERSIONS = {
    "ADD": 4, "CONCATENATION": 3, "CONV_2D": 4, "DEPTHWISE_CONV_2D": 5, "DEQUANTIZE": 3, "MAX_POOL_2D": 3, "MEAN": 3,
    "MIRROR_PAD": 3, "PAD": 3, "QUANTIZE": 2, "RESIZE_BILINEAR": 3, "RESIZE_NEAREST_NEIGHBOR": 4, "SLICE": 4,
}  # fmt: skip
GROUPED_CONVOLUTION = 6
OPTIONS = {
    "ADD": "Add", "ARG_MAX": "ArgMax", "CONCATENATION": "Concatenation", "CONV_2D": "Conv2D",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2D", "DEQUANTIZE": "Dequantize", "MAX_POOL_2D": "Pool2D", "MEAN": "Reducer",
    "MIRROR_PAD": "MirrorPad", "PAD": "Pad", "QUANTIZE": "Quantize", "RESIZE_BILINEAR": "ResizeBilinear",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighbor", "SLICE": "Slice",
}  # fmt: skip
ARENA = 64 << 20  # bytes for TensorFlow Lite Micro


def schema() -> Any:
    """LiteRT's generated classes."""
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def version_of(op: Operator) -> int:
    if op.kind == "CONV_2D" and op.inputs[0].shape[3] != op.inputs[1].shape[3]:
        return GROUPED_CONVOLUTION
    wide = "int16" in (op.inputs[0].type, op.output.type)
    return (INT16_VERSIONS if wide else INT8_VERSIONS)[op.kind]


def file_of(program: Program) -> bytes:
    """A .tflite file of a program."""
    import flatbuffers

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model_of(program).Pack(builder), b"TFL3")
    return bytes(builder.Output())


def model_of(program: Program) -> Any:
    """The file as LiteRT's objects, for a test that damages one."""
    s = schema()
    model, graph = s.ModelT(), s.SubGraphT()
    model.version, model.description, model.subgraphs = 3, "test", [graph]
    model.buffers, model.operatorCodes, graph.tensors, graph.operators = [s.BufferT()], [], [], []
    places: dict[Value, int] = {}
    for value in values_of(program):
        places[value] = len(graph.tensors)
        graph.tensors.append(_tensor(s, model, value))
    for op in program.operators:
        graph.operators.append(_operator(s, model, op, places))
    graph.inputs = np.array([places[value] for value in program.inputs], np.int32)
    graph.outputs = np.array([places[value] for value in program.outputs.values()], np.int32)
    return model


def values_of(program: Program) -> Iterator[Value]:
    """Every tensor once."""
    seen: set[Value] = set()
    for value in [*program.inputs, *(v for op in program.operators for v in (*op.inputs, op.output))]:
        if value not in seen:
            seen.add(value)
            yield value


def _tensor(s: Any, model: Any, value: Value) -> Any:
    tensor = s.TensorT()
    tensor.name, tensor.shape, tensor.hasRank = value.name, np.array(value.shape, np.int32), True
    tensor.type, tensor.buffer = getattr(s.TensorType, value.type.upper()), 0
    if value.data is not None:
        buffer = s.BufferT()
        buffer.data = np.frombuffer(value.data.tobytes(), np.uint8)
        tensor.buffer = len(model.buffers)
        model.buffers.append(buffer)
    if value.scale is not None:
        tensor.quantization = s.QuantizationParametersT()
        tensor.quantization.scale = value.scale
        tensor.quantization.zeroPoint = np.full(len(value.scale), value.zero_point, np.int64)
        tensor.quantization.quantizedDimension = value.axis
    return tensor


def _operator(s: Any, model: Any, op: Operator, places: dict[Value, int]) -> Any:
    code = s.OperatorCodeT()
    code.builtinCode, code.version = getattr(s.BuiltinOperator, op.kind), version_of(op)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    result = s.OperatorT()
    result.opcodeIndex = len(model.operatorCodes)
    model.operatorCodes.append(code)
    result.inputs = np.array([places[value] for value in op.inputs], np.int32)
    result.outputs = np.array([places[op.output]], np.int32)
    name = f"{OPTIONS[op.kind]}Options"
    result.builtinOptionsType, result.builtinOptions = getattr(s.BuiltinOptions, name), getattr(s, f"{name}T")()
    for key, entry in op.options.items():
        for field, setting in _fields(s, op, key, entry).items():
            assert hasattr(result.builtinOptions, field), (op.kind, field)
            setattr(result.builtinOptions, field, setting)
    if op.kind == "ADD":
        result.builtinOptions.potScaleInt16 = False
    if op.kind == "ARG_MAX":
        result.builtinOptions.outputType = s.TensorType.INT32
    return result


def _fields(s: Any, op: Operator, key: str, entry: Any) -> dict[str, Any]:
    """The fields of an option's table; `axis` of ARG_MAX is an input."""
    if key in ("stride", "kernel"):
        name = "stride" if key == "stride" else "filter"
        ends = ("H", "W") if key == "stride" else ("Height", "Width")
        return dict(zip((name + end for end in ends), entry, strict=True))
    if key == "dilation":
        return dict(zip(("dilationHFactor", "dilationWFactor"), entry, strict=True))
    if key == "activation":
        return {"fusedActivationFunction": getattr(s.ActivationFunctionType, entry)}
    if key == "padding":
        return {"padding": getattr(s.Padding, entry)}
    if key == "mode":
        return {"mode": getattr(s.MirrorPadMode, entry)}
    if key == "axis" and op.kind == "ARG_MAX":
        return {}
    first, *rest = key.split("_")
    return {first + "".join(word.title() for word in rest): entry}


def litert(data: bytes, images: Sequence[Array], kernels: str, *, inner: bool = True) -> dict[str, Array]:
    """Every tensor by name (without `inner` the outputs) that LiteRT gives with these kernels."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=data,
        experimental_op_resolver_type=getattr(OpResolverType, KERNELS[kernels]),
        experimental_preserve_all_tensors=inner,
        num_threads=1,
    )
    interpreter.allocate_tensors()
    for detail, image in zip(interpreter.get_input_details(), images, strict=True):
        interpreter.set_tensor(detail["index"], image)
    interpreter.invoke()
    found = {}
    for detail in interpreter.get_tensor_details() if inner else interpreter.get_output_details():
        try:
            found[detail["name"]] = interpreter.get_tensor(detail["index"]).copy()
        except ValueError:  # scratch tensors without data
            continue
    return found


def micro(data: bytes, images: Sequence[Array], outputs: int = 1) -> list[Array]:
    """The outputs that TensorFlow Lite Micro gives."""
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(data, arena_size=ARENA)
    for index, image in enumerate(images):
        interpreter.set_input(image, index)
    interpreter.invoke()
    return [interpreter.get_output(index).copy() for index in range(outputs)]
