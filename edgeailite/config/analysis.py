"""Options of `analyze`: what quantization costs layer by layer, and plans under a budget."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeailite.config.checks import Device, check, check_machine
from edgeailite.config.quantizing import Observer, SchemeName

WEIGHT_BITS = (4, 8, 16)


@dataclass(frozen=True)
class AnalyzeConfig:
    """What quantizing each layer costs a float run, ranked: sensitivity.json and .png in the run folder; and plans."""

    run: Path
    """Float run folder or checkpoint."""
    scheme: SchemeName = "ort_u8s8"
    """Scheme that is analysed, as in calibrate."""
    max_drop: float | None = None
    """Write the cheapest plan found that loses at most so many points (mIoU, ARD; of the output that loses most)."""
    bits_macs_budget: float | None = None
    """Write a plan that costs at most this ratio of bits x MACs to the scheme's own bits (above 1 for 16-bit parts)."""
    weight_bits: tuple[int, ...] = (8, 16)
    """Bits that plans may give weights; 4 8 16 narrows, too (files keep 4 bits in int8: no faster on CPUs)."""
    plan: Path | None = None
    """Plan file to write under one of the two budgets; default plan.json in the run folder."""
    data_path: Path | None = None
    """Folder of the data set; default as in training."""
    images: int = 16
    """Validation pictures that are analysed, evenly spaced; 0 = the whole split."""
    calibration_images: int = 64
    """Training pictures that give the ranges."""
    observer: Observer = "percentile"
    """How ranges are chosen, as in calibrate."""
    percentile: float = 99.99
    """Share of values inside the ranges, per cent, for the percentile observer (tidl_pow2 has TI's own)."""
    rows: int = 20
    """Layers in the printed table."""
    batch_size: int = 4
    """Pictures per step of the calibration."""
    workers: int | Literal["auto"] = "auto"
    """Loader processes; auto = one per core, up to 8."""
    device: Device = "auto"
    """Where to run."""
    threads: int | None = None
    """CPU threads; default all."""
    seed: int = 1
    """Which pictures give the ranges."""
    json: bool = False
    """Print what is written to sensitivity.json, without the inner tensors, instead of a table."""

    def __post_init__(self) -> None:
        check_machine(self.threads, workers=self.workers, seed=self.seed)
        check(self.images >= 0, "images", self.images, "0 or more")
        check(self.max_drop is None or self.max_drop >= 0, "max_drop", self.max_drop, "0 or more points")
        budget = self.bits_macs_budget
        check(budget is None or budget > 0, "bits_macs_budget", budget, "a ratio above 0")
        check(budget is None or self.max_drop is None, "bits_macs_budget", budget, "none beside max_drop")
        if budget is None and self.max_drop is None:
            check(self.plan is None, "plan", self.plan, "max_drop or bits_macs_budget beside it")
        narrow = min(self.weight_bits, default=8) < 8
        check(
            budget is None or budget >= 1 or narrow,
            "bits_macs_budget",
            budget,
            "below 1: --weight_bits 4 8 16 beside it",
        )
        known = ", ".join(map(str, WEIGHT_BITS))
        check(set(self.weight_bits) <= set(WEIGHT_BITS), "weight_bits", self.weight_bits, f"some of {known}")
        check(8 in self.weight_bits, "weight_bits", self.weight_bits, "8 among them")
        for name in ("calibration_images", "batch_size", "rows"):
            check(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        check(50 < self.percentile <= 100, "percentile", self.percentile, "above 50, at most 100")
