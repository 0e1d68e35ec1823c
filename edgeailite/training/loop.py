"""The epochs of `train` and `quantize`: loader, loop, validation, checkpoints, interruption."""

from __future__ import annotations

import math
import shlex
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgeailite.config import Loop
from edgeailite.console import log
from edgeailite.data import DataSource
from edgeailite.data.augment.transforms import EvalTransform
from edgeailite.data.loader import TOGETHER, EpochBatches, Portion, Transform, lost_worker, train_loader
from edgeailite.data.source import ClassTarget
from edgeailite.distributed import gather, lost_process, wait_for_all
from edgeailite.errors import DataError, DivergedError, Interrupted, LostProcessError, UsageError, first_line, option
from edgeailite.modelcard import ModelCard
from edgeailite.runs.checkpoint import Checkpoint, load_checkpoint, save_batch, save_checkpoint
from edgeailite.runs.folder import BEST, LAST, METRICS, PREVIOUS, append_metrics, keep_metrics, locked, tidy
from edgeailite.training.monitor import Watch
from edgeailite.training.state import DATA, MACHINE, check_state, machine, other_machine, restore
from edgeailite.training.step import Learner, NonFiniteError, Step, train_epoch
from edgeailite.training.validation import is_better, make_validation, score_of, validated


@dataclass
class Trainer:
    """A learner and the run folder it is written to; `before_epoch` may change the model (freezing).

    `best` is the best score so far, `stale` the number of validations since. Only the first process writes.
    """

    folder: Path
    card: ModelCard
    config: Mapping[str, Any]
    learner: Learner
    schedule: Callable[[float], float]
    quantization: Mapping[str, Any] | None = None
    before_epoch: Callable[[int], None] = lambda epoch: None
    best: float = math.nan
    stale: int = 0
    history: dict[str, float] = field(default_factory=dict)  # sums of the running epoch's losses, by output
    data: Mapping[str, Any] = field(default_factory=dict)  # fingerprints of the splits

    @property
    def model(self) -> nn.Module:
        """Return the network."""
        return self.learner.model

    def save(self, name: str, *, epoch: int, step: int = 0, total: float = 0.0) -> None:
        """Write a checkpoint to go on from: after `step` updates of `epoch`, whose losses so far sum to `total`.

        The file's weights are those to use: the moving average where there is one; the others are beside it. To be
        called in every process. Raises DivergedError for weights that are not finite.
        """
        learner = self.learner
        self._check_weights(f"after {epoch} epochs and {step} updates")
        if not learner.processes.first:
            return
        training: dict[str, Any] = {
            "epoch": epoch,
            "step": step,
            "total": total,
            "parts": dict(self.history),
            "best": self.best,
            "stale": self.stale,
            "optimizer": learner.optimizer.state_dict(),
            "scaler": learner.scaler.state_dict(),
            "balance": learner.balance.state_dict(),
            MACHINE: machine(learner),
            **({DATA: self.data} if self.data else {}),
        }
        weights = self.model.state_dict()
        if learner.average is not None:
            training |= {"model": weights, "updates": learner.average.updates}
            weights = learner.average.values
        checkpoint = Checkpoint(self.card, weights, self.config, self.quantization, training)
        save_checkpoint(self.folder / name, checkpoint, keep=self.folder / PREVIOUS if name == LAST else None)

    def _check_weights(self, when: str) -> None:
        """Raise DivergedError for weights that are not finite: the loss shows them only one update later."""
        if all(bool(torch.isfinite(value).all()) for value in self.model.parameters()):
            return
        last = self.folder / LAST
        before = f"{last} holds the state before" if last.exists() else "nothing was saved before"
        fix = f"lower {option('lr')} or set {option('clip_grad')}"
        raise DivergedError(f"weights are not finite {when}; {before}", fix=fix)

    def restore(self, checkpoint: Checkpoint) -> tuple[int, int, float]:
        """Load what `save` wrote; returns (epoch, step, sum of losses) to go on from."""
        state = checkpoint.training
        restore(self.learner, checkpoint, f"{option('resume')} {self.folder}")
        self.best, self.stale, self.history = state["best"], state["stale"], dict(state["parts"])
        return state["epoch"], state["step"], state["total"]


@dataclass(frozen=True)
class Transforms:
    """Preparation of pictures for the network, in training and in validation."""

    train: Transform
    val: EvalTransform


def load_last(folder: Path) -> Checkpoint:
    """Load the last checkpoint of a run to continue, or the previous one if the last is damaged or gone.

    Raises DataError if there is none.
    """
    last, previous = folder / LAST, folder / PREVIOUS
    if not last.is_file() and not previous.is_file():
        fix = "give the folder of a run that has saved an epoch"
        raise DataError(f"no {LAST} in it", about="resume", value=folder, fix=fix, code="missing-file")
    try:
        checkpoint = load_checkpoint(last)
    except DataError as error:
        if not previous.is_file():
            raise
        log(f"warning: {error}; resuming from {PREVIOUS}")
        checkpoint = load_checkpoint(previous)
    if "balance" not in checkpoint.training:
        raise DataError(
            f"{option('resume')} {folder}: {LAST} holds weights only, or the state of an older version; "
            f"begin a new run: edgeailite train --pretrained {folder / LAST}",
            code="wrong-kind",
        )
    check_state(checkpoint, f"{option('resume')} {folder}")
    return checkpoint


