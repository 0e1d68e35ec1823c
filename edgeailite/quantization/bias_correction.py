"""Empirical bias correction: the mean error that quantization adds to each channel is taken off its bias.

After M. Nagel et al., "Data-Free Quantization through Weight Equalization and Bias Correction" (ICCV 2019), section
4.2 and appendix D (the form with pictures): E[float output] - E[quantized output] per output channel, before the
activation, is added to the bias, layer by layer in the order of the network, so that each layer sees the layers before
it corrected. The bias is BatchNorm's, or the convolution's own; a convolution with neither cannot be corrected.

What we changed: the graph is gone through once with all pictures (`layerwise`), not once per layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, fx

from edgeailite.quantization.layerwise import Batch, Layer, visit_layers


def correct_bias(model: fx.GraphModule, batches: Sequence[Batch]) -> dict[str, float]:
    """Correct the biases of a calibrated network in place; largest mean error met per convolution, in its units.

    `batches` of normalised inputs are held in memory with their activations: a dozen pictures do.
    """
    errors: dict[str, float] = {}

    def visit(layer: Layer) -> None:
        bias = _bias(layer)
        if bias is not None:
            shift = _mean(layer.targets) - _mean([layer.module(x, *layer.arguments) for x in layer.inputs])
            bias += shift.to(bias.dtype)
            errors[layer.name] = float(shift.abs().max())

    visit_layers(model, batches, visit, label="correct bias, layers")
    return errors


def _bias(layer: Layer) -> Tensor | None:
    """Return the bias that the correction changes (BatchNorm's or the convolution's); None if the layer has no bias."""
    return layer.arguments[2] if len(layer.arguments) > 1 else layer.module.bias


def _mean(outputs: list[Tensor]) -> Tensor:
    """Per channel, over pictures and positions."""
    count = sum(output.numel() // output.shape[1] for output in outputs)
    return torch.stack([output.double().sum((0, 2, 3)) for output in outputs]).sum(0) / count
