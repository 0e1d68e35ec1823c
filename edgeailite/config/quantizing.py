"""Options of the verbs that make an integer network of a float one: calibrate, analyze and quantize."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from edgeailite.config.checks import (
    UNSET,
    Device,
    Machine,
    Weights,
    check,
    check_above_zero,
    check_least,
    check_machine,
    group,
    settle_epochs,
)
from edgeailite.errors import option

SchemeName = Literal["ort_u8s8", "ort_u8s7", "ort_u8s8_tensor", "s8s8", "tidl_pow2", "portable"]
Observer = Literal["minmax", "ema", "percentile", "mse", "entropy"]
WEIGHT_BITS = (4, 8, 16)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Options for finding the ranges of activations from a few training pictures."""

    group("ranges of activations")
    calibration_images: int = 64
    """Number of training pictures that give the ranges (preprocessed as in validation)."""
    observer: Observer = "percentile"
    """How ranges are chosen. minmax: all values; ema: moving mean of the batches' ends; percentile: without the most
    extreme values; mse: least squared error; entropy: least information lost."""
    percentile: float = 99.99
    """Share of values inside the ranges, per cent, for the percentile observer (tidl_pow2 has TI's own)."""

    group("operators without an integer form")
    float_parts: bool = False
    """Leave them in float, between quantizers (normalisation over channels, attention): the file is then proven but for
    these parts, which verify names. False: they are refused."""

    def check_calibration(self) -> None:
        """Raise UsageError for a value out of range."""
        check_least(self, 1, "calibration_images")
        check(50 < self.percentile <= 100, "percentile", self.percentile, "above 50, at most 100")


@dataclass(frozen=True)
class CalibrateSubject:
    """Options that name the float run to calibrate and the folder of the result."""

    group("start and data")
    run: Path
    """Float run folder, checkpoint, or float .onnx file with a card (`edgeailite card`)."""
    save_path: Path | None = None
    """Run folder to write; default <run>_ptq."""
    scheme: SchemeName = "ort_u8s8"
    """ort_u8s8; ort_u8s7: weights of 7 bits, for CPUs without VNNI, whose int8 sums may saturate; ort_u8s8_tensor: one
    weight scale per layer, not per channel; s8s8: no zero points (TensorRT); tidl_pow2: power-of-two scales (TI);
    portable: the same codes in every integer runtime, in .onnx and .tflite files alike."""
    plan: Path | None = None
    """plan.json of `edgeailite analyze`: layers with other bits than the scheme's."""
    pretrained: Path | None = None
    """A checkpoint of TI's published quantization training: take weights and ranges from it, observe no picture."""
    data_path: Path | None = None
    """Folder of the data set; default as in training."""
    weights: Weights = "best"
    """Of a run folder: best.pt, of its best validation score, or last.pt, of its last epoch. A file is taken as it
    is."""
    pictures: Path | None = None
    """Folder of pictures to observe instead of a data set; they need no labels."""


@dataclass(frozen=True)
class Refinement:
    """Options for changes that calibration makes besides ranges."""

    group("weights and biases")
    equalize: bool = False
    """Give channels of neighbouring convolutions weights of one size first (cross-layer equalization)."""
    correct_bias: bool = False
    """Subtract from each channel's bias the mean error that quantization adds to the channel."""
    adaround: int = 0
    """Learn for each weight whether to round it up or down, in this many steps per convolution (AdaRound; 1000 is
    usual)."""
    refine_images: int = 16
    """How many of the observed pictures correct_bias and adaround keep in memory with their activations."""


