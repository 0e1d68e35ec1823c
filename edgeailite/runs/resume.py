"""Resuming: find the run that `train` or `quantize` continues, and settle the options it continues with."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

from edgeailite.config import QuantizeConfig, TrainConfig
from edgeailite.config.stored import plain
from edgeailite.console import log
from edgeailite.distributed import Processes, from_first, gather, job, named_job, restarted
from edgeailite.environment import environment
from edgeailite.errors import DataError, option
from edgeailite.files import read_regular
from edgeailite.runs.folder import CONFIG, ENVIRONMENT, LAST, PREVIOUS, start_run
from edgeailite.untrusted import json_value, yaml_value

Run = TypeVar("Run", TrainConfig, QuantizeConfig)
NOT_OF_A_RUN = ("resume", "dry_run", "accept_changed_data")
MACHINE = ("data_path", "workers", "device", "threads", "timeout")  # a run may go on elsewhere
LARGEST = 1 << 20  # bytes of config.yaml and env.json
JOB = "job"  # in env.json: torchrun's job that began the run


def begin_run(folder: Path, config: Any) -> None:
    """Make the folder of a run. Raises DataError if it already holds one or cannot be written."""
    start_run(folder, plain(config), {**environment(), JOB: job()})


def goes_on(folder: Path, processes: Processes) -> bool:
    """Return True if these processes should resume the run in `folder`: its torchrun job has started them again.

    All processes have to call it; the first, which sees the folder, answers for all.
    """
    again = any(gather(restarted(), processes))
    return from_first(lambda: _is_ours(folder, again=again), processes)


def _is_ours(folder: Path, *, again: bool) -> bool:
    """Return True if a folder's run was begun by this torchrun job.

    The number of starts says little: it is raised only on the host of a lost process, and nowhere when hosts come or
    go; and a job that was refused a folder is started again, too. The job's name decides.
    """
    ours = job()
    if ours is None or not (again or named_job()) or not any((folder / name).is_file() for name in (LAST, PREVIOUS)):
        return False
    try:
        path = folder / ENVIRONMENT
        found = json_value(read_regular(path, limit=LARGEST), where=str(path))
    except (OSError, DataError):
        return False
    return isinstance(found, dict) and found.get(JOB) == ours


def device_of(given: str, folder: Path | None) -> str:
    """Return the device that a folder's run will use, before the run is loaded: processes meet through it.

    Without one on the command line it is that of config.yaml; "auto" if this file is not on this host's disk.
    """
    if folder is None or given != "auto":
        return given
    try:
        path = folder / CONFIG
        values = yaml_value(read_regular(path, limit=LARGEST), where=str(path))
    except (OSError, DataError):
        return given
    device = values.get("device") if isinstance(values, dict) else None
    return device if device in ("cpu", "cuda") else given


def resumed_config(config: Run, of_run: Run) -> Run:
    """Return the options with which a run continues: its own, except for those of the machine, which `config` may give.

    An option counts as given if it is not the default. More epochs than the run has are taken, too. Other options that
    differ from the run's are named on stderr and not used, because they would make another run of it.
    """
    given = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(of_run)
        if field.name not in NOT_OF_A_RUN
        and getattr(config, field.name) not in (field.default, getattr(of_run, field.name))
    }
    takes = (*MACHINE, *(["epochs"] if config.epochs > of_run.epochs else []))
    ignored = [f"{option(name)} (the run's is {_text(getattr(of_run, name))})" for name in given if name not in takes]
    if ignored:
        log(f"note: a run goes on as it began; not taken: {', '.join(ignored)}")
    taken = {name: given[name] for name in takes if name in given}
    return dataclasses.replace(of_run, accept_changed_data=config.accept_changed_data, **taken)


def _text(value: Any) -> str:
    """Return a value as it is typed after its option."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
