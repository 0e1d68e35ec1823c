"""The FFNet family: ResNet-S with up-head B (Mehta et al., 2022, arXiv:2206.08236), as published for devices."""

from __future__ import annotations

from functools import partial

from edgeailite.models.decoders.ffnet import FFNetHead
from edgeailite.models.encoders.resnet_slim import DEPTHS, resnet_slim
from edgeailite.models.row import ModelRow

MODELS = {
    f"ffnet{variant}": ModelRow("ffnet", f"resnet{variant}", "up_b", partial(resnet_slim, variant), FFNetHead)
    for variant in DEPTHS
}
