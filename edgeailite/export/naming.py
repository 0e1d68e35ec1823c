"""Readable names for what the exporter wrote, and nothing of the machine it ran on.

Rules: (1) a node that a module produced is called `<module path>/<operator>`, its value after the module path;
(2) additions, concatenations and resizes, which belong to no module of the traced graph, are called after the module
that held them in the network, in the order of the graph; (3) quantized and dequantized values add `_quantized` and
`_dequantized` to the tensor's name; (4) stack traces, exporter metadata and documentation strings go.
"""

from __future__ import annotations

import ast
import operator
from collections import defaultdict, deque
from collections.abc import Iterable

import onnx
import torch
import torch.nn.functional as F
from torch import fx

FUNCTIONS = {operator.add: "Add", torch.add: "Add", torch.cat: "Concat", F.interpolate: "Resize"}
ATEN = {"Add": "aten.add.Tensor", "Concat": "aten.cat.", "Resize": "aten.upsample_"}  # tells them from shape arithmetic
SCOPES, FX_NODE = "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.fx_node"
NETWORK = "network."  # the attribute of `to_onnx.SingleImage`


def function_names(graph: fx.Graph) -> dict[str, list[str]]:
    """ONNX operator -> names of the traced function calls that become it, in graph order (rule 2)."""
    names: dict[str, list[str]] = defaultdict(list)
    for node in graph.nodes:
        if node.op == "call_function" and node.target in FUNCTIONS:
            names[FUNCTIONS[node.target]].append(function_name(node))
    return names


def function_name(node: fx.Node) -> str:
    """`<path of the module that held the call>.<name of the call>`."""
    stack = node.meta.get("nn_module_stack") or {}
    path = next((str(key) for key in reversed(list(stack))), "").split("@")[0]
    name = str(getattr(node.target, "__name__", node.name))
    return f"{path}.{name}" if path else name


def rename(model: onnx.ModelProto, functions: dict[str, list[str]]) -> onnx.ModelProto:
    """Apply the rules of this module to `model`, in place, and give it back."""
    graph = model.graph
    outputs = {value.name for value in graph.output}
    waiting = {operator_name: deque(names) for operator_name, names in functions.items()}
    for tensor in graph.initializer:
        tensor.name = tensor.name.removeprefix(NETWORK)
    new_name: dict[str, str] = {}
    taken: set[str] = {value.name for value in (*graph.input, *graph.initializer)} | outputs
    for node in graph.node:
        node.input[:] = [new_name.get(name, name.removeprefix(NETWORK)) for name in node.input]
        value = node.output[0] if node.output[0] in outputs else _value_name(node, waiting)
        node.name = _unused(f"{value.removesuffix('_quantized').removesuffix('_dequantized')}/{node.op_type}", taken)
        for index, old in enumerate(node.output):
            if old and old not in outputs:
                new_name[old] = _unused(value if index == 0 else f"{value}.{index}", taken)
        node.output[:] = [new_name.get(name, name) for name in node.output]
    del graph.value_info[:]
    _strip(model)
    return model


def _value_name(node: onnx.NodeProto, waiting: dict[str, deque[str]]) -> str:
    if node.op_type == "QuantizeLinear":
        return f"{node.input[0]}_quantized"
    if node.op_type == "DequantizeLinear":
        return f"{node.input[0].removesuffix('_quantized')}_dequantized"
    properties = {prop.key: prop.value for prop in node.metadata_props}
    names = waiting.get(node.op_type)
    if names and ATEN[node.op_type] in properties.get(FX_NODE, ""):
        return names.popleft()
    scopes = ast.literal_eval(properties.get(SCOPES, "[]"))
    path = scopes[-2].removeprefix(NETWORK) if len(scopes) > 1 else ""
    return (
        path if path and path + "." != NETWORK and not path.startswith("ranges.") else f"shape.{node.op_type.lower()}"
    )


def _unused(name: str, taken: set[str]) -> str:
    candidate, count = name, 0
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    taken.add(candidate)
    return candidate


def _strip(model: onnx.ModelProto) -> None:
    """Rule 4."""
    graph = model.graph
    parts: Iterable[onnx.NodeProto | onnx.ValueInfoProto | onnx.TensorProto | onnx.GraphProto | onnx.ModelProto]
    parts = (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer)
    for part in parts:
        part.doc_string = ""
        del part.metadata_props[:]
