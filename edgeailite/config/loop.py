"""Options of the training loop: optimizer, schedule, evaluation, machine. A part of `TrainConfig`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgeailite.config.checks import Amp, Device, check, check_machine


@dataclass(frozen=True)
class Loop:
    """How long and how fast is learned, and on what machine."""

    epochs: int = 100
    """Passes over the training split."""
    epoch_size: float = 0.0
    """Pictures in an epoch: 0 = the split, below 1 a share of it, else a number (above the split: several passes)."""
    batch_size: int = 12
    """Pictures per step, over all devices."""
    accumulate: int = 1
    """Batches whose gradients are averaged into one update."""
    overfit: int = 0
    """Train and validate on the first so many training pictures: a network that cannot learn them has a fault."""
    optimizer: Literal["sgd", "adam", "adamw"] = "adam"
    """SGD with momentum, Adam with weight decay added to the gradient (as published), or decoupled (AdamW)."""
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
    scheduler: Literal["step", "cosine", "poly", "constant"] = "poly"
    """Learning rate over time."""
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
    evaluate_every: int = 1
    """Validate after every so many epochs, and after the last."""
    evaluate_start: bool = False
    """Validate before the first epoch too."""
    epoch_size_val: float = 0.0
    """Validation pictures: 0 = the split, below 1 a share of it, else a number."""
    early_stopping: int = 0
    """Stop when so many validations in a row brought no better score (0 = never)."""
    save_every: int = 0
    """Save the state after every so many updates as well, not only after epochs (0 = after epochs)."""
    workers: int | Literal["auto"] = "auto"
    """Loader processes; auto = one per core, up to 8."""
    device: Device = "auto"
    """Where to train. Several devices: start with torchrun."""
    timeout: float = 60.0
    """Several processes: seconds that one waits for another before it stops."""
    amp: Amp = "auto"
    """Mixed precision; auto = bf16 where the device computes it fast, else off."""
    channels_last: bool = True
    """NHWC memory layout (faster on CPUs and recent GPUs)."""
    compile: bool = False
    """torch.compile the network: faster on GPUs; takes minutes and a C++ compiler on CPUs, where it gains little."""
    threads: int | None = None
    """CPU threads; default all."""
    seed: int = 1
    """Fixes initial values, order and augmentation."""
    tensorboard: Literal["auto", "on", "off"] = "auto"
    """Write TensorBoard files: auto = where it is installed."""
    overlays: int = 4
    """Validation pictures drawn with label and prediction after each validation (0 = none)."""
    dry_run: bool = False
    """Build everything, take one step and validate one picture; nothing is written."""

    def check_loop(self) -> None:
        """Raise UsageError for a value out of range, or two that exclude each other."""
        check_machine(self.threads, workers=self.workers, seed=self.seed)
        for name in ("epochs", "batch_size", "accumulate", "evaluate_every"):
            check(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("epoch_size", "epoch_size_val", "overfit", "weight_decay", "warmup_epochs", "early_stopping"):
            check(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        for name in ("save_every", "overlays"):
            check(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        check(self.lr > 0, "lr", self.lr, "above 0")
        check(self.lr_encoder is None or self.lr_encoder >= 0, "lr_encoder", self.lr_encoder, "0 or more")
        check(0 <= self.momentum < 1, "momentum", self.momentum, "from 0 to below 1")
        check(self.lr_power > 0, "lr_power", self.lr_power, "above 0")
        check(self.clip_grad is None or self.clip_grad > 0, "clip_grad", self.clip_grad, "above 0")
        check(0 <= self.ema < 1, "ema", self.ema, "from 0 to below 1")
        check(self.timeout > 0, "timeout", self.timeout, "above 0 seconds")
