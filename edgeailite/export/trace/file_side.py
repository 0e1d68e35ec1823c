"""Places of an ONNX file, ours or from elsewhere, and their values in onnxruntime or OpenVINO.

Rules: (1) a tensor that is quantized is a place under the name it has before QuantizeLinear, and its codes are read:
asking for floats in front of a quantizer would break up the integer kernels; (2) where a dequantized tensor is an
output of the file, the place has the output's name; (3) other tensors that pictures flow through are places where they
end a block and hold values: sums over codes (a pooling that multiplies by the scale at its end) and sizes that are
computed on the way (Shape) do not; (4) OpenVINO adds inside the kernel of a convolution and in place: reading what an
addition takes changes the outputs (seen: logits moved by 0.23, without it by 0.004), so it is left out there; (5) codes
that operators of the QLinear family give (onnxruntime's QOperator format) are places under the tensor's name, too, and
so is an output that is dequantized behind an operator which only moves codes; (6) codes that are read at another zero
point only (the gate of a hard-swish) belong to the layer that reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # ships no type information
from onnx import numpy_helper

from edgeailite.errors import DataError, EdgeailiteError, UsageError, option
from edgeailite.export.trace.sides import Array, Grid, Place, Reading, Side
from edgeailite.onnxfile import OnnxFile, read_onnx, unreadable
from edgeailite.runtime import open_session
from edgeailite.runtime.failures import run_session
from edgeailite.runtime.openvino_session import openvino_session, openvino_tensors
from edgeailite.runtime.session import LEVELS, with_outputs
from edgeailite.runtime.trial import check_file
from edgeailite.untrusted import printable

PASSED_ON = (
    "Relu", "LeakyRelu", "PRelu", "Clip", "HardSwish", "HardSigmoid", "BatchNormalization", "Dropout", "Identity",
)  # fmt: skip
QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
CODES = "_quantized"  # what quantizing tools add to a tensor's name
OPENVINO = ("openvino", "openvino:f32")
SCALE_AT = {
    "QuantizeLinear": 1, "QLinearConv": 6, "QLinearAdd": 6, "QLinearMul": 6, "QLinearConcat": 0, "QLinearSigmoid": 3,
    "QLinearLeakyRelu": 3, "QLinearAveragePool": 3, "QLinearGlobalAveragePool": 3,
}  # where a node that gives codes has their scale; the zero point follows  # fmt: skip
NO_TENSOR = ("Shape", "Size")
FAULTS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)  # of odd graphs
POOLS = {"AveragePool": "Pool", "GlobalAveragePool": "Pool", "ReduceMean": "Pool"}


@dataclass
class _File:
    """A graph by tensor name: `alive` depend on the pictures, `unscaled` of them are computed from bare codes."""

    model: onnx.ModelProto
    constants: dict[str, Array] = field(default_factory=dict)
    producer: dict[str, onnx.NodeProto] = field(default_factory=dict)
    readers: dict[str, list[onnx.NodeProto]] = field(default_factory=dict)
    alive: set[str] = field(default_factory=set)
    unscaled: set[str] = field(default_factory=set)
    outputs: tuple[str, ...] = ()
    floats: set[str] = field(default_factory=set)

    def end_of_block(self, tensor: str) -> bool:
        """True where a block ends: an output, or a tensor that something other than one activation reads."""
        readers = self.readers.get(tensor, [])
        return tensor in self.outputs or not (len(readers) == 1 and readers[0].op_type in PASSED_ON)

    def grid(self, node: onnx.NodeProto) -> Grid | None:
        """Return the grid of a quantizer; None for one with a scale per channel."""
        scale, zero_point = self.parameters(node)
        if scale.size != 1:
            return None
        info = np.iinfo(zero_point.dtype)
        return Grid(float(scale.reshape(())), int(zero_point.reshape(-1)[0]), int(info.min), int(info.max))

    def parameters(self, node: onnx.NodeProto) -> tuple[Array, Array]:
        """Return scale and zero point of a quantizer. Raises DataError where they are no constants."""
        at = SCALE_AT.get(node.op_type, 1)
        named = node.input[at : at + 2]
        if missing := [name for name in named if name and name not in self.constants]:
            raise DataError(
                f"{node.name or node.output[0]}: {missing[0]} is computed; only constant scales can be traced"
            )
        scale = self.constants[named[0]]
        has_zero = len(named) > 1 and named[1]
        return scale, self.constants[named[1]] if has_zero else np.zeros_like(scale, np.uint8)


def read_file(path: Path) -> onnx.ModelProto:
    """Read any ONNX file. Raises DataError for one that is missing or damaged."""
    return _parsed_model(read_onnx(path))


def _parsed_model(file: OnnxFile) -> onnx.ModelProto:
    try:
        return onnx.load_model_from_string(file.data) if file.is_whole else onnx.load(str(file.path))
    except (OSError, ValueError, DecodeError, onnx.checker.ValidationError) as error:
        raise unreadable(file.name, str(error)) from None


def file_side(
    label: str,
    path: Path,
    *,
    runtime: str,
    threads: int | None = None,
    height_width: tuple[int, int] | None = None,
) -> Side:
    """Open a file as a side: in onnxruntime (`runtime` is a level: DISABLED, EXTENDED, ALL), openvino or openvino:f32.

    A file that was not exported here is first run once in a child process, in case the runtime crashes; a file of open
    size is run at `height_width`.
    """
    known = (*LEVELS, *OPENVINO)
    if runtime not in known:
        raise UsageError(
            f"{option('trace')} {label}: unknown runtime or level {runtime!r}; known: {', '.join(known)}",
            code="unknown-name",
            value=runtime,
            known=known,
        )
    model = _parsed_model(check_file(path, height_width=height_width, threads=threads or 1))
    try:
        parsed = _parse(model)
        places, activated = _places(parsed), _activated(parsed)
    except EdgeailiteError:
        raise
    except FAULTS as error:
        reason = f"{type(error).__name__}: {printable(str(error))[:200]}"
        raise DataError(f"{path}: its tensors cannot be traced ({reason}); it is no usual network") from None
    unread = _added(parsed, places) if runtime in OPENVINO else ()
    quantized = any(node.op_type == "QuantizeLinear" for node in model.graph.node)

    run = _runner(model, label, runtime=runtime, threads=threads)

    def read(images: Sequence[Array], asked: Sequence[str], fed: Mapping[str, Array]) -> Reading:
        wanted = ({*asked, *parsed.outputs} & places.keys()) - {*unread}
        inner = [place.tensor for name, place in places.items() if name in wanted and name not in parsed.outputs]
        got, alone = run(images, tuple(inner)), run(images, ())
        values = {name: _dequantized(parsed, places[name], got[places[name].tensor]) for name in places
                  if name in wanted and places[name].tensor in got}  # fmt: skip
        gaps = [float(np.abs(got[name].astype(np.float64) - alone[name]).max()) for name in parsed.outputs]
        return Reading(values, {name: alone[name] for name in parsed.outputs}, disturbed=max(gaps))

    return Side(label, places, activated, integer=quantized, feeds=False, read=read, unread=unread)


def _added(parsed: _File, places: Mapping[str, Place]) -> tuple[str, ...]:
    """Return the places of rule 4: those that an addition reads, dequantized or not."""
    tensors = {name for node in parsed.model.graph.node if node.op_type == "Add" for name in node.input}
    tensors |= {parsed.producer[name].input[0] for name in tensors if _is_dequantized(parsed, name)}
    return tuple(name for name, place in places.items() if place.tensor in tensors and name not in parsed.outputs)


def _is_dequantized(parsed: _File, name: str) -> bool:
    return name in parsed.producer and parsed.producer[name].op_type == "DequantizeLinear"


def _runner(
    model: onnx.ModelProto, label: str, *, runtime: str, threads: int | None
) -> Callable[[Sequence[Array], tuple[str, ...]], dict[str, Array]]:
    """Return `run(images, names)`, which gives these inner tensors, the inputs and the outputs; sessions are reused."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value.name for value in model.graph.input if value.name not in weights]
    outputs = [value.name for value in model.graph.output]
    data = model.SerializeToString()
    opened: dict[tuple[str, ...], Any] = {}
    precision = "f32" if runtime.endswith(":f32") else None

    def run(images: Sequence[Array], inner: tuple[str, ...]) -> dict[str, Array]:
        if len(images) != len(inputs):
            raise UsageError(
                f"{label}: the file takes {len(inputs)} image(s) ({', '.join(inputs)}), got {len(images)}",
                code="no-fit",
            )
        feed = dict(zip(inputs, images, strict=True))
        further = tuple(name for name in inner if name not in feed)
        if further not in opened:
            opened[further] = (
                openvino_session(
                    data, option=f"{option('trace')} {label}", threads=threads, outputs=further, precision=precision
                )
                if runtime in OPENVINO
                else open_session(with_outputs(data, further), threads=threads, level=runtime)
            )
        names = [*further, *outputs]
        if runtime in OPENVINO:
            return feed | openvino_tensors(opened[further], names, feed)
        return feed | run_session(opened[further], feed, names, where=label)

    return run


