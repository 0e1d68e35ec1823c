"""Options that several verbs share: kinds of values, groups of options, and checks that name the option."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from edgeailite.errors import UsageError, option

Device = Literal["auto", "cpu", "cuda"]
Amp = Literal["auto", "off", "bf16", "fp16"]
Weights = Literal["best", "last"]
"""Which checkpoint of a run folder a verb takes."""
ACCELERATORS = (
    "ethos-u55-32", "ethos-u55-64", "ethos-u55-128", "ethos-u55-256", "ethos-u65-256", "ethos-u65-512",
    "ethos-u85-128", "ethos-u85-256", "ethos-u85-512", "ethos-u85-1024", "ethos-u85-2048",
)  # fmt: skip
"""Ethos-U NPUs that Arm's compiler Vela knows, by family and 8-bit MACs per cycle."""
ARITHMETICS = ("onnxruntime_x86", "onnxruntime_sse2", "onnxruntime_arm64", "tflite_reference", "xnnpack")
UNSET = -(2**31)  # a number that was not given, where a class has a `usual` one
SMALLEST = 32  # pixels of height and width that every network takes
MOST_THREADS, MOST_WORKERS = 4096, 1024  # each is a thread or a process, whoever asked for it


def group(title: str) -> None:
    """Begin a group of options: `--help` shows the options below this line in a class under the title.

    It does nothing when the class is made; the help reads it from the source, as it reads the text below each option.
    """


def check(condition: bool, field: str, value: object, expected: str) -> None:
    """Raise UsageError with the option, its value and what was expected, where the condition does not hold."""
    if not condition:
        raise UsageError(f"expected {expected}", about=field, value=value)


def check_least(options: object, least: int, *fields: str) -> None:
    """Raise UsageError unless each of these fields of `options` is None or at least `least`."""
    for field in fields:
        value = getattr(options, field)
        check(value is None or value >= least, field, value, f"at least {least}" if least else "0 or more")


def check_above_zero(options: object, *fields: str) -> None:
    """Raise UsageError unless each of these fields of `options` is None or above 0."""
    for field in fields:
        value = getattr(options, field)
        check(value is None or value > 0, field, value, "above 0")


def check_size(field: str, size: tuple[int, int] | None, *, least: int = SMALLEST) -> None:
    """Raise UsageError if the height or width of a size is too small; None passes."""
    check(size is None or min(size) >= least, field, size, f"height and width of at least {least}")


def check_accelerator(name: str | None) -> None:
    """Raise UsageError for an Ethos-U that Vela does not know; None passes."""
    check(name is None or name in ACCELERATORS, "accelerator", name, f"one of {', '.join(ACCELERATORS)}")


def settle_epochs(options: Any) -> None:
    """Set a number of epochs that was not given to the class's usual one; a run that is resumed has its own.

    A usual number as default could not be told from the same number given with `resume`.
    """
    if options.epochs == UNSET and not getattr(options, "resume", None):
        object.__setattr__(options, "epochs", options.usual["epochs"])  # of a frozen record, before anybody sees it


def check_machine(threads: int | None, *, workers: int | Literal["auto"] = "auto", seed: int = 0) -> None:
    """Raise UsageError for numbers of threads or processes, or a seed, that cannot be."""
    check(threads is None or threads >= 1, "threads", threads, "at least 1")
    check(threads is None or threads <= MOST_THREADS, "threads", threads, f"at most {MOST_THREADS}")
    check(workers == "auto" or workers >= 0, "workers", workers, "auto, or 0 or more")
    check(workers == "auto" or workers <= MOST_WORKERS, "workers", workers, f"at most {MOST_WORKERS}")
    check(seed >= 0, "seed", seed, "0 or more")


def check_arithmetic(name: str | None) -> None:
    """Raise UsageError for a name that is no row of `quantization.arithmetic`; None passes."""
    check(name is None or name in ARITHMETICS, "arithmetic", name, ", ".join(ARITHMETICS))


@dataclass(frozen=True, kw_only=True)
class Loading:
    """Options for reading pictures."""

    group("machine")
    workers: int | Literal["auto"] = "auto"
    """Processes that read pictures; auto = one per core, up to 8."""


@dataclass(frozen=True, kw_only=True)
class Computing:
    """Options for the device that networks run on."""

    group("machine")
    device: Device = "auto"
    """Where torch computes; auto = on the GPU if there is one."""
    threads: int | None = None
    """CPU threads; default all."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Options for the machines that a job runs on."""

    group("beyond one machine")
    engine: Literal["local", "ray"] = "local"
    """local: this machine; ray: the workers of a Ray cluster, or of one that is started here."""
    address: str | None = None
    """With --engine ray: address of the cluster, or auto; default $RAY_ADDRESS, else one is started here."""
    concurrency: int | None = None
    """With --engine ray: number of workers; default as many as there are CPUs for."""
    actor_cpus: float = 1.0
    """With --engine ray: CPUs of each worker."""


def check_engine(options: Engine) -> None:
    """Raise UsageError for workers that cannot be, or without the engine that has them."""
    check_least(options, 1, "concurrency")
    check(0 < options.actor_cpus <= MOST_THREADS, "actor_cpus", options.actor_cpus, f"above 0, at most {MOST_THREADS}")
    for name, usual in (("address", None), ("concurrency", None), ("actor_cpus", 1.0)):
        value = getattr(options, name)
        check(options.engine == "ray" or value == usual, name, value, f"{option('engine')} ray beside it")


@dataclass(frozen=True, kw_only=True)
class Machine(Computing, Loading):
    """Options for reading pictures and for the device that computes."""
