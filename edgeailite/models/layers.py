"""Small blocks that encoders and decoders share.

Layout and names follow the published edgeailite code so that its checkpoints load: a block is
`Sequential(conv, bn, activation)`, a separable block is `Sequential(depthwise block, pointwise block)`.
What we changed: sizes of up-sampling come from the target feature, so odd image sizes work.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

Activation = type[nn.ReLU] | type[nn.ReLU6]


def conv_bn_act(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    activation: Activation | None = nn.ReLU,
) -> nn.Sequential:
    """Convolution without bias, BatchNorm and (unless None) activation; "same" padding at stride 1."""
    padding = dilation * (kernel_size // 2)
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias=False)
    block: list[nn.Module] = [conv, nn.BatchNorm2d(out_channels)]
    return nn.Sequential(*block) if activation is None else nn.Sequential(*block, activation())


def separable_conv(
    in_channels: int, out_channels: int, *, dilation: int = 1, groups: int, activation: Activation = nn.ReLU
) -> nn.Sequential:
    """Depthwise (or grouped) 3x3 block followed by a 1x1 block, BatchNorm and activation after both."""
    return nn.Sequential(
        conv_bn_act(in_channels, in_channels, 3, dilation=dilation, groups=groups, activation=activation),
        conv_bn_act(in_channels, out_channels, 1, activation=activation),
    )


def prediction_head(in_channels: int, num_channels: int, *, groups: int) -> nn.Sequential:
    """Depthwise 3x3 + BatchNorm without activation, then a plain 1x1 convolution without bias."""
    return nn.Sequential(
        conv_bn_act(in_channels, in_channels, 3, groups=groups, activation=None),
        nn.Sequential(nn.Conv2d(in_channels, num_channels, 1, bias=False)),
    )


def resize_like(x: Tensor, reference: Tensor) -> Tensor:
    """Bilinear resize (half-pixel centres) of `x` (N,C,h,w) to the height and width of `reference`."""
    return F.interpolate(x, size=reference.shape[-2:], mode="bilinear", align_corners=False)


def initialize_weights(model: nn.Module) -> None:
    """Published initial values: kaiming normal (fan out) for convolutions, 1 - 1e-5 and 0 for BatchNorm."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 1 - 1e-5)
            nn.init.zeros_(module.bias)
