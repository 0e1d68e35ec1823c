"""UNet decoder of the edgeailite family.

UNet is Ronneberger et al., 2015 (https://arxiv.org/abs/1505.04597). The edgeailite variant starts from the deepest
feature through `DWASPP` and joins every shallower feature raw, by concatenation, each followed by one separable
convolution. The width of a level is that of its feature, but at least twice the number of classes and at least 32.
Key names are the published ones: `rfblock`, `unet.smooth_convs.<i>`, i from 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgeailite.models.decoders.aspp import DWASPP
from edgeailite.models.encoders.chain import Encoder
from edgeailite.models.layers import group_count, prediction_head, separable_conv, upsampling

LEAST_WIDTH = 32


class UNet(nn.Module):
    """From the deepest to the shallowest feature: y = separable(concat(up(y), feature))."""

    def __init__(self, num_channels: int, encoder: Encoder, *, width: int = 256, method: str = "bilinear") -> None:
        """`width` is that of the ASPP, `method` the up-sampling's."""
        super().__init__()
        group_size, activation = encoder.group_size, encoder.activation
        self.rfblock = DWASPP(encoder.channels[-1], width, width, group_size=group_size, activation=activation)
        self.unet = nn.Module()
        self.unet.smooth_convs = nn.ModuleDict()
        self.unet.upsamples = nn.ModuleDict()
        channels = width
        for level, tapped in enumerate(encoder.channels[-2::-1], start=1):
            merged, out_channels = channels + tapped, max(2 * num_channels, LEAST_WIDTH, tapped)
            self.unet.upsamples[str(level)] = upsampling(method, channels, 2, activation)
            self.unet.smooth_convs[str(level)] = separable_conv(
                merged, out_channels, groups=group_count(merged, group_size), activation=activation
            )
            channels = out_channels
        self.pred = prediction_head(channels, num_channels, groups=group_count(channels, group_size))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        y = self.rfblock(features[-1])
        for level, tap in enumerate([features[i] for i in range(len(self.unet.smooth_convs) - 1, -1, -1)], start=1):
            y = self.unet.smooth_convs[str(level)](torch.cat((self.unet.upsamples[str(level)](y, tap), tap), 1))
        return self.pred(y)
