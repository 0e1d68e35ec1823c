"""Questions about nodes of a traced network, shared by the graph passes."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from edgeailite.errors import UsageError
from edgeailite.quantization.operators import Multiply

ADDITIONS = (operator.add, torch.add)
ACTIVATIONS = (nn.ReLU, nn.Hardtanh)  # ReLU6 is a Hardtanh
NEAREST = "nearest"  # mode of a resize
OUTPUT = "output"  # name of an output without one
CANNOT_TRACE = (
    "torch.fx cannot follow it (an if on a value or shape, a call that it does not know, a layer made in forward)"
)
WRITE_IT_AS_ONNX = "write the network as an ONNX file and read that: `edgeailite.foreign`"


def trace(model: nn.Module) -> fx.GraphModule:
    """Trace a network. Raises UsageError for one that torch.fx cannot follow; its reason is part of the message."""
    try:
        return fx.symbolic_trace(model)
    except Exception as error:  # whatever the network's own code raises when it meets a proxy
        lines = str(error).strip().splitlines() or [""]
        problem = f"{CANNOT_TRACE}: {type(error).__name__}: {lines[0]}"
        raise UsageError(problem, path=type(model).__name__, fix=WRITE_IT_AS_ONNX, code="no-integer-form") from error


def is_module(node: fx.Node, kinds: type[nn.Module] | tuple[type[nn.Module], ...]) -> bool:
    """Tell if `node` calls a module of these classes."""
    return node.op == "call_module" and isinstance(node.graph.owning_module.get_submodule(str(node.target)), kinds)


def is_addition(node: fx.Node) -> bool:
    """Tell if `node` adds two tensors."""
    return node.op == "call_function" and node.target in ADDITIONS and not of_sizes(node)


def is_concatenation(node: fx.Node) -> bool:
    """Tell if `node` concatenates tensors."""
    return node.op == "call_function" and node.target is torch.cat


def is_resize(node: fx.Node) -> bool:
    """Tell if `node` is a bilinear resize."""
    return is_interpolation(node) and node.kwargs.get("mode") != NEAREST


def is_nearest(node: fx.Node) -> bool:
    """Tell if `node` is a resize to the nearest neighbour, which copies values."""
    return is_interpolation(node) and node.kwargs.get("mode") == NEAREST


def is_interpolation(node: fx.Node) -> bool:
    """Tell if `node` is a resize of any kind."""
    return node.op == "call_function" and node.target is F.interpolate


def is_input(node: fx.Node) -> bool:
    """`images[i]` of the placeholder `*images`, or a plain placeholder."""
    if node.op == "placeholder":
        return not str(node.target).startswith("*")
    source = node.args[0] if node.target is operator.getitem else None
    return isinstance(source, fx.Node) and source.op == "placeholder" and str(source.target).startswith("*")


def input_index(node: fx.Node) -> int:
    """Return which of the network's inputs `node` is (`is_input`), from 0."""
    if node.op == "call_function":
        return int(node.args[1])
    return [other for other in node.graph.nodes if other.op == "placeholder"].index(node)


def is_constant(node: fx.Node) -> bool:
    """Tell if `node` reads a constant or parameter that an operator takes as a tensor (`normalise`)."""
    layers = (nn.Conv2d, nn.Linear)  # read the tensors of their BatchNorm
    return node.op == "get_attr" and not all(is_module(user, layers) for user in node.users)


def reads_shape(node: fx.Node) -> bool:
    """Tell if `node` is `x.shape`."""
    return node.target is getattr and node.args[1] == "shape"


def of_sizes(node: fx.Node) -> bool:
    """Tell if `node` is made of sizes alone: `x.shape`, one of its entries, or arithmetic on them."""
    if reads_shape(node):
        return True
    sources = node.all_input_nodes
    return node.op == "call_function" and bool(sources) and all(of_sizes(source) for source in sources)


def named_outputs(values: Any) -> dict[str, Any]:
    """Return what a network gives, by name: `output`, `output1`, ... for a tensor or a sequence without names.

    >>> named_outputs((1, 2))
    {'output': 1, 'output1': 2}
    """
    if isinstance(values, Mapping):
        return dict(values)
    values = values if isinstance(values, Sequence) else (values,)
    return {f"{OUTPUT}{index or ''}": value for index, value in enumerate(values)}


def unused_name(name: str, is_taken: Callable[[str], bool]) -> str:
    """Return `name`, or the first of `name_1`, `name_2`, ... that is not taken.

    >>> unused_name("conv", {"conv", "conv_1"}.__contains__)
    'conv_2'
    """
    candidate, count = name, 0
    while is_taken(candidate):
        count += 1
        candidate = f"{name}_{count}"
    return candidate


def output_nodes(graph: fx.Graph) -> dict[str, fx.Node]:
    """Return the nodes that give the outputs of a graph, by name."""
    return named_outputs(next(node for node in graph.nodes if node.op == "output").args[0])


def readers(node: fx.Node) -> list[fx.Node]:
    """Users of the values of `node`, without those of its shape."""
    return [user for user in node.users if not reads_shape(user)]


def leaves_network(node: fx.Node) -> bool:
    """Tell if the value of `node` is an output of the network and read by nothing else."""
    return all(user.op == "output" for user in node.users)


def activation_limits(module: nn.Module) -> tuple[float, float]:
    """Return the smallest and largest value that an activation can give."""
    return (module.min_val, module.max_val) if isinstance(module, nn.Hardtanh) else (0.0, float("inf"))


def merge_inputs(graph_module: fx.GraphModule) -> None:
    """Merge all reads of `images[0]` into one node per input: otherwise each read would get a quantizer of its own."""
    first: dict[object, fx.Node] = {}
    for node in list(graph_module.graph.nodes):
        if node.target is operator.getitem and is_input(node):
            known = first.setdefault(node.args[1], node)
            if known is not node:
                node.replace_all_uses_with(known)
                graph_module.graph.erase_node(node)


def merge_hard_swish(graph_module: fx.GraphModule) -> None:
    """Write x * Hardsigmoid(x) as one Hardswish, where nothing else reads the Hardsigmoid."""
    for node in list(graph_module.graph.nodes):
        if not is_module(node, Multiply):
            continue
        for x, gate in (node.args, node.args[::-1]):
            if is_module(gate, nn.Hardsigmoid) and gate.args[0] is x and len(gate.users) == 1:
                graph_module.set_submodule(str(node.target), nn.Hardswish())
                node.args = (x,)
                graph_module.graph.erase_node(gate)
                break
