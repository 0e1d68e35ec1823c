"""From a configuration to a `Learner`: losses, weights of classes and tasks, optimizer, device, processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from edgeailite.config import Loop, Objective
from edgeailite.console import progress
from edgeailite.data import DataSource
from edgeailite.data.source import ClassTarget
from edgeailite.device import select_amp
from edgeailite.distributed import ALONE, Processes, from_first, mean_over, share_model, synchronise_batchnorm
from edgeailite.errors import UsageError, option
from edgeailite.preprocessing import Preprocessing
from edgeailite.training.loss_balancing import Balance, last_weight, make_balance
from edgeailite.training.losses import enet_weights, median_frequency_weights
from edgeailite.training.optim import MovingAverage, freeze, learning_rate, make_optimizer, parameter_groups
from edgeailite.training.output_losses import Distillation, TaskOptions, distillation_losses, loss_values, output_losses
from edgeailite.training.step import Learner, Losses


@dataclass(frozen=True)
class Place:
    """A device, and this process among those that train."""

    device: torch.device
    processes: Processes


def task_options(
    config: Objective, source: DataSource, device: torch.device, processes: Processes = ALONE
) -> TaskOptions:
    """Return the losses as configured, with class weights found in the data set.

    Raises UsageError for weights that do not fit.
    """
    return TaskOptions(
        segmentation=config.loss,
        label_smoothing=config.label_smoothing,
        dice=config.dice,
        lovasz=config.lovasz,
        class_weights=class_weights(config, source, device, processes),
        depth=config.depth_weights,
        depth_relative=config.depth_relative,
        deep_supervision=config.deep_supervision,
        focal_gamma=config.focal_gamma,
        ohem_threshold=config.ohem_threshold,
        ohem_min_share=config.ohem_share,
    )


def class_weights(
    config: Objective, source: DataSource, device: torch.device, processes: Processes = ALONE
) -> dict[str, Tensor]:
    """Return loss weights by output: given, published, or from the training labels, read by the first process."""
    targets = {name: target for name, target in source.targets.items() if isinstance(target, ClassTarget)}
    if config.class_weight_values is not None:
        given, main = config.class_weight_values, source.main
        if len(given) != len(main.classes):
            raise UsageError(
                f"{option('class_weight_values')}: {len(given)} numbers, expected one for each of the "
                f"{len(main.classes)} classes of {source.name}"
            )
        name = next(name for name, target in targets.items() if target is main)
        return {name: torch.tensor(given, device=device)}
    found = {name: _weights(config.class_weights, source, name, processes) for name in targets}
    return {name: weights.to(device) for name, weights in found.items() if weights is not None}


def _weights(kind: str, source: DataSource, name: str, processes: Processes) -> Tensor | None:
    target = source.targets[name]
    if kind == "none" or not isinstance(target, ClassTarget):
        return None
    if kind in ("published", "auto") and target.class_weights is not None:
        return torch.tensor(target.class_weights)
    if kind == "published":
        raise UsageError(
            f"{option('class_weights')} published: none are published for {name} of {source.name}; "
            "take auto, enet or none"
        )
    pixels, with_class = from_first(lambda: _count(source, name, target), processes)
    return median_frequency_weights(pixels, with_class) if kind == "median_frequency" else enet_weights(pixels)


def _count(source: DataSource, name: str, target: ClassTarget) -> tuple[Tensor, Tensor]:
    """Count the pixels of each class, and all pixels of the pictures in which it occurs."""
    classes = len(target.classes)
    pixels, with_class = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
    with progress(f"{name}: counting labels for class weights", len(source.items)) as (bar, task):
        for item in source.items:
            label = target.values(item.labels[name], source.name)
            counts = np.bincount(label.ravel(), minlength=256)[:classes]
            pixels += counts
            with_class += np.where(counts > 0, label.size, 0)
            bar.advance(task)
    return torch.from_numpy(pixels), torch.from_numpy(with_class)


def make_losses(options: TaskOptions, processes: Processes, distillation: Distillation | None = None) -> Losses:
    """Build the losses by output, divided by the labelled pixels of all processes. `distillation` adds the losses
    against the teacher's outputs, which are then among the targets.
    """

    def losses(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the loss of each output, distillation included."""
        terms = output_losses(outputs, targets, options)
        if distillation is not None:
            added = distillation_losses(outputs, targets, distillation)
            terms = {output: own + added.get(output, ()) for output, own in terms.items()}
        return loss_values(terms, reduce=lambda masses: mean_over(masses, processes))

    return losses


