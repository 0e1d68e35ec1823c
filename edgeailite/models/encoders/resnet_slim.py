"""ResNet-S, the slim ResNets of FFNet (Mehta et al., 2022, https://arxiv.org/abs/2206.08236): basic blocks, no pooling.

Two strided 3x3 convolutions in the place of the 7x7 and the pooling, and narrower last stages than ResNet-34. Key names
are those of the original code (Qualcomm-AI-research/FFNet).
"""

from __future__ import annotations

from torch import nn

from edgeailite.models.encoders.chain import Encoder, Stem
from edgeailite.models.encoders.residual import BasicBlock

STEM = (32, 64)
CHANNELS = (64, 128, 192, 320)
DEPTHS = {"40s": (4, 5, 6, 4), "78s": (6, 12, 12, 8)}  # blocks at strides 4, 8, 16 and 32


def resnet_slim(variant: str, *, inputs: int = 1) -> Encoder:
    """Build a ResNet-S whose features are those at strides 4, 8, 16 and 32; `variant` is a key of `DEPTHS`."""
    depths = DEPTHS[variant]

    def blocks() -> dict[str, nn.Module]:
        chain: dict[str, nn.Module] = {}
        before = 3
        for index, channels in enumerate(STEM):
            chain[f"conv{index}"] = nn.Conv2d(before, channels, 3, 2, 1, bias=False)
            chain[f"bn{index}"], chain[f"relu{index}"] = nn.BatchNorm2d(channels), nn.ReLU()
            before = channels
        for index, (channels, depth) in enumerate(zip(CHANNELS, depths, strict=True), start=1):
            first = BasicBlock(before, channels, stride=1 if index == 1 else 2)
            chain[f"layer{index}"] = nn.Sequential(first, *(BasicBlock(channels, channels) for _ in range(depth - 1)))
            before = channels
        return chain

    taps = {f"layer{index}": (channels, 2 ** (index + 1)) for index, channels in enumerate(CHANNELS, start=1)}
    return Encoder(blocks, taps, stem=Stem("relu1", STEM[-1]), inputs=inputs)
