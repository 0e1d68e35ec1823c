"""The layers of an ONNX file, float or int8, by the rules of `layer.py`.

How an int8 file is read: (1) QuantizeLinear/DequantizeLinear around an operator say that it is an integer kernel: it
is integer if all activations it takes are dequantized codes and its result, after activations that nobody else reads,
goes to QuantizeLinear alone; the group is one layer that takes and gives codes; (2) a DequantizeLinear that only such
layers read costs nothing, as does one of a weight, which then is as large as its codes; (3) QLinear and Integer
operators take codes as they are. In float files an activation that alone reads a value works in place. A product with
a matrix of zeros and ones is a pooling written as one, not a linear layer: elements are added.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgeailite.cost.layer import Layer, Value
from edgeailite.cost.onnx_shapes import load
from edgeailite.cost.operations import ACTIVATIONS, CONVOLUTION, LINEAR, TRANSPOSED, element_operations, onnx_word
from edgeailite.errors import DataError, EdgeailiteError
from edgeailite.untrusted import printable

# Operators with MACs: word, and where activation, weight and bias stand among the inputs.
WEIGHTED = {
    "Conv": (CONVOLUTION, 0, 1, 2),
    "ConvTranspose": (TRANSPOSED, 0, 1, 2),
    "Gemm": (LINEAR, 0, 1, 2),
    "MatMul": (LINEAR, 0, 1, None),
    "QLinearConv": (CONVOLUTION, 0, 3, 8),
    "ConvInteger": (CONVOLUTION, 0, 1, None),
    "QLinearMatMul": (LINEAR, 0, 3, None),
    "MatMulInteger": (LINEAR, 0, 1, None),
}
INTEGER_KERNELS = ("QLinear", "ConvInteger", "MatMulInteger")
QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
# These look at memory in another way.
LOOKS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Slice", "Split")
POOLS = ("MaxPool", "AveragePool")
# What a graph raises that no exporter writes: an operator without its inputs, an attribute of another type.
FAULTS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
LONGEST_NAME = 300  # of a layer in a table


@dataclass(frozen=True)
class OnnxLayers:
    """A file's layers; `parameters` counts each weight once."""

    layers: tuple[Layer, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    parameters: int
    weight_bytes: int


def read(path: Path, height_width: tuple[int, int] | None) -> OnnxLayers:
    """Read the layers of a file. Raises DataError and UsageError as `onnx_shapes.load`."""
    try:
        graph = _Graph(path, height_width)
        layers = tuple(graph.layer(node) for node in graph.nodes if graph.computes(node))
    except EdgeailiteError:
        raise
    except FAULTS as error:
        reason = f"{type(error).__name__}: {printable(' '.join(str(error).split()))[:200]}"
        raise DataError(
            f"{path}: its layers cannot be counted ({reason}); it is no usual network, or damaged: export it again",
            code="damaged",
        ) from None
    weights = graph.weights.values()
    return OnnxLayers(
        layers,
        tuple(map(graph.value, graph.inputs)),
        tuple(map(graph.value, graph.outputs)),
        parameters=sum(array.size for array in weights),
        weight_bytes=sum(array.nbytes for array in weights),
    )


class _Graph:
    """A file with shapes, who makes and who reads each value, and which nodes form one integer layer."""

    def __init__(self, path: Path, height_width: tuple[int, int] | None) -> None:
        sized = load(path, height_width)
        self.shapes, self.item_bytes, self.constants = sized.shapes, sized.item_bytes, sized.constants
        self.nodes = [node for node in sized.graph.node if not all(n in sized.constants for n in node.output if n)]
        self.inputs = [value.name for value in sized.graph.input if value.name not in sized.constants]
        self.maker: dict[str, onnx.NodeProto] = {}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        self.outputs = [value.name for value in sized.graph.output]
        self.ends = frozenset(self.outputs)
        self.memories: dict[str, str] = {}
        self.weights: dict[str, NDArray[Any]] = {}
        for node in self.nodes:
            self.maker |= dict.fromkeys(node.output, node)
            for name in dict.fromkeys(node.input):
                self.readers[name].append(node)
        self.quantizer: dict[str, onnx.NodeProto] = {}  # first output of an integer node -> QuantizeLinear after it
        for node in self.nodes:
            behind = self._quantizer_behind(node)
            if behind is not None:
                self.quantizer[node.output[0]] = behind
        self.inside = self._nodes_inside()

    def computes(self, node: onnx.NodeProto) -> bool:
        """Return True if a node is a layer of its own: not part of another, not only another view of memory."""
        return node.output[0] not in self.inside and node.op_type not in LOOKS

    def value(self, name: str) -> Value:
        """A tensor; looks and activations in place have the name of the memory they share."""
        return Value(self._memory(name), self.shapes[name], self.item_bytes[name])

    def layer(self, node: onnx.NodeProto) -> Layer:
        """The layer of a node that computes."""
        integer = node.output[0] in self.quantizer or node.op_type.startswith(INTEGER_KERNELS)
        last = self.quantizer.get(node.output[0], node)
        taken = tuple(self.value(name) for name in self._activations(node))
        given = tuple(self.value(name) for name in last.output if name)
        operator, kernel, macs, weights = self._weighted(node)
        self.weights |= weights
        operations = element_operations(
            operator,
            sum(value.elements for value in taken),
            given[0].elements,
            window=prod(_attribute(node, "kernel_shape", (1,))) if node.op_type in POOLS else 1,
            bias=len(weights) > 1,
            integer=integer,
        )
        return Layer(
            _name(node),
            operator,
            taken,
            given,
            macs=macs,
            parameters=sum(array.size for array in weights.values()),
            weight_bytes=sum(array.nbytes for array in weights.values()),
            element_operations=operations,
            integer=integer,
            kernel=kernel,
            groups=_attribute(node, "group", 1),
        )

    def _weighted(self, node: onnx.NodeProto) -> tuple[str, tuple[int, ...], int, dict[str, NDArray[Any]]]:
        """Word, shape of the weight, MACs and weights by name."""
        word = onnx_word(node.op_type)
        if node.op_type == "Resize" and _attribute(node, "mode", b"nearest") == b"nearest":
            word = "resize_nearest"
        if node.op_type not in WEIGHTED:
            learned = node.input[1:3] if node.op_type == "BatchNormalization" else node.input
            return word, (), 0, self._constants(learned) if node.op_type in ("BatchNormalization", "PRelu") else {}
        operator, activation, weight, bias = WEIGHTED[node.op_type]
        names = [node.input[i] for i in (weight, bias) if i is not None and i < len(node.input)]
        weights = self._constants(names)
        shape = self.shapes[node.input[weight]]
        if operator == LINEAR:
            matrix = next(iter(weights.values()), None)
            if matrix is None or matrix.ndim != 2 or np.isin(matrix, (0, 1)).all():
                return "matmul", (), 0, {}
            rows = prod(self.shapes[node.output[0]]) // self.shapes[node.output[0]][-1]
            return operator, shape, rows * prod(shape), weights
        positions = self.shapes[node.input[activation] if operator == TRANSPOSED else node.output[0]]
        return operator, shape, positions[0] * prod(positions[2:]) * prod(shape), weights

    def _constants(self, names: Any) -> dict[str, NDArray[Any]]:
        """Constants among `names`, in the form in which the file stores them (codes of dequantized ones)."""
        sources = [self._source(name) for name in names if name]
        return {name: self.constants[name] for name in sources if name in self.constants}

    def _source(self, name: str) -> str:
        """Return the name of the stored weight, before DequantizeLinear."""
        maker = self.maker.get(name)
        return maker.input[0] if maker is not None and maker.op_type == DEQUANTIZE else name

    def _activations(self, node: onnx.NodeProto) -> list[str]:
        """Return the names of a node's inputs that are not constants; of an integer node, its codes."""
        names = [name for name in dict.fromkeys(node.input) if name and self._source(name) not in self.constants]
        integer = node.output[0] in self.quantizer
        return [self._source(name) if integer else name for name in names if name not in self.constants]

    def _quantizer_behind(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        """Return the QuantizeLinear that makes a node an integer layer (rule 1); None for a float node."""
        names = [name for name in node.input if name and self._source(name) not in self.constants]
        makers = [self.maker.get(name) for name in names]
        if node.op_type in (QUANTIZE, DEQUANTIZE) or not names:
            return None
        if any(maker is None or maker.op_type != DEQUANTIZE for maker in makers):
            return None
        name = node.output[0]
        while name not in self.ends and len(self.readers[name]) == 1:
            reader = self.readers[name][0]
            if reader.op_type == QUANTIZE:
                return reader
            if onnx_word(reader.op_type) not in ACTIVATIONS:
                return None
            name = reader.output[0]
        return None

    def _nodes_inside(self) -> set[str]:
        """First outputs of the nodes that are part of a layer: activations and quantizers, dequantizers (rule 2)."""
        inside = set()
        for name, quantizer in self.quantizer.items():
            behind = self.readers[name][0]
            while behind.output[0] != quantizer.output[0]:
                inside.add(behind.output[0])
                behind = self.readers[behind.output[0]][0]
            inside.add(quantizer.output[0])
        for node in self.nodes:
            if node.op_type == DEQUANTIZE and node.output[0] not in self.ends:
                readers = self.readers[node.output[0]]
                constant = node.input[0] in self.constants
                if constant or all(reader.output[0] in self.quantizer for reader in readers):
                    inside.add(node.output[0])
        return inside

    def _memory(self, name: str) -> str:
        """Name of the memory a value lies in."""
        passed = []
        while name not in self.memories:
            passed.append(name)
            maker = self.maker.get(name)
            if maker is None or not maker.input or name in self.ends or name in self.constants:
                break
            source = maker.input[0]
            alone = len(self.readers[source]) == 1 and source in self.maker
            in_place = onnx_word(maker.op_type) in ACTIVATIONS and alone
            if maker.op_type not in LOOKS and not in_place:
                break
            name = source
        found = self.memories.get(name, name)
        self.memories |= dict.fromkeys(passed, found)
        return found


def _name(node: onnx.NodeProto) -> str:
    """The module's path, which our files have before the operator; the node's name; else what it gives."""
    if node.op_type in (QUANTIZE, DEQUANTIZE):
        name = node.output[0]
    else:
        name = node.name.rpartition(f"/{node.op_type}")[0] or node.name or node.output[0]
    return printable(name)[:LONGEST_NAME]


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """Value of an attribute, `default` without it."""
    found = [onnx.helper.get_attribute_value(attribute) for attribute in node.attribute if attribute.name == name]
    return found[0] if found else default
