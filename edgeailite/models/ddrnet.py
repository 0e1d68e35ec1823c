"""The DDRNet family: DDRNet-23-slim, a whole network with its own heads (Hong et al., 2021, arXiv:2101.06085)."""

from __future__ import annotations

from torch import nn

from edgeailite.models.decoders.ddrnet import DDRNetHeads
from edgeailite.models.encoders.ddrnet import DualResolution
from edgeailite.models.pixel2pixel import Pixel2Pixel
from edgeailite.models.row import ModelRow

MODELS = {"ddrnet23_slim": ModelRow("ddrnet", "ddrnet23_slim", "heads", DualResolution, DDRNetHeads)}


def initialize(model: Pixel2Pixel) -> None:
    """Set the published initial values: kaiming normal (fan out) for convolutions, 1 and 0 for BatchNorm."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