def _dequantized(parsed: _File, place: Place, value: Array) -> Array:
    node = parsed.producer.get(place.tensor)
    if node is None or node.op_type not in SCALE_AT:
        return value.astype(np.float32)
    scale, zero_point = parsed.parameters(node)
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    if scale.size > 1:
        shape = [-1 if index == axis % value.ndim else 1 for index in range(value.ndim)]
        scale, zero_point = scale.reshape(shape), zero_point.reshape(shape)
    return (value.astype(np.float32) - zero_point.astype(np.float32)) * scale.astype(np.float32)


def _parse(model: onnx.ModelProto) -> _File:
    graph = model.graph
    parsed = _File(model, outputs=tuple(value.name for value in graph.output))
    parsed.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    parsed.alive = {value.name for value in graph.input if value.name not in parsed.constants}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            parsed.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        for name in node.output:
            parsed.producer[name] = node
        for name in node.input:
            parsed.readers.setdefault(name, []).append(node)
        if node.op_type not in NO_TENSOR and any(name in parsed.alive for name in node.input):
            parsed.alive.update(node.output[:1])
            if _is_unscaled(parsed, node):
                parsed.unscaled.update(node.output[:1])
    parsed.floats = _float_tensors(model)
    return parsed


def _is_unscaled(parsed: _File, node: onnx.NodeProto) -> bool:
    """Return whether a node computes from codes that were not multiplied by their scale."""
    if node.op_type == "DequantizeLinear":
        quantizer = parsed.producer.get(node.input[0])
        if quantizer is not None and quantizer.op_type == "QuantizeLinear":
            return not np.array_equal(parsed.parameters(quantizer)[0], parsed.parameters(node)[0])
    return node.op_type not in QUANTIZERS and any(name in parsed.unscaled for name in node.input)


