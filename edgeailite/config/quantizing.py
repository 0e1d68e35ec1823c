"""Options of the verbs that make an integer network of a float one: calibrate and quantize."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeailite.config.checks import Device, check, check_machine

SchemeName = Literal["ort_u8s8", "ort_u8s7", "ort_u8s8_tensor", "s8s8", "tidl_pow2"]
Observer = Literal["minmax", "ema", "percentile", "mse", "entropy"]


@dataclass(frozen=True)
class CalibrateConfig:
    """Quantize a float run after training: ranges from a few training pictures, no training."""

    run: Path
    """Float run folder or checkpoint."""
    save_path: Path | None = None
    """New run folder; default <run>_ptq."""
    scheme: SchemeName = "ort_u8s8"
    """ort_u8s8; ort_u8s7: weights of 7 bits, for CPUs without VNNI, whose int8 sums may saturate; ort_u8s8_tensor: one
    weight scale per layer, not per channel; s8s8: no zero points (TensorRT); tidl_pow2: power-of-two scales (TI)."""
    plan: Path | None = None
    """plan.json of `edgeailite analyze`: layers with other bits than the scheme's."""
    pretrained: Path | None = None
    """A checkpoint of TI's published quantization training: weights and ranges are its, no picture is observed."""
    data_path: Path | None = None
    """Folder of the data set; default as in training."""
    images: int = 64
    """Training pictures to observe (preprocessed as in validation)."""
    batch_size: int = 4
    """Pictures per step."""
    observer: Observer = "percentile"
    """Ranges: minmax all values, ema mean of the batches' ends, percentile, mse least error, entropy least lost."""
    percentile: float = 99.99
    """Share of values inside the range, per cent, for the percentile observer (tidl_pow2 has TI's own)."""
    equalize: bool = False
    """Give channels of neighbouring convolutions weights of one size first (cross-layer equalization)."""
    correct_bias: bool = False
    """Take the mean error that quantization adds to each channel off its bias."""
    adaround: int = 0
    """Steps per convolution that learn which weights to round up and which down (AdaRound; 1000 is usual)."""
    refine_images: int = 16
    """How many of the observed pictures correct_bias and adaround keep in memory with their activations."""
    workers: int | Literal["auto"] = "auto"
    """Loader processes; auto = one per core, up to 8."""
    device: Device = "auto"
    """Where to run."""
    threads: int | None = None
    """CPU threads; default all."""
    seed: int = 1
    """Which pictures are observed."""
    dry_run: bool = False
    """Build everything, observe and validate a picture or two; nothing is written."""

    def __post_init__(self) -> None:
        check_machine(self.threads, workers=self.workers, seed=self.seed)
        if self.pretrained is not None:
            check(self.scheme == "tidl_pow2", "scheme", self.scheme, "tidl_pow2 beside pretrained")
            check(self.plan is None, "plan", self.plan, "none beside pretrained, whose layers all have 8 bits")
            for name in ("equalize", "correct_bias", "adaround"):
                check(
                    not getattr(self, name),
                    name,
                    getattr(self, name),
                    "none beside pretrained, which is taken as it is",
                )
        check(self.images >= 1, "images", self.images, "at least 1")
        check(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        check(self.adaround >= 0, "adaround", self.adaround, "0 or more steps")
        check(self.refine_images >= 1, "refine_images", self.refine_images, "at least 1")
        check(50 < self.percentile <= 100, "percentile", self.percentile, "above 50, at most 100")


@dataclass(frozen=True)
class QuantizeConfig:
    """Quantization-aware training, from a float run. With --analyze nothing is trained: `edgeailite analyze`."""

    run: Path
    """Float run folder or checkpoint."""
    save_path: Path | None = None
    """New run folder; default <run>_qat."""
    resume: bool = False
    """Go on with save_path from its last.pt; other flags are taken from that run (but for data and machine)."""
    accept_changed_data: bool = False
    """Go on though pictures or classes are other than when the run began; the running epoch then begins anew."""
    scheme: SchemeName = "ort_u8s8"
    """ort_u8s8; ort_u8s7: weights of 7 bits, for CPUs without VNNI, whose int8 sums may saturate; ort_u8s8_tensor: one
    weight scale per layer, not per channel; s8s8: no zero points (TensorRT); tidl_pow2: power-of-two scales (TI)."""
    plan: Path | None = None
    """plan.json of `edgeailite analyze`: layers with other bits than the scheme's."""
    data_path: Path | None = None
    """Folder of the data set; default as in training."""
    cache: Path | None = None
    """Folder that `edgeailite data cache` wrote, as in training."""
    epochs: int = 10
    """Passes over the training split."""
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
    """Learning rate after warm-up; cosine to zero."""
    weight_decay: float = 1e-4
    """Weight decay of all parameters."""
    freeze_bn_epoch: float = 0.3
    """BatchNorm statistics are fixed from this share of the epochs on."""
    freeze_ranges_epoch: float = 0.6
    """Activation ranges are fixed from this share of the epochs on."""
    ranges: Literal["tracked", "learned"] = "tracked"
    """Activation ranges follow the values that are seen, or are parameters with gradients of their own (LSQ)."""
    ranges_lr: float = 1e-3
    """Learning rate of learned ranges, in powers of two; cosine to zero."""
    distill: float = 0.0
    """Weight of a second loss: to be like the float network (0 = none)."""
    distill_temperature: float = 1.0
    """Above 1, the float network's less likely classes count more."""
    calibration_images: int = 64
    """Training pictures that give the initial ranges."""
    observer: Observer = "percentile"
    """Initial ranges, as in calibrate; training moves them by batch percentiles (minmax, ema: by its span)."""
    percentile: float = 99.99
    """Share of values inside the ranges, per cent, at first and while they are tracked (tidl_pow2 has TI's own)."""
    evaluate_every: int = 1
    """Validate after every so many epochs, and after the last."""
    save_every: int = 0
    """Save the state after every so many updates as well, not only after epochs (0 = after epochs)."""
    workers: int | Literal["auto"] = "auto"
    """Loader processes; auto = one per core, up to 8."""
    device: Device = "auto"
    """Where to train. Several devices: start with torchrun."""
    timeout: float = 60.0
    """Several processes: seconds that one waits for another before it stops."""
    channels_last: bool = True
    """NHWC memory layout."""
    threads: int | None = None
    """CPU threads; default all."""
    seed: int = 1
    """Fixes order and augmentation."""
    dry_run: bool = False
    """Build everything, take one step and validate one picture; nothing is written."""

    def __post_init__(self) -> None:
        check_machine(self.threads, workers=self.workers, seed=self.seed)
        for name in ("epochs", "evaluate_every", "calibration_images"):
            check(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("batch_size", "accumulate"):
            value = getattr(self, name)
            check(value is None or value >= 1, name, value, "at least 1")
        for name in ("epoch_size", "epoch_size_val", "weight_decay", "save_every", "distill"):
            check(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        for name in ("lr", "ranges_lr", "distill_temperature"):
            check(getattr(self, name) > 0, name, getattr(self, name), "above 0")
        for name in ("freeze_bn_epoch", "freeze_ranges_epoch"):
            check(0 <= getattr(self, name) <= 1, name, getattr(self, name), "a share from 0 to 1")
        check(50 < self.percentile <= 100, "percentile", self.percentile, "above 50, at most 100")
        check(self.timeout > 0, "timeout", self.timeout, "above 0 seconds")
