"""`edgeailite train`: from a data set to a run folder."""

from __future__ import annotations

import dataclasses
import json
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from edgeailite.commands import quantize
from edgeailite.config import QuantizeConfig, TrainConfig
from edgeailite.config.stored import plain, train_config
from edgeailite.console import log, print_result
from edgeailite.data import DataSource, default_path
from edgeailite.data.ensure import ensure_dataset, open_labelled
from edgeailite.data.files.cache import open_cache
from edgeailite.data.variety import need_classes
from edgeailite.device import select_device, set_threads
from edgeailite.distributed import Processes, end_processes, from_first, start_processes
from edgeailite.errors import DataError, UsageError
from edgeailite.files import write_atomic
from edgeailite.modelcard import ModelCard, changed_options
from edgeailite.models import DEEP_SUPERVISION, Pixel2Pixel, create_model
from edgeailite.preprocessing import Preprocessing
from edgeailite.pretrained import LoadReport, describe, load_pretrained
from edgeailite.runs.checkpoint import LAST, Checkpoint, beside
from edgeailite.runs.resume import begin_run, device_of, goes_on, resumed_config
from edgeailite.training.learner import (
    Placed,
    make_learner,
    make_losses,
    output_channels,
    schedule,
    task_balance,
    task_options,
)
from edgeailite.training.loop import Trainer, Transforms, load_last, run_training
from edgeailite.training.state import check_outputs, checked_data
from edgeailite.training.step import Learner
from edgeailite.training.summary import ending, last_epoch
from edgeailite.training.tensorboard import tensorboard_writer
from edgeailite.training.transforms import TrainingTransform, eval_transform, train_transform

PRETRAINED = "pretrained.json"  # in the run folder: what was loaded to start from


def run(config: TrainConfig) -> int:
    """Train and print where the run is. Raises the errors of `edgeailite.errors`."""
    if config.resume is not None and config.dry_run:
        raise UsageError("--dry_run True: a dry run starts anew; leave out --resume")
    set_threads(config.threads)
    device = select_device(device_of(config.device, config.resume))
    processes = start_processes(device, timeout=config.timeout)
    try:
        if config.dry_run:
            return _dry_run(config, Placed(device, processes))
        folder, config, start = _begin(config, processes)
        if start is not None:  # equal weights need the run's own threads and device, unless others are given
            set_threads(config.threads)
            device = select_device(config.device)
        last = _train(config, folder, start, Placed(device, processes))
        if processes.first:
            following = None if config.quantize else "calibrate"
            print_result("train", ending(folder, last, verbs="calibrate, quantize, export", following=following))
        # inside: processes that left their group cannot meet a second time under torchrun
        return quantize.run(continued(config, folder)) if config.quantize else 0
    finally:
        end_processes(processes)


def _begin(config: TrainConfig, processes: Processes) -> tuple[Path, TrainConfig, Checkpoint | None]:
    """Folder, configuration and state to start from: of a run that is resumed, or anew."""
    folder = config.resume
    if folder is None and config.save_path is None and processes.count > 1:
        raise UsageError("--save_path: several processes need one that they agree on; give it")
    if folder is None and config.save_path is not None and goes_on(config.save_path, processes):
        folder = config.save_path
    if folder is None:
        return config.save_path or _default_folder(config), config, None
    resumed = folder
    return from_first(lambda: _resumed(resumed, config), processes)


def _train(config: TrainConfig, folder: Path, start: Checkpoint | None, placed: Placed) -> dict[str, Any]:
    began = time.perf_counter()
    prepared = prepare_training(config, placed, anew=start is None)
    trainer = prepared.trainer(config, folder)
    where = f"--resume {folder}"
    if start is not None:
        check_outputs(start, prepared.card, where)
    trainer.data, start = from_first(
        lambda: checked_data(
            prepared.labelled,
            prepared.val,
            config.data_path or default_path(config.dataset_name),
            start=start,
            where=where,
            accept=config.accept_changed_data,
        ),
        placed.processes,
    )
    if start is None:
        from_first(lambda: _write_start(config, folder, prepared.loaded), placed.processes)
    last = run_training(trainer, prepared.train, prepared.val, transforms=prepared.transforms, loop=config, start=start)
    return {**last, "minutes": round((time.perf_counter() - began) / 60, 2)}


def _write_start(config: TrainConfig, folder: Path, loaded: LoadReport | None) -> None:
    begin_run(folder, config)
    if loaded is None:
        return
    path = folder / PRETRAINED
    try:
        write_atomic(path, json.dumps(dataclasses.asdict(loaded), indent=2) + "\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); choose another --save_path") from None


@dataclass(frozen=True)
class Prepared:
    """Everything that training needs and that is not written yet; `labelled` is `train` before any cache."""

    labelled: DataSource
    train: DataSource
    val: DataSource
    transforms: Transforms
    card: ModelCard
    learner: Learner
    loaded: LoadReport | None

    def trainer(self, config: TrainConfig, folder: Path) -> Trainer:
        """The same with a folder to write to."""
        return Trainer(folder, self.card, plain(config), self.learner, schedule(config))


