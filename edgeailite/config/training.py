"""Options of `edgeailite train`: what to train on what; how is in `augmentation`, `objective` and `loop`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeailite.config.augmentation import Augmentation
from edgeailite.config.checks import check
from edgeailite.config.loop import Loop
from edgeailite.config.objective import Objective

MODEL = "deeplabv3plus_mobilenetv2_tv_edgeailite"


@dataclass(frozen=True)
class Subject:
    """What is trained, on what, and where the result goes."""

    model_name: str = MODEL
    """Network; `edgeailite models` lists them."""
    upsampling: Literal["bilinear", "deconvolution", "subpixel"] = "bilinear"
    """Up-sampling inside an edgeailite decoder; int8 needs bilinear."""
    align_corners: bool = False
    """Resize as PyTorch did in 2017, which the published weights of `v1_*` networks expect."""
    dataset_name: str = "streets"
    """Data set: streets (generated here), folder (your own), or a published one; `edgeailite data get` lists them. Its
    form decides the network's inputs and outputs, e.g. streets_depth_semantic_motion_multi_input."""
    data_path: Path | None = None
    """Folder of the data set; default data/datasets/<dataset_name>."""
    cache: Path | None = None
    """Folder that `edgeailite data cache` wrote: training pictures are taken from there, and need no decoding."""
    train_split: str = "train"
    """Split to train on."""
    val_split: str = "val"
    """Split used for validation during training."""
    output_size: tuple[int, int] | None = None
    """Size H W of the labels in validation; default their own."""
    save_path: Path | None = None
    """Run folder; default runs/<date>_<dataset>_<model>."""
    pretrained: tuple[str, ...] | None = None
    """Weights to start from: a file or a URL, ours or published, or two for an ADE20K network: ENCODER DECODER."""
    allow_head_mismatch: bool = False
    """Take weights of another class count: the layers that depend on it keep their initial values."""
    resume: Path | None = None
    """Run folder to go on with, from its last.pt. Other flags are taken from that run, but for data_path, workers,
    device, threads and timeout where they are given here."""
    accept_changed_data: bool = False
    """Go on though pictures or classes are other than when the run began; the running epoch then begins anew."""
    quantize: bool = False
    """Go on with quantization-aware training of the result, into <save_path>_qat (see `edgeailite quantize`)."""
    quantize_epochs: int = 10
    """Epochs of that."""
    quantize_lr: float = 5e-5
    """Learning rate of that."""


@dataclass(frozen=True)
class TrainConfig(Loop, Objective, Augmentation, Subject):  # options are listed from the last to the first
    """Train a network from labelled images.

    Several devices: torchrun --nproc-per-node 2 -m edgeailite train --save_path DIR ...
    """

    def __post_init__(self) -> None:
        self.check_augmentation()
        self.check_objective()
        self.check_loop()
        if self.pretrained is not None:
            check(len(self.pretrained) in (1, 2), "pretrained", self.pretrained, "one file, or two: ENCODER DECODER")
        if self.output_size is not None:
            check(min(self.output_size) >= 1, "output_size", self.output_size, "height and width of at least 1")
        check(self.quantize_epochs >= 1, "quantize_epochs", self.quantize_epochs, "at least 1")
        check(self.quantize_lr > 0, "quantize_lr", self.quantize_lr, "above 0")
