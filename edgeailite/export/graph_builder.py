"""The ONNX graph that `graph_writer` builds: named nodes, constants, and values with their shapes.

Names are those of `naming`: a module's value is called after its path, its node `<path>/<operator>`; quantized and
dequantized values add `_quantized` and `_dequantized` to the name of their tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, fx, nn

from edgeailite.export.naming import function_names, node_name
from edgeailite.quantization.graph import output_nodes, unused_name

EXAMPLE = (97, 161)  # height and width that stand for open ones: odd, so that nothing divides them
BATCH = 2  # pictures of the example; a side of 1 would be taken for a fixed one
OPEN = ("batch", "height", "width")
RANK = 4
TYPES = {torch.uint8: TensorProto.UINT8, torch.int8: TensorProto.INT8, torch.uint16: TensorProto.UINT16,
         torch.int16: TensorProto.INT16, torch.int32: TensorProto.INT32, torch.float32: TensorProto.FLOAT}  # fmt: skip


class OutputName(str):
    """The name of an output of the file. A module's path may be the same word, and then gets another."""


class Unknown(Exception):
    """A part of the graph that `write` has no rule for."""


@dataclass(frozen=True)
class Value:
    """A tensor of the file: its name, its shape at the example's size, and its type."""

    name: str
    shape: tuple[int, ...]
    type: int = TensorProto.FLOAT
    sized_as: str = ""
    """A tensor of the same size to ask for it: codes, where this one is what they stand for."""


@dataclass(frozen=True)
class Size:
    """Height and width of a value (`x.shape[2:]`)."""

    of: Value


class GraphBuilder:
    """The graph that is being written."""

    def __init__(
        self, traced: fx.GraphModule, inputs: Sequence[str], *, opset: int, size: tuple[int, int] | None
    ) -> None:
        self.traced, self.opset, self.fixed = traced, opset, size is not None
        batch = 1 if self.fixed else BATCH
        self.inputs = [Value(name, (batch, 3, *(size or EXAMPLE))) for name in inputs]
        self.outputs = output_nodes(traced.graph)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.values: dict[fx.Node, Any] = {}
        self.calls = function_names(traced.graph)
        self.named = {node: OutputName(name) for name, node in reversed(self.outputs.items())}
        self.taken = {*inputs, *self.outputs}
        self.node_names: set[str] = set()

    def argument(self, node: fx.Node, index: int = 0) -> Value:
        """Return the value of a positional argument, which must be a tensor."""
        source = node.args[index] if index < len(node.args) else None
        value = self.values[source] if isinstance(source, fx.Node) else None
        if not isinstance(value, Value):
            raise Unknown(str(node))
        return value

    def path(self, node: fx.Node) -> str:
        """Return the name of the value that a node gives, before others have it."""
        return self.named.get(node) or (str(node.target) if node.op == "call_module" else self.calls[node])

    def node(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Add an ONNX node with one output called `name`, or like it; return the output's name."""
        wanted = node_name(name, kind)
        if not isinstance(name, OutputName):
            name = unused_name(name, self.taken.__contains__)
            self.taken.add(name)
        wanted = unused_name(wanted, self.node_names.__contains__)
        self.node_names.add(wanted)
        self.nodes.append(helper.make_node(kind, inputs, [name], name=wanted, **attributes))
        return name

    def second_output(self, name: str) -> str:
        """Give the node that was added last a second output called `name`, or like it; return its name."""
        name = unused_name(name, self.taken.__contains__)
        self.taken.add(name)
        self.nodes[-1].output.append(name)
        return name

    def shared(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Return the output of a node that is there already, or add it."""
        known = helper.make_node(kind, inputs, [], **attributes)
        for node in self.nodes:
            if (node.op_type, node.input, node.attribute) == (kind, known.input, known.attribute):
                return str(node.output[0])
        return self.node(kind, inputs, name, **attributes)

    def constant(self, name: str, value: Tensor | np.ndarray[Any, Any]) -> str:
        """Add an initializer called `name`, or like it where that is another; return its name."""
        array = value.detach().cpu().contiguous().numpy() if isinstance(value, Tensor) else value
        tensor = numpy_helper.from_array(array)
        while name in self.constants:
            tensor.name = name
            if self.constants[name] == tensor:
                return name
            name += "_"
        name = unused_name(name, self.taken.__contains__)
        tensor.name = name
        self.constants[name] = tensor
        self.taken.add(name)
        return name

    def buffer(self, path: str, module: nn.Module, name: str) -> str:
        """Add a tensor of a module as an initializer; return its name."""
        return self.constant(f"{path}.{name}", getattr(module, name))

    def sizes(self, value: Value, size: Value) -> str:
        """Return the name of the sizes (N,C,H,W) with batch and channels of one value, height and width of another."""
        if self.fixed:
            return self.constant("shape.sizes", np.array([*value.shape[:2], *size.shape[2:]], np.int64))
        parts = [
            self.shared("Shape", [value.sized_as or value.name], "shape.channels", start=0, end=2),
            self.shared("Shape", [size.sized_as or size.name], "shape.size", start=2, end=4),
        ]
        return self.node("Concat", parts, "shape.sizes", axis=0)

    def info(self, name: str, value: Value) -> onnx.ValueInfoProto:
        """Return name, type and shape of an input or output; what is open has the name of its axis."""
        shape: list[int | str | None] = list(value.shape)
        if not self.fixed and shape:
            picture = self.inputs[0].shape
            shape[0] = OPEN[0]
            for axis in range(len(shape) - 2, len(shape)) if len(shape) >= RANK - 1 else ():
                whole = value.shape[-2:] == picture[-2:]
                shape[axis] = OPEN[axis - len(shape) + 3] if whole else None
        return helper.make_tensor_value_info(name, value.type, shape)
