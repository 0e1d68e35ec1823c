"""Presets of the ADE20K encoder and decoder pairs: the rows of the published tables of 2018 and later, and of 2017."""

from __future__ import annotations

from dataclasses import dataclass

from edgeailite.presets.record import Preset

_CSAIL = "http://sceneparsing.csail.mit.edu/model/pretrained_resnet"
BACKBONES = {
    "mobilenetv2": f"{_CSAIL}/mobilenet_v2.pth.tar",
    "resnet18": f"{_CSAIL}/resnet18-imagenet.pth",
    "resnet50": f"{_CSAIL}/resnet50-imagenet.pth",
    "resnet101": f"{_CSAIL}/resnet101-imagenet.pth",
    "hrnetv2": f"{_CSAIL}/hrnetv2_w48-imagenet.pth",
    "v1_resnet34": f"{_CSAIL}/resnet34-places365.pth",
    "v1_resnet50": f"{_CSAIL}/resnet50-places365.pth",
}
_ITERATIONS = 5000  # of an epoch
_IMAGENET = (
    "--image_mean 123.675 116.28 103.53 "
    "--image_scale 0.017124753831663668 0.01750700280112045 0.017429193899782137 --interpolation area"
)
_COMMON = f"--dataset_name ade20k_segmentation {_IMAGENET} --optimizer sgd --scheduler poly --warmup_epochs 0"


@dataclass(frozen=True)
class Pair:
    """Encoder and decoder, epochs, padding, pictures per GPU, published mIoU on one size in per cent."""

    network: str
    backbone: str
    epochs: int
    miou: str = ""
    padding: int = 8
    per_gpu: int = 2

    def preset(self) -> Preset:
        """Return the preset that trains with the batch of eight GPUs."""
        batch = 8 * self.per_gpu
        flags = (
            f"--model_name {self.network} {_COMMON} --pretrained {BACKBONES[self.backbone]} --pipeline ade20k "
            f"--padding {self.padding} --img_resize 512 512 --color_jitter 0 --epochs {self.epochs} "
            f"--batch_size {batch} --epoch_size {_ITERATIONS * batch} --lr 0.02 --decay weights --seed 304"
        )
        return Preset(f"150 classes, published mIoU {self.miou} % on one size", "train", flags)


_PAIRS = (
    Pair("resnet50dilated_c1_deepsup", "resnet50", 20, "34.88"),
    Pair("resnet50dilated_ppm_deepsup", "resnet50", 20, "41.26"),
    Pair("resnet101dilated_ppm_deepsup", "resnet101", 25, "42.19"),
    Pair("resnet50_upernet", "resnet50", 30, "40.44", padding=32),
    Pair("resnet101_upernet", "resnet101", 40, "42.00", padding=32),
    Pair("mobilenetv2dilated_c1_deepsup", "mobilenetv2", 20, "34.84", per_gpu=3),
    Pair("mobilenetv2dilated_ppm_deepsup", "mobilenetv2", 20, "35.76", per_gpu=3),
    Pair("resnet18dilated_c1_deepsup", "resnet18", 20, "33.82"),
    Pair("resnet18dilated_ppm_deepsup", "resnet18", 20, "38.00"),
    Pair("hrnetv2_c1", "hrnetv2", 30, "42.03", padding=32),
)
# 2017: pictures of 384x384, factors 0.5 to 1.5, rate by epoch, everything decays
_PAIRS_2017 = (
    Pair("v1_resnet34_dilated8_c1_bilinear", "v1_resnet34", 100, "32.77"),
    Pair("v1_resnet34_dilated8_psp_bilinear", "v1_resnet34", 100, "36.34"),
    Pair("v1_resnet50_dilated8_c1_bilinear", "v1_resnet50", 100, "33.85"),
    Pair("v1_resnet50_dilated8_psp_bilinear", "v1_resnet50", 100, "38.00"),
)


def _preset_2017(pair: Pair) -> Preset:
    flags = (
        f"--model_name {pair.network} --align_corners True {_COMMON} --pretrained {BACKBONES[pair.backbone]} "
        f"--img_resize 384 384 --rand_scale 0.5 1.5 --rotation 0 --color_jitter 0 --epochs {pair.epochs} "
        "--batch_size 16 --lr 1e-2 --lr_encoder 1e-3 --weight_decay 1e-4 --schedule_by epoch --seed 1234"
    )
    return Preset(f"150 classes, the network of 2017, published mIoU {pair.miou} % on several sizes", "train", flags)


PAIRS = {f"ade20k_{pair.network}": pair.preset() for pair in _PAIRS} | {
    f"ade20k_{pair.network}": _preset_2017(pair) for pair in _PAIRS_2017
}
