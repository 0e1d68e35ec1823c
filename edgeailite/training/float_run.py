"""Training a float network: from a data set to a run folder."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from edgeailite.config import QuantizeConfig, TrainConfig
from edgeailite.config.stored import plain, train_config
from edgeailite.console import log
from edgeailite.data import DataSource, default_path
from edgeailite.data.ensure import ensure_dataset, open_labelled
from edgeailite.data.recognise import dataset_name_of
from edgeailite.data.source import output_channels
from edgeailite.data.split import need_val
from edgeailite.data.variety import need_classes
from edgeailite.distributed import from_first
from edgeailite.errors import UsageError, option
from edgeailite.files import write_result
from edgeailite.modelcard import ModelCard, changed_options
from edgeailite.models import DEEP_SUPERVISION, Pixel2Pixel, create_model
from edgeailite.pretrained import LoadReport, describe, load_pretrained
from edgeailite.runs.checkpoint import Checkpoint
from edgeailite.runs.folder import LAST, PRETRAINED, beside
from edgeailite.runs.resume import begin_run, goes_on, resumed_config
from edgeailite.training.first_weights import first_weights, preprocessing_of, with_first_weights
from edgeailite.training.job import Kind, TrainingResult, agree_on_data, ended, job, short
from edgeailite.training.learner import (
    Place,
    longer,
    make_learner,
    make_losses,
    schedule,
    task_balance,
    task_options,
)
from edgeailite.training.loop import Trainer, Transforms, fit, load_last
from edgeailite.training.quantized_run import quantize_run
from edgeailite.training.step import Learner
from edgeailite.training.tensorboard import tensorboard_writer
from edgeailite.training.transforms import eval_transform, train_transform, training_source

SAME_WHEN_QUANTIZING = (
    "epoch_size", "epoch_size_val", "cache", "evaluate_every", "save_every", "workers", "device", "timeout",
    "channels_last", "threads", "seed", "accept_changed_data", "dry_run",
)  # fmt: skip


def train(
    config: TrainConfig, *, on_trained: Callable[[TrainingResult], None] = lambda trained: None
) -> TrainingResult:
    """Train a network as configured, anew, resumed or dry, and write its run folder.

    With `config.quantize` quantization-aware training follows; `on_trained` is told of the float run before. Raises
    UsageError, DataError, DivergedError, LostProcessError, and Interrupted once the state is saved.

    >>> config = TrainConfig(
    ...     data_path=Path("data/night"), save_path=Path("runs/first"), img_resize=(64, 64),
    ...     epochs=1, epoch_size=2, batch_size=2, epoch_size_val=1, workers=0,
    ... )
    >>> trained = train(config)
    >>> trained.folder.as_posix(), trained.last["epoch"], 0 <= trained.last["miou"] <= 1
    ('runs/first', 1, True)
    >>> column, value, epoch = trained.best
    >>> column, value == trained.last["miou"], epoch
    ('miou', True, 1)
    """
    with job(config, FLOAT) as this:
        began = time.perf_counter()
        config, processes = this.config, this.place.processes
        if this.start is None:
            config = from_first(lambda: with_first_weights(this.config), processes)
        prepared = prepare_training(config, this.place, anew=this.start is None)
        trainer = prepared.trainer(config, this.folder)
        root = config.data_path or default_path(config.dataset_name)
        trainer.data, start = agree_on_data(this, prepared.card, (prepared.labelled, prepared.val), root)
        if start is None:
            from_first(lambda: _write_start(config, this.folder, prepared.loaded), processes)
        last = fit(trainer, prepared.train, prepared.val, transforms=prepared.transforms, loop=config, start=start)
        trained = replace(ended(this, last, began), quantizes=config.quantize)
        on_trained(trained)
        # inside: processes that left their group cannot meet a second time under torchrun
        return replace(trained, quantized=quantize_run(continued(config, this.folder))) if config.quantize else trained


def _begin(config: TrainConfig, place: Place) -> tuple[TrainConfig, Path, Checkpoint | None]:
    """Return options, folder and state to start from: of a run that is resumed, or anew."""
    folder, processes = config.resume, place.processes
    if folder is None and config.save_path is None and processes.count > 1:
        raise UsageError(f"{option('save_path')}: several processes need one that they agree on; give it")
    if folder is None and config.save_path is not None and goes_on(config.save_path, processes):
        folder = config.save_path
    if folder is None:
        config = _named(config, told=processes.first)
        return config, config.save_path or _default_folder(config), None
    resumed = folder
    return from_first(lambda: _resumed(resumed, config), processes)


def _short(config: TrainConfig, processes: int) -> TrainConfig:
    return short(_named(config), processes, evaluate_start=False, tensorboard="off", overlays=0)


def _named(config: TrainConfig, *, told: bool = True) -> TrainConfig:
    """Return the options with the name of the data set, which may be recognised by its folder."""
    name = dataset_name_of(config.dataset_name, config.data_path, otherwise="streets", told=told)
    return replace(config, dataset_name=name)


def _write_start(config: TrainConfig, folder: Path, loaded: LoadReport | None) -> None:
    begin_run(folder, config)
    if loaded is not None:
        write_result(folder / PRETRAINED, json.dumps(dataclasses.asdict(loaded), indent=2) + "\n", "save_path")


@dataclass(frozen=True)
class TrainingParts:
    """Everything that training needs before anything is written; `labelled` is `train` without a cache."""

    labelled: DataSource
    train: DataSource
    val: DataSource
    transforms: Transforms
    card: ModelCard
    learner: Learner
    loaded: LoadReport | None

    def trainer(self, config: TrainConfig, folder: Path) -> Trainer:
        """Return the trainer that writes to `folder`."""
        return Trainer(folder, self.card, plain(config), self.learner, schedule(config))


def prepare_training(config: TrainConfig, place: Place, *, anew: bool) -> TrainingParts:
    """Open the data; make the network with its first weights, the losses and the optimizer.

    `anew` is false for a run that continues: its weights are its own, and no data is generated in the folder that it
    names. Raises the errors of `edgeailite.errors`.
    """
    tensorboard_writer(config.tensorboard)  # raises before anything is written where it is asked for and missing
    if anew or config.data_path is None:  # a run that somebody else wrote chooses no folder to be written
        from_first(lambda: ensure_dataset(config.dataset_name, config.data_path), place.processes)
    if anew and config.val_share and config.data_path is not None:
        own = config.data_path
        from_first(lambda: need_val(own, config.val_share, seed=config.seed, dry=config.dry_run), place.processes)
    train, val = training_splits(config)
    torch.manual_seed(config.seed)
    outputs = output_channels(train)
    model = create_model(
        config.model_name,
        outputs=outputs,
        inputs=len(train.items[0].images),
        upsampling=config.upsampling,
        align_corners=config.align_corners,
    )
    if config.deep_supervision == 0:  # several processes would wait for gradients of a head that has no loss
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(DEEP_SUPERVISION not in name)
    card = _card(config, train, model)
    loaded = from_first(lambda: _load(model, config), place.processes) if anew else None
    learner = make_learner(
        model.to(place.device),
        config,
        losses=make_losses(task_options(config, train, place.device, place.processes), place.processes),
        balance=task_balance(config, outputs, place.processes),
        preprocessing=card.preprocessing,
        place=place,
    )
    views = train_transform(config)
    source = training_source(train, config.cache, views)
    return TrainingParts(train, source, val, Transforms(views, eval_transform(config)), card, learner, loaded)


def training_splits(config: TrainConfig) -> tuple[DataSource, DataSource]:
    """Open the splits to train and to validate on; with `overfit`, both are the first training pictures."""
    train = open_labelled(config.dataset_name, config.data_path, config.train_split, option="train_split")
    need_classes(train, 2, notice=log)
    if config.overfit:
        return train.first(config.overfit), train.first(config.overfit)
    val = open_labelled(config.dataset_name, config.data_path, config.val_split, option="val_split")
    need_classes(val, 1, notice=log)
    return train, val


def continued(config: TrainConfig, folder: Path) -> QuantizeConfig:
    """Return the options of the quantization-aware training that follows the float run in `folder`."""
    same: dict[str, Any] = {name: getattr(config, name) for name in SAME_WHEN_QUANTIZING}
    new = beside(folder, "_qat")
    resume = (new / LAST).is_file()
    return QuantizeConfig(folder, new, resume, epochs=config.quantize_epochs, lr=config.quantize_lr, **same)


def _load(model: Pixel2Pixel, config: TrainConfig) -> LoadReport | None:
    """Start from published or own weights, and say what was loaded; None where none are asked for."""
    source = first_weights(config)
    if source is None:
        return None
    report = load_pretrained(model, source, allow_head_mismatch=config.allow_head_mismatch)
    log(describe(report))
    return report


def _card(config: TrainConfig, source: DataSource, model: Pixel2Pixel) -> ModelCard:
    return ModelCard(
        model_name=model.name,
        outputs=dict(model.outputs),
        classes=source.classes if source.has_classes else (),
        palette=source.palette if source.has_classes else (),
        preprocessing=preprocessing_of(config),
        dataset_name=config.dataset_name,
        data_path=None if config.data_path is None else str(config.data_path.resolve()),
        options=changed_options(model.options),
    )


def _default_folder(config: TrainConfig) -> Path:
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return Path("runs") / f"{stamp}_{config.dataset_name}_{config.model_name}"


def _resumed(folder: Path, config: TrainConfig) -> tuple[TrainConfig, Path, Checkpoint]:
    """Return options, folder and state of a float run, as the given options have it go on."""
    checkpoint, where = load_last(folder), f"{option('resume')} {folder}"
    if checkpoint.quantization is not None:
        raise UsageError(
            f"{where}: a quantized run; use `edgeailite quantize RUN --save_path … --resume True`", code="wrong-kind"
        )
    of_run = replace(train_config(checkpoint.config, where=f"{where}: its options"), resume=None)
    resumed = resumed_config(config, of_run)
    if resumed.epochs > of_run.epochs:
        log(longer(of_run, resumed, checkpoint.training["epoch"]))
    return resumed, folder, checkpoint


FLOAT = Kind(lambda config: config.resume, _begin, _short)