def task_balance(config: Objective, outputs: Mapping[str, int], processes: Processes) -> Balance:
    """Build the balance of several outputs. Raises UsageError if there is not one weight for each."""
    weights = config.task_weights
    if weights is not None and len(weights) != len(outputs):
        wanted = f"expected one for each of {', '.join(outputs)}"
        raise UsageError(f"{option('task_weights')}: {len(weights)} numbers, {wanted}")
    given = None if weights is None else dict(zip(outputs, weights, strict=True))
    return make_balance(
        config.task_balancing, list(outputs), weights=given, reduce=lambda values: mean_over(values, processes)
    )


def make_learner(
    model: nn.Module,
    config: Loop,
    *,
    losses: Losses,
    balance: Balance,
    preprocessing: Preprocessing,
    place: Place,
    lr_ranges: float = 0.0,
    teacher: nn.Module | None = None,
) -> Learner:
    """Put the network on its device, frozen and shared between processes as configured, with its optimizer.

    `lr_ranges` is the rate of learned ranges; `teacher` gives what `make_losses` with a distillation compares with.
    """
    device, processes = place.device, place.processes
    if config.channels_last:
        model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    balance.to(device)
    same_buffers = processes.count > 1 and config.sync_bn and not isinstance(model, torch.fx.GraphModule)
    if same_buffers:  # a quantized network has BatchNorm inside its convolutions
        model = synchronise_batchnorm(model, device)
    still = freeze(model, config.freeze_layers)
    if config.freeze_bn:
        still = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    amp = select_amp(config.amp, device)
    call: nn.Module = torch.compile(model) if config.compile else model  # type: ignore[assignment]
    return Learner(
        model=model,
        call=share_model(call, device, same_buffers=same_buffers) if processes.count > 1 else call,
        optimizer=_optimizer(config, model, balance, lr_ranges),
        teacher=teacher,
        losses=losses,
        balance=balance,
        preprocessing=preprocessing,
        scaler=torch.amp.GradScaler(device.type, enabled=amp == torch.float16),
        shared=last_weight(encoder) if (encoder := getattr(model, "encoder", None)) is not None else (),
        still=tuple(still),
        amp=amp,
        average=MovingAverage(model, config.ema) if config.ema else None,
        clip_grad=config.clip_grad,
        accumulate=config.accumulate,
        seed=config.seed,
        processes=processes,
    )


def _optimizer(config: Loop, model: nn.Module, balance: Balance, lr_ranges: float) -> torch.optim.Optimizer:
    groups = parameter_groups(
        model,
        lr=config.lr,
        lr_encoder=config.lr_encoder,
        weight_decay=config.weight_decay,
        decay=config.decay,
        lr_ranges=lr_ranges,
    )
    learned = list(balance.parameters())
    if learned:
        groups.append({"params": learned, "lr": config.lr, "weight_decay": 0.0})
    return make_optimizer(
        config.optimizer, groups, lr=config.lr, weight_decay=config.weight_decay, momentum=config.momentum
    )


def longer(before: Loop, now: Loop, epoch: int) -> str:
    """Return what more epochs change in a run of which `epoch` are done, as a note."""
    text = f"note: trains on to epoch {now.epochs}, the run's own were {before.epochs}"
    old, new = (now.lr * schedule(config)(epoch) for config in (before, now))
    if old == new:
        return f"{text}; the learning rate stays {new:.3g}"
    return (
        f"{text}; the {now.scheduler} schedule now falls over all {now.epochs}: from {new:.3g} on instead of {old:.3g}"
    )


def schedule(config: Loop) -> Callable[[float], float]:
    """Return the factor of the learning rates as a function of the fractional epoch."""

    def factor(epoch: float) -> float:
        """Return the factor at a fractional epoch; by whole epochs if the schedule goes by epoch."""
        return learning_rate(
            1.0,
            float(int(epoch)) if config.schedule_by == "epoch" else epoch,
            epochs=config.epochs,
            scheduler=config.scheduler,
            warmup_epochs=config.warmup_epochs,
            milestones=config.milestones,
            gamma=config.multistep_gamma,
            power=config.lr_power,
        )

    return factor
