"""Rewrites of a graph that was read: each keeps the values in float, up to rounding, and uses fewer kinds of operators.

An exporter may write an activation by its parts, a bias as an addition, a normalisation by itself. `REWRITES` brings
them to the operators of the normal form, in this order.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn

from edgeailite.foreign.edits import SIDES, constant_of, module_of, replace_node
from edgeailite.foreign.layouts import POINTWISE, sink_permutes

NEAR = 1e-5  # relative difference of constants that are meant to be equal: files hold them in float32 or less
PIXEL_SHUFFLE = (0, 1, 4, 2, 5, 3)


def merge_activations(network: fx.GraphModule) -> None:
    """Recognise activations that are written by their parts, and replace each by its module."""
    for node in list(network.graph.nodes):
        if node.target is not operator.mul or not all(isinstance(part, fx.Node) for part in node.args):
            continue
        factors, number = _factors(network, node)
        for x, module in _activations(network, factors, number):
            replace_node(network, node, module, x)
            break


def _factors(network: fx.GraphModule, node: fx.Node) -> tuple[list[fx.Node], float]:
    """Split a product into its factors and a number; parts that are read elsewhere too stay whole."""
    factors: list[fx.Node] = []
    number = 1.0
    waiting = list(node.args)
    while waiting:
        part = waiting.pop()
        value = _number(network, part)
        if value is not None:
            number *= value
        elif part.target is operator.mul and len(part.users) == 1:
            waiting += part.args
        else:
            factors.append(part)
    return factors, number


def _activations(network: fx.GraphModule, factors: list[fx.Node], number: float) -> Iterator[tuple[fx.Node, nn.Module]]:
    """Give the activation that a product is, and its input."""
    if len(factors) == 1 and _is_near(number, 1 / 6):
        x = _three_more(network, factors[0])
        if x is not None:
            yield x, nn.Hardsigmoid()
    if len(factors) != 2:
        return
    for x, other in (factors, factors[::-1]):
        inner = module_of(network, other)
        if inner is not None and other.args[0] is x and number == 1:
            if type(inner) is nn.Sigmoid:
                yield x, nn.SiLU()
            elif type(inner) is nn.Hardsigmoid:
                yield x, nn.Hardswish()
        if _is_near(number, 1 / 6) and _three_more(network, other) is x:
            yield x, nn.Hardswish()
        if isinstance(inner, nn.Tanh) and number == 1:
            softplus = module_of(network, other.args[0])
            if isinstance(softplus, nn.Softplus) and other.args[0].args[0] is x:
                yield x, nn.Mish()
        if _is_near(number, 0.5) and _gauss(network, other) is x:
            yield x, nn.GELU()


def _three_more(network: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Return x of ReLU6(x + 3)."""
    module = module_of(network, node)
    limits = (module.min_val, module.max_val) if isinstance(module, nn.Hardtanh) else None
    return _with_number(network, node.args[0], operator.add, 3.0) if limits == (0.0, 6.0) else None


