"""`validate` and `data check` by the workers of Ray: parts of a split, whose exact sums are those of the whole."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.config import ValidateConfig
from edgeailite.console import progress
from edgeailite.data.check.pictures import ItemReport, Targets
from edgeailite.data.check.survey import Spread, examine_all
from edgeailite.data.source import Item
from edgeailite.evaluation import Validation, as_plain, empty, from_plain, measure, merge, prepare_validation, summarize
from edgeailite.evaluation.summary import tasks_of
from edgeailite.fleet.ray_engine import Workers, in_order, run, workers_of

Batch = dict[str, NDArray[Any]]
CHUNK = 32  # pictures that a worker measures or examines at a time


class Scorer:
    """An actor that measures parts of a split. Model and data must be at the same paths on each machine.

    It gets the options and the folder that relative paths start from.
    """

    def __init__(self, task: tuple[ValidateConfig, str]) -> None:
        self.config, folder = task
        os.chdir(folder)
        self.prepared = prepare_validation(self.config)

    def __call__(self, batch: Batch) -> Batch:
        """Return the tally of each row's pictures, from `first` to before `last` of those that are measured."""
        return {"first": batch["first"], "tally": np.array([*map(self._tally, batch["first"], batch["last"])], object)}

    def _tally(self, first: int, last: int) -> str:
        prepared = self.prepared
        tally = measure(
            prepared.model,
            prepared.source,
            workers=0,
            batch_size=self.config.batch_size,
            protocol=prepared.protocol,
            indices=prepared.indices[int(first) : int(last)],
        )
        return json.dumps(as_plain(tally))


def validate_job(config: ValidateConfig) -> Validation:
    """Measure a split by workers of Ray; the counts, and so all scores, are those of `validate`."""
    prepared = prepare_validation(config)
    count = len(prepared.indices)
    size = -(-CHUNK // config.batch_size) * config.batch_size
    rows = [{"first": first, "last": min(first + size, count)} for first in range(0, count, size)]
    sent = replace(config, confusion=None, threads=config.threads or max(1, int(config.actor_cpus)))
    found: dict[int, str] = {}
    with progress("validate", count) as (bar, task):
        for columns in run(Scorer, (sent, str(Path.cwd())), rows, workers=workers_of(config), batch=1):
            for first, tally in zip(columns["first"], columns["tally"], strict=True):
                found[int(first)] = str(tally)
                bar.update(task, advance=min(size, count - int(first)))
    parts = (from_plain(json.loads(found[first])) for first in sorted(found))
    tally = merge(chain([empty(tasks_of(prepared.source, prepared.model.card.outputs))], parts))
    return summarize(config, prepared, tally)


def spread_of(config: Any) -> Spread:
    """Return the function by which `data check` examines pictures on Ray."""
    return partial(_examined, workers=workers_of(config))


def _examined(items: Sequence[Item], targets: Targets, main: str, *, workers: Workers) -> Iterator[ItemReport]:
    chunks = (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))
    for reports in in_order(_examine_from, chunks, (targets, main, str(Path.cwd())), workers=workers):
        yield from reports


def _examine_from(items: Sequence[Item], targets: Targets, main: str, folder: str) -> list[ItemReport]:
    """Examine items whose relative paths start from a folder."""
    os.chdir(folder)
    return examine_all(items, targets, main)
