"""Cross-layer equalization of a float network: channels of neighbouring convolutions get weights of one size.

After M. Nagel, M. van Baalen, T. Blankevoort, M. Welling, "Data-Free Quantization through Weight Equalization and Bias
Correction" (ICCV 2019), section 4.1: ReLU(s x) = s ReLU(x) for s > 0, so what one convolution's output channel is
divided by, the next one's input channel may be multiplied by. s = sqrt(r1 / r2) from the largest weights r1, r2 of the
channel in both, BatchNorm folded in.

Rules:
 1. A pair is convolution [BatchNorm] [ReLU, ReLU6 or nothing] convolution, depthwise and grouped ones too, where
    nothing else reads the tensors between. Chains are gone through until no factor moves by more than 1 %.
 2. Only values of parameters change: BatchNorm's weight and bias (or the convolution's, where it has none) and the next
    convolution's weight. Key names stay, running statistics stay those of the convolution's output.
 3. ReLU6 clips at 6 whatever the factor. Where pictures are given, a channel's factor is limited such that its largest
    value on them is at most 3 before and after, so that nothing clips; channels that go higher stay. Without pictures
    pairs with ReLU6 stay as they are.
 4. A channel without weights on either side stays as it is. One with hardly any weights but a bias (BatchNorm's weight
    near 0) is not enlarged beyond four times the largest value that the tensor's BatchNorms let expect (|bias| + 3
    |weight|): it would take the tensor's range for itself.

What we changed: rule 3 (the paper replaces ReLU6 by ReLU, which the network's name could not say) and no absorption of
high biases: behind a zero-padded convolution it is not exact, and it needs channels whose BatchNorm bias exceeds three
times its weight (a trained DeepLab with MobileNetV2 had none among its 15,552).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from edgeailite.quantization.graph import ACTIVATIONS, activation_limits, is_module, readers, trace

SWEEPS = 40
TINY = 1e-30
SETTLED = 0.01
GROWTH = 4.0  # of a tensor's largest expected value
HEADROOM = 0.5  # share of an activation's upper limit that values on the pictures may reach
Batch = Tensor | tuple[Tensor, ...]


@dataclass(frozen=True)
class Pair:
    """Two successive convolutions, their BatchNorms and the activation between them; names are module names."""

    first: nn.Conv2d
    first_bn: nn.BatchNorm2d | None
    second: nn.Conv2d
    second_bn: nn.BatchNorm2d | None
    name: str
    activation: str | None
    limit: float  # largest value behind the activation


def equalize(model: nn.Module, batches: Iterable[Batch] = ()) -> nn.Module:
    """Return a copy of `model` in eval mode that computes the same from weights of more equal size; key names stay.

    `batches` of normalised inputs are needed for pairs with ReLU6 only.
    """
    result = copy.deepcopy(model).eval()
    pairs = find_pairs(result)
    largest = _largest_values(result, [pair for pair in pairs if math.isfinite(pair.limit)], batches)
    highest = [GROWTH * float(_expected(pair).max()) for pair in pairs]
    for _ in range(SWEEPS):
        moved = 0.0
        for pair, most in zip(pairs, highest, strict=True):
            factor = torch.maximum(_factor(pair), _expected(pair) / max(most, TINY))
            if math.isfinite(pair.limit):
                if pair.name not in largest:
                    continue
                factor = _within_limit(factor, largest[pair.name], HEADROOM * pair.limit)
                largest[pair.name] = largest[pair.name] / factor
            _rescale(pair, factor)
            moved = max(moved, float((factor.log()).abs().max()))
        if moved < SETTLED:
            break
    return result


def find_pairs(model: nn.Module) -> list[Pair]:
    """Find the pairs of rule 1, in the order of the network."""
    traced = trace(model)
    pairs = []
    for node in traced.graph.nodes:
        if not is_module(node, nn.Conv2d):
            continue
        source, activation, limit = node.args[0], None, math.inf
        if is_module(source, ACTIVATIONS) and _only_reader(source):
            activation, (low, limit) = str(source.target), activation_limits(_module(source))
            if low != 0:
                continue
            source = source.args[0]
        first_bn = None
        if is_module(source, nn.BatchNorm2d) and _only_reader(source):
            first_bn, source = _module(source), source.args[0]
        if is_module(source, nn.Conv2d) and _only_reader(source) and _once(traced, source) and _once(traced, node):
            modules = (_module(source), first_bn, _module(node), _bn_behind(node))
            pairs.append(Pair(*modules, name=str(node.target), activation=activation, limit=limit))
    return pairs


def _module(node: fx.Node) -> nn.Module:
    return node.graph.owning_module.get_submodule(str(node.target))


def _only_reader(node: fx.Node) -> bool:
    return len(readers(node)) == 1


def _once(traced: fx.GraphModule, node: fx.Node) -> bool:
    """True if no other call uses the same module.

    A shared module has further neighbours, so it cannot be rescaled for one pair.
    """
    return sum(other.op == "call_module" and other.target == node.target for other in traced.graph.nodes) == 1


def _bn_behind(node: fx.Node) -> nn.Module | None:
    users = readers(node)
    return _module(users[0]) if len(users) == 1 and is_module(users[0], nn.BatchNorm2d) else None


def _folded(conv: nn.Conv2d, bn: nn.BatchNorm2d | None) -> Tensor:
    """|weight| with BatchNorm folded in, (groups, out / groups, in / groups, kh kw)."""
    weight = conv.weight.detach().abs()
    if bn is not None:
        assert bn.running_var is not None
        weight = weight * (bn.weight.detach().abs() * torch.rsqrt(bn.running_var + bn.eps)).view(-1, 1, 1, 1)
    return weight.view(conv.groups, -1, weight.shape[1], math.prod(weight.shape[2:]))


def _expected(pair: Pair) -> Tensor:
    """Largest value of each channel between the two convolutions, estimated from BatchNorm; 0 without BatchNorm."""
    if pair.first_bn is None:
        return torch.zeros(len(pair.first.weight), device=pair.first.weight.device)
    return pair.first_bn.bias.detach().abs() + 3 * pair.first_bn.weight.detach().abs()


def _factor(pair: Pair) -> Tensor:
    """Divisor of each channel between the two convolutions; 1 where rule 4 applies."""
    out = _folded(pair.first, pair.first_bn).amax((2, 3)).flatten()
    into = _folded(pair.second, pair.second_bn).amax((1, 3)).flatten()
    factor = (out / into).sqrt()
    return torch.where((out > 0) & (into > 0) & factor.isfinite() & (factor > 0), factor, torch.ones_like(factor))


def _within_limit(factor: Tensor, largest: Tensor, limit: float) -> Tensor:
    """Rule 3: the factors under which values up to `largest` stay below `limit`."""
    return torch.where(largest < limit, torch.maximum(factor, largest / limit), torch.ones_like(factor))


@torch.no_grad()
def _rescale(pair: Pair, factor: Tensor) -> None:
    """Rule 2."""
    if pair.first_bn is not None:
        pair.first_bn.weight /= factor
        pair.first_bn.bias /= factor
    else:
        pair.first.weight /= factor.view(-1, 1, 1, 1)
        if pair.first.bias is not None:
            pair.first.bias /= factor
    weight, groups = pair.second.weight, pair.second.groups
    grouped = weight.view(groups, -1, *weight.shape[1:])
    grouped *= factor.view(groups, 1, -1, 1, 1)


@torch.no_grad()
def _largest_values(model: nn.Module, pairs: list[Pair], batches: Iterable[Batch]) -> dict[str, Tensor]:
    """Measure, per channel, the largest input of each pair's second convolution on these pictures."""
    found: dict[str, Tensor] = {}
    hooks = []
    for pair in pairs:

        def note(module: nn.Module, inputs: tuple[Tensor, ...], name: str = pair.name) -> None:
            values = inputs[0].amax((0, 2, 3))
            found[name] = torch.maximum(found[name], values) if name in found else values

        hooks.append(pair.second.register_forward_pre_hook(note))
    if pairs:
        for batch in batches:
            model(*(batch if isinstance(batch, tuple) else (batch,)))
    for hook in hooks:
        hook.remove()
    return found