def _gauss(network: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Return x of erf(x / sqrt(2)) + 1."""
    erf = _with_number(network, node, operator.add, 1.0)
    if erf is None or erf.target is not torch.erf:
        return None
    return _with_number(network, erf.args[0], operator.mul, math.sqrt(0.5))


def _with_number(network: fx.GraphModule, node: object, function: object, number: float) -> fx.Node | None:
    """Return x of function(x, number)."""
    if not isinstance(node, fx.Node) or node.target is not function:
        return None
    for x, other in (node.args, node.args[::-1]):
        value = _number(network, other)
        if value is not None and _is_near(value, number):
            return x
    return None


def _is_near(value: float, number: float) -> bool:
    return math.isclose(value, number, rel_tol=NEAR)


def _number(network: fx.GraphModule, node: object) -> float | None:
    """Return the value of a constant of one number."""
    value = constant_of(network, node)
    return None if value is None or value.numel() != 1 else float(value)


def merge_norms(network: fx.GraphModule) -> None:
    """Recognise layer normalisation by its parts, and group normalisation as that of instances between reshapes."""
    for node in list(network.graph.nodes):
        if node.target is operator.truediv:
            _merge_layer_norm(network, node)
        elif isinstance(module_of(network, node), nn.InstanceNorm1d):
            _merge_group_norm(network, node)


def _merge_layer_norm(network: fx.GraphModule, node: fx.Node) -> None:
    """(x - mean) / sqrt(mean((x - mean)^2) + eps) over the last side, and the factor and summand behind it."""
    centred, root = node.args
    if centred.target is not operator.sub or root.target is not torch.sqrt or root.args[0].target is not operator.add:
        return
    x, mean = centred.args
    eps = next((number for part in root.args[0].args if (number := _number(network, part)) is not None), None)
    variance = next((part for part in root.args[0].args if part.target is torch.mean), None)
    side = (centred.meta.get(SIDES) or (None,))[-1]
    last = [len(centred.meta.get(SIDES, ())) - 1]
    if eps is None or variance is None or side is None or mean.target is not torch.mean:
        return
    square = variance.args[0]
    if square.target is not operator.mul or mean.args != (x, last, True) or variance.args[1:] != (last, True):
        return
    if any(not _is_difference(part, x, mean) for part in square.args):
        return
    _scale(network, replace_node(network, node, nn.LayerNorm(side, eps), x, name="layer_norm"))


def _is_difference(node: fx.Node, x: fx.Node, mean: fx.Node) -> bool:
    """Tell if a node is x - mean; exporters write it once or twice."""
    return node.target is operator.sub and node.args[0] is x and node.args[1].args == mean.args


def _merge_group_norm(network: fx.GraphModule, node: fx.Node) -> None:
    """Reshape to (N, groups, -1), normalisation of instances, reshape back, and the factor and summand behind it."""
    module, to_groups, readers = module_of(network, node), node.args[0], _readers(node)
    assert isinstance(module, nn.InstanceNorm1d)
    if to_groups.target is not torch.reshape or len(readers) != 1 or readers[0].target is not torch.reshape:
        return
    x, lengths = to_groups.args[0], tuple(to_groups.args[1])
    sides = x.meta.get(SIDES, ())
    if len(sides) != 4 or sides != readers[0].meta.get(SIDES) or sides[1] is None or sides[1] % module.num_features:
        return
    batch = lengths[0]
    if not isinstance(batch, fx.Node) or batch.target is not operator.getitem or batch.args[0].args != (x, "shape"):
        return
    norm = nn.GroupNorm(module.num_features, sides[1], module.eps)
    norm.weight = nn.Parameter(module.weight.detach().repeat_interleave(sides[1] // module.num_features))
    norm.bias = nn.Parameter(module.bias.detach().repeat_interleave(sides[1] // module.num_features))
    _scale(network, replace_node(network, readers[0], norm, x, name=f"{node.name}_groups"))


def _readers(node: fx.Node) -> list[fx.Node]:
    """Users of a node's values, without those of its shape."""
    return [user for user in node.users if user.target is not getattr]


def _scale(network: fx.GraphModule, node: fx.Node) -> None:
    """Take the factor and summand behind a normalisation into it, one number per channel or per last side each."""
    norm: Any = module_of(network, node)
    channel = -1 if isinstance(norm, nn.LayerNorm) else -3
    for function in (operator.mul, operator.add):
        reader = next(iter(readers := _readers(node)))
        if len(readers) > 1 or reader.target is not function:
            continue
        value = next((found for part in reader.args if (found := constant_of(network, part)) is not None), None)
        if value is None or not (value.numel() == 1 or value.numel() == value.shape[channel] == len(norm.weight)):
            continue
        value = value.reshape(-1)
        if function is operator.mul:
            norm.weight = nn.Parameter(norm.weight.detach() * value)
            norm.bias = nn.Parameter(norm.bias.detach() * value)
        else:
            norm.bias = nn.Parameter(norm.bias.detach() + value)
        reader.replace_all_uses_with(node)
        network.graph.erase_node(reader)


def drop_neutral(network: fx.GraphModule) -> None:
    """Remove additions of 0 and multiplications by 1."""
    for node in list(network.graph.nodes):
        neutral = {operator.add: 0.0, operator.sub: 0.0, operator.mul: 1.0}.get(node.target)
        if neutral is None or not all(isinstance(part, fx.Node) for part in node.args):
            continue
        parts = node.args if node.target is not operator.sub else node.args[1:]
        for part in parts:
            if _number(network, part) == neutral and len(node.args) == 2:
                other = next(one for one in node.args if one is not part)
                node.replace_all_uses_with(other)
                network.graph.erase_node(node)
                break


def fold_constants(network: fx.GraphModule) -> None:
    """Move constants that are added to the result of a convolution or linear layer, or multiply it, into the layer."""
    for node in list(network.graph.nodes):
        if node.target not in (operator.add, operator.sub, operator.mul) or len(node.args) != 2:
            continue
        layer, constant = node.args
        if node.target is not operator.sub and constant_of(network, layer) is not None:
            layer, constant = constant, layer
        value, module = constant_of(network, constant), module_of(network, layer)
        if value is None or not isinstance(module, nn.Conv2d | nn.Linear) or len(_readers(layer)) != 1:
            continue
        outputs = module.weight.shape[0]
        if not _is_per_output(value, layer, module) or _is_shared(network, module):
            continue
        _fold(module, node.target, value.reshape(-1).expand(outputs))
        node.replace_all_uses_with(layer)
        network.graph.erase_node(node)


def _is_per_output(value: Tensor, layer: fx.Node, module: nn.Conv2d | nn.Linear) -> bool:
    """Tell if a constant is one number, or one for each channel of a layer's result."""
    rank, channel = (4, 1) if isinstance(module, nn.Conv2d) else (len(layer.meta.get(SIDES, ())), -1)
    return value.numel() == 1 or (
        value.dim() == rank and value.numel() == value.shape[channel] == module.weight.shape[0]
    )


def _is_shared(network: fx.GraphModule, module: nn.Module) -> bool:
    """Tell if another module has the same weight."""
    return sum(getattr(other, "weight", None) is module.weight for other in network.modules()) > 1


def _fold(module: nn.Conv2d | nn.Linear, function: Callable[..., object], value: Tensor) -> None:
    bias = torch.zeros(len(value)) if module.bias is None else module.bias.detach()
    if function is operator.mul:
        module.weight = nn.Parameter(module.weight.detach() * value.view(-1, *(1,) * (module.weight.dim() - 1)))
        bias = bias * value
        if module.bias is None:
            return
    else:
        bias = bias + value if function is operator.add else bias - value
    module.bias = nn.Parameter(bias.clone())


def shuffle_last(network: fx.GraphModule) -> None:
    """Compute BatchNorm and activations in front of the pixel shuffle (and cropping) that they follow.

    So they stay with the convolution that a transposed convolution has become.
    """
    for node in list(network.graph.nodes):
        norm = module_of(network, node)
        if not isinstance(norm, (nn.BatchNorm2d, *POINTWISE)):
            continue
        first = node.args[0]
        while _moves_alone(network, first):
            first = first.args[0]
        if first is node.args[0]:
            continue
        times = _shuffled(network, node.args[0], first)
        if isinstance(norm, nn.BatchNorm2d):
            _repeat_channels(norm, times)
        reader = next(iter(first.users))
        result = node.args[0]
        node.replace_all_uses_with(result)
        node.args = (first,)
        reader.replace_input_with(first, node)
        first.append(node)


def _moves_alone(network: fx.GraphModule, node: fx.Node) -> bool:
    """Tell if a node only moves values, and one node alone reads it."""
    is_crop = node.target is operator.getitem and isinstance(node.args[1], tuple)
    return (isinstance(module_of(network, node), nn.PixelShuffle) or is_crop) and len(node.users) == 1


def _shuffled(network: fx.GraphModule, last: fx.Node, first: fx.Node) -> int:
    """Return how many channels become one between two nodes."""
    times = 1
    while last is not first:
        module = module_of(network, last)
        times *= module.upscale_factor**2 if isinstance(module, nn.PixelShuffle) else 1
        (last,) = last.all_input_nodes
    return times


def _repeat_channels(norm: nn.BatchNorm2d, times: int) -> None:
    norm.num_features *= times
    for name in ("weight", "bias"):
        setattr(norm, name, nn.Parameter(getattr(norm, name).detach().repeat_interleave(times)))
    for name in ("running_mean", "running_var"):
        setattr(norm, name, getattr(norm, name).repeat_interleave(times))


def replace_lone_norms(network: fx.GraphModule) -> None:
    """Replace a BatchNorm that follows no convolution of its own by a 1x1 depthwise convolution, or by arithmetic."""
    for node in list(network.graph.nodes):
        norm = module_of(network, node)
        if not isinstance(norm, nn.BatchNorm2d):
            continue
        source = node.args[0]
        if isinstance(module_of(network, source), nn.Conv2d) and len(_readers(source)) == 1:
            continue
        factor, offset = _affine(norm)
        module = module_of(network, source)
        if isinstance(module, nn.Linear) and len(_readers(source)) == 1 and not _is_shared(network, module):
            _fold(module, operator.mul, factor)
            _fold(module, operator.add, offset)
            node.replace_all_uses_with(source)
            network.graph.erase_node(node)
            continue
        conv = nn.Conv2d(len(factor), len(factor), 1, groups=len(factor))
        conv.weight, conv.bias = nn.Parameter(factor.view(-1, 1, 1, 1)), nn.Parameter(offset)
        network.set_submodule(str(node.target), conv.eval())


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return factor and offset of a normalisation with fixed statistics, computed in float64."""
    weight, bias, mean, variance = (
        tensor.detach().double() for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    )
    factor = weight / torch.sqrt(variance + norm.eps)
    return factor.float(), (bias - mean * factor).float()


def merge_moves(network: fx.GraphModule) -> None:
    """Remove permutations that cancel each other; recognise a pixel shuffle that is written as reshapes."""
    for node in list(network.graph.nodes):
        if node.target is not torch.permute:
            continue
        source, order = node.args
        if source.target is torch.permute:
            both = tuple(source.args[1][axis] for axis in order)
            if both == tuple(range(len(both))):
                node.replace_all_uses_with(source.args[0])
            else:
                node.args = (source.args[0], both)
        elif tuple(order) == PIXEL_SHUFFLE and source.target is torch.reshape:
            _merge_pixel_shuffle(network, node, source)


def _merge_pixel_shuffle(network: fx.GraphModule, node: fx.Node, source: fx.Node) -> None:
    """(N,C,r,r,H,W) -> (N,C,H,r,W,r) -> (N,C,H*r,W*r)."""
    factor, again = source.args[1][2:4]
    readers = _readers(node)
    if factor != again or not isinstance(factor, int) or len(readers) != 1 or readers[0].target is not torch.reshape:
        return
    if len(readers[0].args[1]) == 4:
        replace_node(network, readers[0], nn.PixelShuffle(factor), source.args[0])


def flatten_linear(network: fx.GraphModule) -> None:
    """Give a linear layer on more than two sides, as transformers have, a tensor of two, and its result the sides."""
    for node in list(network.graph.nodes):
        module, sides = module_of(network, node), node.meta.get(SIDES, ())
        if not isinstance(module, nn.Linear) or len(sides) < 3:
            continue
        x = node.args[0]
        with network.graph.inserting_before(node):
            shape = network.graph.call_function(getattr, (x, "shape"))
            kept = [network.graph.call_function(operator.getitem, (shape, axis)) for axis in range(len(sides) - 1)]
            node.args = (network.graph.call_function(torch.reshape, (x, (-1, module.in_features))),)
        with network.graph.inserting_after(node):
            result = network.graph.call_function(torch.reshape, (node, (*kept, module.out_features)))
        node.replace_all_uses_with(result, delete_user_cb=lambda user, own=result: user is not own)


REWRITES: tuple[Callable[[fx.GraphModule], None], ...] = (
    drop_neutral,
    merge_activations,
    merge_activations,  # a HardSigmoid by its parts may be half of a HardSwish
    merge_norms,
    sink_permutes,
    merge_moves,
    fold_constants,
    shuffle_last,
    replace_lone_norms,
    flatten_linear,
)
