"""Does a file depart from a network in its class count alone? Told by building that network with the file's count.

Which layers depend on the count differs by decoder (all of a UNet's fine levels do), so none are listed here.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from edgeailite.errors import EdgeailiteError
from edgeailite.models import Pixel2Pixel, create_model

# The last convolution of each kind of decoder: edgeailite, PPM, UPerNet, C1. The first that a decoder has counts.
PREDICTIONS = ("pred.1.0.weight", "conv_last.4.weight", "conv_last.1.weight", "conv_last.weight")


def class_counts(weights: Mapping[str, Tensor], model: Pixel2Pixel) -> dict[str, int] | None:
    """Channels of every output in the file; None where a decoder has no prediction layer."""
    counts = {}
    for number, output in enumerate(model.outputs):
        layers = [weights.get(f"decoders.{number}.{name}") for name in PREDICTIONS]
        layer = next((w for w in layers if w is not None and w.dim() == 4), None)
        if layer is None:
            return None
        counts[output] = layer.shape[0]
    return counts


def other_class_counts(weights: Mapping[str, Tensor], model: nn.Module) -> dict[str, int] | None:
    """Channels of every output in the file, if they are all that departs from the model; else None."""
    counts = class_counts(weights, model) if isinstance(model, Pixel2Pixel) else None
    if counts is None or not isinstance(model, Pixel2Pixel) or counts == model.outputs:
        return None
    try:
        with torch.device("meta"):
            twin = create_model(model.name, outputs=counts, **model.options)  # type: ignore[arg-type]
    except (EdgeailiteError, RuntimeError, ValueError):
        return None
    shapes = {key: value.shape for key, value in twin.state_dict().items()}
    return counts if all(shapes.get(key) == value.shape for key, value in weights.items()) else None
