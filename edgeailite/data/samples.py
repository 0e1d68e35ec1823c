"""Samples of a split as numpy arrays: what loaders make tensors of, and batches in order without torch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeailite.data.augment.transforms import Transform
from edgeailite.data.files.cache import CachedSource
from edgeailite.data.items import read_item
from edgeailite.data.parallel_map import parallel_map
from edgeailite.data.source import DataSource

MOST_WORKERS = 8
ArraySample = tuple[tuple[NDArray[np.uint8], ...], dict[str, NDArray[Any]]]
"""Pictures (3,H,W) uint8 RGB, one per input, and targets (H,W): int64 classes with 255 = ignore, float32 metres."""


def picture_planes(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Copy (H,W,3) uint8 to (3,H,W). OpenCV splits channels four times as fast as numpy copies a view."""
    planes = np.empty((3, *image.shape[:2]), np.uint8)
    cv2.split(image, list(planes))
    return planes


def read_sample(source: DataSource, index: int, transform: Transform, draws: Sequence[int]) -> ArraySample:
    """Read an item of a data set and transform it; `draws` seeds the transform's random numbers."""
    item = source.items[index]
    images, targets = source.read(index) if isinstance(source, CachedSource) else read_item(source, item)
    order = sorted(range(len(images)), key=lambda stream: stream != item.camera)  # transforms take it first
    rng = np.random.default_rng(draws)
    views, targets = transform(tuple(images[stream] for stream in order), targets, rng)
    planes = {stream: picture_planes(view) for stream, view in zip(order, views, strict=True)}
    pictures = tuple(planes[stream] for stream in range(len(images)))
    return pictures, {name: _copied(values) for name, values in targets.items()}


def _copied(values: NDArray[Any]) -> NDArray[Any]:
    """Copy a target, maybe from a mapped file: class map (H,W) uint8 -> int64, depth (H,W) stays float32."""
    return values.astype(np.float32 if values.dtype == np.float32 else np.int64)


def array_batches(
    source: DataSource,
    transform: Transform,
    *,
    batch_size: int,
    workers: int | Literal["auto"],
    indices: Iterable[int] | None = None,
) -> Iterator[ArraySample]:
    """Read a split (or `indices`) in order, in batches of at most `batch_size` samples of one size.

    The batches hold what those of `loader.eval_loader` hold, as arrays; `workers` threads read ahead. Raises DataError.
    """
    order = list(range(len(source.items)) if indices is None else indices)
    parts = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]

    def read(part: list[int]) -> list[ArraySample]:
        return [read_sample(source, index, transform, (0, 0, index)) for index in part]

    count = worker_count(workers)
    for samples in parallel_map(read, parts, threads=count, ahead=2 * count) if count else map(read, parts):
        for _, row in groupby(samples, key=_sizes):
            yield _stacked(list(row))


def _sizes(sample: ArraySample) -> list[tuple[int, ...]]:
    return [array.shape for array in (*sample[0], *sample[1].values())]


def _stacked(samples: list[ArraySample]) -> ArraySample:
    images = tuple(np.stack(stream) for stream in zip(*(images for images, _ in samples), strict=True))
    return images, {name: np.stack([targets[name] for _, targets in samples]) for name in samples[0][1]}


def worker_count(workers: int | Literal["auto"]) -> int:
    """Return the given number, or one per core up to 8 (none on a single core)."""
    if workers != "auto":
        return workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_WORKERS) if cores > 1 else 0
