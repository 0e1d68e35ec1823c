"""AdaRound: learns, layer by layer, which weights to round up and which down so that the layer's output stays close.

After M. Nagel, R. A. Amjad, M. van Baalen, C. Louizos, T. Blankevoort, "Up or Down? Adaptive Rounding for Post-Training
Quantization" (ICML 2020): h(V) = clip(1.2 sigmoid(V) - 0.1, 0, 1) is added to the rounded-down code; squared error of
the output behind the activation plus 0.01 sum(1 - |2 h - 1|^beta), beta from 20 to 2 after the first fifth of the
steps, makes h go to 0 or 1. Inputs come from the quantized network, outputs to meet from the float one.

Nothing new is stored: a weight moves to the centre of its code, and is rounded there by whoever rounds. So that scales
stay, the largest weight of a channel stays as it is and no other may go beyond it; codes are compared afterwards.

What we changed: output positions are drawn at random over all pictures and only their patches are kept (bounded
memory); ten times the paper's rate, because a tenth of its steps is meant; a layer takes what was learned only if it
lowers the error on positions that it was not learned from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from edgeailite.quantization.layerwise import Batch, Layer, visit_layers
from edgeailite.quantization.modules import QuantConv2d

POSITIONS = 2048  # of outputs per layer; a fourth of them is kept for the comparison
PER_STEP = 128
RATE = 0.1
REGULARISER = 0.01
BETA = (20.0, 2.0)
WARM_UP = 0.2  # share of the steps without the regulariser
STRETCH = (-0.1, 1.1)
LEAST_FACTOR = 1e-6  # of BatchNorm on a weight: a channel below it is dead


@dataclass(frozen=True)
class Patches:
    """Training data of a layer for N output positions: inputs (N, groups, in kh kw), float outputs (N, groups, out)."""

    inputs: Tensor
    targets: Tensor

    def at(self, chosen: slice) -> Patches:
        """Some of the positions, which lie in random order."""
        return Patches(self.inputs[chosen], self.targets[chosen])


Error = Callable[[Tensor, Patches], Tensor]


def adaround(
    model: fx.GraphModule, batches: Sequence[Batch], *, steps: int, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Choose the rounding of a calibrated network's weights in place; squared error of each convolution, before, after.

    `batches` of normalised inputs are held in memory with their activations: a dozen pictures do.
    """
    generator = torch.Generator().manual_seed(seed)
    errors: dict[str, tuple[float, float]] = {}

    def visit(layer: Layer) -> None:
        errors[layer.name] = round_layer(layer, sample_patches(layer, generator), steps=steps)

    visit_layers(model, batches, visit, label="adaround, layers")
    return errors


