"""ResNet and ResNeXt (He et al., 2016, https://arxiv.org/abs/1512.03385; Xie et al., 2017, https://arxiv.org/abs/1611.05431)
with a deep stem and dilation, as in the ADE20K family (CSAIL semantic-segmentation-pytorch).

The stem is three 3x3 convolutions in place of one 7x7. Its last one has 64 channels in the 2017 networks (`v1_*`) and
128 afterwards, so the two generations are different networks under similar names. Key names are the published ones.
Where a smaller `output_stride` drops a stride of 2, the dilation doubles *after* the first 3x3 convolution of the
stage, which keeps that of the stage before: 1 (then 2) and 2 (then 4) at output stride 8.
Beyond the published code: ResNet34 with the 128-channel stem, dilated ResNeXt101, several inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from edgeailite.models.encoders.chain import Encoder, Stem
from edgeailite.models.encoders.residual import BasicBlock, Block, Bottleneck, GroupBottleneck, stage

FIRST_CHANNELS = 64  # of the stem's first two convolutions


@dataclass(frozen=True)
class Variant:
    """Block, blocks per stage, planes of the first stage (doubled in each further one), groups of the 3x3."""

    block: Block
    depths: tuple[int, int, int, int]
    planes: int = 64
    groups: int = 1


VARIANTS = {
    "resnet18": Variant(BasicBlock, (2, 2, 2, 2)),
    "resnet34": Variant(BasicBlock, (3, 4, 6, 3)),
    "resnet50": Variant(Bottleneck, (3, 4, 6, 3)),
    "resnet101": Variant(Bottleneck, (3, 4, 23, 3)),
    "resnext101": Variant(GroupBottleneck, (3, 4, 23, 3), planes=128, groups=32),
}


def deepstem_resnet(name: str, *, output_stride: int = 32, inputs: int = 1) -> Encoder:
    """Build an encoder of four stages @4, 8, 16, 32 (strides up to `output_stride`); stem of 128 channels.

    256, 512, 1024 and 2048 channels for ResNet50, 101 and ResNeXt101, 64 to 512 for ResNet18 and 34.
    """
    layers = ("layer1", "layer2", "layer3", "layer4")
    return _encoder(VARIANTS[name], layers, stem_channels=128, output_stride=output_stride, inputs=inputs)


def deepstem_resnet_v1(name: str, *, output_stride: int = 32, inputs: int = 1) -> Encoder:
    """Build the 2017 network: stem of 64 channels, and the last stage's feature alone."""
    return _encoder(VARIANTS[name], ("layer4",), stem_channels=64, output_stride=output_stride, inputs=inputs)


def _encoder(
    variant: Variant, tapped: tuple[str, ...], *, stem_channels: int, output_stride: int, inputs: int
) -> Encoder:
    plan = _plan(len(variant.depths), output_stride)

    def make_blocks() -> dict[str, nn.Module]:
        """Return the blocks of the chain by name."""
        blocks = _stem(stem_channels)
        in_channels = stem_channels
        for index, (depth, (stride, first, dilation, _)) in enumerate(zip(variant.depths, plan, strict=True)):
            planes = variant.planes * 2**index
            blocks[f"layer{index + 1}"] = stage(
                variant.block,
                in_channels,
                planes,
                depth,
                stride=stride,
                dilation=dilation,
                first_dilation=first,
                groups=variant.groups,
            )
            in_channels = planes * variant.block.expansion
        return blocks

    features = {
        f"layer{i + 1}": (variant.planes * 2**i * variant.block.expansion, total) for i, (*_, total) in enumerate(plan)
    }
    taps = {name: features[name] for name in tapped}
    return Encoder(make_blocks, taps, stem=Stem("maxpool", stem_channels), inputs=inputs)


def _plan(stages: int, output_stride: int) -> list[tuple[int, int, int, int]]:
    """(stride, dilation of the first 3x3, dilation of the others, total stride) of every stage."""
    plan, total, dilation = [], 4, 1
    for index in range(stages):
        first, wanted = dilation, 2 if index > 0 else 1
        stride = wanted if total * wanted <= output_stride else 1
        dilation *= wanted // stride
        total *= stride
        plan.append((stride, first, dilation, total))
    return plan


def _stem(channels: int) -> dict[str, nn.Module]:
    """Three 3x3 convolutions, the first with stride 2, and max-pooling."""
    blocks: dict[str, nn.Module] = {}
    in_channels = 3
    for index, (out_channels, stride) in enumerate(((FIRST_CHANNELS, 2), (FIRST_CHANNELS, 1), (channels, 1)), start=1):
        blocks[f"conv{index}"] = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        blocks[f"bn{index}"] = nn.BatchNorm2d(out_channels)
        blocks[f"relu{index}"] = nn.ReLU()
        in_channels = out_channels
    blocks["maxpool"] = nn.MaxPool2d(3, 2, 1)
    return blocks
