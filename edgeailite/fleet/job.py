"""A job from the options of `infer`: units, workers here or on Ray, tables, progress, and what is left at the end.

Tables (manifest, shares, skipped pictures, `index.csv`) lie on this machine. Where results go to an address, the tables
that are whole are copied there at the end.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeailite.config import InferConfig
from edgeailite.console import log, progress
from edgeailite.errors import DataError, UsageError, option
from edgeailite.fleet.ray_engine import run, workers_of
from edgeailite.fleet.sinks import Written, refuse_folder, remove_leftovers
from edgeailite.fleet.stores import address_of, join, write_files
from edgeailite.fleet.units import PICTURE, SHARDS, Unit, chunks, units_of
from edgeailite.fleet.worker import Task, Worker, rows_from, unit_as_row
from edgeailite.inference.label import (
    LabellingSummary,
    asked_for,
    made_with,
    model_of,
    predictor_of,
    predictor_options,
    result_settings,
)
from edgeailite.inference.manifest import MANIFEST
from edgeailite.inference.naming import absolute
from edgeailite.inference.pictures import ResultSettings
from edgeailite.inference.predictor import Predictor
from edgeailite.inference.rates import Rates
from edgeailite.inference.results import RECORD, SKIPPED, Results, settle
from edgeailite.inference.shards import Shard, shard_of
from edgeailite.inference.shares import CSV, ENCODING, JSON, Table
from edgeailite.inference.sources import inputs
from edgeailite.runs.open import is_exported
from edgeailite.untrusted import printable

INDEX = "index.csv"
COLUMNS = ("picture", "file")
TABLES = (CSV, JSON, SKIPPED, INDEX, RECORD, MANIFEST)  # the manifest last, which says that the job is whole


def is_job(config: InferConfig) -> bool:
    """Return True if the options ask for more than `label_inputs` does: an engine, shards of pictures, addresses."""
    words = [*config.input, config.save_path]
    elsewhere = any(address_of(word) is not None for word in words)
    shards = any(word.suffix.lower() in SHARDS for word in config.input)
    return config.engine != "local" or config.save_format != "files" or elsewhere or shards


def label_job(config: InferConfig) -> LabellingSummary:
    """Label the pictures of a job and write results and tables. The same bytes, however many workers there are.

    Raises DataError if there are no pictures, UsageError for options that a job does not have.
    """
    _check(config)
    shard = None if config.shard is None else shard_of(config.shard, os.environ)
    folder = address_of(config.save_path)
    here = replace(config, save_path=config.tables) if folder is not None else config
    predictor = predictor_of(config)
    settings = replace(result_settings(here, predictor, shard), manifest=True)
    refuse_folder(folder or str(config.save_path), config.save_format)
    settle(settings.tables, _made_with(config, predictor), resume=config.resume, asked=_asked(config, here))
    began = time.perf_counter()
    tables = join(folder, settings.part) if folder is not None else str(settings.tables)
    place = tables if config.save_format != "files" else folder or str(settings.folder)
    with Results(settings, resume=config.resume) as results, _index(config, settings) as index:
        task = _task(config, place, shard, results.in_manifest)
        units = _units(config, shard, results)
        with _counted(config, units) as count:
            for written, work in _rows(config, task, units, predictor):
                _keep(written, results, index)
                count(failed=bool(written.labelled.problem), work=work)
    if config.save_format != "files":
        remove_leftovers(place, _named(settings.tables))
    if folder is not None:
        write_files(settings.tables, TABLES, tables)
    counts = {"labelled": results.labelled, "skipped": results.skipped}
    if config.resume:
        counts["finished_before"] = results.finished
    if not results.labelled and not results.in_manifest and shard is None:
        raise _nothing(config, results)
    seconds = time.perf_counter() - began
    return LabellingSummary(config.save_path, counts, seconds, {}, results.others, results.manifest)


def _nothing(config: InferConfig, results: Results) -> DataError:
    """Return the error of a job without a single label."""
    if results.skipped:
        return DataError(f"none of {results.skipped} pictures can be read (the first: {results.first_problem})")
    words = " ".join(map(str, config.input))
    return DataError(f"{words}: no pictures in these files", fix=f"see {option('column')}", code="missing-file")


def _check(config: InferConfig) -> None:
    streams = [str(word) for word in config.input if str(word).startswith("camera:")]
    if streams or config.beside:
        what = streams[0] if streams else option("beside")
        raise UsageError(f"{what}: a job labels single pictures; leave it out, or label on one machine")


def _made_with(config: InferConfig, predictor: Predictor) -> dict[str, Any]:
    return made_with(config, predictor) | {"save_format": config.save_format, "column": config.column}


def _asked(config: InferConfig, here: InferConfig) -> dict[str, Any]:
    """Return where model and pictures are: a root on this machine, or none."""
    local = tuple(word for word in config.input if address_of(word) is None and word.suffix.lower() not in SHARDS)
    if len(local) < len(config.input):
        words = [address_of(word) or str(absolute(word)) for word in config.input]
        return {"model": str(absolute(model_of(config))), "input": words}
    return asked_for(config, inputs(local, apart_from=here.save_path, root=config.root))


def _task(config: InferConfig, place: str, shard: Shard | None, skip: frozenset[str]) -> Task:
    model = model_of(config)
    data = model.read_bytes() if config.engine == "ray" and is_exported(model) else None
    options = predictor_options(config)
    if config.data_path is not None:
        options["data_path"] = config.data_path.absolute()
    if config.threads is None and config.engine == "ray":
        options["threads"] = max(1, int(config.actor_cpus))
    return Task(str(model.absolute()), options, _absolute(place), config.save_format, data, config.batch, config.column,
                shard, skip)  # fmt: skip


def _absolute(place: str) -> str:
    return place if address_of(place) is not None else str(Path(place).absolute())


def _units(config: InferConfig, shard: Shard | None, results: Results) -> list[Unit]:
    """Return the units that are not done. Raises DataError if the inputs have none."""
    every, left, known = 0, [], results.in_manifest
    for unit in units_of(config, shard):
        every += 1
        if unit.kind == PICTURE and config.resume and unit.name in known:
            results.finished += 1
        else:
            left.append(replace(unit, place=_absolute(unit.place)))
    if not every and shard is None:
        words = " ".join(map(str, config.input))
        raise DataError(f"{words}: no pictures, tar shards or Parquet files", code="missing-file")
    return left


def _rows(
    config: InferConfig, task: Task, units: Sequence[Unit], predictor: Predictor
) -> Iterator[tuple[Written, float]]:
    """Yield the pictures of all units, written: by workers of Ray, or by one in this process."""
    if config.engine == "ray":
        shards = [unit for unit in units if unit.kind != PICTURE]
        single = [unit for unit in units if unit.kind == PICTURE]
        for part, size in ((shards, 1), (single, config.batch)):
            for columns in run(Worker, task, map(unit_as_row, part), workers=workers_of(config), batch=size):
                yield from rows_from(columns)
        return
    worker = Worker(task, predictor)
    for chunk in chunks(units, config.batch):
        for written, shares in worker.results(chunk):
            yield from zip(written, shares, strict=True)


def _keep(written: Written, results: Results, index: Table | None) -> None:
    """Keep the rows of a picture."""
    one = written.labelled
    if one.problem:
        log(printable(f"skipped {one.problem}"))
        results.skip(one.entry.name, one.problem, one.entry)
        return
    if index is not None:
        index.add([one.entry.name, written.file])
    results.done(one.entry.name, one.size, one.shares, one.entry)
    results.labelled += 1


@contextmanager
def _index(config: InferConfig, settings: ResultSettings) -> Iterator[Table | None]:
    """Yield the table of which picture is in which file; None where each has its own."""
    if config.save_format == "files":
        yield None
        return
    table = Table(settings.tables / INDEX, COLUMNS, go_on=config.resume)
    try:
        yield table
    finally:
        table.close()


def _named(tables: Path) -> set[str]:
    """Return the files that the index names."""
    with (tables / INDEX).open(**ENCODING) as file:
        rows = csv.reader(file)
        next(rows, None)
        return {row[1] for row in rows if len(row) == len(COLUMNS)}


@contextmanager
def _counted(config: InferConfig, units: Sequence[Unit]) -> Iterator[Any]:
    """Yield a function that counts pictures, in a bar and in the file of `metrics`."""
    pictures = len(units) if all(unit.kind == PICTURE for unit in units) else None
    rates = Rates(len(units), pictures, config.metrics)
    with progress("infer", len(units)) as (bar, bar_task):

        def count(*, failed: bool, work: float) -> None:
            rates.add(failed=failed, work=work)
            bar.update(bar_task, completed=rates.work, description=f"infer, {rates.done} pictures, {rates.words()}")

        yield count
    rates.write(finished=True)
