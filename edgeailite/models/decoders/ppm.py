"""PPM: pyramid pooling (PSPNet, Zhao et al., 2017, https://arxiv.org/abs/1612.01105), of the ADE20K family (CSAIL
semantic-segmentation-pytorch).

The deepest feature is averaged over 1, 4, 9 and 36 cells; each result goes through a 1x1 block, is resized back and
concatenated with the feature. `PSPBilinear` is the 2017 form: other key names, dropout of single values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from edgeailite.models.decoders.c1 import deepsup_head
from edgeailite.models.encoders.chain import Encoder
from edgeailite.models.layers import conv_bn_act, resize_like

POOL_SCALES = (1, 2, 3, 6)
WIDTH = 512
DROPOUT = 0.1


class PPM(nn.Module):
    """Pyramid pooling of the deepest feature, 3x3 block, dropout of whole channels, 1x1."""

    def __init__(self, num_channels: int, encoder: Encoder, *, align_corners: bool = False) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.ppm = pooled_branches(encoder.channels[-1])
        self.conv_last = joined_head(encoder.channels[-1], num_channels, nn.Dropout2d(DROPOUT))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Predict (N,C,h,w) from the deepest feature."""
        return self.conv_last(pyramid(features[-1], self.ppm, align_corners=self.align_corners))


class PPMDeepSup(PPM):
    """PPM with deep supervision: a second head on the feature before the deepest."""

    def __init__(self, num_channels: int, encoder: Encoder, *, align_corners: bool = False) -> None:
        """Raises ValueError if the encoder has one feature only."""
        super().__init__(num_channels, encoder, align_corners=align_corners)
        self.cbr_deepsup, self.conv_last_deepsup = deepsup_head(num_channels, encoder)
        self.dropout_deepsup = nn.Dropout2d(DROPOUT)

    def auxiliary(self, features: Sequence[Tensor]) -> Tensor:
        """Return the second prediction, which is used in training alone."""
        return self.conv_last_deepsup(self.dropout_deepsup(self.cbr_deepsup(features[-2])))


class PSPBilinear(nn.Module):
    """PPM of the 2017 networks."""

    def __init__(self, num_channels: int, encoder: Encoder, *, align_corners: bool = False) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.psp = pooled_branches(encoder.channels[-1])
        self.conv_last = joined_head(encoder.channels[-1], num_channels, nn.Dropout(DROPOUT))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Predict (N,C,h,w) from the deepest feature."""
        return self.conv_last(pyramid(features[-1], self.psp, align_corners=self.align_corners))


def pooled_branches(in_channels: int) -> nn.ModuleList:
    """Build average pooling to each scale, followed by a 1x1 block; keys `<scale's number>.1` and `.2`."""
    return nn.ModuleList(
        nn.Sequential(nn.AdaptiveAvgPool2d(scale), *conv_bn_act(in_channels, WIDTH, 1)) for scale in POOL_SCALES
    )


def joined_head(in_channels: int, num_channels: int, dropout: nn.Module) -> nn.Sequential:
    """Build a 3x3 block on feature and branches, dropout, 1x1."""
    merged = in_channels + len(POOL_SCALES) * WIDTH
    return nn.Sequential(*conv_bn_act(merged, WIDTH, 3), dropout, nn.Conv2d(WIDTH, num_channels, 1))


def pyramid(x: Tensor, branches: Iterable[nn.Module], *, align_corners: bool) -> Tensor:
    """Concatenate `x` and every branch's result, resized to it: (N,C,h,w) -> (N,C+2048,h,w)."""
    return torch.cat([x, *[resize_like(branch(x), x, align_corners=align_corners) for branch in branches]], 1)
