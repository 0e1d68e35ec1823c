"""Which run `train` and `quantize` go on with, and which of its options may be others than when it began."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeailite.checkpoint import LAST, PREVIOUS, start_run
from edgeailite.commands.common import plain
from edgeailite.config import TrainConfig
from edgeailite.distributed import Processes, from_first, gather, job, named_job, restarted
from edgeailite.environment import environment

MACHINE = ("data_path", "workers", "device", "threads", "timeout")  # a run may go on elsewhere
JOB = "job"  # in env.json: torchrun's job that began the run


def begin_run(folder: Path, config: Any) -> None:
    """Make the folder of a run. Raises DataError if it already holds one or cannot be written."""
    start_run(folder, plain(config), {**environment(), JOB: job()})


def goes_on(folder: Path, processes: Processes) -> bool:
    """Whether these processes are to go on with the run in `folder` without being asked to: torchrun's job that began
    it has started them again. All processes have to ask; the first, which sees the folder, answers for all.
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
        found = json.loads((folder / "env.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get(JOB) == ours
