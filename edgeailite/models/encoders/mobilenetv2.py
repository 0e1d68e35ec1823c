"""MobileNetV2 (Sandler et al., 2018, https://arxiv.org/abs/1801.04381) as a feature encoder.

Key names are torchvision's (`features.0.0.weight`, ...), so its ImageNet weights load. What the published
edgeailite networks change against torchvision, and so do we: ReLU instead of ReLU6 at width 1.0, no last
320 -> 1280 convolution and classifier, the last stride of 2 optionally set to 1 *without* dilation (output stride
16), and fast downsampling: stride 2 in the depthwise convolution of the first block.
Additions are plain `+`; the last BatchNorm of a block has no activation (linear bottleneck).
"""

from __future__ import annotations

from torch import Tensor, nn

from edgeailite.models.encoders.chain import Encoder, Stem
from edgeailite.models.layers import Activation, conv_bn_act

# expansion, channels, repeats, stride: table 2 of the paper without its last row
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
STEM_CHANNELS = 32
TAPS = (1, 3, 6, 13, 17)  # last block at each stride
STEM_BLOCK = 3  # input streams are fused after it


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise k x k, project 1x1; the input is added where shape allows (paper, figure 4d)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        expansion: int,
        activation: Activation,
        kernel_size: int = 3,
    ) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.use_shortcut = stride == 1 and in_channels == out_channels
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(conv_bn_act(in_channels, hidden, 1, activation=activation))
        layers += [
            conv_bn_act(hidden, hidden, kernel_size, stride=stride, groups=hidden, activation=activation),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block; the input is added if the shape stays."""
        return x + self.conv(x) if self.use_shortcut else self.conv(x)


def mobilenetv2(
    *,
    output_stride: int = 32,
    fast_down: bool = False,
    width: float = 1.0,
    activation: Activation = nn.ReLU,
    inputs: int = 1,
) -> Encoder:
    """Build MobileNetV2 with features 16@2, 24@4, 32@8, 96@16 and 320@32 (C@stride) at width 1.0.

    Strides are doubled with `fast_down`. A smaller `output_stride` sets later strides to 1.
    """
    rows = _rows(output_stride, fast_down=fast_down, width=width)

    def make_blocks() -> dict[str, nn.Module]:
        """Return the blocks of the chain by name."""
        stem = make_divisible(STEM_CHANNELS * width)
        blocks: dict[str, nn.Module] = {"features.0": conv_bn_act(3, stem, 3, stride=2, activation=activation)}
        in_channels = stem
        for index, (expansion, channels, stride, _) in enumerate(rows, start=1):
            blocks[f"features.{index}"] = InvertedResidual(
                in_channels, channels, stride=stride, expansion=expansion, activation=activation
            )
            in_channels = channels
        return blocks

    taps = {f"features.{index}": (rows[index - 1][1], rows[index - 1][3]) for index in TAPS}
    fused = Stem(f"features.{STEM_BLOCK}", rows[STEM_BLOCK - 1][1])
    return Encoder(make_blocks, taps, stem=fused, inputs=inputs, prefix="features.", activation=activation)


def _rows(output_stride: int, *, fast_down: bool, width: float) -> list[tuple[int, int, int, int]]:
    """(expansion, channels, stride, total stride) of every inverted residual."""
    rows, total = [], 2
    for position, (expansion, channels, repeats, stage_stride) in enumerate(STAGES):
        stride = 2 if fast_down and position == 0 else stage_stride
        stride = stride if total * stride <= output_stride else 1
        total *= stride
        for index in range(repeats):
            rows.append((expansion, make_divisible(channels * width), stride if index == 0 else 1, total))
    return rows


def make_divisible(channels: float, divisor: int = 8) -> int:
    """Return the nearest multiple of `divisor`, not more than 10 % below `channels` (as the reference code)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
