"""Programs in the real runtimes: a writer with LiteRT's own schema classes, LiteRT and TensorFlow Lite Micro.

The writer shares nothing with the package's, so each checks the other.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from edgeailite.quantization.program import Operator, Program, Value
from edgeailite.quantization.tflite_rules import run_program

Array = NDArray[Any]
KERNELS = {"reference": "BUILTIN_REF", "xnnpack": "BUILTIN", "without delegate": "BUILTIN_WITHOUT_DEFAULT_DELEGATES"}
"""Our words for LiteRT's choices of kernels."""

INT8_VERSIONS = {
    "ADD": 2, "ARG_MAX": 2, "CONCATENATION": 2, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "DEQUANTIZE": 2, "GATHER": 2,
    "MAX_POOL_2D": 2, "MEAN": 2, "MIRROR_PAD": 2, "PAD": 2, "QUANTIZE": 1, "RESIZE_BILINEAR": 3,
    "RESIZE_NEAREST_NEIGHBOR": 2, "SLICE": 2, "CAST": 1, "DEPTH_TO_SPACE": 1, "MUL": 2, "REDUCE_MAX": 2,
    "REDUCE_MIN": 2, "RESHAPE": 1, "SPACE_TO_DEPTH": 2, "SUB": 2, "TRANSPOSE": 2,
}  # fmt: skip
INT16_VERSIONS = {
    "ADD": 4, "CONCATENATION": 3, "CONV_2D": 4, "DEPTHWISE_CONV_2D": 5, "DEQUANTIZE": 3, "MAX_POOL_2D": 3, "MEAN": 3,
    "MIRROR_PAD": 3, "PAD": 3, "QUANTIZE": 2, "RESIZE_BILINEAR": 3, "RESIZE_NEAREST_NEIGHBOR": 4, "SLICE": 4,
}  # fmt: skip
GROUPED_CONVOLUTION = 6
OPTIONS = {
    "ADD": "Add", "ARG_MAX": "ArgMax", "CONCATENATION": "Concatenation", "CONV_2D": "Conv2D",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2D", "DEQUANTIZE": "Dequantize", "GATHER": "Gather", "MAX_POOL_2D": "Pool2D",
    "MEAN": "Reducer", "MIRROR_PAD": "MirrorPad", "PAD": "Pad", "QUANTIZE": "Quantize", "RESHAPE": "Reshape",
    "RESIZE_BILINEAR": "ResizeBilinear", "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighbor", "SLICE": "Slice",
    "CAST": "Cast", "DEPTH_TO_SPACE": "DepthToSpace", "MUL": "Mul", "REDUCE_MAX": "Reducer", "REDUCE_MIN": "Reducer",
    "SPACE_TO_DEPTH": "SpaceToDepth", "SUB": "Sub", "TRANSPOSE": "Transpose",
}  # fmt: skip
ARENA = 64 << 20  # bytes for TensorFlow Lite Micro
NOT_IN_MICRO = {"RESIZE_BILINEAR", "MIRROR_PAD", "RESIZE_NEAREST_NEIGHBOR"}
"""Operators that TensorFlow Lite Micro lacks for int16."""
NOT_IN_XNNPACK = {
    "MIRROR_PAD", "RESIZE_NEAREST_NEIGHBOR", "GATHER", "ARG_MAX", "CAST",
}  # fmt: skip
"""Copies and comparisons that LiteRT's own kernels compute."""
MOST_PARTS = 5
"""Of a concatenation that XNNPACK takes; pyramid pooling to 6x6 has 6."""


def schema() -> Any:
    """LiteRT's generated classes."""
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def version_of(op: Operator) -> int:
    if op.kind == "CONV_2D" and op.inputs[0].shape[3] != op.inputs[1].shape[3]:
        return GROUPED_CONVOLUTION
    if (op.kind == "ARG_MAX" and op.inputs[0].type == "float32") or op.inputs[0].type == "int32":
        return 1
    if op.kind == "MUL" and op.inputs[0].scale[0] * op.inputs[1].scale[0] >= op.output.scale[0]:
        return 3
    if op.kind in ("TRANSPOSE", "SLICE") and len(op.inputs[0].shape) > 4:
        return {"TRANSPOSE": 4, "SLICE": 5}[op.kind]
    return (INT16_VERSIONS if is_wide(op) else INT8_VERSIONS)[op.kind]


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
    if op.kind in ("ADD", "SUB"):
        result.builtinOptions.potScaleInt16 = False
    if op.kind == "CAST":
        types = (op.inputs[0].type, op.output.type)
        result.builtinOptions.inDataType, result.builtinOptions.outDataType = (
            getattr(s.TensorType, kind.upper()) for kind in types
        )
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