def prepare_training(config: TrainConfig, placed: Placed, *, anew: bool) -> Prepared:
    """Data, network with its first weights, losses and optimizer. Raises the errors of `edgeailite.errors`.

    `anew`: not of a run that goes on, whose weights are its own, and in whose folder's name no data is generated.
    """
    tensorboard_writer(config.tensorboard)  # raises before anything is written where it is asked for and missing
    if anew or config.data_path is None:  # a run that somebody else wrote chooses no folder to be written
        from_first(lambda: ensure_dataset(config.dataset_name, config.data_path), placed.processes)
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
    loaded = from_first(lambda: _load(model, config), placed.processes) if anew and config.pretrained else None
    learner = make_learner(
        model.to(placed.device),
        config,
        losses=make_losses(task_options(config, train, placed.device, placed.processes), placed.processes),
        balance=task_balance(config, outputs, placed.processes),
        preprocessing=card.preprocessing,
        placed=placed,
    )
    views = train_transform(config)
    source = training_source(config, train, views)
    return Prepared(train, source, val, Transforms(views, eval_transform(config)), card, learner, loaded)


def training_splits(config: TrainConfig) -> tuple[DataSource, DataSource]:
    """The splits to train and to validate on; with `overfit`, both are the first training pictures."""
    train = open_labelled(config.dataset_name, config.data_path, config.train_split, option="train_split")
    need_classes(train, 2, notice=log)
    if config.overfit:
        few = dataclasses.replace(train, items=train.items[: config.overfit])
        return few, few
    val = open_labelled(config.dataset_name, config.data_path, config.val_split, option="val_split")
    need_classes(val, 1, notice=log)
    return train, val


def _dry_run(config: TrainConfig, placed: Placed) -> int:
    """One update with at most two pictures, and one validated picture; nothing is written."""
    short = dataclasses.replace(
        config,
        epochs=1,
        batch_size=min(config.batch_size, 2 * placed.processes.count),
        accumulate=1,
        epoch_size=float(min(config.batch_size, 2 * placed.processes.count)),
        epoch_size_val=1.0,
        workers=0,
        evaluate_every=1,
        evaluate_start=False,
        save_every=0,
        tensorboard="off",
        overlays=0,
    )
    with tempfile.TemporaryDirectory() as name:
        folder = from_first(lambda: Path(name), placed.processes)
        last = _train(short, folder, None, placed)
        if placed.processes.first:
            print_result("dry run: everything was built, one step taken, nothing kept", last_epoch(last))
        return quantize.run(continued(short, folder)) if config.quantize else 0


def continued(config: TrainConfig, folder: Path) -> QuantizeConfig:
    """Quantization-aware training of a float run, as `--quantize True` asks for it."""
    return QuantizeConfig(
        run=folder,
        save_path=beside(folder, "_qat"),
        resume=(beside(folder, "_qat") / LAST).is_file(),
        epochs=config.quantize_epochs,
        lr=config.quantize_lr,
        epoch_size=config.epoch_size,
        epoch_size_val=config.epoch_size_val,
        cache=config.cache,
        evaluate_every=config.evaluate_every,
        save_every=config.save_every,
        workers=config.workers,
        device=config.device,
        timeout=config.timeout,
        channels_last=config.channels_last,
        threads=config.threads,
        seed=config.seed,
        accept_changed_data=config.accept_changed_data,
        dry_run=config.dry_run,
    )


def training_source(config: TrainConfig, source: DataSource, transform: TrainingTransform) -> DataSource:
    """Where training pictures come from: the files, or the cache of them. DataError where that does not fit."""
    if config.cache is None:
        return source
    return open_cache(source, config.cache, size=transform.stored, interpolation=config.interpolation)


def _load(model: Pixel2Pixel, config: TrainConfig) -> LoadReport:
    """Start from published or own weights, and say what was loaded."""
    report = load_pretrained(model, config.pretrained or (), allow_head_mismatch=config.allow_head_mismatch)
    log(describe(report))
    return report


def _card(config: TrainConfig, source: DataSource, model: Pixel2Pixel) -> ModelCard:
    order = "BGR" if config.input_channel_reverse else "RGB"
    return ModelCard(
        model_name=model.name,
        outputs=dict(model.outputs),
        classes=source.classes if source.has_classes else (),
        palette=source.palette if source.has_classes else (),
        preprocessing=Preprocessing(
            *config.img_resize, config.image_mean, config.image_scale, order, config.interpolation
        ),
        dataset_name=config.dataset_name,
        data_path=None if config.data_path is None else str(config.data_path.resolve()),
        options=changed_options(model.options),
    )


def _default_folder(config: TrainConfig) -> Path:
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return Path("runs") / f"{stamp}_{config.dataset_name}_{config.model_name}"


def _resumed(folder: Path, config: TrainConfig) -> tuple[Path, TrainConfig, Checkpoint]:
    """Folder, configuration and state of a float run, as the command line `config` has it go on."""
    checkpoint = load_last(folder)
    if checkpoint.quantization is not None:
        raise UsageError(
            f"--resume {folder}: a quantized run; use `edgeailite quantize RUN --save_path … --resume True`"
        )
    of_run = dataclasses.replace(train_config(checkpoint.config, where=f"--resume {folder}: its options"), resume=None)
    return folder, resumed_config(config, of_run), checkpoint
