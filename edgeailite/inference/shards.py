"""Parts of a job for machines that do not know each other: part I of N, by the pictures' names.

Which part a picture is in depends on its name below the root and on N alone, not on the order of a listing or on what
else is there. Parts of many pictures are nearly equal: of n pictures each has n/N, give or take about sqrt(n/N).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from edgeailite.errors import UsageError
from edgeailite.inference.manifest import part_of_name

MOST = 100_000  # parts
FORM = re.compile(r"(?:([0-9]{1,6})|auto)(?:/([0-9]{1,6}))?")
FOLDER = re.compile(r"shard-([0-9]{1,6})-of-([0-9]{1,6})")
EXPECTED = "I/N (from 0/N to N-1/N), auto, or auto/N"


@dataclass(frozen=True)
class Shard:
    """Part `index` (from 0) of `count` parts."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def folder(self) -> str:
        """Return the name of the folder for the part's tables."""
        return f"shard-{self.index}-of-{self.count}"

    def takes(self, name: str) -> bool:
        """Return True if the picture of this name is in the part."""
        return int(part_of_name(name) * self.count) == self.index


def shard_of(text: str, environment: Mapping[str, str]) -> Shard:
    """Return the part that a text names. With `auto`, index and count are those of the job in the environment.

    Read are JOB_COMPLETION_INDEX (Kubernetes, which sets no count: `auto/N`), SLURM_ARRAY_TASK_ID with _MIN, _STEP and
    _COUNT, RANK with WORLD_SIZE (torchrun); the first that is set counts. Raises UsageError.

    >>> shard_of("auto/8", {"JOB_COMPLETION_INDEX": "3"})
    Shard(index=3, count=8)
    """
    match = FORM.fullmatch(text)
    if match is None or (match[1] is not None and match[2] is None):
        raise UsageError(f"expected {EXPECTED}", about="shard", value=text)
    index, count = match[1], match[2]
    if index is None:
        index, found = _of_environment(text, environment)
        count = count or found
    if count is None:
        raise UsageError("the environment has an index and no count", about="shard", value=text, fix="give auto/N")
    shard = Shard(int(index), int(count))
    if not 0 <= shard.index < shard.count <= MOST:
        raise UsageError(f"part {shard} is none; expected {EXPECTED}", about="shard", value=text)
    return shard


def _of_environment(text: str, environment: Mapping[str, str]) -> tuple[str, str | None]:
    def number(name: str, default: str | None = None) -> int:
        value = environment.get(name, default)
        if value is None or not re.fullmatch(r"[0-9]{1,9}", value):
            raise UsageError(f"{name} is {value!r}, no number", about="shard", value=text, fix="give I/N")
        return int(value)

    if "JOB_COMPLETION_INDEX" in environment:
        return str(number("JOB_COMPLETION_INDEX")), None
    if "SLURM_ARRAY_TASK_ID" in environment:
        first, step = number("SLURM_ARRAY_TASK_MIN", "0"), max(1, number("SLURM_ARRAY_TASK_STEP", "1"))
        place = (number("SLURM_ARRAY_TASK_ID") - first) // step
        return str(max(place, 0)), str(number("SLURM_ARRAY_TASK_COUNT"))
    if "RANK" in environment:
        return str(number("RANK")), str(number("WORLD_SIZE"))
    raise UsageError(
        "JOB_COMPLETION_INDEX, SLURM_ARRAY_TASK_ID and RANK are not set",
        about="shard",
        value=text,
        fix="give I/N",
    )