@dataclass(frozen=True)
class CalibrateConfig(Machine, Refinement, Calibration, CalibrateSubject):  # the options of the last come first
    """Quantize a float run or ONNX file after training: find ranges from a few pictures, without training."""

    group("machine")
    batch_size: int = 4
    """Pictures per step."""
    seed: int = 1
    """Fixes which pictures are observed."""
    dry_run: bool = False
    """Build everything, observe and validate a picture or two; write nothing."""

    renamed: ClassVar = {"images": "calibration_images"}
    first: ClassVar = (
        "run", "save_path", "pictures", "weights", "scheme", "data_path", "calibration_images", "plan", "dry_run",
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_machine(self.threads, workers=self.workers, seed=self.seed)
        if self.pretrained is not None:
            check(self.scheme == "tidl_pow2", "scheme", self.scheme, "tidl_pow2 beside pretrained")
            check(self.plan is None, "plan", self.plan, "none beside pretrained, whose layers all have 8 bits")
            for name in ("equalize", "correct_bias", "adaround", "float_parts"):
                value = getattr(self, name)
                check(not value, name, value, "none beside pretrained, which is taken as it is")
        check(self.pictures is None or self.data_path is None, "pictures", self.pictures, "none beside data_path")
        self.check_calibration()
        check_least(self, 1, "batch_size", "refine_images")
        check_least(self, 0, "adaround")


@dataclass(frozen=True)
class AnalyzeConfig(Machine, Calibration):
    """Rank layers by what quantizing each costs: sensitivity.json and .png in the run folder; and write plans."""

    run: Path
    """Float run folder, checkpoint, or float .onnx file with a card (`edgeailite card`)."""
    scheme: SchemeName = "ort_u8s8"
    """Scheme that is analysed, as in calibrate."""
    data_path: Path | None = None
    """Folder of the data set; default as in training."""
    images: int = 16
    """Number of validation pictures that are analysed, evenly spaced; 0 = the whole split."""
    rows: int = 20
    """Layers in the printed table."""
    json: bool = False
    """Print what is written to sensitivity.json, without the inner tensors, instead of a table."""
    weights: Weights = "best"
    """Of a run folder: best.pt, of its best validation score, or last.pt, of its last epoch. A file is taken as it
    is."""

    group("plans of mixed precision")
    max_drop: float | None = None
    """Write the cheapest plan found that loses at most this many points (mIoU, ARD; of the output that loses most)."""
    bits_macs_budget: float | None = None
    """Write a plan whose bits x MACs are at most this ratio of the scheme's own (above 1 for parts of 16 bits)."""
    weight_bits: tuple[int, ...] = (8, 16)
    """Bits that plans may give weights; 4 8 16 narrows, too (files keep 4 bits in int8: no faster on CPUs)."""
    plan: Path | None = None
    """Plan file to write under one of the two budgets; default plan.json in the run folder."""

    group("machine")
    batch_size: int = 4
    """Pictures per step of the calibration."""
    seed: int = 1
    """Fixes which pictures give the ranges."""

    def __post_init__(self) -> None:
        check_machine(self.threads, workers=self.workers, seed=self.seed)
        check_least(self, 0, "images", "max_drop")
        check_least(self, 1, "batch_size", "rows")
        budget = self.bits_macs_budget
        check(budget is None or budget > 0, "bits_macs_budget", budget, "a ratio above 0")
        check(budget is None or self.max_drop is None, "bits_macs_budget", budget, "none beside max_drop")
        if self.scheme == "portable":
            planned = "max_drop" if budget is None else "bits_macs_budget"
            value = getattr(self, planned)
            check(value is None, planned, value, "none beside portable, which has 8 bits everywhere")
        if budget is None and self.max_drop is None:
            check(self.plan is None, "plan", self.plan, "max_drop or bits_macs_budget beside it")
        narrow = min(self.weight_bits, default=8) < 8
        enough = budget is None or budget >= 1 or narrow
        check(enough, "bits_macs_budget", budget, f"below 1: {option('weight_bits')} 4 8 16 beside it")
        known = ", ".join(map(str, WEIGHT_BITS))
        check(set(self.weight_bits) <= set(WEIGHT_BITS), "weight_bits", self.weight_bits, f"some of {known}")
        check(8 in self.weight_bits, "weight_bits", self.weight_bits, "8 among them")
        self.check_calibration()


@dataclass(frozen=True)
class QuantizeSubject:
    """Options that name the float run to train with quantization, the epochs, and the folder of the result."""

    group("start and data")
    run: Path
    """Float run folder, checkpoint, or float .onnx file with a card (`edgeailite card`)."""
    save_path: Path | None = None
    """Run folder to write; default <run>_qat."""
    resume: bool = False
    """Continue save_path from its last.pt. All options are taken from that run, except those of data and machine."""
    accept_changed_data: bool = False
    """Resume even if pictures or classes have changed since the run began; the running epoch then starts again."""
    scheme: SchemeName = "ort_u8s8"
    """ort_u8s8; ort_u8s7: weights of 7 bits, for CPUs without VNNI, whose int8 sums may saturate; ort_u8s8_tensor: one
    weight scale per layer, not per channel; s8s8: no zero points (TensorRT); tidl_pow2: power-of-two scales (TI);
    portable: the same codes in every integer runtime, in .onnx and .tflite files alike."""
    plan: Path | None = None
    """plan.json of `edgeailite analyze`: layers with other bits than the scheme's."""
    data_path: Path | None = None
    """Folder of the data set; default as in training."""
    cache: Path | None = None
    """Folder that `edgeailite data cache` wrote, as in training."""
    weights: Weights = "best"
    """Of a run folder: best.pt, of its best validation score, or last.pt, of its last epoch. A file is taken as it
    is."""

    group("schedule")
    epochs: int = UNSET
    """Passes over the training split; with resume the run's, of which a larger number trains longer."""
    epoch_size: float = 0.0
    """Pictures in an epoch: 0 = the split, below 1 a share of it, else a number."""
    epoch_size_val: float = 0.0
    """Validation pictures: 0 = the split, below 1 a share of it, else a number."""
    batch_size: int | None = None
    """Pictures per step; default as in training."""
    accumulate: int | None = None
    """Batches whose gradients are averaged into one update; default as in training."""
    optimizer: Literal["sgd", "adam", "adamw"] = "adam"
    """SGD has momentum 0.9."""
    lr: float = 5e-5
    """Learning rate after warm-up; it falls to zero along a cosine."""
    weight_decay: float = 1e-4
    """Weight decay of all parameters."""

    group("quantization")
    freeze_bn_epoch: float = 0.3
    """Share of the epochs after which BatchNorm statistics are fixed."""
    freeze_ranges_epoch: float = 0.6
    """Share of the epochs after which the ranges of activations are fixed."""
    ranges: Literal["tracked", "learned"] = "tracked"
    """Ranges of activations follow the values that are seen (tracked), or are parameters with gradients of their own
    (learned, LSQ)."""
    ranges_lr: float = 1e-3
    """Learning rate of learned ranges, in powers of two; it falls to zero along a cosine."""
    distill: float = 0.0
    """Weight of a second loss: the difference to the float network (0 = none)."""
    distill_temperature: float = 1.0
    """With --distill: above 1, the float network's less likely classes count more."""


@dataclass(frozen=True)
class QuantizeConfig(Calibration, QuantizeSubject):  # the options of the last come first
    """Quantization-aware training, from a float run. With --analyze nothing is trained: `edgeailite analyze`."""

    calibration_images: int = 64
    """Number of training pictures that give the initial ranges."""
    observer: Observer = "percentile"
    """How initial ranges are chosen, as in calibrate; training moves them by the batches' percentiles (minmax, ema: by
    the batches' span)."""
    percentile: float = 99.99
    """Share of values inside the ranges, per cent, at first and while they are tracked (tidl_pow2 has TI's own)."""

    group("validation and saving")
    evaluate_every: int = 1
    """Epochs from one validation to the next; the last epoch is validated too."""
    save_every: int = 0
    """Updates from one saved state to the next, within an epoch too (0 = save after epochs only)."""

    group("machine")
    workers: int | Literal["auto"] = "auto"
    """Processes that read pictures; auto = one per core, up to 8."""
    device: Device = "auto"
    """Where to train; auto = on the GPU if there is one. Several devices: start with torchrun."""
    timeout: float = 60.0
    """With several processes: seconds that one waits for another before it stops."""
    channels_last: bool = True
    """Keep tensors in NHWC memory order."""
    threads: int | None = None
    """CPU threads; default all."""
    seed: int = 1
    """Fixes order of pictures and augmentation."""
    dry_run: bool = False
    """Build everything, take one step and validate one picture; write nothing."""

    usual: ClassVar = {"epochs": 10}
    first: ClassVar = (
        "run", "save_path", "weights", "data_path", "scheme", "plan", "epochs", "batch_size", "lr", "resume", "dry_run",
    )  # fmt: skip

    def __post_init__(self) -> None:
        settle_epochs(self)
        check_machine(self.threads, workers=self.workers, seed=self.seed)
        self.check_calibration()
        check_least(self, 1, "evaluate_every", "batch_size", "accumulate")
        check(self.epochs == UNSET or self.epochs >= 1, "epochs", self.epochs, "at least 1")
        check_least(self, 0, "epoch_size", "epoch_size_val", "weight_decay", "save_every", "distill")
        check_above_zero(self, "lr", "ranges_lr", "distill_temperature")
        for name in ("freeze_bn_epoch", "freeze_ranges_epoch"):
            check(0 <= getattr(self, name) <= 1, name, getattr(self, name), "a share from 0 to 1")
        check(self.timeout > 0, "timeout", self.timeout, "above 0 seconds")
