"""Parts of a job: every picture in exactly one, whatever the order; words and environments, and wrong ones."""

import pytest

from edgeailite.errors import UsageError
from edgeailite.inference.shards import Shard, shard_of

NAMES = [f"drive_{number // 50}/frame_{number:06d}.png" for number in range(1000)]


@pytest.mark.parametrize("count", [1, 2, 8, 31])
def test_every_picture_is_in_exactly_one_part(count):
    parts = [[name for name in NAMES if Shard(index, count).takes(name)] for index in range(count)]
    assert sorted(name for part in parts for name in part) == sorted(NAMES)
    mean = len(NAMES) / count
    assert all(abs(len(part) - mean) <= 5 * mean**0.5 for part in parts)


def test_names_that_are_no_text():
    assert Shard(0, 1).takes("\udcff.png")


SLURM = {
    "SLURM_ARRAY_TASK_ID": "5",
    "SLURM_ARRAY_TASK_MIN": "1",
    "SLURM_ARRAY_TASK_STEP": "2",
    "SLURM_ARRAY_TASK_COUNT": "4",
}
FOUND = {
    "given": ("3/8", {}, Shard(3, 8)),
    "given beside a job": ("3/8", {"RANK": "1", "WORLD_SIZE": "2"}, Shard(3, 8)),
    "Kubernetes": ("auto/8", {"JOB_COMPLETION_INDEX": "3"}, Shard(3, 8)),
    "Slurm from 1 in steps of 2": ("auto", SLURM, Shard(2, 4)),
    "Slurm from 1": (
        "auto",
        {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_COUNT": "4"},
        Shard(0, 4),
    ),
    "a count beside that of the job": (
        "auto/16",
        {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "8"},
        Shard(7, 16),
    ),
    "Slurm from 0": ("auto", {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "8"}, Shard(7, 8)),
    "torchrun": ("auto", {"RANK": "1", "WORLD_SIZE": "2"}, Shard(1, 2)),
}


@pytest.mark.parametrize("case", FOUND)
def test_words_and_environments(case):
    text, environment, expected = FOUND[case]
    assert shard_of(text, environment) == expected


WRONG = {
    "8/8": ({}, "part 8/8 is none"),
    "0/0": ({}, "part 0/0 is none"),
    "3": ({}, "expected I/N"),
    "-1/8": ({}, "expected I/N"),
    "1/8/2": ({}, "expected I/N"),
    "٣/8": ({}, "expected I/N"),
    "auto": ({}, "are not set"),
    "auto ": ({}, "expected I/N"),
    "auto/4": ({"JOB_COMPLETION_INDEX": "4"}, "part 4/4 is none"),
}


@pytest.mark.parametrize("text", WRONG)
def test_wrong_words(text):
    environment, said = WRONG[text]
    with pytest.raises(UsageError, match=said):
        shard_of(text, environment)


@pytest.mark.parametrize(
    "environment", [{"JOB_COMPLETION_INDEX": "1"}, {"RANK": "0"}, {"RANK": "zero", "WORLD_SIZE": "2"}], ids=str
)
def test_an_environment_that_does_not_say_enough(environment):
    with pytest.raises(UsageError, match="shard auto"):
        shard_of("auto", environment)
