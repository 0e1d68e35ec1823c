"""What the verbs' options have in common: kinds of values, and checks that name the flag."""

from __future__ import annotations

from typing import Literal

from edgeailite.errors import UsageError

Device = Literal["auto", "cpu", "cuda"]
Amp = Literal["auto", "off", "bf16", "fp16"]
MOST_THREADS, MOST_WORKERS = 4096, 1024  # each is a thread or a process, whoever asked for it


def check(condition: bool, field: str, value: object, expected: str) -> None:
    """Raise UsageError naming the flag, its value and what was expected."""
    if not condition:
        raise UsageError(f"--{field} {value}: expected {expected}")


def check_machine(threads: int | None, *, workers: int | Literal["auto"] = "auto", seed: int = 0) -> None:
    """Checks of the options that say how the machine is used."""
    check(threads is None or threads >= 1, "threads", threads, "at least 1")
    check(threads is None or threads <= MOST_THREADS, "threads", threads, f"at most {MOST_THREADS}")
    check(workers == "auto" or workers >= 0, "workers", workers, "auto, or 0 or more")
    check(workers == "auto" or workers <= MOST_WORKERS, "workers", workers, f"at most {MOST_WORKERS}")
    check(seed >= 0, "seed", seed, "0 or more")
