"""RepVGG-A0 (Ding et al., 2021, https://arxiv.org/abs/2101.03697) and MobileOne S0 to S3 (Vasu et al., 2022,
https://arxiv.org/abs/2206.04040) as feature encoders: plain chains of 3x3, or of depthwise 3x3 and 1x1, in use.

Tables of stages are the papers', as in timm's `repvgg_a0` and `mobileone_s*`. What we changed: no classifier; fast
downsampling adds a 3x3 max-pooling of stride 2 after the first block. Key names: `features.<block>.branches.<i>`,
`.point` and `.identity`, blocks numbered through (a MobileOne block counts as two).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from edgeailite.models.encoders.branches import Branches
from edgeailite.models.encoders.chain import Encoder, Stem

REPVGG_DEPTHS, MOBILEONE_DEPTHS = (2, 4, 14, 1), (2, 8, 10, 1)
REPVGG = {"a0": (48, 96, 192, 1280)}  # channels of the stages at stride 4, 8, 16, 32
# the same, and how many equal convolutions are added up in a block
MOBILEONE = {
    "s0": ((48, 128, 256, 1024), 4),
    "s1": ((96, 192, 512, 1280), 1),
    "s2": ((96, 256, 640, 2048), 1),
    "s3": ((128, 320, 768, 2048), 1),
}
MOST_STEM_CHANNELS = 64
POOL = "pool"  # the block that fast downsampling adds


@dataclass(frozen=True)
class Block:
    """A block of a stage: kernel, channels before and after, groups; `first` in its stage, where the stride is."""

    kernel: int
    in_channels: int
    channels: int
    groups: int
    first: bool


def repvgg(variant: str, *, output_stride: int = 32, fast_down: bool = False, inputs: int = 1) -> Encoder:
    """Build RepVGG with features 48@2, 48@4, 96@8, 192@16 and 1280@32 ("a0").

    Strides are doubled with `fast_down`; a smaller `output_stride` sets the strides of later stages to 1.
    """
    channels = REPVGG[variant]
    stem = min(MOST_STEM_CHANNELS, channels[0])
    stages, before = [], stem
    for depth, wide in zip(REPVGG_DEPTHS, channels, strict=True):
        stages.append([Block(3, wide if index else before, wide, 1, index == 0) for index in range(depth)])
        before = wide
    return _encoder(stem, stages, repeats=(1, 1), output_stride=output_stride, fast_down=fast_down, inputs=inputs)


def mobileone(variant: str, *, output_stride: int = 32, fast_down: bool = False, inputs: int = 1) -> Encoder:
    """Build MobileOne with features of 48@2, 48@4, 128@8, 256@16 and 1024@32 ("s0"; wider from "s1" on).

    Strides are doubled with `fast_down`; a smaller `output_stride` sets the strides of later stages to 1.
    """
    channels, repeats = MOBILEONE[variant]
    stem = min(MOST_STEM_CHANNELS, channels[0])
    stages, before = [], stem
    for depth, wide in zip(MOBILEONE_DEPTHS, channels, strict=True):
        stage = []
        for index in range(depth):
            stage += [Block(3, before, before, before, index == 0), Block(1, before, wide, 1, False)]
            before = wide
        stages.append(stage)
    return _encoder(stem, stages, repeats=(1, repeats), output_stride=output_stride, fast_down=fast_down, inputs=inputs)


def _encoder(
    stem: int,
    stages: list[list[Block]],
    *,
    repeats: tuple[int, int],
    output_stride: int,
    fast_down: bool,
    inputs: int,
) -> Encoder:
    """Chain the first convolution of stride 2 and the stages; `repeats` of the first block and of the others."""
    totals = [4 if fast_down else 2]
    for _ in stages:
        totals.append(totals[-1] * (2 if totals[-1] * 2 <= output_stride else 1))
    lasts = [sum(map(len, stages[: index + 1])) for index in range(len(stages))]  # block numbers, from 1

    def make_blocks() -> dict[str, nn.Module]:
        """Return the blocks of the chain by name."""
        blocks: dict[str, nn.Module] = {"features.0": Branches(3, stem, 3, stride=2, repeats=repeats[0])}
        if fast_down:
            blocks[POOL] = nn.MaxPool2d(3, 2, 1)
        for stage, (before, after) in zip(stages, pairwise(totals), strict=True):
            for block in stage:
                stride = after // before if block.first else 1
                blocks[f"features.{len(blocks) - fast_down}"] = _branches(block, stride, repeats[1])
        return blocks

    taps = {POOL if fast_down else "features.0": (stem, totals[0])} | {
        f"features.{last}": (stage[-1].channels, total)
        for last, stage, total in zip(lasts, stages, totals[1:], strict=True)
    }
    return Encoder(
        make_blocks, taps, stem=Stem(f"features.{lasts[0]}", stages[0][-1].channels), inputs=inputs, prefix="features."
    )


def _branches(block: Block, stride: int, repeats: int) -> Branches:
    """The input is added where the published network adds it, even if a smaller output stride allows it elsewhere."""
    identity = not block.first and block.in_channels == block.channels
    return Branches(
        block.in_channels,
        block.channels,
        block.kernel,
        stride=stride,
        groups=block.groups,
        repeats=repeats,
        identity=identity,
    )
