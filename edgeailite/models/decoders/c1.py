"""C1: one convolution on the deepest feature, of the ADE20K family (CSAIL semantic-segmentation-pytorch).

`C1` and `C1DeepSup` are of 2018 and later. `C1Bilinear` (1x1 alone) and `C5Bilinear` (four 3x3 before it, the first two
dilated by 2) are of 2017. Key names are the published ones. Nothing is resized inside; `align_corners` is accepted
because every decoder of the family is built alike.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from edgeailite.models.encoders.chain import Encoder
from edgeailite.models.layers import conv_bn_act

C5_DILATIONS = (2, 2, 1, 1)


class C1(nn.Module):
    """3x3 to a quarter of the channels, then 1x1."""

    def __init__(self, num_channels: int, encoder: Encoder, *, align_corners: bool = False) -> None:
        super().__init__()
        deepest = encoder.channels[-1]
        self.cbr = conv_bn_act(deepest, deepest // 4, 3)
        self.conv_last = nn.Conv2d(deepest // 4, num_channels, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Predict (N,C,h,w) from the deepest feature."""
        return self.conv_last(self.cbr(features[-1]))


class C1DeepSup(C1):
    """C1 with deep supervision: a second head on the feature before the deepest."""

    def __init__(self, num_channels: int, encoder: Encoder, *, align_corners: bool = False) -> None:
        """Raises ValueError if the encoder has one feature only."""
        super().__init__(num_channels, encoder, align_corners=align_corners)
        self.cbr_deepsup, self.conv_last_deepsup = deepsup_head(num_channels, encoder)

    def auxiliary(self, features: Sequence[Tensor]) -> Tensor:
        """Return the second prediction, which is used in training alone."""
        return self.conv_last_deepsup(self.cbr_deepsup(features[-2]))


class C1Bilinear(nn.Module):
    """1x1 convolution without bias."""

    def __init__(self, num_channels: int, encoder: Encoder, *, align_corners: bool = False) -> None:
        super().__init__()
        self.conv_last = nn.Conv2d(encoder.channels[-1], num_channels, 1, bias=False)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Predict (N,C,h,w) from the deepest feature."""
        return self.conv_last(features[-1])


class C5Bilinear(nn.Module):
    """Four 3x3 convolutions at the encoder's width, then 1x1 without bias."""

    def __init__(self, num_channels: int, encoder: Encoder, *, align_corners: bool = False) -> None:
        super().__init__()
        width = encoder.channels[-1]
        for index, dilation in enumerate(C5_DILATIONS, start=1):
            self.add_module(f"conv{index}", nn.Conv2d(width, width, 3, 1, dilation, dilation, bias=False))
            self.add_module(f"bn{index}", nn.BatchNorm2d(width))
            self.add_module(f"relu{index}", nn.ReLU())
        self.conv_last = nn.Conv2d(width, num_channels, 1, bias=False)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Predict (N,C,h,w) from the deepest feature."""
        x = features[-1]
        for layer in self.children():  # in the order they were added
            x = layer(x)
        return x


def deepsup_head(num_channels: int, encoder: Encoder) -> tuple[nn.Sequential, nn.Conv2d]:
    """Build a 3x3 block, a quarter as wide as the deepest feature, and a 1x1 convolution on the last but one."""
    if len(encoder.channels) < 2:
        raise ValueError(f"encoder channels {encoder.channels}: deep supervision needs two features or more")
    width = encoder.channels[-1] // 4
    return conv_bn_act(encoder.channels[-2], width, 3), nn.Conv2d(width, num_channels, 1)