def _opened(data: bytes, kernels: str, *, inner: bool) -> Any:
    """LiteRT's interpreter. With `inner` every tensor is kept, and XNNPACK is one delegate per operator."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # keeping inner tensors takes memory
        interpreter = Interpreter(
            model_content=data,
            experimental_op_resolver_type=getattr(OpResolverType, KERNELS[kernels]),
            experimental_preserve_all_tensors=inner,
            num_threads=1,
        )
    interpreter.allocate_tensors()
    return interpreter


def litert(data: bytes, images: Sequence[Array], kernels: str, *, inner: bool = True) -> dict[str, Array]:
    """Every tensor by name (without `inner` the outputs) that LiteRT gives with these kernels."""
    interpreter = _opened(data, kernels, inner=inner)
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


def delegated(data: bytes) -> set[str]:
    """Names of the tensors that XNNPACK computes; LiteRT's own kernels compute the others."""
    interpreter = _opened(data, "xnnpack", inner=True)
    names = {detail["index"]: detail["name"] for detail in interpreter.get_tensor_details()}
    operators = interpreter._get_ops_details()
    return {names[index] for op in operators if op["op_name"] == "DELEGATE" for index in op["outputs"]}


def micro(data: bytes, images: Sequence[Array], outputs: int = 1) -> list[Array]:
    """The outputs that TensorFlow Lite Micro gives."""
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(data, arena_size=ARENA)
    for index, image in enumerate(images):
        interpreter.set_input(image, index)
    interpreter.invoke()
    return [interpreter.get_output(index).copy() for index in range(outputs)]


@dataclass(frozen=True)
class Departure:
    """A tensor that differs though all before it agree: its operator, and how much of it differs by how much.

    `differing` of `count` numbers differ, by at most `largest` codes (values, of float32).
    """

    tensor: str
    operator: str
    differing: int
    count: int
    largest: float


def inner_tensors(program: Program, images: Sequence[Array], arithmetic: str) -> dict[str, Array]:
    """Compute every tensor that an operator gives, by name, with the rules of `run_program`."""
    found: dict[str, Array] = {}

    run_program(program, images, arithmetic, seen=lambda value, numbers: found.update({value.name: numbers}))
    return found


def first_departure(program: Program, mine: Mapping[str, Array], theirs: Mapping[str, Array]) -> Departure | None:
    """Find the first tensor, in the order of operators, that is not equal in every bit; None where all are.

    `mine` and `theirs` hold tensors by name. Tensors that `theirs` lacks are passed over: TensorFlow Lite Micro hands
    out the outputs alone. A tensor of another shape or type differs in all its numbers.
    """
    for op in program.operators:
        name = op.output.name
        if name not in theirs:
            continue
        a, b = mine[name], theirs[name]
        if a.shape != b.shape or a.dtype != b.dtype:
            return Departure(name, op.kind, a.size, a.size, float("inf"))
        if not np.array_equal(a, b):
            largest = float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max())
            return Departure(name, op.kind, int((a != b).sum()), a.size, largest)
    return None


def check_everywhere(program: Program, images: Sequence[Array]) -> None:
    """Every tensor in LiteRT with both kinds of kernels, and the outputs of Micro, have the bits of the rules.

    XNNPACK computes all that rounds in 8 bits, but for additions of very unlike scales: no convolution is left to
    LiteRT's optimised kernels, which round otherwise.
    """
    data = file_of(program)
    for arithmetic, kernels in (("tflite_reference", "reference"), ("xnnpack", "xnnpack")):
        mine, theirs = inner_tensors(program, images, arithmetic), litert(data, images, kernels)
        assert set(mine) <= set(theirs)
        assert first_departure(program, mine, theirs) is None, arithmetic
        alone = litert(data, images, kernels, inner=False)  # operators in one delegate, tensors in one another's place
        assert first_departure(program, mine, alone) is None, f"{arithmetic}, outputs"
    assert delegated(data) == {op.output.name for op in program.operators if is_in_xnnpack(op)}
    if not any(is_wide(op) and op.kind in NOT_IN_MICRO for op in program.operators):
        check_micro(program, data, images)


def check_micro(program: Program, data: bytes, images: Sequence[Array]) -> None:
    """TensorFlow Lite Micro's outputs, if it is installed (it is for Linux alone)."""
    if find_spec("tflite_micro") is None:
        return
    expected = run_program(program, images, "tflite_reference")
    for (name, codes), theirs in zip(expected.items(), micro(data, images, len(expected)), strict=True):
        np.testing.assert_array_equal(theirs, codes, err_msg=name)


def is_in_xnnpack(op: Operator) -> bool:
    """True of an operator that XNNPACK computes."""
    if op.kind == "CONCATENATION" and len(op.inputs) > MOST_PARTS:
        return False
    if op.output.type == "int32":
        return False
    if op.kind == "MUL":
        return 2**-16 <= op.inputs[0].scale[0] * op.inputs[1].scale[0] / op.output.scale[0] < 2**8
    if op.kind in ("ADD", "SUB"):
        ratios = [float(value.scale[0] / op.output.scale[0]) for value in op.inputs]
        return not is_wide(op) and min(ratios) >= 2**-10 and max(ratios) < 2**8
    return not is_wide(op) and op.kind not in NOT_IN_XNNPACK


def is_wide(op: Operator) -> bool:
    """True of an operator that reads or gives 16 bits."""
    return "int16" in (op.inputs[0].type, op.output.type)


def int8_codes(program: Program, *images: Tensor) -> list[Array]:
    """Normalised pictures (1,3,H,W) as the inputs of a program."""
    found = []
    for image, value in zip(images, program.inputs, strict=True):
        codes = np.rint(image.numpy() / value.scale[0]) + value.zero_point
        found.append(np.ascontiguousarray(codes.clip(-128, 127).astype(np.int8).transpose(0, 2, 3, 1)))
    return found