def sample_patches(layer: Layer, generator: torch.Generator) -> Patches:
    """Random output positions of all pictures, in random order."""
    conv, inputs, targets = layer.module, [], []
    count = max(1, POSITIONS // sum(len(x) for x in layer.inputs))
    for batch, outputs in zip(layer.inputs, layer.targets, strict=True):
        height, width = outputs.shape[2:]
        padded = F.pad(batch, (conv.padding[1], conv.padding[1], conv.padding[0], conv.padding[0]))
        for x, y in zip(padded, outputs, strict=True):
            taken = min(count, height * width)
            places = torch.randperm(height * width, generator=generator)[:taken].to(x.device)
            rows, columns = places // width, places % width
            inputs.append(x[:, _reach(rows, conv, 0)[:, :, None], _reach(columns, conv, 1)[:, None, :]].transpose(0, 1))
            targets.append(y[:, rows, columns].t())
    order = torch.randperm(sum(map(len, inputs)), generator=generator).to(inputs[0].device)
    return Patches(*(torch.cat(values)[order].reshape(len(order), conv.groups, -1) for values in (inputs, targets)))


def _reach(places: Tensor, conv: QuantConv2d, axis: int) -> Tensor:
    """(N, k): coordinates in the padded input that the kernel covers at output coordinates."""
    offsets = torch.arange(conv.kernel_size[axis], device=places.device) * conv.dilation[axis]
    return places[:, None] * conv.stride[axis] + offsets


@torch.no_grad()
def round_layer(layer: Layer, patches: Patches, *, steps: int) -> tuple[float, float]:
    """Set a layer's weight to its learned rounding; returns its mean squared errors before and after.

    Both are measured on held-out patches: of nearest rounding, and of the rounding that the layer got.
    """
    conv, in_scale, bn = layer.module, layer.arguments[0], layer.arguments[1:]
    weight, bias = conv.folded(*bn)
    nearest = conv.integer_parameters(in_scale, *bn)
    step = conv.grid.step
    scale, rounded = nearest.weight_scale.reshape(-1, 1, 1, 1) * step, nearest.weight.float() / step
    bias_values = nearest.bias.float() * nearest.bias_scale if bias is not None else None
    held_out = len(patches.inputs) // 4
    check, learn = patches.at(slice(held_out or None)), patches.at(slice(held_out, None))

    def error(codes: Tensor, where: Patches) -> Tensor:
        y, wanted = _outputs(layer, where.inputs, codes * scale, bias_values), where.targets
        wanted = wanted if layer.activation is None else layer.activation(wanted.clone())
        return (y - wanted).square().sum((1, 2)).mean()

    before, old = float(error(rounded, check)), conv.weight.clone()
    cap = torch.floor(weight.abs().amax((1, 2, 3), keepdim=True) / scale + 1e-3).clamp(max=conv.grid.high / step)
    codes = _learned(weight / scale, cap, learn, error, steps=steps)
    codes = torch.where(_fixed(conv, weight, bn), rounded, codes)
    _store(conv, codes, scale, in_scale, bn)
    after = float(error(conv.integer_parameters(in_scale, *bn).weight.float() / step, check))
    if after < before:
        return before, after
    conv.weight.copy_(old)
    return before, before


def _outputs(layer: Layer, patches: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(N, groups, out): convolving patches is a product of matrices."""
    by_group = weight.reshape(patches.shape[1], -1, patches.shape[2])
    y = torch.bmm(patches.transpose(0, 1), by_group.transpose(1, 2)).transpose(0, 1)
    y = y if bias is None else y + bias.view(len(by_group), -1)
    return layer.activation(y) if layer.activation is not None else y


def _learned(values: Tensor, cap: Tensor, learn: Patches, error: Error, *, steps: int) -> Tensor:
    """Codes within -cap..cap from weights in units of their scale."""
    floor = values.floor()
    low, high = STRETCH
    share = (values - floor - low) / (high - low)
    v = torch.log(share / (1 - share)).requires_grad_()
    optimizer = torch.optim.Adam([v], lr=RATE)
    for step in range(steps):
        first = step * PER_STEP % len(learn.inputs)
        progress = (step / steps - WARM_UP) / (1 - WARM_UP)
        with torch.enable_grad():
            up = (torch.sigmoid(v) * (high - low) + low).clamp(0, 1)
            codes = torch.minimum(torch.maximum(floor + up, -cap), cap)
            loss = error(codes, learn.at(slice(first, first + PER_STEP)))
            if progress > 0:
                beta = BETA[1] + 0.5 * (BETA[0] - BETA[1]) * (1 + math.cos(math.pi * progress))
                loss = loss + REGULARISER * (1 - (2 * up - 1).abs().pow(beta)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    up = (torch.sigmoid(v.detach()) * (high - low) + low) >= 0.5
    return torch.minimum(torch.maximum(floor + up, -cap), cap)


def _factor(conv: QuantConv2d, bn: tuple[Tensor, ...]) -> Tensor:
    """Factor of BatchNorm on the weight, per output channel: (out, 1, 1, 1)."""
    if not bn:
        return torch.ones(len(conv.weight), 1, 1, 1).to(conv.weight)
    return (bn[0] * torch.rsqrt(bn[3] + conv.bn_eps)).view(-1, 1, 1, 1)


def _fixed(conv: QuantConv2d, weight: Tensor, bn: tuple[Tensor, ...]) -> Tensor:
    """Weights that stay: the largest of each channel, and those of a dead channel."""
    largest = weight.abs().amax((1, 2, 3), keepdim=True)
    return (weight.abs() >= largest * (1 - 1e-6)) | (_factor(conv, bn).abs() < LEAST_FACTOR)


def _store(conv: QuantConv2d, codes: Tensor, scale: Tensor, in_scale: Tensor, bn: tuple[Tensor, ...]) -> None:
    """Weights to the centres of their codes, which count steps of the grid.

    A channel whose codes would then be read otherwise stays as it was.
    """
    weight, _ = conv.folded(*bn)
    old = conv.weight.clone()
    new = torch.where(_fixed(conv, weight, bn), old.view_as(weight), codes * scale / _factor(conv, bn))
    conv.weight.copy_(new.view_as(old))
    read = conv.integer_parameters(in_scale, *bn)
    wrong = (read.weight.float() / conv.grid.step != codes).flatten(1).any(1)
    conv.weight[wrong] = old[wrong]
