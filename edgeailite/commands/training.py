"""The epochs of `train` and `quantize`: loader, loop, validation, checkpoints, interruption."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from edgeailite.checkpoint import (
    BEST,
    LAST,
    PREVIOUS,
    Checkpoint,
    append_metrics,
    keep_metrics,
    load_checkpoint,
    locked,
    save_checkpoint,
)
from edgeailite.commands.common import log, progress
from edgeailite.data import DataSource
from edgeailite.data.loader import Transform, eval_loader, train_loader
from edgeailite.data.transforms import EvalTransform
from edgeailite.engine import Step, is_better, train_epoch
from edgeailite.errors import DataError, Interrupted
from edgeailite.evaluation import ClassTally, evaluate, torch_predictor
from edgeailite.losses import cross_entropy
from edgeailite.modelcard import ModelCard
from edgeailite.models import DEEP_SUPERVISION

DEEP_SUPERVISION_WEIGHT = 0.4  # of the published ADE20K recipes


@dataclass
class Trainer:
    """What is trained and where it is written; `before_epoch` may change the model (freezing)."""

    folder: Path
    card: ModelCard
    config: Mapping[str, Any]
    model: nn.Module
    optimizer: torch.optim.Optimizer
    rate: Callable[[float], float]
    weight: Tensor | None = None
    amp: torch.dtype | None = None
    channels_last: bool = True
    quantization: Mapping[str, Any] | None = None
    before_epoch: Callable[[int], None] = lambda epoch: None
    best: float = math.nan
    stop: bool = field(default=False, init=False)

    def loss(self, outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> Tensor:
        """Cross entropy of the segmentation output, plus 0.4 x that of its deep supervision, where there is one."""
        target = targets["segmentation"]
        loss = cross_entropy(outputs["segmentation"], target, weight=self.weight)
        auxiliary = outputs.get("segmentation" + DEEP_SUPERVISION)
        if auxiliary is not None:
            loss = loss + DEEP_SUPERVISION_WEIGHT * cross_entropy(auxiliary, target, weight=self.weight)
        return loss

    def save(self, name: str, *, epoch: int, step: int = 0, total: float = 0.0) -> None:
        """Write a checkpoint to go on from: after `step` of `epoch`, whose losses so far sum to `total`."""
        training = {
            "epoch": epoch,
            "step": step,
            "total": total,
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        checkpoint = Checkpoint(self.card, self.model.state_dict(), self.config, self.quantization, training)
        save_checkpoint(self.folder / name, checkpoint, keep=self.folder / PREVIOUS if name == LAST else None)

    def restore(self, state: Mapping[str, Any]) -> tuple[int, int, float]:
        """Load what `save` wrote; returns (epoch, step, sum of losses) to go on from."""
        self.model.load_state_dict(state["state_dict"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        for device, rng in enumerate(state.get("cuda_rng", [])[: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(rng, device)
        self.best = state["best"]
        return state["epoch"], state["step"], state.get("total", 0.0)


def load_last(folder: Path) -> Checkpoint:
    """The last checkpoint of a run to go on with, or the previous one if the last is damaged. DataError if none is."""
    if not (folder / LAST).is_file():
        raise DataError(f"--resume {folder}: no {LAST} in it; give the folder of a run that has saved an epoch")
    try:
        checkpoint = load_checkpoint(folder / LAST)
    except DataError as error:
        if not (folder / PREVIOUS).is_file():
            raise
        log(f"warning: {error}; resuming from {PREVIOUS}")
        checkpoint = load_checkpoint(folder / PREVIOUS)
    if not checkpoint.training:
        raise DataError(f"--resume {folder}: {LAST} holds weights only; use --pretrained {folder / LAST}")
    return checkpoint


def run_training(
    trainer: Trainer,
    train: DataSource,
    val: DataSource,
    transform: Transform,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    workers: int | Literal["auto"],
    evaluate_every: int,
    start: Mapping[str, Any],
) -> dict[str, Any]:
    """Train to the last epoch; returns the last row of metrics. Raises Interrupted after saving on Ctrl-C."""
    loader, batches = train_loader(train, transform, batch_size=batch_size, seed=seed, workers=workers)
    first, batches.skip, total = trainer.restore(start) if start else (0, 0, 0.0)
    if trainer.channels_last:
        trainer.model.to(memory_format=torch.channels_last)
    row: dict[str, Any] = {}
    with (
        locked(trainer.folder),
        _interruptible(trainer),
        progress("train", epochs * (len(train.items) // batch_size)) as (bar, task),
    ):
        keep_metrics(trainer.folder, first)
        for epoch in range(first, epochs):
            began = time.perf_counter()
            batches.epoch = epoch
            trainer.before_epoch(epoch)
            trainer.model.train()

            def on_step(step: Step) -> None:
                text = f"epoch {step.epoch + 1}/{epochs} loss {step.loss:.3f} lr {step.lr:.1e}"
                bar.update(task, completed=step.epoch * step.steps + step.step, description=text)
                if trainer.stop:
                    trainer.save(LAST, epoch=step.epoch, step=step.step, total=step.total)
                    raise Interrupted(f"stopped in epoch {step.epoch + 1}, state saved in {trainer.folder / LAST}")

            loss = train_epoch(
                trainer.model,
                loader,
                batches,
                loss=trainer.loss,
                optimizer=trainer.optimizer,
                rate=trainer.rate,
                preprocessing=trainer.card.preprocessing,
                amp=trainer.amp,
                total=total,
                on_step=on_step,
            )
            batches.skip, total = 0, 0.0
            row = {"epoch": epoch + 1, "lr": trainer.rate(epoch + 1), "loss": loss, "miou": "", "pixel_accuracy": ""}
            if (epoch + 1) % evaluate_every == 0 or epoch + 1 == epochs:
                row |= _validate(trainer, val, workers=workers)
            _record(trainer, row, seconds=time.perf_counter() - began)
            miou = f" val mIoU {100 * row['miou']:.2f}" if row["miou"] != "" else ""
            log(f"epoch {epoch + 1}/{epochs} loss {loss:.4f}{miou} ({row['seconds']} s)")
    return row


def _record(trainer: Trainer, row: dict[str, Any], *, seconds: float) -> None:
    """Metrics and checkpoints of a finished epoch; last.pt at the end, so that a kill before it repeats the epoch."""
    row["seconds"] = round(seconds, 1)
    append_metrics(trainer.folder, row)
    if row["miou"] != "" and is_better(row["miou"], trainer.best):
        trainer.best = row["miou"]
        trainer.save(BEST, epoch=row["epoch"])
    trainer.save(LAST, epoch=row["epoch"])


def _validate(trainer: Trainer, val: DataSource, *, workers: int | Literal["auto"]) -> dict[str, float]:
    pre = trainer.card.preprocessing
    transform = EvalTransform((pre.height, pre.width), pre.interpolation, _size(trainer.config.get("output_size")))
    loader = eval_loader(val, transform, batch_size=1, workers=workers)
    tally = evaluate(torch_predictor(trainer.model, pre), loader, {"segmentation": len(val.classes)})["segmentation"]
    assert isinstance(tally, ClassTally)
    result = tally.scores()
    return {"miou": result.miou, "pixel_accuracy": result.pixel_accuracy}


def _size(values: Sequence[int] | None) -> tuple[int, int] | None:
    """(height, width) of an option, which a resumed run holds as a list."""
    return None if values is None else (values[0], values[1])


@contextmanager
def _interruptible(trainer: Trainer) -> Iterator[None]:
    """SIGINT and SIGTERM stop after the running step; a second one stops at once."""

    def request(number: int, frame: object) -> None:
        trainer.stop = True
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, previous[name])

    previous = {name: signal.signal(name, request) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for name, handler in previous.items():
            signal.signal(name, handler)
