"""Graph passes before export, on torch.fx: fold BatchNorm of a float network, append ArgMax."""

from __future__ import annotations

import copy
from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from edgeailite.models.fusing import fuse
from edgeailite.quantization.graph import is_module, is_resize, output_nodes, trace
from edgeailite.quantization.pooling import RegionPool, pool_size

ARGMAX_MODES = ("none", "full", "before_upsampling")
BYTE = 256  # classes that one byte tells apart


def fold_batch_norms(model: nn.Module) -> fx.GraphModule:
    """Return a traced copy in eval mode with every BatchNorm folded into its convolution; equal but for float rounding.

    Blocks of branches (RepVGG, MobileOne) become one convolution each. Adaptive pooling is replaced by a form that the
    exporter can write with open sizes.
    """
    traced = trace(fuse(copy.deepcopy(model).eval().cpu()))
    for node in list(traced.graph.nodes):
        users = list(node.users)
        if is_module(node, nn.Conv2d) and len(users) == 1 and is_module(users[0], nn.BatchNorm2d):
            conv, bn = traced.get_submodule(node.target), traced.get_submodule(users[0].target)
            traced.set_submodule(node.target, nn.utils.fusion.fuse_conv_bn_eval(conv, bn))
            users[0].replace_all_uses_with(node)
            traced.graph.erase_node(users[0])
        elif is_module(node, nn.AdaptiveAvgPool2d):
            traced.set_submodule(node.target, RegionPool(pool_size(traced.get_submodule(node.target))))
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


def append_argmax(traced: fx.GraphModule, mode: str, classified: Collection[str]) -> None:
    """Replace each output `x` named in `classified` by `x_label`, its class map (N,H,W) uint8, in place.

    Mode `full` takes the argmax after the last resize; `before_upsampling` takes it before, and enlarges the labels to
    full size (nearest neighbour).
    """
    graph = traced.graph
    output = next(node for node in graph.nodes if node.op == "output")
    labels = {}
    with graph.inserting_before(output):
        for name, node in output_nodes(graph).items():
            if name not in classified:
                labels[name] = node
            elif mode == "full" or not is_resize(node):
                labels[f"{name}_label"] = graph.call_function(label_map, (node,))
            else:
                size = node.kwargs["size"]
                labels[f"{name}_label"] = graph.call_function(enlarged_label_map, (node.args[0], size))
    output.args = (labels,)
    graph.eliminate_dead_code()
    traced.recompile()


def label_map(logits: Tensor) -> Tensor:
    """Return the class map (N,H,W) of logits (N,C,H,W): uint8, or int32 above 256 classes."""
    return logits.argmax(1).to(torch.uint8 if logits.shape[1] <= BYTE else torch.int32)


def enlarged_label_map(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the class map of logits at the decoder's size, enlarged to `size` by nearest neighbour."""
    return F.interpolate(label_map(logits)[:, None], size=size, mode="nearest")[:, 0]
