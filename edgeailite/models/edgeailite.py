"""The edgeailite family: every backbone with DeepLabV3+Lite, FPN and UNet, normal and with fast downsampling.

Names by rule: `{deeplabv3plus|fpn_aspp|unet_aspp}_{backbone}[_fd]_edgeailite`. Source: TI's edgeai-torchvision
(r8.2); irregular published spellings are rows of `ALIASES`. EfficientNet-Lite, MobileNetV4, RepVGG and
MobileOne are other backbones under the same decoders: no network of TI's has them. `fpn128full_aspp_*` is ours, too:
the FPN smooths 128 channels with full 3x3 convolutions, which costs more multiplications, and less time in training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from edgeailite.models.decoders.deeplabv3plus import DeepLabV3PlusLite
from edgeailite.models.decoders.fpn import FPN
from edgeailite.models.decoders.unet import UNet
from edgeailite.models.encoders.chain import Encoder
from edgeailite.models.encoders.efficientnet_lite import VARIANTS as EFFICIENTNET_LITE
from edgeailite.models.encoders.efficientnet_lite import efficientnet_lite
from edgeailite.models.encoders.mobilenetv2 import mobilenetv2
from edgeailite.models.encoders.mobilenetv4 import VARIANTS as MOBILENETV4_CONV
from edgeailite.models.encoders.mobilenetv4 import mobilenetv4_conv
from edgeailite.models.encoders.regnetx import regnetx
from edgeailite.models.encoders.reparameterized import MOBILEONE, REPVGG, mobileone, repvgg
from edgeailite.models.encoders.resnet import resnet50
from edgeailite.models.layers import initialize_weights
from edgeailite.models.pixel2pixel import Pixel2Pixel
from edgeailite.models.row import ModelRow

PREDICTION_STD = 0.01  # the published value gives logits of std 6, which cost the first hundreds of steps


@dataclass(frozen=True)
class Backbone:
    """An encoder and the widths its decoders have: of ASPP and decoder, of the DeepLabV3+ shortcut."""

    encoder: Callable[..., Encoder]
    width: int = 256
    shortcut_channels: int = 48


BACKBONES: dict[str, Backbone] = {
    "mobilenetv2_tv": Backbone(mobilenetv2),
    "mobilenetv2_tv_1p4": Backbone(partial(mobilenetv2, width=1.4, activation=nn.ReLU6), 360, 64),
    "regnetx400mf": Backbone(partial(regnetx, "400mf")),
    "regnetx800mf": Backbone(partial(regnetx, "800mf")),
    "regnetx1p6gf": Backbone(partial(regnetx, "1p6gf"), 264),
    "regnetx3p2gf": Backbone(partial(regnetx, "3p2gf"), 288),
    "resnet50": Backbone(resnet50),
    "resnet50_p5": Backbone(partial(resnet50, width=0.5)),
    **{f"efficientnet_lite{v}": Backbone(partial(efficientnet_lite, v)) for v in EFFICIENTNET_LITE},
    **{f"mobilenetv4_conv_{v}": Backbone(partial(mobilenetv4_conv, v)) for v in MOBILENETV4_CONV},
    **{f"repvgg_{v}": Backbone(partial(repvgg, v)) for v in REPVGG},
    **{f"mobileone_{v}": Backbone(partial(mobileone, v)) for v in MOBILEONE},
}
WITH_FULL_CONVOLUTIONS = (  # the backbones under FPN of 128 channels whose 3x3 convolutions are not depthwise
    "mobilenetv2_tv",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "mobilenetv4_conv_small",
)


def _row(backbone: str, kind: str, encoder: Callable[..., Encoder], decoder: Callable[..., nn.Module]) -> ModelRow:
    return ModelRow("edgeailite", backbone, kind, encoder, decoder)


def _rows(name: str, backbone: Backbone, *, fast_down: bool) -> dict[str, ModelRow]:
    """The three decoders on one backbone."""
    factor, suffix = (2, "_fd") if fast_down else (1, "")
    wide, encoder = backbone.width, partial(backbone.encoder, fast_down=fast_down)
    deeplab = partial(
        DeepLabV3PlusLite, width=wide, shortcut_channels=backbone.shortcut_channels, shortcut_stride=4 * factor
    )
    deepest, halved = partial(encoder, output_stride=32 * factor), partial(encoder, output_stride=16 * factor)
    rows: dict[str, tuple[Callable[..., Encoder], Callable[..., nn.Module]]] = {
        "deeplabv3plus": (halved, deeplab),
        "fpn_aspp": (deepest, partial(FPN, width=wide, finest_stride=4 * factor)),
        "unet_aspp": (deepest, partial(UNet, width=wide)),
    }
    return {f"{kind}_{name}{suffix}_edgeailite": _row(f"{name}{suffix}", kind, *parts) for kind, parts in rows.items()}


_fast_mobilenet = partial(mobilenetv2, fast_down=True, output_stride=64)

MODELS: dict[str, ModelRow] = {
    **{
        name: row
        for backbone, record in BACKBONES.items()
        for fast_down in (False, True)
        for name, row in _rows(backbone, record, fast_down=fast_down).items()
    },
    **{
        f"fpn128full_aspp_{name}_edgeailite": _row(
            name, "fpn128full_aspp", BACKBONES[name].encoder, partial(FPN, width=128, separable=False)
        )
        for name in WITH_FULL_CONVOLUTIONS
    },
    "fpn_mobilenetv2_tv_edgeailite": _row("mobilenetv2_tv", "fpn", mobilenetv2, partial(FPN, rf_block=True)),
    "fpn_mobilenetv2_tv_fd_edgeailite": _row(
        "mobilenetv2_tv_fd", "fpn", _fast_mobilenet, partial(FPN, rf_block=True, finest_stride=8)
    ),
    "fpn128_aspp_mobilenetv2_tv_fd_edgeailite": _row(
        "mobilenetv2_tv_fd", "fpn128_aspp", _fast_mobilenet, partial(FPN, width=128, finest_stride=4)
    ),
}

ALIASES: dict[str, str] = {
    "fpn_aspp_mobilenetv2_1p4_tv_edgeailite": "fpn_aspp_mobilenetv2_tv_1p4_edgeailite",
    "unet_edgeailite_pixel2pixel_aspp_mobilenetv2_tv": "unet_aspp_mobilenetv2_tv_edgeailite",
    "deeplabv3plus_edgeailite_resnet50_fd": "deeplabv3plus_resnet50_fd_edgeailite",
}


def _spellings_of_release_8() -> dict[str, str]:
    """Releases 8.0 and 8.1 wrote `<decoder>_edgeailite_[aspp_]<backbone>`."""
    spelled = {}
    for name, row in MODELS.items():
        head, _, aspp = row.decoder.partition("_")
        spelled[f"{head}_edgeailite_{aspp + '_' if aspp else ''}{row.encoder}"] = name
    return spelled


ALIASES |= {old: name for old, name in _spellings_of_release_8().items() if old not in MODELS}


def initialize(model: Pixel2Pixel) -> None:
    """Set the published initial values; the last convolution starts smaller."""
    initialize_weights(model)
    for decoder in model.decoders:
        nn.init.normal_(decoder.get_parameter("pred.1.0.weight"), std=PREDICTION_STD)
