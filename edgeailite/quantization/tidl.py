"""Names of ranges in TI's published quantization (xnn.quantize, r8.2), and its limit on weights.

Its modules with a range (PACT) stand where `prepare` puts quantizers; their keys, by rule:
 1. the network's input: `<first convolution>.activation_in`;
 2. after an activation: the activation's own name;
 3. after a convolution: `<its BatchNorm, or itself>.activation_q`; after a pooling alike;
 4. additions and concatenations were modules of the block that computes them: `add`, `cat`; where a block computes
    several, `adds.<i>` from 0 and `concats.<i>` from 1;
 5. a resize has none: its values stay within the input's range;
 6. the activation of RegNet's stem, our `relu`, was called `relu1`.
Where we share one scale among the inputs of a concatenation, they had one each; the formulas of the fake quantization
are in `grids` and `modules`, those of ranges in `tidl_ranges`. Written from the behaviour of that code, and checked
against lists of its keys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor, fx

from edgeailite.errors import DataError
from edgeailite.quantization.graph import (
    ACTIVATIONS,
    is_addition,
    is_concatenation,
    is_input,
    is_module,
    is_resize,
)
from edgeailite.quantization.grids import ceil_power_of_two
from edgeailite.quantization.modules import ActivationQuantizer, QuantConv2d
from edgeailite.quantization.prepare import BEFORE_BN

OUTLIER = 15.0  # merged weights are clamped where the largest is above this
OUTLIER_MEDIANS = 16  # and above so many medians
BELOW_POWER = 1 - 8 / 128  # of the power of two that they are clamped to
ADDED, JOINED = ("add", "adds", 0), ("cat", "concats", 1)  # name of one, of several, first number


Range = tuple[float, float, int]
"""`clips_act`, low and high, and `num_batches_tracked` of one of those modules."""


def published_names(model: fx.GraphModule) -> dict[fx.Node, str]:
    """Quantizer nodes of a prepared network -> the key of the published module that stands there (rules 1 to 6)."""
    counts = Counter(_kind_and_block(node) for node in model.graph.nodes if _kind(node) is not None)
    numbers: Counter[tuple[str, str]] = Counter()
    names = {}
    for node in model.graph.nodes:
        if not is_module(node, ActivationQuantizer) or is_resize(node.args[0]):
            continue
        source = node.args[0]
        if _kind(source) is None:
            names[node] = _key_of(source, node)
            continue
        (one, several, first), (_, block) = _kind(source), _kind_and_block(source)
        key = one if counts[one, block] == 1 else f"{several}.{first + numbers[one, block]}"
        numbers[one, block] += 1
        names[node] = f"{block}.{key}.activation_q" if block else f"{key}.activation_q"
    return names


def _kind(node: fx.Node) -> tuple[str, str, int] | None:
    if is_addition(node) and not any(is_module(user, ACTIVATIONS) for user in node.users):
        return ADDED
    return JOINED if is_concatenation(node) else None


def _kind_and_block(node: fx.Node) -> tuple[str, str]:
    kind = _kind(node)
    assert kind is not None
    stack = node.meta.get("nn_module_stack") or {}
    return kind[0], next((str(key) for key in reversed(list(stack))), "").split("@")[0]


def _key_of(source: fx.Node, quantizer: fx.Node) -> str:
    if is_input(source):
        first = next(user for user in quantizer.users if is_module(user, QuantConv2d))
        return f"{first.target}.activation_in"
    name = str(source.target)
    if is_module(source, ACTIVATIONS):
        return f"{name}1" if name.endswith("stem.relu") else name
    if is_module(source, QuantConv2d) and len(source.args) > BEFORE_BN:
        name = str(source.args[BEFORE_BN].target).rpartition(".")[0]
    return f"{name}.activation_q"


@torch.no_grad()
def set_published_ranges(model: fx.GraphModule, ranges: Mapping[str, Range]) -> list[str]:
    """Give a prepared network the ranges of a published file; the keys that have no place of their own here.

    Those are of concatenations, whose scale is the union of their inputs', and of maximum pooling. Raises DataError for
    a range that the file lacks.
    """
    unused = set(ranges)
    for node, key in published_names(model).items():
        quantizer, site = model.get_submodule(str(node.target)), int(node.args[1])
        assert isinstance(quantizer, ActivationQuantizer)
        if site < 0:
            continue
        if key not in ranges:
            raise DataError(
                f"no range of {key} in this file",
                fix="take the one of this network's quantization training",
                code="no-fit",
            )
        low, high, batches = ranges[key]
        unused.discard(key)
        quantizer.low[site] = 0.0 if quantizer.nonnegative[site] else low
        quantizer.high[site] = high
        quantizer.count[site] = batches + 1  # theirs counts from 0
    for module in model.modules():
        if isinstance(module, ActivationQuantizer):
            module.update_scale()
    return sorted(unused)


@torch.no_grad()
def constrained(weight: Tensor) -> Tensor:
    """Clamp outliers of `weight` to just below a power of two; most weights have none and stay as they are."""
    size = weight.abs()
    least = torch.clamp(OUTLIER_MEDIANS * size.median(), min=OUTLIER)
    if size.max() <= least:
        return weight
    limit = float(BELOW_POWER * ceil_power_of_two(least))
    return weight.clamp(-limit, limit)


@torch.no_grad()
def constrain_weights(model: fx.GraphModule) -> list[str]:
    """Clamp outliers of a prepared network's folded weights, in place; returns the names of changed convolutions."""
    changed = []
    for node in model.graph.nodes:
        if not is_module(node, QuantConv2d):
            continue
        conv = model.get_submodule(str(node.target))
        assert isinstance(conv, QuantConv2d)
        tensors = [_attribute(model, str(argument.target)) for argument in node.args[BEFORE_BN:]]
        folded, _ = conv.folded(*tensors)
        limited = constrained(folded)
        if limited is not folded:
            conv.weight.mul_(torch.where(limited == folded, torch.ones_like(folded), limited / folded))
            changed.append(str(node.target))
    return changed


def _attribute(model: fx.GraphModule, path: str) -> Tensor:
    parent, _, name = path.rpartition(".")
    value = getattr(model.get_submodule(parent), name)
    assert isinstance(value, Tensor)
    return value
