"""Why tensors of a file have other shapes than a network's: another class count, fewer inputs, or another network.

Told by building that network as the file has it, on the meta device, without values. Which layers depend on the class
count or the number of inputs differs by decoder (all of a UNet's fine levels do), so none are listed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Size, Tensor

from edgeailite.errors import EdgeailiteError
from edgeailite.models import Pixel2Pixel, create_model
from edgeailite.pretrained.recognise import RecognisedWeights
from edgeailite.pretrained.replicate import PlacedWeights, place

# The last convolution of each kind of decoder: edgeailite, PPM, UPerNet, C1, DDRNet. The first that one has counts.
PREDICTIONS = (
    "pred.1.0.weight",
    "conv_last.4.weight",
    "conv_last.1.weight",
    "conv_last.weight",
    "final_layer.conv2.weight",
)


@dataclass(frozen=True)
class Differences:
    """Layers whose shape depends on the file's class counts or number of inputs; `counts` are the file's, by output."""

    counts: Mapping[str, int]
    by_count: frozenset[str]
    by_inputs: frozenset[str]

    def of_count(self, keys: Iterable[str]) -> list[str]:
        """Return those of the keys that another class count explains."""
        return [key for key in keys if layer_of(key) in self.by_count]


def layer_of(key: str) -> str:
    """Return the module that a tensor belongs to."""
    return key.rpartition(".")[0]


def differences(found: RecognisedWeights, placed: PlacedWeights, model: Pixel2Pixel) -> Differences | None:
    """Return the differences if they are due to class counts and the number of inputs alone; else None."""
    counts = class_counts(placed.weights, tuple(model.outputs)) or model.outputs
    inputs = 1 if placed.spread else model.inputs
    try:
        twin = _built(model, counts, inputs)
        between = twin if inputs == model.inputs else _built(model, counts, model.inputs)
    except (EdgeailiteError, RuntimeError, ValueError):
        return None
    shapes = _shapes(twin)
    if any(shapes.get(key) != value.shape for key, value in place(found, twin).weights.items()):
        return None
    decoders = {key: shape for key, shape in shapes.items() if key.startswith("decoders.")}
    return Differences(counts, _changed(_shapes(between), _shapes(model)), _changed(decoders, _shapes(between)))


def class_counts(weights: Mapping[str, Tensor], outputs: Sequence[str]) -> dict[str, int] | None:
    """Return the channels in the file of each of these outputs; None if a decoder has no prediction layer."""
    counts = {}
    for number, output in enumerate(outputs):
        layers = [weights.get(f"decoders.{number}.{name}") for name in PREDICTIONS]
        layer = next((w for w in layers if w is not None and w.dim() == 4), None)
        if layer is None:
            return None
        counts[output] = layer.shape[0]
    return counts


def _built(model: Pixel2Pixel, outputs: Mapping[str, int], inputs: int) -> Pixel2Pixel:
    options = {**model.options, "inputs": inputs}
    with torch.device("meta"):
        return create_model(model.name, outputs=outputs, **options)  # type: ignore[arg-type]


def _shapes(model: Pixel2Pixel) -> dict[str, Size]:
    return {key: value.shape for key, value in model.state_dict().items()}


def _changed(first: Mapping[str, Size], second: Mapping[str, Size]) -> frozenset[str]:
    return frozenset(layer_of(key) for key, shape in first.items() if second.get(key) != shape)
