"""VGG16 and VGG19 (Simonyan and Zisserman, 2015, https://arxiv.org/abs/1409.1556) at output stride 8, as in the 2017
ADE20K networks (CSAIL semantic-segmentation-pytorch).

The last two of five poolings are left out, and the convolutions after the fourth are dilated by 2. The classifier's
first two layers became convolutions: 7x7 with dilation 4, and 1x1, each with ReLU and dropout of whole channels.
Numbers of `features` are torchvision's without the poolings that were left out. Convolutions have a bias; there is no
BatchNorm. Beyond the published code: several inputs.
"""

from __future__ import annotations

from torch import nn

from edgeailite.models.encoders.chain import Encoder, Stem

WIDTHS = (64, 128, 256, 512, 512)
DEPTHS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
POOLED_STAGES, DILATED_STAGE = 3, 4
CLASSIFIER_CHANNELS = 4096
STEM = Stem("features.9", WIDTHS[1])  # the second pooling: stride 4


def dilated_vgg(name: str, *, inputs: int = 1) -> Encoder:
    """Build dilated VGG with one feature: 4096 channels at stride 8. `name` is vgg16 or vgg19."""

    def make_blocks() -> dict[str, nn.Module]:
        """Return the blocks of the chain by name."""
        layers: list[nn.Module] = []
        in_channels = 3
        for index, (width, depth) in enumerate(zip(WIDTHS, DEPTHS[name], strict=True)):
            dilation = 2 if index == DILATED_STAGE else 1
            for _ in range(depth):
                layers += [nn.Conv2d(in_channels, width, 3, 1, dilation, dilation), nn.ReLU()]
                in_channels = width
            if index < POOLED_STAGES:
                layers.append(nn.MaxPool2d(2))
        return {f"features.{index}": layer for index, layer in enumerate(layers)} | _classifier(in_channels)

    return Encoder(make_blocks, {"dropout7": (CLASSIFIER_CHANNELS, 8)}, stem=STEM, inputs=inputs)


def _classifier(in_channels: int) -> dict[str, nn.Module]:
    return {
        "conv6": nn.Conv2d(in_channels, CLASSIFIER_CHANNELS, 7, 1, padding=12, dilation=4),
        "relu6": nn.ReLU(),
        "dropout6": nn.Dropout2d(0.5),
        "conv7": nn.Conv2d(CLASSIFIER_CHANNELS, CLASSIFIER_CHANNELS, 1),
        "relu7": nn.ReLU(),
        "dropout7": nn.Dropout2d(0.5),
    }
