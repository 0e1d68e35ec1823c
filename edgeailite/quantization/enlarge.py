"""Bilinear resizes by an even factor as integer convolutions, for runtimes whose own resize rounds in another way.

With half-pixel centres, bilinear by an even factor k is: nearest neighbour by k, k/2 pixels of edge padding, and a
depthwise convolution with g x g, where g is [1/2, 1, ..., 1, 1/2] / k with k + 1 taps. As whole numbers that is
[1, 2, ..., 2, 1] in both directions with the weight scale 1 / (4 k^2): for powers of two the exact mean, rounded once.
So it gives the codes of a resize of short scales (`grids.short_scale`), by operators that all integer runtimes compute
alike. Files for onnxruntime keep the resize: with tensors laid out as its integer kernels like them it is faster.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, fx
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.passes.fake_tensor_prop import FakeTensorProp

from edgeailite.errors import UsageError
from edgeailite.quantization.convert import Quantize, mean_conv
from edgeailite.quantization.enlarge_codes import EnlargeCodes
from edgeailite.quantization.graph import is_input, is_module, is_resize, readers


def convolve_resizes(converted: fx.GraphModule, size: tuple[int, int]) -> fx.GraphModule:
    """Copy a converted graph and, for pictures of this (height, width), write inner resizes by even factors as above.

    Each becomes `EnlargeCodes`, a depthwise `IntegerConv` without padding, and the quantizer that followed the resize.
    Others stay: those whose factor is odd, no whole number or another per axis, those with aligned corners or of
    16-bit codes, and the last ones, which are computed in float.
    """
    result = copy.deepcopy(converted)
    shapes = shapes_of(result, size)
    for node in list(result.graph.nodes):
        if not is_resize(node) or node.kwargs.get("align_corners") or not is_module(node.args[0], Quantize):
            continue
        factor, channels = _factor(shapes[node.args[0]], shapes[node]), shapes[node][1]
        quantize = result.get_submodule(str(node.args[0].target))
        assert isinstance(quantize, Quantize)
        if factor % 2 or factor == 0 or quantize.wide() or not any(is_module(n, Quantize) for n in readers(node)):
            continue
        result.add_submodule(f"{node.name}_enlarge", EnlargeCodes(factor))
        result.add_submodule(f"{node.name}_mean", mean_conv(factor, channels, quantize))
        with result.graph.inserting_before(node):
            enlarged = result.graph.call_module(f"{node.name}_enlarge", (node.args[0],))
            mean = result.graph.call_module(f"{node.name}_mean", (enlarged,))
        node.replace_all_uses_with(mean)
        result.graph.erase_node(node)
    result.graph.eliminate_dead_code()
    result.recompile()
    return result


def _factor(before: torch.Size, after: torch.Size) -> int:
    """Whole factor by which both sides grow; 0 where there is none."""
    factor = after[2] // before[2]
    return factor if (after[2], after[3]) == (factor * before[2], factor * before[3]) else 0


def shapes_of(graph_module: fx.GraphModule, size: tuple[int, int]) -> dict[fx.Node, torch.Size]:
    """Shapes of all tensors for pictures of this size; nothing is computed.

    Raises UsageError for a network that does not take this size.
    """
    inputs = sum(is_input(node) for node in graph_module.graph.nodes)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            FakeTensorProp(graph_module, mode).propagate(*(torch.empty(1, 3, *size) for _ in range(inputs)))
    except RuntimeError:  # torch has no other kind for shapes that do not fit
        raise UsageError(
            f"the network does not take pictures of {size[0]}x{size[1]}", fix="give them its own size", code="no-fit"
        ) from None
    values = {node: node.meta.pop("val", None) for node in graph_module.graph.nodes}
    return {node: value.shape for node, value in values.items() if isinstance(value, Tensor)}
