"""A traced network to an ONNX graph, node by node, for the operators that most networks consist of.

`torch.onnx.export` traces a network once more, decomposes it and rewrites what comes out, which takes seconds to half
a minute. A traced graph already says everything: `write` translates it in a fraction of a second, and what it writes
depends on no version of torch. It knows the layers in `LAYERS` and `CALLS`; for a graph with any other, or with sizes
that are computed in another way than `x.shape[2:]`, it returns None, and the exporter writes the file (`to_onnx`).

Names are those of `naming`: a module's value is called after its path, its node `<path>/<operator>`; quantized and
dequantized values add `_quantized` and `_dequantized` to the name of their tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
from onnx import helper
from torch import fx

from edgeailite.export.graph_builder import GraphBuilder, OutputName, Size, Unknown, Value
from edgeailite.export.graph_layers import CALLS, LAYERS
from edgeailite.quantization.graph import input_index, is_input, reads_shape


def write(
    traced: fx.GraphModule, inputs: Sequence[str], *, opset: int, size: tuple[int, int] | None
) -> onnx.ModelProto | None:
    """Return the ONNX model of a traced network in eval mode, or None for a graph that this module cannot write.

    `inputs` are the names of the pictures (N,3,H,W). `size` (height, width) fixes them at batch 1, None leaves batch,
    height and width open. `opset` is 18 or newer.
    """
    try:
        return _model(GraphBuilder(traced, inputs, opset=opset, size=size))
    except Unknown:
        return None


def _model(graph: GraphBuilder) -> onnx.ModelProto:
    """Translate all nodes; return the model."""
    for node in graph.traced.graph.nodes:
        if node.op != "output":
            graph.values[node] = _value(graph, node)
    given = [_output(graph, name, node) for name, node in graph.outputs.items()]
    made = helper.make_graph(
        graph.nodes,
        "main_graph",
        [graph.info(value.name, value) for value in graph.inputs],
        [graph.info(name, value) for name, value in zip(graph.outputs, given, strict=True)],
        list(graph.constants.values()),
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", graph.opset)])


def _value(graph: GraphBuilder, node: fx.Node) -> Any:
    """Write a node of the traced graph; return its value."""
    if is_input(node):
        return graph.inputs[input_index(node)]
    if node.op == "placeholder":
        return None  # all pictures together: `images[i]` reads them
    if node.op == "call_module":
        module = graph.traced.get_submodule(str(node.target))
        rule = LAYERS.get(type(module))
        if rule is None:
            raise Unknown(str(node))
        return rule(graph, node, module)
    if node.op == "call_function" and node.target in CALLS:
        return CALLS[node.target](graph, node)
    if reads_shape(node):
        return Size(graph.argument(node))
    raise Unknown(str(node))


def _output(graph: GraphBuilder, name: str, node: fx.Node) -> Value:
    """Return the value of an output; one that has another name already is copied."""
    value = graph.values[node]
    if not isinstance(value, Value):
        raise Unknown(str(node))
    if value.name != name:
        graph.node("Identity", [value.name], OutputName(name))
    return value
