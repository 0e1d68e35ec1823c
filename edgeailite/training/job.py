"""One protocol for float and quantization-aware training: a run that is new, continued, or dry."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from edgeailite.config import QuantizeConfig, TrainConfig
from edgeailite.data import DataSource
from edgeailite.device import select_device, set_threads
from edgeailite.distributed import end_processes, from_first, start_processes
from edgeailite.errors import UsageError, option
from edgeailite.modelcard import ModelCard
from edgeailite.runs.checkpoint import Checkpoint
from edgeailite.runs.folder import read_metrics
from edgeailite.runs.metric_columns import best_score
from edgeailite.runs.resume import device_of
from edgeailite.training.learner import Place
from edgeailite.training.state import check_outputs, checked_data

Config = TypeVar("Config", TrainConfig, QuantizeConfig)


@dataclass(frozen=True)
class TrainingResult:
    """A training that ended: its folder, and the last row of `metrics.csv` with the minutes that it took.

    `first` is false in every process but the one that writes, `dry` true where nothing was kept. With `quantizes`
    quantization-aware training follows, whose record is `quantized`.
    """

    folder: Path
    last: Mapping[str, Any]
    first: bool = True
    dry: bool = False
    quantizes: bool = False
    quantized: TrainingResult | None = None

    @property
    def best(self) -> tuple[str, float, int] | None:
        """Return (column, value, epoch) of the best score in `metrics.csv`; None after a dry run or without a score."""
        return None if self.dry else best_score(read_metrics(self.folder))


@dataclass(frozen=True)
class Job(Generic[Config]):
    """A training that begins: its options, its folder, the state it goes on from (None: a new run), and where."""

    config: Config
    folder: Path
    start: Checkpoint | None
    place: Place


@dataclass(frozen=True)
class Kind(Generic[Config]):
    """The functions in which float and quantization-aware training differ.

    `resumed` returns the folder that the options ask to resume. `begin` returns options, folder and state of a run that
    is kept, `short` the options of a dry run with so many processes.
    """

    resumed: Callable[[Config], Path | None]
    begin: Callable[[Config, Place], tuple[Config, Path, Checkpoint | None]]
    short: Callable[[Config, int], Config]


@contextlib.contextmanager
def job(config: Config, kind: Kind[Config]) -> Iterator[Job[Config]]:
    """Join the processes and settle options, folder and state; the block trains. A dry run's folder is removed.

    Raises UsageError for options that exclude each other, DataError for a run that cannot be resumed.
    """
    if config.resume and config.dry_run:
        raise UsageError(f"a dry run starts anew; leave out {option('resume')}", about="dry_run", value=True)
    set_threads(config.threads)
    device = select_device(device_of(config.device, kind.resumed(config)))
    processes = start_processes(device, timeout=config.timeout)
    place = Place(device, processes)
    try:
        if config.dry_run:
            with tempfile.TemporaryDirectory() as name:
                folder = from_first(lambda: Path(name), processes)
                yield Job(kind.short(config, processes.count), folder, None, place)
            return
        config, folder, start = kind.begin(config, place)
        if start is not None:  # equal weights need the run's own threads and device, unless others are given
            set_threads(config.threads)
            place = Place(select_device(config.device), processes)
        yield Job(config, folder, start, place)
    finally:
        end_processes(processes)


def short(config: Config, processes: int, **more: Any) -> Config:
    """Return the options of a dry run: one update with at most two pictures a process, and one validated picture.

    `more` are further options of the dry run.
    """
    pictures = min(config.batch_size or 2 * processes, 2 * processes)
    return replace(
        config,
        epochs=1,
        batch_size=pictures,
        accumulate=1,
        epoch_size=float(pictures),
        epoch_size_val=1.0,
        evaluate_every=1,
        save_every=0,
        workers=0,
        **more,
    )


def agree_on_data(
    this: Job[Config], card: ModelCard, labelled: tuple[DataSource, DataSource], root: Path
) -> tuple[Mapping[str, Any], Checkpoint | None]:
    """Return a run's record of its data, and the state to resume, None for a new run.

    `labelled` are the splits below `root`, to train and to validate on. Raises DataError if they, or the outputs of
    `card`, are not those that the run began with.
    """
    where = f"{option('resume')} {this.folder}"
    if this.start is not None:
        check_outputs(this.start, card, where)
    return from_first(
        lambda: checked_data(*labelled, root, start=this.start, where=where, accept=this.config.accept_changed_data),
        this.place.processes,
    )


def ended(this: Job[Config], last: Mapping[str, Any], began: float) -> TrainingResult:
    """Return the record of a training that began at `began` (of `time.perf_counter`)."""
    minutes = round((time.perf_counter() - began) / 60, 2)
    return TrainingResult(this.folder, {**last, "minutes": minutes}, this.place.processes.first, this.config.dry_run)
