"""How layers are called in a normal form: sizes are read late, norms follow a convolution, each call has its name."""

from __future__ import annotations

import copy
from collections import Counter
from functools import partial

from torch import fx, nn

from edgeailite.quantization.graph import ACTIVATIONS, is_module, readers, reads_shape, unused_name
from edgeailite.quantization.operators import Unchanged
from edgeailite.quantization.spellings import has_attribute, tensor


def read_sizes_late(graph_module: fx.GraphModule) -> None:
    """Read sizes off the last tensor that has them: what alone follows a layer may become part of its kernel."""
    for node in list(graph_module.graph.nodes):
        sizes, values = [user for user in node.users if reads_shape(user)], readers(node)
        if sizes and len(values) == 1 and is_module(values[0], (nn.BatchNorm2d, *ACTIVATIONS)):
            node.append(values[0])
            for reader in sizes:
                reader.replace_input_with(node, values[0])


def give_norms_convolutions(graph_module: fx.GraphModule) -> None:
    """Put a depthwise convolution with weights of 1 before a BatchNorm that follows none, to be folded into."""
    for node in list(graph_module.graph.nodes):
        if is_module(node, nn.BatchNorm2d):
            source = tensor(node)
            if not (is_module(source, nn.Conv2d) and len(source.users) == 1):
                path = unused_name(f"{node.target}_depthwise", partial(has_attribute, graph_module))
                norm = graph_module.get_submodule(str(node.target))
                graph_module.add_submodule(path, Unchanged(norm.num_features).train(norm.training))
                with graph_module.graph.inserting_before(node):
                    node.args = (graph_module.graph.call_module(path, (source,)),)
                node.kwargs = {}


def separate_calls(graph_module: fx.GraphModule) -> None:
    """Give every further call of a module without parameters a module of its own: names tell them apart."""
    calls: Counter[str] = Counter()
    for node in graph_module.graph.nodes:
        if node.op == "call_module":
            calls[str(node.target)] += 1
            module = graph_module.get_submodule(str(node.target))
            if calls[str(node.target)] > 1 and not list(module.parameters()) and not list(module.buffers()):
                path = unused_name(str(node.target), partial(has_attribute, graph_module))
                graph_module.add_submodule(path, copy.deepcopy(module))
                node.target = path
