"""Options of `edgeailite train`, in four parts: what is trained, augmentation, losses, and the training loop."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from edgeailite.config.checks import (
    UNSET,
    Amp,
    Device,
    check,
    check_above_zero,
    check_least,
    check_machine,
    check_size,
    group,
    settle_epochs,
)
from edgeailite.errors import option

MODEL = "deeplabv3plus_mobilenetv2_tv_edgeailite"


@dataclass(frozen=True)
class Subject:
    """Options that name the network, the data and the run folder."""

    group("network")
    model_name: str = MODEL
    """Network; `edgeailite models` lists them."""
    upsampling: Literal["bilinear", "deconvolution", "subpixel"] = "bilinear"
    """Up-sampling inside an edgeailite decoder; int8 needs bilinear."""
    align_corners: bool = False
    """Resize as PyTorch did in 2017, which the published weights of `v1_*` networks expect."""

    group("data")
    dataset_name: str = ""
    """Data set: streets (generated here), folder (your own), or a published one; `edgeailite data get` lists them. It
    decides the network's inputs and outputs, e.g. streets_depth_semantic_motion_multi_input. Without it: what data_path
    holds (Cityscapes, VOC, ADE20K, else folder), or without a data_path streets."""
    data_path: Path | None = None
    """Folder of the data set; default data/datasets/<dataset_name>."""
    cache: Path | None = None
    """Folder that `edgeailite data cache` wrote: training pictures are read from there, already decoded and resized."""
    train_split: str = "train"
    """Split to train on."""
    val_split: str = "val"
    """Split used for validation during training."""
    val_share: float = 0.0
    """For your own data without a split val: validate on this share of it. Writes lists as `edgeailite data split` does
    (into the data set's folder edgeailite_lists), which all verbs read (0 = the data set has its splits)."""
    output_size: tuple[int, int] | None = None
    """Size of the labels in validation, height and width; default their own."""

    group("start, resume and quantize")
    save_path: Path | None = None
    """Run folder to write; default runs/<date>_<dataset>_<model>."""
    pretrained: tuple[str, ...] | None = ("auto",)
    """Weights to start from. auto: ImageNet weights of the network's encoder, if a package has them, or the cache, or
    their server answers within seconds; else none. imagenet: the same or an error. none: random values. Or a file or a
    URL, ours or published, or two for an ADE20K network: ENCODER DECODER."""
    allow_head_mismatch: bool = False
    """Accept weights for another number of classes: layers whose shape depends on it keep their random values."""
    resume: Path | None = None
    """Run folder to continue, from its last.pt. All options are taken from that run, but data_path, workers, device,
    threads and timeout may be given anew."""
    accept_changed_data: bool = False
    """Resume even if pictures or classes have changed since the run began; the running epoch then starts again."""
    quantize: bool = False
    """Continue with quantization-aware training of the result, into <save_path>_qat (see `edgeailite quantize`)."""
    quantize_epochs: int = 10
    """With --quantize: epochs of quantization-aware training."""
    quantize_lr: float = 5e-5
    """With --quantize: learning rate of quantization-aware training."""


@dataclass(frozen=True)
class Augmentation:
    """Options for changing pictures at random between file and network, in training."""

    group("input of the network")
    img_resize: tuple[int, int] = (384, 768)
    """Input size of validation and of the exported network, height and width."""
    image_mean: tuple[float, float, float] | None = None
    """Subtracted from pixels 0..255, per channel in the network's order; default what the weights of --pretrained
    imagenet or auto expect, else 128."""
    image_scale: tuple[float, float, float] | None = None
    """Multiplied with pixels after the mean is subtracted; default as of image_mean, else 1/64."""
    input_channel_reverse: bool = False
    """Give the network BGR. ADE20K weights of 2018 want it, with mean 102.9801 115.9465 122.7717, scale 1 1 1."""

    group("augmentation")
    rand_scale: tuple[float, float] = (1.0, 2.0)
    """Random scale of training pictures, relative to img_resize; height and width differ by at most 10 %."""
    rand_crop: tuple[int, int] | None = None
    """Size of training crops, height and width; default img_resize."""
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
    """Pipeline ade20k: height and width of a batch are padded to a multiple of this; the loss ignores the padding."""
    rotation: float = 5.0
    """Random rotation up to this many degrees, in half of the pictures."""
    flip: bool = True
    """Mirror half of the pictures left to right."""
    color_jitter: float | None = None
    """Random brightness, contrast and saturation, up to this share; default 0.3, with the published pipelines 0."""
    blur: float = 0.0
    """Random Gaussian blur, with a standard deviation of up to this many pixels, in half of the pictures."""
    cutout: float = 0.0
    """Cover a rectangle of up to this share of height and width with grey, in half of the pictures; the loss ignores
    it."""
    balanced_crops: int = 1
    """Draw up to this many crops and take the first in which no class has more than 75 % of the labelled pixels."""

    def check_augmentation(self) -> None:
        """Raise UsageError for a value out of range, or two that exclude each other."""
        check_size("img_resize", self.img_resize)
        check(all(s != 0 for s in self.image_scale or ()), "image_scale", self.image_scale, "other than 0")
        check(0 < self.rand_scale[0] <= self.rand_scale[1], "rand_scale", self.rand_scale, "0 < low <= high")
        jitter = self.color_jitter
        check(jitter is None or 0 <= jitter < 1, "color_jitter", jitter, "a share from 0 to below 1")
        check_least(self, 0, "blur")
        check(0 <= self.cutout <= 1, "cutout", self.cutout, "a share from 0 to 1")
        check_least(self, 1, "balanced_crops", "padding")
        check(min(self.short_edges, default=0) >= 32, "short_edges", self.short_edges, "one or more, of at least 32")
        check_least(self, 32, "max_size")
        check_size("rand_crop", self.rand_crop)
        if self.pipeline == "ade20k":
            check(self.balanced_crops == 1, "balanced_crops", self.balanced_crops, "1: pipeline ade20k does not crop")
            check(self.rand_crop is None, "rand_crop", self.rand_crop, "None: pipeline ade20k does not crop")
        if self.pipeline == "published" and self.rand_crop is not None:
            inside = self.rand_crop[0] <= self.img_resize[0] and self.rand_crop[1] <= self.img_resize[1]
            check(inside, "rand_crop", self.rand_crop, f"within img_resize {self.img_resize} in pipeline published")


@dataclass(frozen=True)
class Objective:
    """Losses of the outputs, and how several outputs are weighed."""

    group("loss")
    loss: Literal["cross_entropy", "ohem", "focal"] = "cross_entropy"
    """Loss per pixel of outputs with classes: cross entropy of all pixels, of the hard ones only (ohem), or focal."""
    ohem_threshold: float = 0.7
    """Loss ohem: pixels whose true class has a lower probability count."""
    ohem_share: float = 0.1
    """Loss ohem: at least this share of the labelled pixels count, the hardest."""
    focal_gamma: float = 2.0
    """Loss focal: exponent of 1 - probability; 0 is cross entropy."""
    label_smoothing: float = 0.0
    """Loss cross_entropy: share of each pixel's label that is spread evenly over all classes, e.g. 0.1."""
    dice: float = 0.0
    """Weight of the Dice loss, added to that of the pixels."""
    lovasz: float = 0.0
    """Weight of the Lovasz-softmax loss, added to that of the pixels."""
    class_weights: Literal["none", "auto", "enet", "median_frequency", "published"] = "none"
    """Loss weight per class: none; from the labels 1/ln(1.02 + share) (enet) or median frequency / frequency;
    the data set's published ones; or auto: published where there are, else enet."""
    class_weight_values: tuple[float, ...] | None = None
    """Loss weights of your own, one per class of the segmentation output; instead of class_weights."""

    group("several outputs, depth")
    depth_weights: tuple[float, float, float] = (0.125, 0.125, 4.0)
    """Outputs of depth: weights of smooth L1, of the scale loss, and of the variance of the error."""
    depth_relative: float = 0.0
    """Outputs of depth: weight of the error over the true depth, which ARD measures (not in the published recipe)."""
    deep_supervision: float = 0.4
    """Weight of the second prediction of networks with deep supervision."""
    task_balancing: Literal["fixed", "uncertainty", "grad_norm", "dwa", "learned", "dwa_grad_norm"] = "fixed"
    """Several outputs: fixed weights, learned uncertainty, equal gradient norms, dynamic weight average; learned and
    dwa_grad_norm are the published code's names."""
    task_weights: tuple[float, ...] | None = None
    """Weights of the outputs with task_balancing fixed, in the order of the data set's name; default 1 each."""

    def check_objective(self) -> None:
        """Raise UsageError for a value out of range."""
        check(0 < self.ohem_threshold <= 1, "ohem_threshold", self.ohem_threshold, "above 0, at most 1")
        check(0 < self.ohem_share <= 1, "ohem_share", self.ohem_share, "a share above 0, at most 1")
        smoothing = self.label_smoothing
        check(0 <= smoothing < 1, "label_smoothing", smoothing, "a share from 0 to below 1")
        alone = smoothing == 0 or self.loss == "cross_entropy"
        check(alone, "label_smoothing", smoothing, f"0 with {option('loss')} {self.loss}: only cross_entropy has it")
        check_least(self, 0, "focal_gamma", "dice", "lovasz", "depth_relative", "deep_supervision")
        check(min(self.depth_weights) >= 0, "depth_weights", self.depth_weights, "0 or more each")
        check(max(*self.depth_weights, self.depth_relative) > 0, "depth_weights", self.depth_weights, "one above 0")
        weights = self.class_weight_values
        if weights is not None:
            check(min(weights, default=-1) >= 0 < max(weights), "class_weight_values", weights, "0 or more, not all 0")
            alone = self.class_weights == "none"
            check(
                alone,
                "class_weight_values",
                weights,
                f"{option('class_weights')} none with it, not {self.class_weights}",
            )
        if self.task_weights is not None:
            fixed = self.task_balancing == "fixed"
            check(
                fixed, "task_weights", self.task_weights, f"{option('task_balancing')} fixed, not {self.task_balancing}"
            )
            check(min(self.task_weights, default=-1) >= 0, "task_weights", self.task_weights, "0 or more each")


@dataclass(frozen=True)
class Loop:
    """Options for the length and speed of training, and for the machine."""

    group("epochs and batches")
    epochs: int = UNSET
    """Passes over the training split; with resume the run's, of which a larger number trains longer."""
    epoch_size: float = 0.0
    """Pictures in an epoch: 0 = the split, below 1 a share of it, else a number (above the split: several passes)."""
    batch_size: int = 12
    """Pictures per step, over all devices."""
    accumulate: int = 1
    """Batches whose gradients are averaged into one update."""
    overfit: int = 0
    """Train and validate on this many training pictures; a network that cannot learn them has a fault (0 = off)."""

    group("optimizer")
    optimizer: Literal["sgd", "adam", "adamw"] = "adam"
    """SGD with momentum, Adam with weight decay added to the gradient (as published), or with decoupled decay
    (AdamW)."""
    lr: float = 4e-4
    """Learning rate after warm-up."""
    lr_encoder: float | None = None
    """Learning rate of the encoder; default lr."""
    momentum: float = 0.9
    """Momentum of SGD, first beta of Adam."""
    weight_decay: float = 1e-4
    """Weight decay."""
    decay: Literal["all", "weights"] = "all"
    """What decays: all parameters (as published), or the weights of convolutions only (as the ADE20K recipes)."""

    group("schedule of the learning rate")
    scheduler: Literal["step", "cosine", "poly", "constant"] = "poly"
    """How the learning rate falls over time."""
    schedule_by: Literal["iteration", "epoch"] = "iteration"
    """How often the learning rate changes."""
    lr_power: float = 0.9
    """Exponent of the poly schedule."""
    milestones: tuple[int, ...] = (100, 200)
    """Epochs at which the step schedule multiplies the rate by multistep_gamma."""
    multistep_gamma: float = 0.25
    """Factor of the step schedule."""
    warmup_epochs: float = 1.0
    """Epochs over which the rate rises linearly from near zero."""

    group("averaging and freezing")
    clip_grad: float | None = None
    """Largest norm of the gradient over all parameters; larger ones are scaled down."""
    ema: float = 0.0
    """Decay of a moving average of the weights, e.g. 0.999 (0 = none). The average is what is validated and used."""
    freeze_bn: bool = False
    """BatchNorm uses and keeps its running statistics (for small batches on pretrained weights)."""
    freeze_layers: tuple[str, ...] = ()
    """Parameters whose names contain one of these are not trained, e.g. encoder."""
    sync_bn: bool = True
    """With several processes: BatchNorm statistics over all of them."""

    group("validation and saving")
    evaluate_every: int = 1
    """Epochs from one validation to the next; the last epoch is validated too."""
    evaluate_start: bool = False
    """Validate before the first epoch too."""
    epoch_size_val: float = 0.0
    """Validation pictures: 0 = the split, below 1 a share of it, else a number."""
    early_stopping: int = 0
    """Stop when this many validations in a row brought no better score (0 = never)."""
    save_every: int = 0
    """Updates from one saved state to the next, within an epoch too (0 = save after epochs only)."""

    group("machine")
    workers: int | Literal["auto"] = "auto"
    """Processes that read pictures; auto = one per core, up to 8."""
    device: Device = "auto"
    """Where to train; auto = on the GPU if there is one. Several devices: start with torchrun."""
    timeout: float = 60.0
    """With several processes: seconds that one waits for another before it stops."""
    amp: Amp = "auto"
    """Mixed precision; auto = bf16 where the device computes it fast, else off."""
    channels_last: bool = True
    """Keep tensors in NHWC memory order (faster on CPUs and recent GPUs)."""
    compile: bool = False
    """torch.compile the network: faster on GPUs; takes minutes and a C++ compiler on CPUs, where it gains little."""
    threads: int | None = None
    """CPU threads; default all."""
    seed: int = 1
    """Fixes initial weights, order of pictures and augmentation."""

    group("watching")
    tensorboard: Literal["auto", "on", "off"] = "auto"
    """Write TensorBoard files: auto = where it is installed."""
    overlays: int = 4
    """Validation pictures drawn with label and prediction after each validation (0 = none)."""
    dry_run: bool = False
    """Build everything, take one step and validate one picture; write nothing."""

    usual: ClassVar = {"epochs": 100}

    def __post_init__(self) -> None:
        settle_epochs(self)

    def check_loop(self) -> None:
        """Raise UsageError for a value out of range, or two that exclude each other."""
        check_machine(self.threads, workers=self.workers, seed=self.seed)
        check_least(self, 1, "batch_size", "accumulate", "evaluate_every")
        check(self.epochs == UNSET or self.epochs >= 1, "epochs", self.epochs, "at least 1")
        check_least(self, 0, "epoch_size", "epoch_size_val", "overfit", "weight_decay", "warmup_epochs")
        check_least(self, 0, "early_stopping", "save_every", "overlays", "lr_encoder")
        check_above_zero(self, "lr", "lr_power", "clip_grad")
        check(0 <= self.momentum < 1, "momentum", self.momentum, "from 0 to below 1")
        check(0 <= self.ema < 1, "ema", self.ema, "from 0 to below 1")
        check(self.timeout > 0, "timeout", self.timeout, "above 0 seconds")


@dataclass(frozen=True)
class TrainConfig(Loop, Objective, Augmentation, Subject):  # the options of the last come first
    """Train a network from labelled images.

    Several devices: torchrun --nproc-per-node 2 -m edgeailite train --save_path DIR ...
    """

    first: ClassVar = (
        "dataset_name", "data_path", "model_name", "save_path", "img_resize", "epochs", "batch_size", "lr",
        "pretrained", "resume", "quantize", "dry_run",
    )  # fmt: skip

    def __post_init__(self) -> None:
        settle_epochs(self)
        self.check_augmentation()
        self.check_objective()
        self.check_loop()
        if self.pretrained is not None:
            check(len(self.pretrained) in (1, 2), "pretrained", self.pretrained, "one file, or two: ENCODER DECODER")
        check(0 <= self.val_share < 1, "val_share", self.val_share, "from 0 to below 1")
        alone = not self.val_share or (self.data_path is not None and self.dataset_name in ("", "folder"))
        check(alone, "val_share", self.val_share, f"{option('data_path')} of your own data with it")
        check_size("output_size", self.output_size, least=1)
        check_least(self, 1, "quantize_epochs")
        check_above_zero(self, "quantize_lr")
