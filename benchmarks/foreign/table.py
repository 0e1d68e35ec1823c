"""The networks that `benchmarks/foreign_networks.py` tries: by name, what makes each, with random weights."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

CLASSES = 19
TORCHVISION = (
    "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "resnet18", "resnet50", "efficientnet_b0",
    "regnet_x_400mf", "shufflenet_v2_x1_0", "squeezenet1_1", "mnasnet1_0", "lraspp_mobilenet_v3_large",
    "deeplabv3_mobilenet_v3_large", "deeplabv3_resnet50", "fcn_resnet50",
)  # fmt: skip
SMP = (
    "Unet/resnet18", "Unet/mobilenet_v2", "Unet/timm-mobilenetv3_small_100", "Unet/timm-tf_efficientnet_lite0",
    "Unet/timm-regnetx_004", "UnetPlusPlus/resnet18", "FPN/mobilenet_v2", "FPN/timm-regnetx_004", "FPN/resnet18",
    "DeepLabV3Plus/mobilenet_v2", "DeepLabV3Plus/resnet18", "PSPNet/resnet18", "PAN/resnet18", "Linknet/resnet18",
    "MAnet/resnet18", "UPerNet/resnet18", "Segformer/mobilenet_v2", "Segformer/mit_b0",
)  # fmt: skip
TIMM = (
    "mobilenetv4_conv_small", "mobilenetv4_conv_medium", "efficientnet_lite0", "mobileone_s0", "repvgg_a0",
    "fastvit_t8", "ghostnet_100", "hardcorenas_a", "tf_mobilenetv3_small_minimal_100", "tf_mobilenetv3_large_100",
)  # fmt: skip
HAND = {
    "PIDNetS": ("pidnet", "PIDNetS", {}),
    "DDRNet23Slim": ("ddrnet", "DDRNet23Slim", {}),
    "BiSeNetV2": ("bisenetv2", "BiSeNetV2", {}),
    "STDC1Seg": ("stdc", "STDC1Seg", {}),
    "STDC1Cls": ("stdc", "STDC1Cls", {}),
    "FastSCNN": ("fastscnn", "FastSCNN", {}),
    "PPLiteSeg": ("ppliteseg", "PPLiteSeg", {}),
    "ENet": ("enet", "ENet", {}),
    "ERFNet": ("erfnet", "ERFNet", {}),
    "SegNet": ("segnet", "SegNet", {}),
    "UNet": ("unet", "UNet", {}),
    "UNet-bilinear": ("unet", "UNet", {"bilinear": True}),
}
OTHERS = (
    "tv.googlenet", "tv.regnet_y_400mf", "tv.densenet121", "tv.convnext_tiny", "timm.mobilenetv3_large_100",
    "timm.resnext50_32x4d", "timm.edgenext_xx_small", "timm.efficientvit_b0", "timm.mobilenetv2_100",
    "timm.cspresnet50", "timm.hrnet_w18_small", "smp.Unet/timm-efficientnet-b0", "smp.DPT/tu-vit_tiny_patch16_224",
)  # fmt: skip
"""Networks that nothing here was fitted to."""


def _torchvision(name: str) -> nn.Module:
    models = importlib.import_module("torchvision.models")
    if hasattr(models.segmentation, name):
        made = getattr(models.segmentation, name)(weights=None, weights_backbone=None, num_classes=CLASSES)
    else:
        extra: dict[str, Any] = {"init_weights": True} if name == "googlenet" else {}
        made = getattr(models, name)(weights=None, **extra)
    assert isinstance(made, nn.Module)
    return made


def _smp(name: str) -> nn.Module:
    smp = importlib.import_module("segmentation_models_pytorch")
    decoder, encoder = name.split("/")
    made = getattr(smp, decoder)(encoder_name=encoder, encoder_weights=None, classes=CLASSES)
    assert isinstance(made, nn.Module)
    return made


def _timm(name: str) -> nn.Module:
    made = importlib.import_module("timm").create_model(name, pretrained=False)
    assert isinstance(made, nn.Module)
    return made


def _hand(name: str) -> nn.Module:
    file, kind, options = HAND[name]
    made = getattr(importlib.import_module(f"benchmarks.foreign.{file}"), kind)(**options)
    assert isinstance(made, nn.Module)
    return made


FAMILIES: dict[str, Callable[[str], nn.Module]] = {"tv": _torchvision, "smp": _smp, "timm": _timm, "hand": _hand}
NAMES = (
    *(f"tv.{name}" for name in TORCHVISION),
    *(f"smp.{name}" for name in SMP),
    *(f"timm.{name}" for name in TIMM),
    *(f"hand.{name}" for name in HAND),
)


def maker(name: str) -> Callable[[], nn.Module]:
    """Return what makes a network, for instance `tv.resnet18`; its family is the part before the point."""
    family, _, rest = name.partition(".")
    return partial(FAMILIES[family], rest)
