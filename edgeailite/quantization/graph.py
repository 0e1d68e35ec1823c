"""Questions about nodes of a traced network, shared by the graph passes."""

from __future__ import annotations

import operator

import torch
import torch.nn.functional as F
from torch import fx, nn

ADDITIONS = (operator.add, torch.add)
ACTIVATIONS = (nn.ReLU, nn.Hardtanh)  # ReLU6 is a Hardtanh


def is_module(node: fx.Node, kinds: type[nn.Module] | tuple[type[nn.Module], ...]) -> bool:
    """Tell if `node` calls a module of these classes."""
    return node.op == "call_module" and isinstance(node.graph.owning_module.get_submodule(str(node.target)), kinds)


def is_addition(node: fx.Node) -> bool:
    """Tell if `node` adds two tensors."""
    return node.op == "call_function" and node.target in ADDITIONS


def is_concatenation(node: fx.Node) -> bool:
    """Tell if `node` concatenates tensors."""
    return node.op == "call_function" and node.target is torch.cat


def is_resize(node: fx.Node) -> bool:
    """Tell if `node` is a bilinear resize."""
    return node.op == "call_function" and node.target is F.interpolate


def is_input(node: fx.Node) -> bool:
    """`images[i]` of the placeholder `*images`, or a plain placeholder."""
    if node.op == "placeholder":
        return not str(node.target).startswith("*")
    return node.target is operator.getitem and node.args[0].op == "placeholder"


def reads_shape(node: fx.Node) -> bool:
    """Tell if `node` is `x.shape`."""
    return node.target is getattr and node.args[1] == "shape"


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
