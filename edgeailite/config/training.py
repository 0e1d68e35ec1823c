"""Options of the verbs that make a run folder: train, calibrate, quantize, and the demo of it all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeailite.config.checks import Amp, Device, check, check_machine, check_sizes

MODEL = "deeplabv3plus_mobilenetv2_tv_edgeailite"


@dataclass(frozen=True)
class TrainConfig:
    """Train a network from labelled images."""

    model_name: str = MODEL
    """Network; `edgeailite models` lists them."""
    upsampling: Literal["bilinear", "deconvolution", "subpixel"] = "bilinear"
    """Up-sampling inside an edgeailite decoder; int8 needs bilinear."""
    align_corners: bool = False
    """Resize as PyTorch did in 2017, which the published weights of `v1_*` networks expect."""
    dataset_name: str = "streets"
    """Data set: streets (generated here), folder (your own), or a published one; `edgeailite data get` lists them."""
    data_path: Path | None = None
    """Folder of the data set; default data/datasets/<dataset_name>."""
    save_path: Path | None = None
    """Run folder; default runs/<date>_<dataset>_<model>."""
    pretrained: tuple[str, ...] | None = None
    """Weights to start from: a file or a URL, ours or published, or two for an ADE20K network: ENCODER DECODER."""
    allow_head_mismatch: bool = False
    """Take weights of another class count: the layers that depend on it keep their initial values."""
    resume: Path | None = None
    """Run folder to go on with, from its last.pt; other flags are taken from that run."""
    img_resize: tuple[int, int] = (384, 768)
    """Input size H W of validation and of the exported network."""
    image_mean: tuple[float, float, float] = (128.0, 128.0, 128.0)
    """Subtracted from pixels 0..255, per channel in the network's order."""
    image_scale: tuple[float, float, float] = (1 / 64, 1 / 64, 1 / 64)
    """Multiplied with pixels after the mean."""
    input_channel_reverse: bool = False
    """Give the network BGR. ADE20K weights of 2018 want it, with mean 102.9801 115.9465 122.7717, scale 1 1 1."""
    output_size: tuple[int, int] | None = None
    """Size H W of the labels in validation; default their own."""
    rand_scale: tuple[float, float] = (1.0, 2.0)
    """Random scale of training pictures, relative to img_resize; height and width are drawn alike but for 10 %."""
    rand_crop: tuple[int, int] | None = None
    """Size H W of training crops; default img_resize."""
    interpolation: Literal["linear_exact", "area"] = "linear_exact"
    """How pictures are resized, in training and on the device: linear_exact, which any code can reproduce in every bit,
    or area, which averages where pictures shrink, as the published recipes do (reproduced within 1 of 255)."""
    pipeline: Literal["affine", "published", "ade20k"] = "affine"
    """Augmentation: one affine warp; the steps of the published edgeailite recipes; or those of the ADE20K recipes,
    where pictures keep their shape and each batch has a short edge of its own."""
    short_edges: tuple[int, ...] = (300, 375, 450, 525, 600)
    """Pipeline ade20k: short edges to draw from, one per batch."""
    max_size: int = 1000
    """Pipeline ade20k: largest long edge."""
    padding: int = 8
    """Pipeline ade20k: height and width of a batch are padded to a multiple of this; padding is ignored."""
    rotation: float = 5.0
    """Random rotation up to this many degrees, in half of the pictures."""
    color_jitter: float | None = None
    """Random brightness, contrast and saturation, up to this share; default 0.3, with the published pipelines 0."""
    blur: float = 0.0
    """Random Gaussian blur, standard deviation up to so many pixels, in half of the pictures."""
    cutout: float = 0.0
    """A grey and ignored rectangle of up to this share of height and width, in half of the pictures."""
    balanced_crops: int = 1
    """Draw up to so many crops and take the first in which no class has more than 75 % of the labelled pixels."""
    cache: Path | None = None
    """Folder that `edgeailite data cache` wrote: training pictures are taken from there, and need no decoding."""
    epochs: int = 100
    """Passes over the training split."""
    batch_size: int = 12
    """Pictures per step."""
    optimizer: Literal["sgd", "adam", "adamw"] = "adam"
    """SGD has momentum 0.9."""
    lr: float = 4e-4
    """Learning rate after warm-up."""
    weight_decay: float = 1e-4
    """Weight decay of all parameters."""
    scheduler: Literal["step", "cosine", "poly"] = "poly"
    """Learning rate over time; poly has power 0.9."""
    milestones: tuple[int, ...] = (100, 200)
    """Epochs at which the step schedule multiplies the rate by multistep_gamma."""
    multistep_gamma: float = 0.25
    """Factor of the step schedule."""
    warmup_epochs: float = 1.0
    """Epochs over which the rate rises linearly from near zero."""
    class_weights: Literal["none", "enet", "published"] = "none"
    """Loss weight per class: none; 1/ln(1.02 + share) of the ENet paper, from the labels; or the data set's own."""
    evaluate_every: int = 1
    """Validate after every so many epochs, and after the last."""
    val_split: str = "val"
    """Split used for validation during training."""
    workers: int | Literal["auto"] = "auto"
    """Loader processes; auto = one per core, up to 8."""
    device: Device = "auto"
    """Where to train."""
    amp: Amp = "auto"
    """Mixed precision; auto = bf16 where the device computes it fast, else off."""
    channels_last: bool = True
    """NHWC memory layout (faster on CPUs and recent GPUs)."""
    threads: int | None = None
    """CPU threads; default all."""
    seed: int = 1
    """Fixes initial values, order and augmentation."""

    def __post_init__(self) -> None:
        check_sizes(self.batch_size, self.img_resize)
        check_machine(self.threads, workers=self.workers, seed=self.seed)
        check(all(s != 0 for s in self.image_scale), "image_scale", self.image_scale, "other than 0")
        check(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        check(self.lr > 0, "lr", self.lr, "above 0")
        check(0 < self.rand_scale[0] <= self.rand_scale[1], "rand_scale", self.rand_scale, "0 < low <= high")
        check(self.evaluate_every >= 1, "evaluate_every", self.evaluate_every, "at least 1")
        check(
            self.color_jitter is None or 0 <= self.color_jitter < 1,
            "color_jitter",
            self.color_jitter,
            "a share from 0 to below 1",
        )
        self._check_augmentation()
        check(self.warmup_epochs >= 0, "warmup_epochs", self.warmup_epochs, "0 or more")
        if self.pretrained is not None:
            check(len(self.pretrained) in (1, 2), "pretrained", self.pretrained, "one file, or two: ENCODER DECODER")
        if self.output_size is not None:
            check(min(self.output_size) >= 1, "output_size", self.output_size, "height and width of at least 1")
        if self.rand_crop is not None:
            check(min(self.rand_crop) >= 32, "rand_crop", self.rand_crop, "height and width of at least 32")

    def _check_augmentation(self) -> None:
        check(self.blur >= 0, "blur", self.blur, "0 or more")
        check(0 <= self.cutout <= 1, "cutout", self.cutout, "a share from 0 to 1")
        check(self.balanced_crops >= 1, "balanced_crops", self.balanced_crops, "at least 1")
        check(min(self.short_edges, default=0) >= 32, "short_edges", self.short_edges, "one or more, of at least 32")
        check(self.max_size >= 32, "max_size", self.max_size, "at least 32")
        check(self.padding >= 1, "padding", self.padding, "at least 1")
        if self.pipeline == "ade20k":
            check(self.balanced_crops == 1, "balanced_crops", self.balanced_crops, "1: pipeline ade20k does not crop")
            check(self.rand_crop is None, "rand_crop", self.rand_crop, "None: pipeline ade20k does not crop")
        if self.pipeline == "published" and self.rand_crop is not None:
            inside = self.rand_crop[0] <= self.img_resize[0] and self.rand_crop[1] <= self.img_resize[1]
            check(inside, "rand_crop", self.rand_crop, f"within img_resize {self.img_resize} in pipeline published")


@dataclass(frozen=True)
class CalibrateConfig:
    """Quantize a float run after training: ranges from a few training pictures, no training."""

    run: Path
    """Float run folder or checkpoint."""
    save_path: Path | None = None
    """New run folder; default <run>_ptq."""
    scheme: Literal["ort_u8s8", "ort_u8s7"] = "ort_u8s8"
    """ort_u8s8, or ort_u8s7: weights of 7 bits, for CPUs without VNNI, whose int8 sums may saturate."""
    data_path: Path | None = None
    """Folder of the data set; default as in training."""
    images: int = 64
    """Training pictures to observe (preprocessed as in validation)."""
    batch_size: int = 4
    """Pictures per step."""
    observer: Literal["minmax", "percentile"] = "percentile"
    """How ranges are chosen; percentile cuts `percentile` of the values on each side."""
    percentile: float = 99.99
    """Share of values inside the range, per cent, for the percentile observer."""
    workers: int | Literal["auto"] = "auto"
    """Loader processes; auto = one per core, up to 8."""
    device: Device = "auto"
    """Where to run."""
    threads: int | None = None
    """CPU threads; default all."""
    seed: int = 1
    """Which pictures are observed."""

    def __post_init__(self) -> None:
        check_machine(self.threads, workers=self.workers, seed=self.seed)
        check(self.images >= 1, "images", self.images, "at least 1")
        check(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        check(50 < self.percentile <= 100, "percentile", self.percentile, "above 50, at most 100")


@dataclass(frozen=True)
class QuantizeConfig:
    """Quantization-aware training, from a float run."""

    run: Path
    """Float run folder or checkpoint."""
    save_path: Path | None = None
    """New run folder; default <run>_qat."""
    resume: bool = False
    """Go on with save_path from its last.pt."""
    scheme: Literal["ort_u8s8", "ort_u8s7"] = "ort_u8s8"
    """ort_u8s8, or ort_u8s7: weights of 7 bits, for CPUs without VNNI, whose int8 sums may saturate."""
    data_path: Path | None = None
    """Folder of the data set; default as in training."""
    epochs: int = 10
    """Passes over the training split."""
    batch_size: int | None = None
    """Pictures per step; default as in training."""
    optimizer: Literal["sgd", "adam", "adamw"] = "adam"
    """SGD has momentum 0.9."""
    lr: float = 5e-5
    """Learning rate after warm-up; cosine to zero."""
    weight_decay: float = 1e-4
    """Weight decay of all parameters."""
    freeze_bn_epoch: float = 0.3
    """BatchNorm statistics are fixed from this share of the epochs on."""
    freeze_ranges_epoch: float = 0.6
    """Activation ranges are fixed from this share of the epochs on."""
    calibration_images: int = 64
    """Training pictures that give the initial ranges."""
    percentile: float = 99.99
    """Share of values inside the initial ranges, per cent."""
    evaluate_every: int = 1
    """Validate after every so many epochs, and after the last."""
    workers: int | Literal["auto"] = "auto"
    """Loader processes; auto = one per core, up to 8."""
    device: Device = "auto"
    """Where to train."""
    channels_last: bool = True
    """NHWC memory layout."""
    threads: int | None = None
    """CPU threads; default all."""
    seed: int = 1
    """Fixes order and augmentation."""

    def __post_init__(self) -> None:
        check(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        check(self.lr > 0, "lr", self.lr, "above 0")
        check_machine(self.threads, workers=self.workers, seed=self.seed)
        check(self.batch_size is None or self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        check(self.evaluate_every >= 1, "evaluate_every", self.evaluate_every, "at least 1")
        check(0 <= self.freeze_bn_epoch <= 1, "freeze_bn_epoch", self.freeze_bn_epoch, "a share from 0 to 1")
        check(
            0 <= self.freeze_ranges_epoch <= 1, "freeze_ranges_epoch", self.freeze_ranges_epoch, "a share from 0 to 1"
        )
        check(self.calibration_images >= 1, "calibration_images", self.calibration_images, "at least 1")


@dataclass(frozen=True)
class DemoConfig:
    """The whole line in minutes: generate data, train, quantize, export, verify, validate, infer, report."""

    save_path: Path = Path("runs/demo")
    """Folder for everything the demo makes; emptied of an earlier demo first."""
    data_path: Path | None = None
    """Where the generated data set lives; default data/datasets/streets."""
    train_images: int = 1500
    """Generated training scenes."""
    val_images: int = 100
    """Generated validation scenes."""
    epochs: int = 4
    """Epochs of float training."""
    quantize_epochs: int = 1
    """Epochs of quantization-aware training."""
    threads: int | None = None
    """CPU threads; default all."""
    seed: int = 1
    """Fixes data, initial values, order and augmentation."""

    def __post_init__(self) -> None:
        check(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        check(self.quantize_epochs >= 1, "quantize_epochs", self.quantize_epochs, "at least 1")
        check(self.train_images >= 1, "train_images", self.train_images, "at least 1")
        check(self.val_images >= 1, "val_images", self.val_images, "at least 1")
        check_machine(self.threads, seed=self.seed)
