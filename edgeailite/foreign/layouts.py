"""Permutations that carry channels to the other end, as files of TensorFlow's have them, moved to where they cancel."""

from __future__ import annotations

import operator

import torch
from torch import fx, nn

from edgeailite.foreign.edits import SIDES, constant_of, free_name, module_of, replace_node
from edgeailite.onnxfile.wire import TO_FIRST, TO_LAST

POINTWISE = (
    nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Hardsigmoid, nn.Hardswish, nn.SiLU, nn.GELU, nn.Mish,
    nn.LeakyReLU, nn.ELU, nn.Softplus,
)  # fmt: skip


def sink_permutes(network: fx.GraphModule) -> None:
    """Move what carries channels to the other end behind what does not mind, to where it meets its inverse.

    Files of TensorFlow's have such permutations around each layer that wants channels first.
    """
    for node in list(network.graph.nodes):
        if node.target is torch.permute:
            _cancel(node)
        elif isinstance(module_of(network, node), POINTWISE):
            _sink(network, node, _layout(node.args[0]))
        elif node.target in (operator.add, operator.sub, operator.mul, operator.truediv):
            _sink_arithmetic(network, node)
        elif node.target is torch.cat:
            orders = {_layout(part) for part in node.args[0]}
            order = orders.pop() if len(orders) == 1 else None
            if order is not None:
                node.args = (node.args[0], order[node.args[1]])
                _sink(network, node, order)
        elif node.target is torch.softmax and (order := _layout(node.args[0])) is not None:
            node.args = (node.args[0], order[node.args[1]])
            _sink(network, node, order)
        elif node.target in (torch.mean, torch.amax, torch.sum):
            _sink_reduction(network, node)


def _cancel(node: fx.Node) -> None:
    """Let what reads a permutation of its own inverse read what is before both."""
    source, order = node.args
    if source.target is torch.permute and tuple(source.args[1]) == _inverse(tuple(order)):
        node.replace_all_uses_with(source.args[0])


def _layout(node: object) -> tuple[int, ...] | None:
    """Return the order of a permutation that moves the channels of a map; None of anything else."""
    if not isinstance(node, fx.Node) or node.target is not torch.permute:
        return None
    order = tuple(node.args[1])
    return order if order in (TO_LAST, TO_FIRST) else None


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(order.index(axis) for axis in range(len(order)))


def _sink(network: fx.GraphModule, node: fx.Node, order: tuple[int, ...] | None) -> None:
    """Let a node read what is before the permutations of its inputs, and permute its result."""
    if order is None:
        return
    for source in node.all_input_nodes:
        if _layout(source) is not None:
            node.replace_input_with(source, source.args[0])
    with network.graph.inserting_after(node):
        moved = network.graph.call_function(torch.permute, (node, order))
    moved.meta.update(node.meta)
    sides = node.meta.get(SIDES, ())
    if len(sides) == len(order):
        node.meta = {**node.meta, SIDES: tuple(sides[axis] for axis in _inverse(order))}
    node.replace_all_uses_with(moved, delete_user_cb=lambda user: user is not moved)


def _sink_arithmetic(network: fx.GraphModule, node: fx.Node) -> None:
    """Sums and products of tensors with the same permutation, or of one and a constant, whose sides move back."""
    if len(node.args) != 2:
        return
    orders = {_layout(part) for part in node.args if constant_of(network, part) is None}
    order = orders.pop() if len(orders) == 1 else None
    if order is None:
        return
    for part in list(node.args):
        value = constant_of(network, part)
        if value is not None and value.dim() == len(order):
            name = free_name(network, f"{node.name}_constant")
            network.register_buffer(name, value.permute(_inverse(order)).contiguous())
            with network.graph.inserting_before(node):
                node.replace_input_with(part, network.graph.get_attr(name))
    _sink(network, node, order)


def _sink_reduction(network: fx.GraphModule, node: fx.Node) -> None:
    """Mean, largest value or sum over some sides, which have other places before the permutation."""
    x, axes, keep = node.args
    order = _layout(x)
    if order is None:
        return
    moved, left = sorted(order[axis] for axis in axes), [order[axis] for axis in range(len(order)) if axis not in axes]
    if not keep and left != sorted(left):
        return
    node.args = (x.args[0], moved, keep)
    if keep:
        _sink(network, node, order)
    if node.target is torch.mean and moved == [2, 3]:
        users = list(node.users)
        pooled = replace_node(network, node, nn.AdaptiveAvgPool2d(1), x.args[0])
        if not keep:
            with network.graph.inserting_after(pooled):
                flat = network.graph.call_function(torch.flatten, (pooled, 1))
            flat.meta.update(pooled.meta)
            pooled.meta = {key: value for key, value in pooled.meta.items() if key != SIDES}
            for user in users:
                user.replace_input_with(pooled, flat)
