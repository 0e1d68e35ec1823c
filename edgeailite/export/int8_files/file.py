"""An int8 file of any tool, opened to be evaluated: its graph with a name for every node, constants, input, outputs."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import numpy_helper
from onnx.external_data_helper import load_external_data_for_model

from edgeailite.errors import DataError
from edgeailite.export.int8_files.values import Array
from edgeailite.onnxfile import OnnxFile
from edgeailite.onnxfile.wire import Port
from edgeailite.untrusted import printable

FLOAT = 1  # TensorProto.DataType
CHANNELS = 3
QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "ConvInteger", "MatMulInteger")


@dataclass(frozen=True)
class Int8File:
    """A file that takes one normalised picture (N,3,H,W); `size` is its height and width, None if they are open."""

    name: str
    path: Path
    model: onnx.ModelProto
    constants: Mapping[str, Array]
    input: str
    outputs: tuple[str, ...]
    size: tuple[int, int] | None


def int8_file(file: OnnxFile) -> Int8File:
    """Open a file that was read and tried. Raises DataError for float files, graphs within graphs, other inputs."""
    assert file.path is not None, "a file that came as bytes was made here"
    graph = file.graph
    if not any(node.op in QUANTIZED or node.op.startswith(("QLinear", "QGemm")) for node in graph.nodes):
        raise DataError(
            "has no quantizers, so it is a float file",
            path=file.name,
            fix="quantize it, or describe it with `edgeailite card`",
            code="wrong-kind",
        )
    inner = next((node for node in graph.nodes if node.graphs), None)
    if inner is not None:
        raise DataError(
            f"{printable(inner.op)} ({printable(inner.label)}) holds a graph of its own, which is not evaluated",
            path=file.name,
            fix="write the file without control flow",
        )
    if len(graph.inputs) != 1:
        raise DataError(f"takes {len(graph.inputs)} inputs", path=file.name, fix="give a file that takes one picture")
    size = _size(file, graph.inputs[0])
    model = _loaded(file)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    outputs = tuple(port.name for port in graph.outputs)
    return Int8File(file.name, file.path, model, constants, graph.inputs[0].name, outputs, size)


def _size(file: OnnxFile, port: Port) -> tuple[int, int] | None:
    shape = port.shape or ()
    if port.element != FLOAT or len(shape) != 4 or shape[1] not in (CHANNELS, *_open(shape)):
        sides = "x".join(map(str, shape)) or "unknown shape"
        raise DataError(
            f"input {printable(port.name)}: expected float32 pictures Nx3xHxW, found element type {port.element}, "
            f"{printable(sides)}",
            path=file.name,
            fix="`edgeailite card` writes a copy that takes them" if port.channels_last else "give a file that does",
        )
    if isinstance(shape[0], int) and shape[0] > 1:
        raise DataError(
            f"takes {shape[0]} pictures at once", path=file.name, fix="export it for one, or an open number"
        )
    height, width = shape[2:]
    return (height, width) if isinstance(height, int) and isinstance(width, int) and height and width else None


def _open(shape: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return the sides that are names, or 0: open."""
    return tuple(side for side in shape if not isinstance(side, int) or side <= 0)


def _loaded(file: OnnxFile) -> onnx.ModelProto:
    """Load the graph with its data in memory, and give every node a name of its own (names change no value)."""
    model = onnx.load(io.BytesIO(file.data), load_external_data=False)
    if not file.is_whole:
        assert file.path is not None
        load_external_data_for_model(model, str(file.path.parent))
    taken: set[str] = set()
    for node in model.graph.node:
        name = node.name or (node.output[0] if node.output else node.op_type)
        while name in taken:
            name += "_again"
        node.name = name
        taken.add(name)
    return model