def _float_tensors(model: onnx.ModelProto) -> set[str]:
    """Return the names of float32 tensors, as far as onnx can tell."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    return {value.name for value in values if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}


def _places(parsed: _File) -> dict[str, Place]:
    """Find the places of a file by the rules of this module, in graph order."""
    held: dict[str, str] = {}  # tensor -> place
    places: dict[str, Place] = {}
    inputs = [value.name for value in parsed.model.graph.input if value.name in parsed.alive]
    quantized = {n.input[0] for n in parsed.model.graph.node if n.op_type == "QuantizeLinear"}
    for name in inputs:
        if name not in quantized:
            places[name], held[name] = Place(name, name, "Input"), name
    for node in parsed.model.graph.node:
        tensor = node.output[0] if node.output else ""
        if tensor not in parsed.alive:
            continue
        if _is_inside(parsed, node):
            continue
        if node.op_type in SCALE_AT:
            name, place = _quantized_place(parsed, node, held)
            places.setdefault(name, place)
            held[tensor] = held[_before(node)] = name
        elif node.op_type == "DequantizeLinear" and tensor in parsed.outputs and tensor not in places:  # rule 5
            described = _described(parsed, node.input[0], Place(tensor, "", ""), held)
            places[tensor], held[tensor] = replace(described, grid=parsed.grid(node)), tensor
        elif _is_float_place(parsed, node, quantized) and tensor not in places:
            places[tensor] = _described(parsed, tensor, Place(tensor, "", ""), held)
            held[tensor] = tensor
    return places


def _is_inside(parsed: _File, node: onnx.NodeProto) -> bool:
    """Return whether a quantizer's codes are read at other zero points (rule 6)."""
    readers = parsed.readers.get(node.output[0], [])
    if node.op_type != "QuantizeLinear" or not readers or node.output[0] in parsed.outputs:
        return False
    zero_point = parsed.parameters(node)[1]
    return all(
        reader.op_type == "DequantizeLinear" and not np.array_equal(parsed.parameters(reader)[1], zero_point)
        for reader in readers
    )


