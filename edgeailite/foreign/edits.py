"""Small edits of a graph that was read, and what is known of its nodes."""

from __future__ import annotations

from torch import Tensor, fx, nn

SIDES = "sides"  # of what a node gives, in its `meta`: a number, or None where it depends on the picture's size


def constant_of(network: fx.GraphModule, node: object) -> Tensor | None:
    """Return the constant that a node reads; None of anything else."""
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        return None
    parent, _, name = str(node.target).rpartition(".")
    value: Tensor = getattr(network.get_submodule(parent), name)
    return value


def module_of(network: fx.GraphModule, node: object) -> nn.Module | None:
    """Return the module that a node calls; None of anything else."""
    if not isinstance(node, fx.Node) or node.op != "call_module":
        return None
    return network.get_submodule(str(node.target))


def replace_node(network: fx.GraphModule, node: fx.Node, module: nn.Module, x: fx.Node, *, name: str = "") -> fx.Node:
    """Put a module in the place of a node; it is called `name`, or after the node."""
    name = free_name(network, name or node.name)
    network.add_module(name, module.eval())
    with network.graph.inserting_before(node):
        call = network.graph.call_module(name, (x,))
    call.meta.update(node.meta)
    node.replace_all_uses_with(call)
    network.graph.erase_node(node)
    return call


def free_name(network: fx.GraphModule, name: str) -> str:
    """Return a name of a module at the top that is not in use yet."""
    count, found = 1, name
    while hasattr(network, found):
        count += 1
        found = f"{name}_{count}"
    return found
