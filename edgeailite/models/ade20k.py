"""The ADE20K family: encoders and decoders of CSAIL's semantic-segmentation-pytorch, of all its years.

Names by rule: `<encoder>_<decoder>` for the networks of 2018 and later, `v1_<encoder>_<decoder>` for those of 2017,
whose `resnet50_dilated8` is another network than the later one. Encoders with several features go with every decoder;
HRNetV2 has one feature, so deep supervision and UPerNet are not possible on it. BatchNorm has torch's momentum of 0.1:
the published 0.001 belongs to synchronised statistics that start as a plain mean, and without those the running
statistics would need thousands of steps. Beyond the published combinations:
ResNet34, dilated ResNeXt101, output stride 16 by name, and UPerNet on every encoder with several features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

from torch import nn

from edgeailite.models.decoders.c1 import C1, C1Bilinear, C1DeepSup, C5Bilinear
from edgeailite.models.decoders.ppm import PPM, PPMDeepSup, PSPBilinear
from edgeailite.models.decoders.upernet import UPerNet
from edgeailite.models.encoders.chain import Encoder
from edgeailite.models.encoders.hrnet import hrnetv2
from edgeailite.models.encoders.mobilenetv2_dilated import mobilenetv2_dilated
from edgeailite.models.encoders.resnet_deepstem import VARIANTS, deepstem_resnet, deepstem_resnet_v1
from edgeailite.models.encoders.vgg import dilated_vgg
from edgeailite.models.pixel2pixel import Pixel2Pixel
from edgeailite.models.row import ModelRow

Encoders = Mapping[str, Callable[..., Encoder]]
Decoders = Mapping[str, Callable[..., nn.Module]]

ENCODERS: Encoders = {
    "mobilenetv2dilated": mobilenetv2_dilated,
    "mobilenetv2_dilated16": partial(mobilenetv2_dilated, output_stride=16),
    **{
        f"{name}{suffix}": partial(deepstem_resnet, name, output_stride=output_stride)
        for name in VARIANTS
        for suffix, output_stride in (("", 32), ("dilated", 8), ("_dilated16", 16))
    },
}
ENCODERS_WITH_ONE_FEATURE: Encoders = {"hrnetv2": hrnetv2}
V1_ENCODERS: Encoders = {
    **{
        f"v1_{name}{suffix}": partial(deepstem_resnet_v1, name, output_stride=output_stride)
        for name in ("resnet34", "resnet50")
        for suffix, output_stride in (("", 32), ("_dilated8", 8), ("_dilated16", 16))
    },
    **{f"v1_{name}_dilated8": partial(dilated_vgg, name) for name in ("vgg16", "vgg19")},
}

DECODERS_OF_ONE_FEATURE: Decoders = {"c1": C1, "ppm": PPM}
DECODERS: Decoders = {
    **DECODERS_OF_ONE_FEATURE,
    "c1_deepsup": C1DeepSup,
    "ppm_deepsup": PPMDeepSup,
    "upernet": UPerNet,
    "upernet_lite": partial(UPerNet, width=256),
}
V1_DECODERS: Decoders = {"c1_bilinear": C1Bilinear, "psp_bilinear": PSPBilinear}
V1_DECODERS_OF_512_CHANNELS: Decoders = {"c5_bilinear": C5Bilinear}  # four 3x3 at full width: for ResNet34 alone


def _rows(encoders: Encoders, decoders: Decoders) -> dict[str, ModelRow]:
    """Every encoder with every decoder."""
    return {
        f"{encoder}_{decoder}": ModelRow("ade20k", encoder, decoder, make_encoder, make_decoder)
        for encoder, make_encoder in encoders.items()
        for decoder, make_decoder in decoders.items()
    }


MODELS: dict[str, ModelRow] = {
    **_rows(ENCODERS, DECODERS),
    **_rows(ENCODERS_WITH_ONE_FEATURE, DECODERS_OF_ONE_FEATURE),
    **_rows(V1_ENCODERS, V1_DECODERS),
    **_rows({k: v for k, v in V1_ENCODERS.items() if "resnet34" in k}, V1_DECODERS_OF_512_CHANNELS),
}

# spellings of 2018: encoders end in `_dilated8`, decoders say how the prediction is resized
OLDER_DECODERS = {
    "c1": "c1_bilinear",
    "c1_deepsup": "c1_bilinear_deepsup",
    "ppm": "ppm_bilinear",
    "ppm_deepsup": "ppm_bilinear_deepsup",
}


def _older_encoder(name: str) -> str:
    return f"{name.removesuffix('dilated')}_dilated8" if name.endswith("dilated") else name


def _spellings_of_2018() -> dict[str, str]:
    """Every name of 2018 and later with its encoder, its decoder or both in the older spelling.

    Not ResNet34: `resnet34_dilated8_c1_bilinear` was published in 2017, and is `v1_resnet34_dilated8_c1_bilinear`.
    """
    return {
        f"{encoder}_{decoder}": name
        for name, row in MODELS.items()
        if row.encoder not in V1_ENCODERS and not row.encoder.startswith("resnet34")
        for encoder in (row.encoder, _older_encoder(row.encoder))
        for decoder in (row.decoder, OLDER_DECODERS.get(row.decoder, row.decoder))
    }


ALIASES: dict[str, str] = {old: name for old, name in _spellings_of_2018().items() if old not in MODELS}

CLAMPED_START, CLAMPED_STD = 0.1, 1e-3


def initialize(model: Pixel2Pixel) -> None:
    """Set the published initial values, for encoders without pretrained weights and for all decoders.

    Encoder: convolutions normal with variance 2 / (k*k*out), no bias; BatchNorm 1 and 0. Decoder: convolution weights
    kaiming normal (fan in), their biases torch's; BatchNorm 1 and 1e-4. Our own: a clamped output starts inside its
    limits, because outside it has no gradient.
    """
    for module in model.encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=math.sqrt(2 / (math.prod(module.kernel_size) * module.out_channels)))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    for module in model.decoders.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.constant_(module.bias, 1e-4)
    for output, decoder in zip(model.outputs, model.decoders, strict=True):
        if output in model.limits:
            _start_inside(decoder, model.limits[output])


def _start_inside(decoder: nn.Module, limits: nn.Module) -> None:
    """Small positive weights on features that are never negative, and a bias near the lower limit."""
    assert isinstance(limits, nn.Hardtanh)
    low, high = limits.min_val, limits.max_val
    for name, head in decoder.named_children():
        if name.startswith("conv_last"):
            prediction = [module for module in head.modules() if isinstance(module, nn.Conv2d)][-1]
            nn.init.normal_(prediction.weight, std=CLAMPED_STD)
            prediction.weight.data.abs_()
            if prediction.bias is not None:
                nn.init.constant_(prediction.bias, low + CLAMPED_START * (high - low))