def fit(
    trainer: Trainer,
    train: DataSource,
    val: DataSource,
    *,
    transforms: Transforms,
    loop: Loop,
    start: Checkpoint | None,
) -> dict[str, Any]:
    """Train to the last epoch and return the last row of metrics.

    Raises Interrupted after saving on Ctrl-C, DivergedError, LostProcessError, and DataError for what cannot be read.
    """
    learner = trainer.learner
    portion = Portion(loop.epoch_size, loop.accumulate, learner.processes.rank, learner.processes.count)
    loader, batches = train_loader(
        train, transforms.train, batch_size=loop.batch_size, seed=loop.seed, workers=loop.workers, portion=portion
    )
    first, total = _go_on(trainer, batches, start, accumulate=loop.accumulate)
    validation = make_validation(val, transforms.val, loop)
    row: dict[str, Any] = {}
    with _failures_told(trainer), _writing(trainer, first), _interruptible(learner):
        with _watch(trainer, val, loop) as watch:
            if loop.evaluate_start and first == 0 and batches.skip == 0:
                watch.note(f"before training: {validated(learner, validation, watch, epoch=0)}")
            for epoch in range(first, loop.epochs):
                if loop.early_stopping and trainer.stale >= loop.early_stopping:
                    watch.note(f"stopped after epoch {epoch}: {trainer.stale} validations without a better score")
                    break
                began, batches.epoch = time.perf_counter(), epoch
                report = _Report(trainer, watch, epoch, loop.save_every)
                with report.saving():
                    trainer.before_epoch(epoch)
                    learner.train()
                    loss = train_epoch(
                        learner, loader, batches, schedule=trainer.schedule, total=total, on_step=report.on_step
                    )
                batches.skip, total = 0, 0.0
                due = (epoch + 1) % loop.evaluate_every == 0 or epoch + 1 == loop.epochs
                scores = dict.fromkeys(validation.columns, "")
                if due:
                    scores = validated(learner, validation, watch, epoch=epoch + 1)  # type: ignore[assignment]
                row = {"epoch": epoch + 1, "lr": _lr(trainer, epoch + 1), "loss": loss}
                row |= _parts(trainer, batches) | scores
                _end_epoch(trainer, row, batches, watch=watch, seconds=time.perf_counter() - began)
            for line in watch.remarks:
                watch.note(line)
        if any(gather(learner.stop, learner.processes)):  # asked after the last update
            raise stopped_by(trainer, "stopped after the last epoch")
    return row


def _go_on(trainer: Trainer, batches: EpochBatches, start: Checkpoint | None, *, accumulate: int) -> tuple[int, float]:
    """Restore the state to go on from; returns the epoch to begin with, and the sum of its losses so far."""
    learner = trainer.learner
    first, step, total = trainer.restore(start) if start is not None else (0, 0, 0.0)
    if start is not None and learner.processes.first and (note := other_machine(start, learner)):
        log(note)
    if step * accumulate > batches.batches:  # a state that kept no list of pictures
        where = f"{option('resume')} {trainer.folder}"
        log(f"note: {where}: epoch {first + 1} has fewer updates than were made; it begins anew")
        step, total, trainer.history = 0, 0.0, {}
    batches.skip = step * accumulate
    return first, total


