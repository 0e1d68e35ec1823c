"""Readable names for what the exporter wrote, and nothing of the machine it ran on.

Rules: (1) a node that a module produced is called `<module path>/<operator>`, its value after the module path (where a
module gives several nodes, that is the last; the others add their operator); (2) additions, concatenations and resizes,
which belong to no module of the traced graph, are called after the module that held them in the network, in the order
of the graph; (3) quantized and dequantized values add `_quantized` and `_dequantized` to the tensor's name; (4) stack
traces, exporter metadata and documentation strings go.
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

from edgeailite.quantization.graph import of_sizes, unused_name

FUNCTIONS = {operator.add: "Add", torch.add: "Add", torch.cat: "Concat", F.interpolate: "Resize"}
ATEN = {"Add": "aten.add.Tensor", "Concat": "aten.cat.", "Resize": "aten.upsample_"}  # tells them from shape arithmetic
SCOPES, FX_NODE = "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.fx_node"
NO_MODULE = ("ranges.", "_empty_nn_module_stack")  # quantizers are named after their tensor; arithmetic on sizes
NETWORK = "network."  # the attribute of `to_onnx._Wrapped`


def operator_names(graph: fx.Graph) -> dict[str, list[str]]:
    """Map each ONNX operator to the names of the traced function calls that become it, in graph order."""
    names: dict[str, list[str]] = defaultdict(list)
    for node, name in function_names(graph).items():
        names[FUNCTIONS[node.target]].append(name)
    return names


def function_names(graph: fx.Graph) -> dict[fx.Node, str]:
    """Map function calls that are layers to their names (rule 2); no name is given twice."""
    names: dict[fx.Node, str] = {}
    taken: set[str] = set()
    for node in graph.nodes:
        if node.op == "call_function" and node.target in FUNCTIONS and not of_sizes(node):
            names[node] = _unused(_function_name(node), taken)
    return names


def file_names(graph: fx.Graph) -> dict[str, str]:
    """Map the names of a traced graph's values, by which quantizer ranges are known, to the tensors' names in files."""
    functions = function_names(graph)
    modules = {node: str(node.target) for node in graph.nodes if node.op == "call_module"}
    return {node.name: name for node, name in (modules | functions).items()}


def node_name(value: str, kind: str) -> str:
    """Return the name of the operator that makes a value.

    >>> node_name("stem.0_quantized", "QuantizeLinear")
    'stem.0/QuantizeLinear'
    """
    return f"{value.removesuffix('_quantized').removesuffix('_dequantized')}/{kind}"


def dequantized_name(codes: str) -> str:
    """Return the name of the values of a tensor of codes.

    >>> dequantized_name("stem.0_quantized")
    'stem.0_dequantized'
    """
    return f"{codes.removesuffix('_quantized')}_dequantized"


def _function_name(node: fx.Node) -> str:
    """Name a call `<path of the module that held it>.<name of the call>`."""
    stack = node.meta.get("nn_module_stack") or {}
    path = next((str(key) for key in reversed(list(stack))), "").split("@")[0]
    name = str(getattr(node.target, "__name__", node.name))
    return f"{path}.{name}" if path else name


def rename(model: onnx.ModelProto, functions: dict[str, list[str]]) -> onnx.ModelProto:
    """Apply the rules of this module to `model`, in place, and return it."""
    graph = model.graph
    outputs = {value.name for value in graph.output}
    waiting = {operator_name: deque(names) for operator_name, names in functions.items()}
    for tensor in graph.initializer:
        tensor.name = tensor.name.removeprefix(NETWORK)
    last_of = {_module_path(node): index for index, node in enumerate(graph.node)}
    new_name: dict[str, str] = {}
    taken: set[str] = {value.name for value in (*graph.input, *graph.initializer)} | outputs
    for position, node in enumerate(graph.node):
        path = _module_path(node)
        inside = f".{node.op_type.lower()}" if path and last_of[path] != position else ""
        node.input[:] = [new_name.get(name, name.removeprefix(NETWORK)) for name in node.input]
        value = node.output[0] if node.output[0] in outputs else _value_name(node, path + inside, waiting)
        node.name = _unused(node_name(value, node.op_type), taken)
        for index, old in enumerate(node.output):
            if old and old not in outputs:
                new_name[old] = _unused(value if index == 0 else f"{value}.{index}", taken)
        node.output[:] = [new_name.get(name, name) for name in node.output]
    del graph.value_info[:]
    _strip(model)
    return model


def _value_name(node: onnx.NodeProto, inside_module: str, waiting: dict[str, deque[str]]) -> str:
    if node.op_type == "QuantizeLinear":
        return f"{node.input[0]}_quantized"
    if node.op_type == "DequantizeLinear":
        return dequantized_name(node.input[0])
    if inside_module:
        return inside_module
    names = waiting.get(node.op_type)
    if names and ATEN[node.op_type] in _properties(node).get(FX_NODE, ""):
        return names.popleft()
    return f"shape.{node.op_type.lower()}"


def _module_path(node: onnx.NodeProto) -> str:
    """Return the path of the module that produced `node`; "" for quantizers and nodes of no module."""
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        return ""
    scopes = ast.literal_eval(_properties(node).get(SCOPES, "[]"))
    path = scopes[-2].removeprefix(NETWORK) if len(scopes) > 1 else ""
    return path if path + "." != NETWORK and not path.startswith(NO_MODULE) else ""


def _properties(node: onnx.NodeProto) -> dict[str, str]:
    return {prop.key: prop.value for prop in node.metadata_props}


def _unused(name: str, taken: set[str]) -> str:
    found = unused_name(name, taken.__contains__)
    taken.add(found)
    return found


def _strip(model: onnx.ModelProto) -> None:
    """Apply rule 4."""
    graph = model.graph
    parts: Iterable[onnx.NodeProto | onnx.ValueInfoProto | onnx.TensorProto | onnx.GraphProto | onnx.ModelProto]
    parts = (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer)
    for part in parts:
        part.doc_string = ""
        del part.metadata_props[:]
