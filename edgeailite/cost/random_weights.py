"""Networks without training, to measure: how long a network takes does not depend on its weights."""

from __future__ import annotations

import torch
from torch import fx, nn

from edgeailite.modelcard import ModelCard, changed_options
from edgeailite.models import create_model
from edgeailite.preprocessing import Preprocessing
from edgeailite.quantization import calibrate, prepare, set_input_range


def untrained(name: str, classes: int | None, height_width: tuple[int, int]) -> tuple[nn.Module, ModelCard]:
    """Make a network with its initial weights (always the same), and a card that says so."""
    torch.manual_seed(0)
    network = create_model(name, classes).eval()
    labels = tuple(str(index) for index in range(network.outputs["segmentation"]))
    palette = tuple((index % 256,) * 3 for index in range(len(labels)))
    card = ModelCard(
        network.name,
        network.outputs,
        labels,
        palette,
        Preprocessing(*height_width),
        "none",
        options=changed_options(network.options),
    )
    return network, card


def untrained_int8(network: nn.Module, card: ModelCard) -> fx.GraphModule:
    """Quantize a network with ranges from random pictures, ready to export: good for speed, not for accuracy."""
    quantized = prepare(network).eval()
    set_input_range(quantized, *card.preprocessing.input_range)
    calibrate(quantized, _pictures(card))
    return quantized


@torch.no_grad()
def settle(network: nn.Module, card: ModelCard) -> None:
    """Set the BatchNorm statistics of an untrained network to those of random pictures.

    Without that its features shrink or grow from layer to layer, until additions have scales no integer kernel takes.
    """
    momenta = {module: module.momentum for module in network.modules() if isinstance(module, nn.BatchNorm2d)}
    for module in momenta:
        module.momentum = None  # plain averages
    network.train()
    for pictures in _pictures(card):
        network(*pictures)
    network.eval()
    for module, momentum in momenta.items():
        module.momentum = momentum


def _pictures(card: ModelCard) -> list[tuple[torch.Tensor, ...]]:
    generator = torch.Generator().manual_seed(0)
    return [tuple(torch.rand(2, 3, 96, 192, generator=generator) * 4 - 2 for _ in card.inputs) for _ in range(2)]
