"""`prepare`: a float network to the same network with quantizers, by one pass over its torch.fx graph.

Rules:
 1. Convolution followed only by BatchNorm becomes one `QuantConv2d` call; Dropout goes (the file has none).
 2. A quantizer stands on every input, and behind every convolution, addition and concatenation, after its ReLU.
 3. A resize shares the scale of its input (its values stay within the input's range); the last ones, whose result only
    leaves the network, stay float.
 4. All inputs of a concatenation share its scale, so that the integer file copies bytes there.

Key names do not move; quantizers are added as `ranges.<name of the tensor>`.
"""

from __future__ import annotations

import copy
import operator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import fx, nn

from edgeailite.errors import UsageError
from edgeailite.quantization.modules import ActivationQuantizer, QuantConv2d
from edgeailite.quantization.schemes import DEFAULT_SCHEME, Scheme, get_scheme

ADDITIONS = (operator.add, torch.add)
ACTIVATIONS = (nn.ReLU, nn.ReLU6)
BN_TENSORS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


@dataclass
class _Group:
    """Tensors that share a scale: (node, non-negative or None if its range follows from the others)."""

    sites: list[tuple[fx.Node, bool | None]] = field(default_factory=list)


def prepare(model: nn.Module, scheme: str = DEFAULT_SCHEME, *, percentile: float = 99.99) -> fx.GraphModule:
    """A copy of `model` with quantizers: same call, same state-dict names plus `ranges.*`; float until calibrated.

    `percentile` is the share of values (per cent) that observed ranges keep. Raises UsageError for an unknown scheme.
    """
    record = get_scheme(scheme)
    graph_module = fx.symbolic_trace(copy.deepcopy(model))
    _remove_dropout(graph_module)
    _fold_batch_norms(graph_module, record)
    _insert_quantizers(graph_module, _groups(graph_module), record, percentile)
    _pass_input_scales(graph_module)
    graph_module.graph.lint()
    graph_module.recompile()
    return graph_module


def is_module(node: fx.Node, kinds: type[nn.Module] | tuple[type[nn.Module], ...]) -> bool:
    """Whether `node` calls a module of these classes."""
    return node.op == "call_module" and isinstance(node.graph.owning_module.get_submodule(str(node.target)), kinds)


def is_resize(node: fx.Node) -> bool:
    """Whether `node` is a bilinear resize."""
    return node.op == "call_function" and node.target is F.interpolate


def _remove_dropout(graph_module: fx.GraphModule) -> None:
    for node in list(graph_module.graph.nodes):
        if is_module(node, (nn.Dropout, nn.Dropout2d)):
            node.replace_all_uses_with(node.args[0])
            graph_module.graph.erase_node(node)


def _fold_batch_norms(graph_module: fx.GraphModule, scheme: Scheme) -> None:
    """Rule 1: the convolution's node takes over; the BatchNorm's tensors become its arguments."""
    graph = graph_module.graph
    for node in list(graph.nodes):
        if not is_module(node, nn.Conv2d):
            continue
        conv, bn = graph_module.get_submodule(node.target), None
        if conv.padding_mode != "zeros":
            raise UsageError(f"{node.target}: padding_mode {conv.padding_mode!r} cannot be quantized, only 'zeros'")
        users = list(node.users)
        if len(users) == 1 and is_module(users[0], nn.BatchNorm2d):
            bn = graph_module.get_submodule(users[0].target)
            with graph.inserting_before(node):
                tensors = [graph.get_attr(f"{users[0].target}.{name}") for name in BN_TENSORS]
            node.args = (*node.args, *tensors)
            users[0].replace_all_uses_with(node)
            graph.erase_node(users[0])
        graph_module.set_submodule(node.target, QuantConv2d.from_conv(conv, bn, scheme))


def _groups(graph_module: fx.GraphModule) -> list[_Group]:
    """Rules 2 to 4: which nodes get a quantizer, and which share one."""
    group_of: dict[fx.Node, _Group] = {}
    for node in graph_module.graph.nodes:
        if _is_input(node):
            group_of[node] = _Group([(node, False)])
        elif _ends_block(node):
            nonnegative = is_module(node, ACTIVATIONS)
            group_of[node] = _Group([(node, nonnegative)])
        elif node.op == "call_function" and node.target is torch.cat:
            group_of[node] = _Group([(node, None)])
            for source in node.args[0]:
                _merge(group_of, node, source)
        elif is_resize(node) and not leaves_network(node):
            group_of[node] = _Group([(node, None)])
            _merge(group_of, node, node.args[0])
    return list({id(group): group for group in group_of.values()}.values())


def _merge(group_of: dict[fx.Node, _Group], node: fx.Node, source: fx.Node) -> None:
    into, other = group_of[source], group_of[node]
    if into is other:
        return
    into.sites += other.sites
    for member, _ in other.sites:
        group_of[member] = into


def _is_input(node: fx.Node) -> bool:
    """`images[i]` of the placeholder `*images`, or a plain placeholder."""
    if node.op == "placeholder":
        return not str(node.target).startswith("*")
    return node.target is operator.getitem and node.args[0].op == "placeholder"


def _ends_block(node: fx.Node) -> bool:
    """A convolution, addition or activation whose value is not handed to its own activation alone."""
    produces = is_module(node, (QuantConv2d, *ACTIVATIONS)) or (node.op == "call_function" and node.target in ADDITIONS)
    users = [user for user in node.users if not _reads_shape(user)]
    return produces and not (len(users) == 1 and is_module(users[0], ACTIVATIONS))


def _reads_shape(node: fx.Node) -> bool:
    return node.target is getattr and node.args[1] == "shape"


def leaves_network(node: fx.Node) -> bool:
    """Whether the value of `node` is an output and nothing else."""
    return all(user.op == "output" for user in node.users)


def _insert_quantizers(graph_module: fx.GraphModule, groups: list[_Group], scheme: Scheme, percentile: float) -> None:
    graph = graph_module.graph
    graph_module.add_module("ranges", nn.Module())
    for group in groups:
        observed = [nonnegative for _, nonnegative in group.sites if nonnegative is not None]
        name = f"ranges.{_tensor_name(group.sites[0][0])}"
        graph_module.add_submodule(name, ActivationQuantizer(scheme, observed, percentile=percentile))
        site = 0
        for node, nonnegative in group.sites:
            with graph.inserting_after(node):
                quantizer = graph.call_module(name, (node, -1 if nonnegative is None else site))
            site += nonnegative is not None
            node.replace_all_uses_with(quantizer, delete_user_cb=lambda user, own=quantizer: user is not own)


def _tensor_name(node: fx.Node) -> str:
    if node.target is operator.getitem:
        return f"image{node.args[1] or ''}"
    return str(node.target).replace(".", "_") if node.op == "call_module" else node.name


def _pass_input_scales(graph_module: fx.GraphModule) -> None:
    """The bias is rounded at input scale x weight scale: hand each convolution the scale of its input."""
    graph = graph_module.graph
    for node in list(graph.nodes):
        if is_module(node, QuantConv2d):
            quantizer = node.args[0]
            with graph.inserting_before(node):
                scale = graph.get_attr(f"{quantizer.target}.scale")
            node.args = (quantizer, scale, *node.args[1:])
