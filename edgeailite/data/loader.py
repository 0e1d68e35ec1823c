"""Loaders that make batches from a data source; order and augmentation depend on (seed, epoch, index) only."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from edgeailite.data.augment.ade20k import Ade20kTransform, PaddedBatch
from edgeailite.data.augment.transforms import Transform
from edgeailite.data.batches import ALL, AspectBatches, EpochBatches, Key, Portion
from edgeailite.data.items import picture_size
from edgeailite.data.samples import read_sample, worker_count
from edgeailite.data.source import DataSource
from edgeailite.data.tensors import Sample
from edgeailite.errors import DataError, first_line, option

__all__ = [
    "Batches", "EpochBatches", "Portion", "Sample", "Samples", "Transform",
    "eval_loader", "lost_worker", "train_loader",
]  # fmt: skip


TOGETHER = 1.0  # seconds in which signals are one: `timeout` sends its own to a command and to its whole group
LOST_WORKER = "DataLoader worker (pid"  # how torch's RuntimeError begins; it has no type or field of its own


class Samples(Dataset[Sample]):
    """`samples[epoch, index]` -> (images (3,H,W) uint8 RGB, one per stream; targets by name).

    Class targets are (H,W) int64 with 255 = ignore, depth is (H,W) float32 in metres with 0 = not known.
    `samples[epoch, index, edge]` is the sample in a batch whose short edge is `edge`, of an `Ade20kTransform`.
    """

    def __init__(self, source: DataSource, transform: Transform, *, seed: int) -> None:
        self.source, self.transform, self.seed = source, transform, seed

    def __len__(self) -> int:
        return len(self.source.items)

    def __getitem__(self, key: Key) -> Sample:
        epoch, index, *edge = key
        transform = self.transform.at(*edge) if edge and isinstance(self.transform, Ade20kTransform) else self.transform
        images, targets = read_sample(self.source, index, transform, (self.seed, epoch, index))
        tensors = {name: torch.from_numpy(values) for name, values in targets.items()}
        return tuple(map(torch.from_numpy, images)), tensors


@dataclass(frozen=True)
class _ErrorsAsValues(Dataset[Any]):
    """Samples, or a sample's DataError as a value: torch passes on only the text of a loader's error."""

    samples: Samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: Key) -> Sample | DataError:
        try:
            return self.samples[key]
        except DataError as error:
            return error


@dataclass(frozen=True)
class _Collated:
    """Make a batch with `collate`; of samples with an error the error."""

    collate: Callable[[Any], Any]

    def __call__(self, samples: list[Any]) -> Any:
        error = next((sample for sample in samples if isinstance(sample, DataError)), None)
        return self.collate(samples) if error is None else error


class Batches:
    """A DataLoader whose loader processes fail as one would here: with the DataError itself, in one line."""

    def __init__(self, loader: DataLoader[Sample]) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Sample]:
        failure: DataError | None = None
        try:
            for batch in self.loader:
                if isinstance(batch, DataError):
                    failure = batch.with_traceback(None)  # its frames would hold the loader processes
                    break
                yield batch
        except RuntimeError as error:
            found = lost_worker(error)
            if found is None:
                raise
            failure = DataError(found, code="lost-process")
        if failure is not None:
            raise failure


class OneSizeBatches(Batches):
    """Batches in order; one whose samples differ in size (labels keep the size of their files) comes in parts."""

    def __iter__(self) -> Iterator[Sample]:
        for parts in super().__iter__():
            yield from parts  # type: ignore[misc] # what `_of_one_size` makes of a batch


def _of_one_size(samples: list[Sample]) -> list[Sample]:
    """A batch from each row of samples that have one size."""

    def sizes(sample: Sample) -> list[torch.Size]:
        return [tensor.shape for tensor in (*sample[0], *sample[1].values())]

    return [default_collate(list(row)) for _, row in groupby(samples, key=sizes)]


def lost_worker(error: RuntimeError) -> str | None:
    """Return the message for an error that torch raises when a loader process has gone; None for another error."""
    if not str(error).startswith(LOST_WORKER):
        return None
    advice = f"lower {option('workers')} or {option('batch_size')}"
    return f"{first_line(error)} (out of memory?); {advice}"


def _outlive_signals(worker: int) -> None:
    """Let a loader process live until the training has saved: Ctrl-C and SIGTERM may reach the whole process group.

    A SIGTERM more than TOGETHER seconds after the first ends it: that is the loader's own, of a process that hangs.
    """
    first = math.inf

    def outlive(number: int, frame: object) -> None:
        nonlocal first
        first = min(first, time.monotonic())
        if time.monotonic() - first > TOGETHER:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, outlive)


def train_loader(
    source: DataSource,
    transform: Transform,
    *,
    batch_size: int,
    seed: int,
    workers: int | Literal["auto"],
    portion: Portion = ALL,
    start_method: str | None = None,
) -> tuple[Batches, EpochBatches]:
    """Make the loader of training batches, and its sampler, whose `epoch` and `skip` are set before each pass.

    `batch_size` is that of all processes together; `portion` selects this process's part of the order. `start_method`
    (fork, spawn, forkserver; default: Python's) starts the loader processes.
    """
    batches, collate = _batching(source, transform, batch_size, seed=seed, portion=portion)
    count = worker_count(workers)
    loader = DataLoader(
        _ErrorsAsValues(Samples(source, transform, seed=seed)),
        batch_sampler=batches,
        collate_fn=_Collated(collate),
        persistent_workers=count > 0,
        **_processes(count, start_method),
    )
    return Batches(loader), batches


def _batching(
    source: DataSource, transform: Transform, batch_size: int, *, seed: int, portion: Portion
) -> tuple[EpochBatches, Any]:
    """Sampler and how samples become a batch."""
    if not isinstance(transform, Ade20kTransform):
        return EpochBatches(len(source.items), batch_size, seed=seed, portion=portion), default_collate
    sizes = [picture_size(item.image) for item in source.items]
    upright = [height > width for height, width in sizes]
    sampler = AspectBatches(upright, batch_size, seed=seed, short_edges=transform.short_edges, portion=portion)
    return sampler, PaddedBatch(transform.padding, transform.label_rate)


def eval_loader(
    source: DataSource,
    transform: Transform,
    *,
    batch_size: int,
    workers: int | Literal["auto"],
    indices: list[int] | None = None,
    start_method: str | None = None,
) -> Batches:
    """Load the split (or `indices`) in order, in batches of at most `batch_size` whose labels have one size."""
    order = [(0, index) for index in (range(len(source.items)) if indices is None else indices)]
    loader = DataLoader(
        _ErrorsAsValues(Samples(source, transform, seed=0)),
        batch_size=batch_size,
        sampler=order,
        collate_fn=_Collated(_of_one_size),
        **_processes(worker_count(workers), start_method),
    )
    return OneSizeBatches(loader)


def _processes(count: int, start_method: str | None) -> dict[str, Any]:
    """Return the settings of both loaders: batches made ahead, in memory that a GPU copies from while it computes."""
    return {
        "num_workers": count,
        "prefetch_factor": 2 if count else None,
        "multiprocessing_context": start_method if count else None,
        "pin_memory": torch.cuda.is_available(),
        "worker_init_fn": _outlive_signals,
        "generator": torch.Generator(),  # its own: torch's, which dropout draws from, must not depend on loaders
    }
