"""Presets of the edgeailite networks: the rows of the published results and of the published run scripts."""

from __future__ import annotations

from dataclasses import dataclass

from edgeailite.presets.record import ADAM, SGD, SIXTY_MOBILENET, SIXTY_REGNET, WEIGHTS, Preset, Start, size_flags


@dataclass(frozen=True)
class Row:
    """A network on a data set: decoder and backbone by their names here, size, crop, published mIoU in per cent."""

    decoder: str
    backbone: str
    height: int
    width: int
    miou: str = ""
    crop: tuple[int, int] | None = None
    fast: bool = False
    batch: int | None = None

    @property
    def model_name(self) -> str:
        """Return the network's name."""
        head = {"deeplab": "deeplabv3plus", "fpn": "fpn_aspp", "unet": "unet_aspp"}[self.decoder]
        tail = {"mobilenetv2": "mobilenetv2_tv", "mobilenetv2_1p4": "mobilenetv2_tv_1p4"}.get(
            self.backbone, self.backbone
        )
        return f"{head}_{tail}{'_fd' if self.fast else ''}_edgeailite"

    @property
    def name(self) -> str:
        """Return decoder, backbone and width x height, as a preset's name ends."""
        return f"{self.decoder}_{self.backbone}{'_fd' if self.fast else ''}_{self.width}x{self.height}"

    @property
    def line(self) -> str:
        """Return the line that `--list` prints."""
        decoder = {"deeplab": "DeepLabV3+Lite", "fpn": "FPN-Lite", "unet": "UNet-Lite"}[self.decoder]
        published = f", published mIoU {self.miou} %" if self.miou else ""
        return f"{decoder} on {self.backbone}{' with fast downsampling' if self.fast else ''}{published}"

    def preset(self, dataset: str, recipe: str, more: str = "") -> Preset:
        """Return the training of this row."""
        size = size_flags(self.height, self.width, crop=self.crop)
        learn = Start(WEIGHTS[self.backbone], recipe).flags
        if self.batch is not None:
            learn = learn.rpartition("--batch_size")[0] + f"--batch_size {self.batch}"
        flags = f"--dataset_name {dataset} --model_name {self.model_name} {size} {more} {learn}"
        return Preset(self.line, "train", " ".join(flags.split()))


_HALF = (512, 1024)  # of 768x1536
_CITYSCAPES = (
    Row("deeplab", "mobilenetv2", 384, 768, "69.13"),
    Row("unet", "mobilenetv2", 384, 768, "68.94"),
    Row("fpn", "mobilenetv2", 384, 768, "70.39"),
    Row("fpn", "mobilenetv2", 768, 1536, "74.61", crop=_HALF),
    Row("deeplab", "mobilenetv2", 768, 1536, crop=_HALF),
    Row("fpn", "mobilenetv2", 768, 1536, "71.28", crop=_HALF, fast=True),
    Row("fpn", "mobilenetv2", 1024, 2048, "72.67", crop=_HALF, fast=True),
    Row("deeplab", "mobilenetv2", 768, 1536, crop=_HALF, fast=True),
    Row("deeplab", "resnet50", 384, 768),
    Row("deeplab", "resnet50", 768, 1536, crop=_HALF, fast=True),
    Row("deeplab", "resnet50_p5", 384, 768),
    Row("fpn", "regnetx400mf", 384, 768, "68.03"),
    Row("fpn", "regnetx400mf", 768, 1536, "73.96", crop=_HALF),
    Row("fpn", "regnetx800mf", 384, 768, "72.01"),
    Row("deeplab", "regnetx800mf", 384, 768),
    Row("unet", "regnetx800mf", 384, 768),
    Row("fpn", "regnetx1p6gf", 512, 1024, "75.84"),
    Row("fpn", "regnetx3p2gf", 512, 1024, "77.24"),
    Row("fpn", "regnetx3p2gf", 768, 1536, "78.90", crop=_HALF),
)
_VOC = (Row("deeplab", "mobilenetv2", 512, 512), Row("fpn", "regnetx800mf", 512, 512))
_ADE20K32 = (
    Row("deeplab", "mobilenetv2", 512, 512, "51.01"),
    Row("unet", "mobilenetv2", 512, 512, "49.95"),
    Row("fpn", "mobilenetv2", 512, 512, "50.72"),
    Row("fpn", "mobilenetv2_1p4", 512, 512, "52.93"),
    Row("fpn", "regnetx400mf", 384, 384, "51.03"),
    Row("fpn", "regnetx800mf", 512, 512, "53.29"),
    Row("fpn", "regnetx1p6gf", 512, 512),
    Row("fpn", "regnetx3p2gf", 256, 256),
)
_ADE20K = (
    Row("deeplab", "mobilenetv2", 512, 512),
    Row("unet", "mobilenetv2", 512, 512),
    Row("fpn", "mobilenetv2", 512, 512),
    Row("fpn", "regnetx400mf", 384, 384),
    Row("fpn", "regnetx800mf", 512, 512),
)
_COCO21 = (
    Row("deeplab", "mobilenetv2", 512, 512, "57.77"),
    Row("unet", "mobilenetv2", 512, 512, "57.01"),
    Row("fpn", "mobilenetv2", 512, 512),
    Row("fpn", "regnetx400mf", 384, 384),
    Row("fpn", "regnetx800mf", 512, 512, "61.15"),
    Row("fpn", "regnetx1p6gf", 768, 768, batch=16),
    Row("fpn", "regnetx3p2gf", 1024, 1024, crop=(768, 768), batch=16),
)


def _long(backbone: str) -> str:
    """250 epochs: Adam in steps, for RegNet SGD on a cosine."""
    return SGD if backbone.startswith("regnet") else ADAM


def _short(backbone: str) -> str:
    """60 epochs of SGD on a cosine."""
    return SIXTY_REGNET if backbone.startswith("regnet") else SIXTY_MOBILENET


_OUT_ADE, _OUT_COCO = "--output_size 768 768", "--output_size 1024 1024"
CITYSCAPES = {
    f"cityscapes_{row.name}": row.preset("cityscapes_segmentation", _long(row.backbone)) for row in _CITYSCAPES
}
VOC = {f"voc_{row.name}": row.preset("voc_segmentation", _long(row.backbone)) for row in _VOC}
ADE20K32 = {
    f"ade20k32_{row.name}": row.preset("ade20k_seg_class32", _short(row.backbone), _OUT_ADE) for row in _ADE20K32
}
ADE20K = {
    f"ade20k_{row.name}": row.preset("ade20k_segmentation_151", _short(row.backbone), _OUT_ADE) for row in _ADE20K
}
_LINEAR = "--interpolation linear_exact"


def _linear(preset: Preset) -> Preset:
    """COCO's pictures are resized linearly, as published."""
    return Preset(preset.line, preset.verb, preset.flags.replace("--interpolation area", _LINEAR))


_COCO80 = Row("fpn", "regnetx800mf", 384, 768).preset("coco_segmentation", SGD.replace("--epochs 250", "--epochs 30"))
COCO = {f"coco21_{row.name}": _linear(row.preset("coco_seg21", _short(row.backbone), _OUT_COCO)) for row in _COCO21} | {
    "coco80_fpn_regnetx800mf_768x384": _COCO80
}
