"""Fusing what training keeps apart into single convolutions, before a network is quantized, exported or counted."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn

from edgeailite.models.encoders.branches import Branches
from edgeailite.models.encoders.preactivated import PreActivated

Network = TypeVar("Network", bound=nn.Module)
FUSIBLE = (Branches, PreActivated)  # each has `fused()`, which gives modules of torch's own


def fuse(network: Network) -> Network:
    """Return a copy of a network with every module of FUSIBLE fused; the network itself if it has none.

    Outputs in evaluation stay the same but for float rounding. Keys of the fused parts become those of convolutions.
    """
    if not any(isinstance(module, FUSIBLE) for module in network.modules()):
        return network
    fused = copy.deepcopy(network)
    for name, module in list(fused.named_modules()):
        if isinstance(module, FUSIBLE):
            fused.set_submodule(name, module.fused())
    return fused
