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
from edgeailite.runs.checkpoint import CONFIG, ENVIRONMENT, LAST, PREVIOUS, start_run
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
    """Return whether these processes continue the run in `folder` without being asked: torchrun's job that began it has
    started them again. All processes have to ask; the first, which sees the folder, answers for all.
    """
    again = any(gather(restarted(), processes))
    return from_first(lambda: _is_ours(folder, again=again), processes)


def _is_ours(folder: Path, *, again: bool) -> bool:
    """A number of starts says little: it is raised on the host of the lost process alone, and on none when hosts come
    or go; and a job that was refused a folder of somebody else is started again too. A named job says enough.
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
    """Return the device that a folder's run will use, before anything of it is loaded: processes meet by way of it.

    Its own, from config.yaml, if the command line names none; "auto" where that file is not on this host's disk.
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
    """Return the options with which a run continues: its own, but for those of the machine that `config` gives.

    An option is given if it is not the default. Others that differ from the run's are named on stderr: they would make
    another run of it.
    """
    given = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(of_run)
        if field.name not in NOT_OF_A_RUN
        and getattr(config, field.name) not in (field.default, getattr(of_run, field.name))
    }
    ignored = [f"{option(name)} (the run's is {_text(getattr(of_run, name))})" for name in given if name not in MACHINE]
    if ignored:
        log(f"note: a run goes on as it began; not taken: {', '.join(ignored)}")
    taken = {name: given[name] for name in MACHINE if name in given}
    return dataclasses.replace(of_run, accept_changed_data=config.accept_changed_data, **taken)


def _text(value: Any) -> str:
    """Return a value as it is typed after its option."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
