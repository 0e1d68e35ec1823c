"""Quantization-aware training from a float run."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from edgeailite.config import Loop, QuantizeConfig, TrainConfig
from edgeailite.config.stored import plain, stored_options, train_config
from edgeailite.console import log
from edgeailite.data import DataSource, default_path
from edgeailite.distributed import Processes, from_first
from edgeailite.errors import DataError, UsageError, option
from edgeailite.modelcard import CLASSIFICATION, FEATURES
from edgeailite.quantization import Plan, learn_ranges, normalised_by, set_state
from edgeailite.quantization.modules import QuantConv2d
from edgeailite.quantization.plan_files import plan_of, read_plan, recorded
from edgeailite.runs.checkpoint import Checkpoint
from edgeailite.runs.folder import beside, refuse_used, start_of
from edgeailite.runs.network_file import keep_network
from edgeailite.runs.open import OpenModel
from edgeailite.runs.resume import begin_run, goes_on, resumed_config
from edgeailite.runs.weights import chosen_weights
from edgeailite.training.calibration import calibrated, open_float, splits_of, takes_batches
from edgeailite.training.job import Kind, TrainingResult, agree_on_data, ended, job, short
from edgeailite.training.learner import Place, make_learner, make_losses, schedule, task_balance, task_options
from edgeailite.training.loop import Trainer, Transforms, fit, load_last
from edgeailite.training.optim import RANGES
from edgeailite.training.output_losses import Distillation
from edgeailite.training.transforms import eval_transform, train_transform, training_source

AS_THEY_ARE = {"rand_scale": (1.0, 1.0), "rotation": 0.0, "color_jitter": 0.0}
OF_THIS_CALL = {
    "run",
    "save_path",
    "resume",
    "dry_run",
    "accept_changed_data",
}  # never taken from the run that is resumed


def quantize_run(config: QuantizeConfig) -> TrainingResult:
    """Calibrate a float run and train it with fake quantization, anew, resumed or dry, and write the new run's folder.

    Raises the errors of `edgeailite.errors`, as `train` does.

    >>> short = QuantizeConfig(Path("runs/night"), epochs=1, epoch_size=2, batch_size=2, epoch_size_val=1, workers=0)
    >>> quantize_run(short).folder.as_posix()
    'runs/night_qat'
    """
    with job(config, QUANTIZED) as this:
        began = time.perf_counter()
        config, place = this.config, this.place
        torch.manual_seed(config.seed)
        if this.start is None:
            from_first(lambda: refuse_used(this.folder), place.processes)
        told = this.start is None and place.processes.first  # a run that is resumed has weights of its own
        checkpoint, opened = open_float(chosen_weights(config.run, config.weights, told=told), config.data_path)
        before, card = float_config(checkpoint), opened.card
        _check_trainable(opened, config.run)
        train, val = splits_of(card, before, config.data_path)
        loop, views = loop_of(config, before), train_transform(before)
        source = training_source(train, config.cache, views)
        plan = plan_of(this.start.quantization) if this.start else read_plan(config.plan, scheme=config.scheme)
        root = config.data_path or (default_path(card.dataset_name) if card.data_path is None else Path(card.data_path))
        data, start = agree_on_data(this, card, (train, val), root)
        exact = this.start is None or bool((this.start.quantization or {}).get("exact_resizes"))
        trainer = _trainer(
            config, checkpoint, opened, train, folder=this.folder, place=place, plan=plan, exact_resizes=exact
        )
        trainer.data = data
        if start is None:
            from_first(lambda: begin_run(this.folder, config), place.processes)
            from_first(lambda: keep_network(config.run, this.folder), place.processes)
        last = fit(trainer, source, val, transforms=Transforms(views, eval_transform(before)), loop=loop, start=start)
        return ended(this, last, began)


def _check_trainable(opened: OpenModel, run: Path) -> None:
    """Raise UsageError for a network whose outputs no labels of pixels belong to, or that takes no batches."""
    whole = [output for output, task in opened.card.tasks.items() if task in (CLASSIFICATION, FEATURES)]
    if whole:
        raise UsageError(
            f"output {whole[0]} has no class or depth for each pixel, which training needs",
            path=run,
            fix="quantize it without training: edgeailite calibrate",
            code="wrong-kind",
        )
    if not takes_batches(opened):
        raise UsageError(
            "takes one picture at a time, so that it cannot be trained", path=run, fix="export it with an open batch"
        )


def _begin(config: QuantizeConfig, place: Place) -> tuple[QuantizeConfig, Path, Checkpoint | None]:
    """Return options, folder and state to start from: of a run that is resumed, or anew."""
    folder, processes = _folder(config), place.processes
    start = None
    if from_first(lambda: config.resume, processes) or goes_on(folder, processes):
        start = from_first(lambda: load_last(folder), processes)
    return (config if start is None else _resumed(config, start, processes)), folder, start


def _folder(config: QuantizeConfig) -> Path:
    return config.save_path or beside(start_of(config.run), "_qat")


def _short(config: QuantizeConfig, processes: int) -> QuantizeConfig:
    return short(config, processes, calibration_images=min(config.calibration_images, 2))


def float_config(checkpoint: Checkpoint) -> TrainConfig:
    """Return the float run's options at its card's size, where the network is used; training may have had another.

    How a network of other people was trained is not known, so its pictures are as they are, or mirrored.
    """
    before, pre = train_config(checkpoint.config or AS_THEY_ARE), checkpoint.card.preprocessing
    sizes: dict[str, Any] = {"img_resize": pre.size, "interpolation": pre.interpolation}
    if sizes["img_resize"] != before.img_resize:
        sizes["rand_crop"] = None  # the default, all of the picture: the old crop may be larger
    return dataclasses.replace(before, **sizes)


def _resumed(config: QuantizeConfig, start: Checkpoint, processes: Processes) -> QuantizeConfig:
    """Return the options to continue with, as the first process says; each says itself where its float run is."""
    before = of_run(config, start.config)
    own = from_first(lambda: resumed_config(config, before), processes)
    if own.epochs > before.epochs and processes.first:
        log(
            f"note: trains on to epoch {own.epochs}, the run's own were {before.epochs}; the cosine of the learning "
            "rate, and the shares after which BatchNorm and ranges are fixed, are now of all of them"
        )
    return dataclasses.replace(own, run=config.run)


def of_run(given: QuantizeConfig, saved: Mapping[str, Any]) -> QuantizeConfig:
    """Return the options that a quantized run began with, from its checkpoint; those of OF_THIS_CALL stay `given`."""
    options = stored_options(QuantizeConfig, saved, where=f"{option('resume')} {given.save_path}: its options")
    own = {name: value for name, value in options.items() if name not in OF_THIS_CALL}
    own.setdefault("weights", "last")  # what runs of versions without this option began from
    try:
        return dataclasses.replace(given, **own)
    except UsageError as error:
        raise DataError(f"{option('resume')} {given.save_path}: its options: {error}") from None


def loop_of(config: QuantizeConfig, before: TrainConfig) -> Loop:
    """Return the loop of quantization-aware training; what `config` does not say is as in the float run."""
    own = {field.name: getattr(config, field.name) for field in dataclasses.fields(Loop) if hasattr(config, field.name)}
    own["batch_size"] = config.batch_size or before.batch_size
    own["accumulate"] = config.accumulate or before.accumulate
    return Loop(
        **own,
        scheduler="cosine",
        warmup_epochs=0.0,
        freeze_bn=before.freeze_bn,
        freeze_layers=before.freeze_layers,
        amp="off",
        overlays=0 if config.dry_run else before.overlays,
        tensorboard="off" if config.dry_run else before.tensorboard,
    )


def _trainer(
    config: QuantizeConfig,
    checkpoint: Checkpoint,
    opened: OpenModel,
    train: DataSource,
    *,
    folder: Path,
    place: Place,
    plan: Plan,
    exact_resizes: bool = True,
) -> Trainer:
    before = float_config(checkpoint)
    loop = loop_of(config, before)
    model = calibrated(
        opened,
        train,
        config=config,
        plan=plan,
        batch_size=loop.batch_size,
        device=place.device,
        exact_resizes=exact_resizes,
    )
    if config.ranges == "learned":
        learn_ranges(model)
    distillation = Distillation(config.distill, config.distill_temperature) if config.distill else None
    options = task_options(before, train, place.device, place.processes)
    learner = make_learner(
        model,
        loop,
        losses=make_losses(options, place.processes, distillation),
        balance=task_balance(before, opened.card.outputs, place.processes),
        preprocessing=opened.card.preprocessing,
        place=place,
        lr_ranges=config.ranges_lr,
        teacher=_teacher(opened, loop, place) if config.distill else None,
    )
    used = dataclasses.replace(config, batch_size=loop.batch_size, accumulate=loop.accumulate)
    return Trainer(
        folder=folder,
        card=checkpoint.card,
        config={**checkpoint.config, **plain(before), **plain(used)},
        learner=learner,
        schedule=schedule(loop),
        quantization={
            "scheme": config.scheme,
            "percentile": config.percentile,
            "observer": config.observer,
            "method": "qat",
            "ranges": config.ranges,
            "exact_resizes": exact_resizes,
            "float_parts": config.float_parts,
            **recorded(plan),
        },
        before_epoch=_freezer(model, config, normalised_by(model, learner.still), learner.optimizer),
    )


def _teacher(opened: OpenModel, loop: Loop, place: Place) -> nn.Module:
    """Return the float network as it is used: in evaluation mode, without gradients."""
    assert opened.module is not None
    teacher = opened.module.to(place.device)
    if loop.channels_last:
        teacher = teacher.to(memory_format=torch.channels_last)
    return teacher.eval().requires_grad_(False)


def _freezer(
    model: fx.GraphModule,
    config: QuantizeConfig,
    still: Sequence[QuantConv2d] = (),
    optimizer: torch.optim.Optimizer | None = None,
) -> Callable[[int], None]:
    """Return a function of the epoch that fixes BatchNorm statistics and ranges from their share of the epochs on.

    The convolutions `still` have fixed statistics from the start.
    """

    def before_epoch(epoch: int) -> None:
        """Set what moves in this epoch: ranges, their learning rate, BatchNorm statistics."""
        progress = epoch / config.epochs
        moving = progress < config.freeze_ranges_epoch
        for group in optimizer.param_groups if optimizer is not None else ():
            if group.get("name") == RANGES:  # momentum would move them on without a gradient
                group["initial_lr"] = config.ranges_lr if moving else 0.0
        set_state(model, observing=moving, frozen_bn=progress >= config.freeze_bn_epoch, enabled=True)
        for convolution in still:
            convolution.frozen_bn = True

    return before_epoch


QUANTIZED = Kind(lambda config: _folder(config) if config.resume else None, _begin, _short)