@dataclass
class _Report:
    """Notes what the updates of an epoch report, and saves the state in the middle of the epoch."""

    trainer: Trainer
    watch: Watch
    epoch: int
    save_every: int
    last: Step | None = None

    def on_step(self, step: Step) -> None:
        """Note an update, and save the state every `save_every` of them."""
        self.last = step
        history = self.trainer.history
        for name, value in step.parts.items():
            history[name] = history.get(name, 0.0) + value
        self.watch.step(step)
        if self.save_every and step.step % self.save_every == 0 and step.step < step.steps:
            self.save(step)

    def save(self, step: Step) -> None:
        """Save the state after an update."""
        self.trainer.save(LAST, epoch=self.epoch, step=step.step, total=step.total)

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Save the state when asked to stop, and the batch of a loss that is not finite."""
        trainer = self.trainer
        try:
            yield
        except Interrupted as error:
            if self.last is not None:
                self.save(self.last)
            raise stopped_by(trainer, str(error)) from None
        except NonFiniteError as error:
            saved = save_batch(trainer.folder, error.batch, rank=trainer.learner.processes.rank)
            raise DivergedError(f"{error}; the batch is in {saved}") from None


def stopped_by(trainer: Trainer, problem: str) -> Interrupted:
    """Return the end of an interrupted run whose state is saved, with the command that resumes it."""
    folder = shlex.quote(str(trainer.folder))
    if trainer.quantization is None:
        command = f"edgeailite train {option('resume')} {folder}"
    else:
        run = shlex.quote(str(trainer.config.get("run")))
        command = f"edgeailite quantize {run} {option('save_path')} {folder} {option('resume')} True"
    return Interrupted(f"{problem}, state saved in {trainer.folder / LAST}", fix=command)


def _lr(trainer: Trainer, epoch: int) -> float:
    group = trainer.learner.optimizer.param_groups[-1]
    return float(group["initial_lr"] * trainer.schedule(epoch))


def _parts(trainer: Trainer, batches: EpochBatches) -> dict[str, float]:
    """Return mean loss and weight of each output, where there are several."""
    updates = len(batches) // trainer.learner.accumulate
    if len(trainer.history) < 2:
        return {}
    losses = {f"loss_{name}": value / updates for name, value in trainer.history.items()}
    return losses | {f"weight_{name}": value for name, value in trainer.learner.balance.weights().items()}


def _end_epoch(trainer: Trainer, row: dict[str, Any], batches: EpochBatches, *, watch: Watch, seconds: float) -> None:
    """Write metrics and checkpoints of a finished epoch; last.pt at the end: a kill before it repeats the epoch."""
    updates = len(batches) // trainer.learner.accumulate
    trainer.learner.balance.epoch_done({name: value / updates for name, value in trainer.history.items()})
    trainer.history = {}
    row["seconds"] = round(seconds, 1)
    score = score_of(row)
    better = is_better(score, trainer.best)
    if not math.isnan(score):
        trainer.best, trainer.stale = (score, 0) if better else (trainer.best, trainer.stale + 1)
    if trainer.learner.processes.first:
        append_metrics(trainer.folder, row)
        watch.epoch(row)
    if better:
        trainer.save(BEST, epoch=row["epoch"])
    trainer.save(LAST, epoch=row["epoch"])
    wait_for_all(trainer.learner.processes)


def _watch(trainer: Trainer, val: DataSource, loop: Loop) -> Watch:
    shown = trainer.learner.processes.first
    targets = {name: target for name, target in val.targets.items() if isinstance(target, ClassTarget)}
    return Watch(
        trainer.folder,
        title=f"{trainer.card.model_name} on {trainer.card.dataset_name}",
        epochs=loop.epochs,
        tensorboard=loop.tensorboard if shown else "off",
        overlays=loop.overlays if shown else 0,
        palettes={name: target.palette for name, target in targets.items()},
        classes={name: target.classes for name, target in targets.items()},
        quiet=not shown,
    )


@contextmanager
def _writing(trainer: Trainer, epochs: int) -> Iterator[None]:
    """Keep the run folder for these processes alone; its metrics are those of the first `epochs` epochs."""
    first = trainer.learner.processes.first
    with locked(trainer.folder) if first else nullcontext():
        if first:
            tidy(trainer.folder)
        wait_for_all(trainer.learner.processes)
        if first and (unread := keep_metrics(trainer.folder, epochs)):
            log(f"note: {trainer.folder / METRICS}: {unread} lines are no rows of epochs; left out")
        yield


@contextmanager
def _failures_told(trainer: Trainer) -> Iterator[None]:
    """Tell in one line, with what to do, of memory that does not suffice and of a lost loader or training process."""
    try:
        yield
    except RuntimeError as error:
        worker, first = lost_worker(error), first_line(error)[:120]
        if worker is not None:
            raise DataError(worker) from None
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in first:
            raise UsageError(
                f"not enough memory ({first})",
                fix=f"lower {option('batch_size')}, and raise {option('accumulate')} by as much, or use smaller "
                f"pictures, or {option('amp')} bf16",
                code="out-of-memory",
            ) from None
        if trainer.learner.processes.count == 1 or not lost_process(error):
            raise
        raise LostProcessError(
            f"another of the {trainer.learner.processes.count} processes was lost ({first}); "
            f"go on with {option('resume')} {trainer.folder}, or let torchrun do so with --max-restarts 3"
        ) from None


@contextmanager
def _interruptible(learner: Learner) -> Iterator[None]:
    """Let SIGINT and SIGTERM stop after the running update; a second one stops at once.

    Several SIGTERMs within TOGETHER seconds are one: `timeout` signals its command and then the command's group.
    """
    first = math.inf

    def request(number: int, frame: object) -> None:
        nonlocal first
        now, asked = time.monotonic(), first < math.inf
        learner.stop, first = True, min(first, now)
        if asked and (number == signal.SIGINT or now - first > TOGETHER):
            for name in (signal.SIGINT, signal.SIGTERM):
                signal.signal(name, previous[name])
            signal.raise_signal(number)

    previous = {name: signal.signal(name, request) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for name, handler in previous.items():
            signal.signal(name, handler)
