"""From a data source to batches, in an order and with augmentation that depend on (seed, epoch, index) only."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from edgeailite.data.images import read_image
from edgeailite.data.source import DataSource, Item
from edgeailite.data.transforms import Images, Targets, Transform
from edgeailite.errors import DataError

Sample = tuple[tuple[Tensor, ...], dict[str, Tensor]]


class Samples(Dataset[Sample]):
    """`samples[epoch, index]` -> (images (3,H,W) uint8 RGB, one per stream; targets by name).

    Class targets are (H,W) int64 with 255 = ignore, depth is (H,W) float32 in metres with 0 = not known.
    """

    def __init__(self, source: DataSource, transform: Transform, *, seed: int) -> None:
        self.source, self.transform, self.seed = source, transform, seed

    def __len__(self) -> int:
        return len(self.source.items)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        epoch, index = key
        images, targets = read_item(self.source, self.source.items[index])
        images, targets = self.transform(images, targets, np.random.default_rng([self.seed, epoch, index]))
        tensors = tuple(torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))) for image in images)
        return tensors, {name: _target_tensor(values) for name, values in targets.items()}


def read_item(source: DataSource, item: Item) -> tuple[Images, Targets]:
    """Pictures and targets of an item, as they are stored. Raises DataError where their sizes differ."""
    images = tuple(read_image(path) for path in item.images)
    targets = {name: source.targets[name].values(label, source.name) for name, label in item.labels.items()}
    height, width = images[0].shape[:2]
    for path, other in zip(item.images, images, strict=True):
        _same_size(path, "picture", other.shape, item, (height, width))
    for name, values in targets.items():
        _same_size(item.labels[name], "mask", values.shape, item, (height, width))
    return images, targets


def _same_size(path: object, what: str, shape: tuple[int, ...], item: Item, expected: tuple[int, int]) -> None:
    if shape[:2] != expected:
        raise DataError(
            f"{path}: {what} is {shape[1]}x{shape[0]} but {item.image.name} is "
            f"{expected[1]}x{expected[0]}; they must have one size"
        )


def _target_tensor(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(values if values.dtype == np.float32 else values.astype(np.int64))


class EpochBatches:
    """Batch sampler: shuffled by (seed, epoch), incomplete last batch dropped, the first `skip` batches left out."""

    def __init__(self, size: int, batch_size: int, *, seed: int) -> None:
        if size < batch_size:
            raise DataError(f"{size} pictures give no batch of {batch_size}; lower --batch_size or add pictures")
        self.size, self.batch_size, self.seed = size, batch_size, seed
        self.epoch, self.skip = 0, 0

    def __len__(self) -> int:
        return self.size // self.batch_size - self.skip

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.size)
        for batch in range(self.skip, self.size // self.batch_size):
            chosen = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield [(self.epoch, int(index)) for index in chosen]


class Batches:
    """A DataLoader whose loader processes fail as one would here: with the DataError itself, in one line."""

    def __init__(self, loader: DataLoader[Sample]) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Sample]:
        try:
            yield from self.loader
            return
        except DataError as error:
            message = _original(error)
            error.__traceback__ = None  # torch's frame holds it in a cycle, and with it the loader processes
        except RuntimeError as error:
            if not str(error).startswith("DataLoader worker (pid"):
                raise
            message = f"{str(error).splitlines()[0]} (out of memory?); lower --workers or --batch_size"
        raise DataError(message)


def _original(error: DataError) -> str:
    """The message inside the traceback that torch makes of an error in a loader process."""
    return str(error).rpartition(f"{DataError.__module__}.{DataError.__qualname__}: ")[2].strip()


def _ignore_interrupt(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; loader processes must live until the training has saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def train_loader(
    source: DataSource, transform: Transform, *, batch_size: int, seed: int, workers: int | None
) -> tuple[Batches, EpochBatches]:
    """Loader of training batches and its sampler, whose `epoch` and `skip` are set before each pass."""
    batches = EpochBatches(len(source.items), batch_size, seed=seed)
    count = worker_count(workers)
    loader = DataLoader(
        Samples(source, transform, seed=seed),
        batch_sampler=batches,
        num_workers=count,
        persistent_workers=count > 0,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_ignore_interrupt,
        generator=torch.Generator(),  # its own: torch's, which dropout draws from, must not depend on loaders
    )
    return Batches(loader), batches


def eval_loader(
    source: DataSource, transform: Transform, *, batch_size: int, workers: int | None, indices: list[int] | None = None
) -> Batches:
    """Loader over the split (or `indices`) in order; batches of one label size each are the caller's choice of 1."""
    order = [(0, index) for index in (range(len(source.items)) if indices is None else indices)]
    loader = DataLoader(
        Samples(source, transform, seed=0),
        batch_size=batch_size,
        sampler=order,
        num_workers=worker_count(workers),
        worker_init_fn=_ignore_interrupt,
        generator=torch.Generator(),
    )
    return Batches(loader)


def worker_count(workers: int | None) -> int:
    """The given number, or one per core up to 8 (none on a single core)."""
    if workers is not None:
        return workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 8) if cores > 1 else 0