def _is_float_place(parsed: _File, node: onnx.NodeProto, quantized: set[str]) -> bool:
    """Return whether a tensor is a place by rule 3."""
    tensor = node.output[0]
    if node.op_type == "DequantizeLinear" or tensor in quantized:
        return False
    return tensor in parsed.floats and tensor not in parsed.unscaled and parsed.end_of_block(tensor)


def _quantized_place(parsed: _File, node: onnx.NodeProto, held: Mapping[str, str]) -> tuple[str, Place]:
    """Return name and place of a QuantizeLinear, by rules 1 and 2."""
    codes, name = node.output[0], _before(node)
    ends = [reader.output[0] for reader in parsed.readers.get(codes, []) if reader.output[0] in parsed.outputs]
    tensor = codes
    if len(ends) == 1 and len(parsed.readers[codes]) == 1:
        name = tensor = ends[0]
    computed = node.input[0] if node.op_type == "QuantizeLinear" else codes
    place = _described(parsed, computed, Place(tensor, "", ""), held)
    return name, replace(place, grid=parsed.grid(node))


def _before(node: onnx.NodeProto) -> str:
    """Return the name of the tensor that a code tensor was quantized from."""
    return node.input[0] if node.op_type == "QuantizeLinear" else node.output[0].removesuffix(CODES)


def _described(parsed: _File, tensor: str, place: Place, held: Mapping[str, str]) -> Place:
    """Describe a place: the node that computes `tensor`, before activations, and the places it is made of."""
    node = parsed.producer.get(tensor)
    while node is not None and node.op_type in PASSED_ON and _comes_from_layer(parsed, node):
        node = parsed.producer[node.input[0]]
    if node is None:
        return replace(place, layer=tensor, operator="Input")
    operator = node.op_type.removeprefix("QLinear")
    at = 3 if operator != node.op_type else 1
    weights = [_weight_shape(parsed, name) for name in node.input[at : at + 1]] if operator.startswith("Conv") else []
    return replace(
        place,
        layer=node.name or node.output[0],
        operator=POOLS.get(operator, operator),
        weight=weights[0] if weights else (),
        sources=tuple(dict.fromkeys(_sources(parsed, node, held))),
    )


def _comes_from_layer(parsed: _File, node: onnx.NodeProto) -> bool:
    before = parsed.producer.get(node.input[0])
    return before is not None and before.op_type not in QUANTIZERS


def _weight_shape(parsed: _File, name: str) -> tuple[int, ...]:
    """Return the shape of a node's weight: a constant, or one that passes through a quantizer pair."""
    while name not in parsed.constants:
        node = parsed.producer.get(name)
        if node is None or node.op_type not in (*QUANTIZERS, "Identity"):
            return ()
        name = node.input[0]
    return tuple(parsed.constants[name].shape)


def _sources(parsed: _File, node: onnx.NodeProto, held: Mapping[str, str]) -> list[str]:
    """Return the nearest places that a node is computed from."""
    found: list[str] = []
    for name in node.input:
        if name in held:
            found.append(held[name])
        elif name in parsed.alive and name in parsed.producer:
            found += _sources(parsed, parsed.producer[name], held)
    return found


def _activated(parsed: _File) -> dict[str, str]:
    """Map each tensor before an activation to the tensor at the end of the block."""
    found = {}
    for tensor in parsed.producer:
        end = tensor
        while not parsed.end_of_block(end):
            end = parsed.readers[end][0].output[0]
        if end != tensor and tensor in parsed.alive:
            found[tensor] = end
    return found
