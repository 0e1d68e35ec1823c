"""Networks timed in turns on this machine: one call from the options of `bench` to a record of every network."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeailite.config import BenchConfig
from edgeailite.console import log
from edgeailite.cost.candidates import Subject, is_name, open_subjects
from edgeailite.cost.devices import Profile, estimate, load_profile
from edgeailite.cost.latency.measure import Timing, alternate
from edgeailite.cost.latency.operators import OperatorTime, onnx_operators, torch_operators
from edgeailite.cost.latency.runners import LITERT, onnx_runner, tflite_runner, torch_runner
from edgeailite.environment import machine_facts, usable_cores
from edgeailite.errors import DataError, UsageError, option


@dataclass(frozen=True)
class DeviceTime:
    """Milliseconds that a network is estimated to take on a device, between `low` and `high`."""

    device: str
    ms: float
    low: float
    high: float


@dataclass(frozen=True)
class NetworkTime:
    """A network with its times under one runtime.

    `type` is float32, int8, or ? for a file whose layers cannot be counted; such a file has no `giga_macs` and
    `parameters` either. `size` is (height, width), None if unknown. `operators` is None unless asked for, `estimate`
    without a device or a rate for the network on it.
    """

    model: str
    runtime: str
    type: str
    size: tuple[int, int] | None
    giga_macs: float | None
    parameters: int | None
    timing: Timing
    operators: tuple[OperatorTime, ...] | None = None
    estimate: DeviceTime | None = None


@dataclass(frozen=True)
class NetworkTimes:
    """Times of networks that took turns, what the machine is (`machine_facts`), and the device of the estimates."""

    machine: dict[str, Any]
    rounds: int
    networks: tuple[NetworkTime, ...]
    device: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return everything as values for JSON, which `devices fit` takes as the times of a board."""
        return {"machine": self.machine, "rounds": self.rounds, "models": [self._row(each) for each in self.networks]}

    def _row(self, network: NetworkTime) -> dict[str, Any]:
        low, high = network.timing.spread
        row: dict[str, Any] = {
            "model": network.model,
            "runtime": network.runtime,
            "type": network.type,
            "size": None if network.size is None else list(network.size),
            "giga_macs": network.giga_macs,
            "parameters": network.parameters,
            "median_ms": network.timing.median,
            "p10_ms": low,
            "p90_ms": high,
            "minimum_ms": network.timing.minimum,
        }
        if network.operators is not None:
            row["operators"] = [asdict(operator) for operator in network.operators]
        if self.device is not None:
            row["estimate"] = None if network.estimate is None else asdict(network.estimate)
        return row


def time_networks(config: BenchConfig) -> NetworkTimes:
    """Run every network of the options once a round, in turns, and return the milliseconds that each took.

    What else the machine does hits all of them alike, so that they can be compared. Raises UsageError where no runtime
    takes what is given, DataError for a file that cannot be opened.

    >>> from edgeailite.config import BenchConfig
    >>> times = time_networks(BenchConfig(("resnet18_c1",), img_resize=(64, 64), threads=1, rounds=2, warmup=0))
    >>> [(network.type, network.size, len(network.timing.milliseconds)) for network in times.networks]
    [('float32', (64, 64), 2)]
    """
    _check_names(config)
    profile = None if config.device is None else load_profile(config.device)
    threads = config.threads or usable_cores()
    kinds = ("float32", "int8") if config.int8 else ("float32",)
    with tempfile.TemporaryDirectory(prefix="edgeailite-bench-") as folder:
        subjects = open_subjects(
            config.models,
            Path(folder),
            size=config.img_resize,
            classes=config.num_classes,
            kinds=kinds,
            threads=threads,
        )
        pairs = [(each, runtime) for each in subjects for runtime in _runtimes(each, config.runtimes)]
        if not pairs:
            raise UsageError(
                "nothing to run",
                fix="give names or float runs, torch takes no ONNX files",
                about="runtimes",
                value="torch",
            )
        estimates = {} if profile is None else _estimates(subjects, profile)
        runs = {f"{index}": _runner(*pair, threads=threads) for index, pair in enumerate(pairs)}
        timings = alternate(runs, rounds=config.rounds, warmup=config.warmup)
        del runs
        networks = tuple(
            _network(
                *pair,
                timing,
                _operators(*pair, threads=threads, rounds=config.rounds) if config.operators else None,
                estimates.get(pair[0].name),
            )
            for pair, timing in zip(pairs, timings.values(), strict=True)
        )
    return NetworkTimes(machine_facts(threads), config.rounds, networks, None if profile is None else profile.name)


def _check_names(config: BenchConfig) -> None:
    """Raises UsageError for options that build a network, where none is given by name."""
    named = [model for model in config.models if is_name(model)]
    if not named and (config.int8 or config.num_classes is not None):
        both = f"{option('num_classes')} and {option('int8')}"
        raise UsageError(f"{both}: belong to networks given by name; {config.models[0]} has its own")


def _estimates(subjects: Sequence[Subject], profile: Profile) -> dict[str, DeviceTime]:
    """By name, before anything is measured; for those without, the reason is logged."""
    found = {}
    for subject in subjects:
        try:
            times = estimate(subject.layers, profile)
        except (DataError, UsageError) as error:
            log(f"{subject.name}: no estimate: {error}")
            continue
        found[subject.name] = DeviceTime(profile.name, times.milliseconds, times.low, times.high)
    return found


def _runtimes(subject: Subject, asked: Sequence[str]) -> list[str]:
    """Return what runs a network: LiteRT a .tflite file, torch only what it has as a network."""
    if subject.file.suffix == ".tflite":
        return [LITERT]
    return [runtime for runtime in asked if runtime != "torch" or subject.network is not None]


def _runner(subject: Subject, runtime: str, *, threads: int) -> Callable[[], object]:
    if runtime == "torch":
        assert subject.network is not None and subject.height_width is not None
        return torch_runner(subject.network, subject.height_width, inputs=_inputs(subject), threads=threads)
    if runtime == LITERT:
        return tflite_runner(subject.file, threads=threads)
    return onnx_runner(subject.file, runtime, threads=threads, height_width=subject.height_width)


def _operators(subject: Subject, runtime: str, *, threads: int, rounds: int) -> tuple[OperatorTime, ...]:
    """By onnxruntime's or torch's profiler; () for OpenVINO and LiteRT."""
    size = subject.height_width
    if runtime == "torch":
        assert subject.network is not None and size is not None
        inputs = _inputs(subject)
        return tuple(torch_operators(subject.network, size, inputs=inputs, threads=threads, rounds=rounds))
    if runtime in ("openvino", LITERT):
        return ()
    return tuple(onnx_operators(subject.file, threads=threads, height_width=size, rounds=rounds))


def _inputs(subject: Subject) -> int:
    return 1 if subject.cost is None else len(subject.cost.inputs)


def _network(
    subject: Subject,
    runtime: str,
    timing: Timing,
    operators: tuple[OperatorTime, ...] | None,
    estimated: DeviceTime | None,
) -> NetworkTime:
    cost = subject.cost
    return NetworkTime(
        subject.name,
        runtime,
        subject.kind,
        subject.height_width,
        None if cost is None else cost.giga_macs,
        None if cost is None else cost.parameters,
        timing,
        operators,
        estimated,
    )
