"""The training loop: one for float and quantized training alike, one process or several.

Plain functions over a `Learner`, which holds what an update changes. Everything random is a function of (seed, epoch,
index) or, for dropout, of (seed, epoch, step, rank): a run that goes on from a saved step needs no state of generators.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from edgeailite.data.loader import EpochBatches, Sample
from edgeailite.data.tensors import to_input
from edgeailite.distributed import ALONE, Processes, mean_over
from edgeailite.errors import DivergedError, Interrupted, option
from edgeailite.preprocessing import Preprocessing
from edgeailite.training.loss_balancing import Balance
from edgeailite.training.mixed_precision import mixed_precision
from edgeailite.training.optim import MovingAverage, set_rates
from edgeailite.training.output_losses import as_targets

# Outputs and targets by name -> loss of each output, such that the mean over processes is the loss of all their pixels.
Losses = Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Step:
    """The report of an update: epoch (from 0), number in it (from 1), updates in the epoch, loss (of all processes),
    sum of the epoch's losses so far, learning rate, loss per output, pictures per second.
    """

    epoch: int
    step: int
    steps: int
    loss: float
    total: float
    lr: float
    parts: Mapping[str, float] = field(default_factory=dict)
    images_per_second: float = 0.0


class NonFiniteError(DivergedError):
    """A loss or gradient that is not finite; carries the batch that gave it."""

    def __init__(self, message: str, batch: Sample) -> None:
        super().__init__(message)
        self.batch = batch


@dataclass
class Learner:
    """State that updates change, and the parts that make them.

    `model` is the network, `call` the form of it that is called (compiled, or wrapped for several processes). `shared`
    are the parameters at which gradients of several outputs are compared, `still` the BatchNorm modules whose
    statistics stay fixed. `teacher` sees the same pictures; its outputs become targets. `stop` asks for an end after
    the running update.
    """

    model: nn.Module
    call: nn.Module
    optimizer: torch.optim.Optimizer
    losses: Losses
    balance: Balance
    preprocessing: Preprocessing
    scaler: torch.amp.GradScaler
    shared: Sequence[nn.Parameter] = ()
    still: Sequence[nn.Module] = ()
    amp: torch.dtype | None = None
    average: MovingAverage | None = None
    teacher: nn.Module | None = None
    clip_grad: float | None = None
    accumulate: int = 1
    seed: int = 1
    processes: Processes = ALONE
    stop: bool = False

    @property
    def device(self) -> torch.device:
        """Return the network's device."""
        return next(self.model.parameters()).device

    def train(self) -> None:
        """Set training mode, but not for the modules in `still`."""
        self.call.train()
        for module in self.still:
            module.eval()


def train_epoch(
    learner: Learner,
    loader: Iterable[Sample],
    batches: EpochBatches,
    *,
    schedule: Callable[[float], float],
    total: float = 0.0,
    on_step: Callable[[Step], None] = lambda step: None,
) -> float:
    """Train on `loader` for an epoch, from `batches.epoch` and `batches.skip` on; return the whole epoch's mean loss.

    `total` is the sum of the losses of skipped updates. `schedule(epoch)` is the factor of the learning rates at a
    fractional epoch. `on_step` is called after each update. Raises NonFiniteError before an update with a loss that is
    not finite, Interrupted after the update in which any process asked to stop.
    """
    done = batches.skip // learner.accumulate
    steps = done + len(batches) // learner.accumulate
    began = time.perf_counter()
    for step, group in enumerate(_groups(loader, learner.accumulate), start=done):
        factor = schedule(batches.epoch + step / steps)
        set_rates(learner.optimizer, factor)
        _seed(learner, batches.epoch, step)
        parts, stop = _update(learner, group, where=f"epoch {batches.epoch + 1}, step {step + 1}")
        loss = _weighted(parts, learner.balance.weights())
        total += loss
        seconds, began = time.perf_counter() - began, time.perf_counter()
        pictures = sum(len(images[0]) for images, _ in group) * learner.processes.count
        lr = learner.optimizer.param_groups[-1]["lr"]
        on_step(Step(batches.epoch, step + 1, steps, loss, total, lr, parts, pictures / max(seconds, 1e-9)))
        if stop:
            raise Interrupted(f"stopped in epoch {batches.epoch + 1}")
    return total / steps


