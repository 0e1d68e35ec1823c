"""The up-head B and segmentation head B of FFNet (Mehta et al., 2022, https://arxiv.org/abs/2206.08236), for devices.

Every feature is smoothed by a 3x3 convolution of its own after the deeper ones were added to it; what they give is
enlarged to stride 4 and concatenated. Enlarging repeats pixels (nearest), as in the networks published for devices.
Original code: Qualcomm-AI-research/FFNet, whose names are kept without the positions between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeailite.models.encoders.chain import Encoder
from edgeailite.models.layers import conv_bn_act

ADAPTED = (64, 128, 128, 256)  # channels after the first 1x1 convolutions, at strides 4, 8, 16 and 32
SMOOTHED = (96, 96, 64, 32)  # of what is concatenated
MIDDLE = 256  # of the segmentation head


class FFNetHead(nn.Module):
    """Features at strides 4 to 32 -> (N,C,H/4,W/4)."""

    def __init__(self, num_channels: int, encoder: Encoder, *, align_corners: bool = False) -> None:
        """`align_corners` must be False: `create_model` refuses it for this family."""
        super().__init__()
        self.adapter_conv = nn.ModuleList(
            conv_bn_act(channels, adapted, 1) for channels, adapted in zip(encoder.channels, ADAPTED, strict=True)
        )
        self.fam_32_sm, self.fam_16_sm, self.fam_8_sm, self.fam_4 = (
            conv_bn_act(channels, smoothed, 3) for channels, smoothed in zip(ADAPTED[::-1], SMOOTHED[::-1], strict=True)
        )
        self.fam_32_up, self.fam_16_up, self.fam_8_up = (
            conv_bn_act(channels, shallower, 1) for channels, shallower in pairwise(ADAPTED[::-1])
        )
        self.last_layer = nn.Sequential(
            nn.Conv2d(sum(SMOOTHED), MIDDLE, 3, padding=1),
            nn.BatchNorm2d(MIDDLE),
            nn.ReLU(),
            nn.Conv2d(MIDDLE, num_channels, 3, padding=1),
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Predict at stride 4."""
        adapted = [adapt(x) for adapt, x in zip(self.adapter_conv, features, strict=True)]
        x = adapted[-1]
        smoothed = [self.fam_32_sm(x)]
        for shallower, up, smooth in (
            (adapted[2], self.fam_32_up, self.fam_16_sm),
            (adapted[1], self.fam_16_up, self.fam_8_sm),
            (adapted[0], self.fam_8_up, self.fam_4),
        ):
            x = _repeated(up(x), shallower) + shallower
            smoothed.append(smooth(x))
        finest = smoothed.pop()
        return self.last_layer(torch.cat([finest, *(_repeated(x, finest) for x in reversed(smoothed))], 1))


def _repeated(x: Tensor, reference: Tensor) -> Tensor:
    """Enlarge `x` to the reference's size by repeating pixels."""
    return F.interpolate(x, size=reference.shape[-2:], mode="nearest")
