"""`edgeailite bench`: networks timed in turns on this machine, their operators, and an estimate for a device beside."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from edgeailite.config import BenchConfig
from edgeailite.console import log, print_json, print_table
from edgeailite.cost.candidates import Subject, open_subjects
from edgeailite.cost.devices import Profile, estimate, load_profile
from edgeailite.cost.latency import (
    OperatorTime,
    Timing,
    alternate,
    onnx_operators,
    onnx_runner,
    torch_operators,
    torch_runner,
)
from edgeailite.environment import machine_facts, machine_title, usable_cores
from edgeailite.errors import DataError, UsageError
from edgeailite.models import ALIASES, MODELS


def run(config: BenchConfig) -> int:
    """Measure and print."""
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
        pairs = [
            (subject, runtime) for subject in subjects for runtime in config.runtimes if _can_run(subject, runtime)
        ]
        if not pairs:
            raise UsageError("--runtimes torch: nothing to run; give names or float runs, torch takes no ONNX files")
        estimates = {} if profile is None else _estimates(subjects, profile)
        runs = {f"{index}": _runner(*pair, threads=threads) for index, pair in enumerate(pairs)}
        timings = alternate(runs, rounds=config.rounds, warmup=config.warmup)
        del runs
        rows = [_row(*pair, timing) for pair, timing in zip(pairs, timings.values(), strict=True)]
        if config.operators:
            for row, pair in zip(rows, pairs, strict=True):
                row["operators"] = [
                    vars(operator) for operator in _operators(*pair, threads=threads, rounds=config.rounds)
                ]
    for row in rows if profile is not None else []:
        row["estimate"] = estimates[row["model"]]
    facts = machine_facts(threads)
    if config.json:
        print_json({"machine": facts, "rounds": config.rounds, "models": rows})
    else:
        _print(rows, facts, config)
    return 0


def _check_names(config: BenchConfig) -> None:
    """Raises UsageError for options that build a network, where none is given by name."""
    named = [model for model in config.models if model in MODELS or model in ALIASES]
    if not named and (config.int8 or config.num_classes is not None):
        raise UsageError(f"--num_classes and --int8: belong to networks given by name; {config.models[0]} has its own")


def _estimates(subjects: Sequence[Subject], profile: Profile) -> dict[str, dict[str, Any] | None]:
    """By name, before anything is measured; None where there is none, and the reason on stderr."""
    found: dict[str, dict[str, Any] | None] = {}
    for subject in subjects:
        try:
            times = estimate(subject.layers, profile)
        except (DataError, UsageError) as error:
            log(f"{subject.name}: no estimate: {error}")
            found[subject.name] = None
            continue
        found[subject.name] = {
            "device": profile.name,
            "ms": times.milliseconds,
            "low": times.low,
            "high": times.high,
        }
    return found


def _can_run(subject: Subject, runtime: str) -> bool:
    return runtime != "torch" or subject.network is not None


def _runner(subject: Subject, runtime: str, *, threads: int) -> Callable[[], object]:
    if runtime == "torch":
        assert subject.network is not None and subject.height_width is not None
        return torch_runner(subject.network, subject.height_width, inputs=_inputs(subject), threads=threads)
    return onnx_runner(subject.file, runtime, threads=threads, height_width=subject.height_width)


def _operators(subject: Subject, runtime: str, *, threads: int, rounds: int) -> list[OperatorTime]:
    """By onnxruntime's or torch's profiler; [] for OpenVINO."""
    if runtime == "torch":
        assert subject.network is not None and subject.height_width is not None
        inputs = _inputs(subject)
        return torch_operators(subject.network, subject.height_width, inputs=inputs, threads=threads, rounds=rounds)
    if runtime == "openvino":
        return []
    return onnx_operators(subject.file, threads=threads, height_width=subject.height_width, rounds=rounds)


def _inputs(subject: Subject) -> int:
    return 1 if subject.cost is None else len(subject.cost.inputs)


def _row(subject: Subject, runtime: str, timing: Timing) -> dict[str, Any]:
    low, high = timing.spread
    cost = subject.cost
    return {
        "model": subject.name,
        "runtime": runtime,
        "type": subject.kind,
        "size": None if subject.height_width is None else list(subject.height_width),
        "giga_macs": None if cost is None else cost.giga_macs,
        "parameters": None if cost is None else cost.parameters,
        "median_ms": timing.median,
        "p10_ms": low,
        "p90_ms": high,
        "minimum_ms": timing.minimum,
    }


def _print(rows: list[dict[str, Any]], facts: dict[str, Any], config: BenchConfig) -> None:
    versions = f"onnxruntime {facts['onnxruntime']}, torch {facts['torch']}"
    title = f"{machine_title(facts)}; {versions}; in turns, {config.rounds} rounds"
    table = Table(title=title)
    table.add_column("model", no_wrap=True)
    for name in ("runtime", "type", "size"):
        table.add_column(name)
    for name in ("GMACs", "parameters", "median ms", "10..90 %", "min ms", *([config.device] if config.device else [])):
        table.add_column(str(name), justify="right")
    for row in rows:
        table.add_row(*_cells(row))
    print_table(table)
    for row in rows if config.operators else []:
        print_table(_operator_table(row, config.operators))


def _cells(row: dict[str, Any]) -> list[str]:
    counted = ["-" if row["size"] is None else "x".join(map(str, row["size"])), "-", "-"]
    if row["giga_macs"] is not None:
        counted[1:] = [f"{row['giga_macs']:.3f}", f"{row['parameters']:,}"]
    times = [f"{row['median_ms']:.2f}", f"{row['p10_ms']:.2f}..{row['p90_ms']:.2f}", f"{row['minimum_ms']:.2f}"]
    estimated = []
    if "estimate" in row:
        found = row["estimate"]
        estimated = ["-" if found is None else "{ms:.1f} ({low:.1f}..{high:.1f})".format(**found)]
    return [row["model"], row["runtime"], row["type"], *counted, *times, *estimated]


def _operator_table(row: dict[str, Any], count: int) -> Table:
    slowest = sorted(row["operators"], key=lambda operator: -operator["milliseconds"])
    total = sum(operator["milliseconds"] for operator in slowest) or 1.0
    title = f"{row['model']}, {row['runtime']}: {min(count, len(slowest))} slowest of {len(slowest)} operators"
    table = Table(title=title)
    table.add_column("operator", no_wrap=True)
    table.add_column("kind")
    for name in ("ms", "%"):
        table.add_column(name, justify="right")
    for operator in slowest[:count]:
        share = 100 * operator["milliseconds"] / total
        table.add_row(operator["name"], operator["kind"], f"{operator['milliseconds']:.3f}", f"{share:.1f}")
    return table