def _weighted(parts: Mapping[str, float], weights: Mapping[str, float]) -> float:
    return sum(weights[output] * loss for output, loss in parts.items())


def _groups(loader: Iterable[Sample], size: int) -> Iterator[list[Sample]]:
    """Yield the batches of each update."""
    group: list[Sample] = []
    for batch in loader:
        group.append(batch)
        if len(group) == size:
            yield group
            group = []


def _seed(learner: Learner, epoch: int, step: int) -> None:
    """Seed the dropout of an update by its place in the training."""
    entropy = [learner.seed, epoch, step, learner.processes.rank]
    torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1))


def _update(learner: Learner, group: list[Sample], *, where: str) -> tuple[dict[str, float], bool]:
    """Update the weights; return each output's mean loss over all processes, and whether one of them asked to stop."""
    learner.optimizer.zero_grad(set_to_none=True)
    reports = []
    for number, batch in enumerate(group, start=1):
        with _synchronising(learner, last=number == len(group)):
            loss, report = _forward(learner, batch)
            if not torch.isfinite(report).all():
                raise NonFiniteError(f"loss is {report[:-1].sum().item()} at {where}; {_advice(learner)}", batch)
            learner.scaler.scale(loss / len(group)).backward()
        reports.append(report)
    _limit_gradient(learner, group[-1], where=where)
    learner.scaler.step(learner.optimizer)
    learner.scaler.update()
    if learner.average is not None:
        learner.average.update(learner.model)
    *losses, asked = torch.stack(reports).mean(0).tolist()
    return dict(zip(learner.balance.outputs, losses, strict=True)), asked > 0


def _synchronising(learner: Learner, *, last: bool) -> AbstractContextManager[None]:
    """Average the gradients of several processes once per update, after its last batch."""
    if last or not isinstance(learner.call, DistributedDataParallel):
        return nullcontext()
    waiting: AbstractContextManager[None] = learner.call.no_sync()
    return waiting


def _forward(learner: Learner, batch: Sample) -> tuple[Tensor, Tensor]:
    """Return the scalar to differentiate; and, over all processes, each output's loss and the stop requests."""
    images, targets = batch
    device = learner.device
    inputs = [to_input(image.to(device, non_blocking=True), learner.preprocessing) for image in images]
    wanted = {name: target.to(device, non_blocking=True) for name, target in targets.items()}
    with mixed_precision(device.type, learner.amp):
        outputs = learner.call(*inputs)
        if learner.teacher is not None:
            with torch.no_grad():
                wanted |= as_targets(learner.teacher(*inputs))
    values = learner.losses(outputs, wanted)
    stacked = learner.balance.stacked(values).detach()
    report = mean_over(torch.cat([stacked, stacked.new_tensor([float(learner.stop)])]), learner.processes)
    return learner.balance(values, learner.shared), report


def _limit_gradient(learner: Learner, batch: Sample, *, where: str) -> None:
    """Scale gradients down to the norm they may have. Raises NonFiniteError for a norm that is not finite."""
    if learner.clip_grad is not None:
        learner.scaler.unscale_(learner.optimizer)
        norm = nn.utils.clip_grad_norm_(learner.model.parameters(), learner.clip_grad)
        if not learner.scaler.is_enabled() and not torch.isfinite(norm):
            raise NonFiniteError(f"norm of the gradient is {norm.item()} at {where}; {_advice(learner)}", batch)


def _advice(learner: Learner) -> str:
    return f"lower {option('lr')} (now {learner.optimizer.param_groups[-1]['lr']:.3g}) or check the labels"
