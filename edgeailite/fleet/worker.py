"""A worker: reads units of a job, labels their pictures, writes the results, and returns a row for each picture.

It is the actor class of Ray Data's `map_batches`, and what one machine runs in its own process. Pictures and label maps
stay in the worker; only rows travel.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.data.parallel_map import parallel_map
from edgeailite.fleet.sinks import Format, Written, sink_of
from edgeailite.fleet.units import PICTURE, Row, Unit, chunks, rows_of
from edgeailite.inference.manifest import FIELDS, Entry
from edgeailite.inference.predictor import Labelled, Predictor
from edgeailite.inference.shards import Shard

Batch = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Task:
    """What every worker of a job is told; plain values, since it is sent to other machines.

    `data` are the bytes of an exported file, so that workers need not reach it; else `model` must be there on each
    machine. `skip` are pictures of tar shards and Parquet files that are labelled already.
    """

    model: str
    options: Mapping[str, Any]
    folder: str
    form: Format
    data: bytes | None = None
    batch: int = 64
    column: str = ""
    shard: Shard | None = None
    skip: frozenset[str] = field(default_factory=frozenset, repr=False)


class Worker:
    """Labels units of a job. Raises DataError or UsageError where the network fails; never for a picture."""

    def __init__(self, task: Task, predictor: Predictor | None = None) -> None:
        self.task = task
        model = Path(task.model)
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        if task.data is not None:
            self._copy = tempfile.TemporaryDirectory(prefix="edgeailite-")
            model = Path(self._copy.name, model.name)
            model.write_bytes(task.data)
        self.predictor = predictor or Predictor(model, **task.options)
        self.sink = sink_of(task.form, task.folder)

    def __call__(self, batch: Batch) -> Iterator[Batch]:
        """Yield rows of pictures, for units as columns."""
        for written, shares in self.results(units_from(batch)):
            yield rows_as_columns(written, shares)

    def results(self, units: Sequence[Unit]) -> Iterator[tuple[list[Written], list[float]]]:
        """Yield the written results of batches of pictures, and the part of a unit's work that each was."""
        for rows in self._batches(units):
            pictures = ((row.name, row.data, row.problem) for row in rows)
            labelled = list(self.predictor.labelled(pictures))
            targets = [row.target for row in rows]
            yield self.sink(list(zip(targets, labelled, strict=True))), [row.share for row in rows]

    def _batches(self, units: Sequence[Unit]) -> Iterator[list[Row]]:
        """Yield pictures, at most so many at a time; those of a shard apart from those of others."""
        single = [unit for unit in units if unit.kind == PICTURE]
        yield from chunks(parallel_map(lambda unit: next(rows_of(unit, "")), single), self.task.batch)
        for unit in units:
            if unit.kind != PICTURE:
                yield from self._of_shard(unit)

    def _of_shard(self, unit: Unit) -> Iterator[list[Row]]:
        """Yield a shard's pictures; the last share says that the unit is done."""
        shard, skip = self.task.shard, self.task.skip

        def wanted_here(row: Row) -> bool:
            return row.name not in skip and (shard is None or shard.takes(row.name))

        wanted = filter(wanted_here, rows_of(unit, self.task.column))
        before: list[Row] = []
        for part in chunks(wanted, self.task.batch):
            if before:
                yield before
            before = part
        if before:
            yield [*before[:-1], replace(before[-1], share=1.0)]


def unit_as_row(unit: Unit) -> dict[str, bytes]:
    """Return a unit as values of a row. Texts travel as bytes, since names of files need not be UTF-8."""
    return {each.name: os.fsencode(getattr(unit, each.name)) for each in fields(Unit)}


def units_from(batch: Batch) -> list[Unit]:
    """Return the units of columns."""
    names = [each.name for each in fields(Unit)]
    return [Unit(*map(os.fsdecode, values)) for values in zip(*(batch[name] for name in names), strict=True)]


def rows_as_columns(written: Sequence[Written], shares: Sequence[float]) -> Batch:
    """Return results without their pictures as columns."""
    entries = [one.labelled.entry for one in written]
    found: Batch = {name: _texts(getattr(entry, name) for entry in entries) for name in FIELDS}
    found["problem"] = _texts(one.labelled.problem for one in written)
    found["file"] = _texts(one.file for one in written)
    found["height"] = np.array([one.labelled.size[0] for one in written], np.int64)
    found["width"] = np.array([one.labelled.size[1] for one in written], np.int64)
    found["class_shares"] = _texts(" ".join(map(repr, one.labelled.shares)) for one in written)
    found["work"] = np.array(shares, np.float64)
    return found


def _texts(values: Iterable[str]) -> NDArray[Any]:
    return np.array([*map(os.fsencode, values)], object)


def rows_from(batch: Batch) -> Iterator[tuple[Written, float]]:
    """Yield the results of columns, and the part of a unit's work that each was."""
    for index in range(len(batch["name"])):
        entry = Entry(*(os.fsdecode(batch[name][index]) for name in FIELDS))
        size = int(batch["height"][index]), int(batch["width"][index])
        shares = tuple(map(float, batch["class_shares"][index].split()))
        labelled = Labelled(entry, size, shares, problem=os.fsdecode(batch["problem"][index]))
        yield Written(labelled, os.fsdecode(batch["file"][index])), float(batch["work"][index])
