"""EfficientNet-Lite 0 to 4 (Tan and Le, 2019, https://arxiv.org/abs/1905.11946; the Lite variants are Google's) as
feature encoders.

Lite means ReLU6 for Swish and no squeeze-and-excitation, so that every layer has an integer kernel. Blocks are
MobileNetV2's inverted residuals, some with 5x5 kernels. What we changed: no last 320 -> 1280 convolution and
classifier; padding is the same on both sides, as in timm's `efficientnet_lite*` (TensorFlow's pads right and bottom
more); key names are those of our MobileNetV2; fast downsampling puts stride 2 into the first block.
"""

from __future__ import annotations

import math

from torch import nn

from edgeailite.models.encoders.chain import Encoder, Stem
from edgeailite.models.encoders.mobilenetv2 import InvertedResidual, make_divisible
from edgeailite.models.layers import conv_bn_act

# expansion, kernel, channels, repeats, stride: table 1 of the paper. The first and the last stage are never repeated.
STAGES = (
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)
# width and depth multiplier
VARIANTS = {"0": (1.0, 1.0), "1": (1.0, 1.1), "2": (1.1, 1.2), "3": (1.2, 1.4), "4": (1.4, 1.8)}
STEM_CHANNELS = 32
TAPPED_STAGES = (0, 1, 2, 4, 6)  # the last stage at each stride
STEM_STAGE = 1  # input streams are fused after it

Row = tuple[int, int, int, int]  # expansion, kernel, channels, stride


def efficientnet_lite(variant: str, *, output_stride: int = 32, fast_down: bool = False, inputs: int = 1) -> Encoder:
    """Build EfficientNet-Lite with features 16@2, 24@4, 40@8, 112@16, 320@32 (variants "0" and "1"; wider from "2" on).

    Strides are doubled with `fast_down`; a smaller `output_stride` sets later strides to 1.
    """
    stages, totals = _stages(variant, output_stride, fast_down=fast_down)
    rows = [row for stage in stages for row in stage]
    last = [sum(map(len, stages[: index + 1])) for index in range(len(stages))]  # block numbers, from 1

    def make_blocks() -> dict[str, nn.Module]:
        """Return the blocks of the chain by name."""
        blocks: dict[str, nn.Module] = {"features.0": conv_bn_act(3, STEM_CHANNELS, 3, stride=2, activation=nn.ReLU6)}
        in_channels = STEM_CHANNELS
        for index, (expansion, kernel, channels, stride) in enumerate(rows, start=1):
            blocks[f"features.{index}"] = InvertedResidual(
                in_channels, channels, stride=stride, expansion=expansion, activation=nn.ReLU6, kernel_size=kernel
            )
            in_channels = channels
        return blocks

    taps = {f"features.{last[stage]}": (stages[stage][0][2], totals[stage]) for stage in TAPPED_STAGES}
    stem = Stem(f"features.{last[STEM_STAGE]}", stages[STEM_STAGE][0][2])
    return Encoder(make_blocks, taps, stem=stem, inputs=inputs, prefix="features.", activation=nn.ReLU6)


def _stages(variant: str, output_stride: int, *, fast_down: bool) -> tuple[list[list[Row]], list[int]]:
    """Blocks of every stage, and the total stride after it."""
    width, depth = VARIANTS[variant]
    stages: list[list[Row]] = []
    totals: list[int] = []
    for position, (expansion, kernel, channels, repeats, stage_stride) in enumerate(STAGES):
        total = totals[-1] if totals else 2
        stride = 2 if fast_down and position == 0 else stage_stride
        stride = stride if total * stride <= output_stride else 1
        totals.append(total * stride)
        count = repeats if position in (0, len(STAGES) - 1) else math.ceil(repeats * depth)
        wide = make_divisible(channels * width)
        stages.append([(expansion, kernel, wide, stride if index == 0 else 1) for index in range(count)])
    return stages, totals
