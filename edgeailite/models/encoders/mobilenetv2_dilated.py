"""MobileNetV2 (Sandler et al., 2018, https://arxiv.org/abs/1801.04381), dilated, as in the ADE20K family (CSAIL
semantic-segmentation-pytorch).

Another layout than `mobilenetv2.py`: the layers of a block are numbered flat (`features.2.conv.3.weight`), the
activation is ReLU6, and features are taken from the *first* block at a stride. Where a smaller `output_stride` drops a
stride of 2, the dilation doubles after that block, which keeps the dilation it was reached with.
Beyond the published code: output stride 16 by name, several inputs.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgeailite.models.encoders.chain import Encoder, Stem
from edgeailite.models.encoders.mobilenetv2 import STAGES, STEM_CHANNELS
from edgeailite.models.layers import conv_bn_act

TAPS = (2, 4, 7, 14, 17)  # first block of a stage that has a stride in the paper, and the last block
STEM_BLOCK = 3  # input streams are fused after it


class DilatedInvertedResidual(nn.Module):
    """Expand 1x1, depthwise 3x3, project 1x1; the input is added where `shortcut` says so."""

    def __init__(
        self, in_channels: int, out_channels: int, *, expansion: int, stride: int, dilation: int, shortcut: bool
    ) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.shortcut = shortcut
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [nn.Conv2d(in_channels, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6()]
        layers += [
            nn.Conv2d(hidden, hidden, 3, stride, dilation, dilation, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block; the input is added if the shape stays."""
        return x + self.conv(x) if self.shortcut else self.conv(x)


def mobilenetv2_dilated(*, output_stride: int = 8, inputs: int = 1) -> Encoder:
    """Build an encoder of features 24@4, 32@8, 64@16, 160@32 and 320@32 (C@stride), strides up to `output_stride`."""
    rows = _rows(output_stride)

    def make_blocks() -> dict[str, nn.Module]:
        """Return the blocks of the chain by name."""
        blocks: dict[str, nn.Module] = {"features.0": conv_bn_act(3, STEM_CHANNELS, 3, stride=2, activation=nn.ReLU6)}
        in_channels = STEM_CHANNELS
        for index, (expansion, channels, stride, dilation, repeated, _) in enumerate(rows, start=1):
            blocks[f"features.{index}"] = DilatedInvertedResidual(
                in_channels, channels, expansion=expansion, stride=stride, dilation=dilation, shortcut=repeated
            )
            in_channels = channels
        return blocks

    taps = {f"features.{index}": (rows[index - 1][1], rows[index - 1][-1]) for index in TAPS}
    stem = Stem(f"features.{STEM_BLOCK}", rows[STEM_BLOCK - 1][1])
    return Encoder(make_blocks, taps, stem=stem, inputs=inputs, prefix="features.", activation=nn.ReLU6)


def _rows(output_stride: int) -> list[tuple[int, int, int, int, bool, int]]:
    """(expansion, channels, stride, dilation, same shape as the block before, total stride) of every block."""
    rows, total, dilation = [], 2, 1
    for expansion, channels, repeats, wanted in STAGES:
        stride = wanted if total * wanted <= output_stride else 1
        total *= stride
        rows.append((expansion, channels, stride, dilation, False, total))
        dilation *= wanted // stride
        rows += [(expansion, channels, 1, dilation, True, total)] * (repeats - 1)
    return rows
