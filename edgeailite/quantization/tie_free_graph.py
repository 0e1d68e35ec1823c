"""Passes over a network's graph for a scheme without ties: its resizes, and the scales of its additions.

1. An inner bilinear resize by 2, 4 or 8 becomes a `TieFreeResize`. The factor is that of pictures whose sides are
   multiples of 256; of others, where features have odd sizes, it is about as much.
2. The summands and the result of an addition have one scale, each its own zero point.
3. A convolution knows the quantizer of its result, on whose scale that of its weight depends.
4. Average pooling is refused: means have ties, and areas are no powers of two. So are other operators of
   `quantization.operators` that compute, and resizes with aligned corners.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import fx, nn

from edgeailite.errors import UsageError, option
from edgeailite.quantization.enlarge import shapes_of
from edgeailite.quantization.graph import is_module, is_resize, leaves_network, unused_name
from edgeailite.quantization.modules import ActivationQuantizer, QuantConv2d
from edgeailite.quantization.operators import PRODUCERS
from edgeailite.quantization.schemes import EVERYTHING_AS_THE_SCHEME, Plan
from edgeailite.quantization.tie_free import TieFreeResize
from edgeailite.quantization.tie_safe import additions_of

NOMINAL = 256  # height and width of pictures at which every stride divides
FACTORS = (2, 4, 8)


def check_tie_free(graph_module: fx.GraphModule, plan: Plan, name: str) -> None:
    """Raise UsageError for what a scheme of this `name` has no form of (rule 4), and for other bits."""
    if plan != EVERYTHING_AS_THE_SCHEME:
        raise UsageError(f"{option('scheme')} {name} has 8 bits everywhere", fix="leave the plan out")
    for node in graph_module.graph.nodes:
        if is_module(node, nn.AdaptiveAvgPool2d):
            problem = f"average pooling has ties, which {option('scheme')} {name} is without"
            raise UsageError(problem, path=node.target, fix="take a network without pyramid pooling, or another scheme")
        if is_module(node, PRODUCERS) or (is_resize(node) and node.kwargs.get("align_corners")):
            problem = f"has ties, which {option('scheme')} {name} is without"
            raise UsageError(
                problem, path=str(node.target if node.op == "call_module" else node.name), fix="take another scheme"
            )


def replace_resizes(graph_module: fx.GraphModule, name: str) -> None:
    """Apply rule 1 to a traced float network. Raises UsageError for another factor."""
    inner = [node for node in graph_module.graph.nodes if is_resize(node) and not leaves_network(node)]
    if not inner:
        return
    shapes = shapes_of(graph_module, (NOMINAL, NOMINAL))
    for node in inner:
        (_, channels, *old), (_, _, *new) = shapes[node.args[0]], shapes[node]
        factor = new[0] // old[0]
        if factor not in FACTORS or new != [factor * side for side in old]:
            raise UsageError(
                f"{option('scheme')} {name}: a resize from {old[0]}x{old[1]} to {new[0]}x{new[1]}, known are "
                f"factors {', '.join(map(str, FACTORS))}",
                path=node.name,
                fix="take another scheme",
            )
        module = _module_name(node, graph_module)
        graph_module.add_submodule(module, TieFreeResize(factor, channels))
        with graph_module.graph.inserting_before(node):
            resized = graph_module.graph.call_module(module, (node.args[0], node.kwargs["size"]))
        node.replace_all_uses_with(resized)
        graph_module.graph.erase_node(node)


def _module_name(node: fx.Node, graph_module: fx.GraphModule) -> str:
    """Return the path of the module that held the resize, with `.interpolate` behind; no module has it yet."""
    stack = list(node.meta.get("nn_module_stack") or {})
    path = f"{str(stack[-1]).split('@')[0]}.{node.name.rstrip('_0123456789')}" if stack else node.name
    return unused_name(path.lstrip("."), dict(graph_module.named_modules()).__contains__)


def connect(graph_module: fx.GraphModule) -> None:
    """Apply rules 2 and 3 to a prepared network, and tell resizes the quantizer of their input."""
    for node in graph_module.graph.nodes:
        module = graph_module.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, TieFreeResize):
            module.source = (_quantizer(node.args[0]),)
        elif isinstance(module, QuantConv2d):
            module.result = (_quantizer(next(_behind(node))),)
    for addition in additions_of(graph_module):
        together = dict.fromkeys(other for quantizer in addition.quantizers for other in quantizer.tied)
        for quantizer in together:
            quantizer.tied = tuple(together)


def _behind(node: fx.Node) -> Iterator[fx.Node]:
    """Yield the quantizers that read a layer, directly or behind its activation."""
    for user in node.users:
        if is_module(user, ActivationQuantizer):
            yield user
        else:
            yield from _behind(user)


def _quantizer(node: fx.Node) -> ActivationQuantizer:
    quantizer = node.graph.owning_module.get_submodule(str(node.target))
    assert isinstance(quantizer, ActivationQuantizer)
    return quantizer
