"""`edgeailite devices fit`: a profile from networks measured here, or from times that another board gave."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from edgeailite.commands.bench import machine_facts
from edgeailite.commands.common import log, print_result
from edgeailite.commands.subjects import Subject, open_subjects
from edgeailite.config import DevicesFitConfig
from edgeailite.devices import Figure, Measured, Profile, estimate, fit, load_profile, profile_values
from edgeailite.environment import usable_cores
from edgeailite.errors import DataError, UsageError
from edgeailite.latency import OperatorTime, layer_times, measure_networks

NETWORKS = (  # every kind of layer, with channels that fill vectors and channels that do not
    "deeplabv3plus_mobilenetv2_tv_edgeailite",
    "unet_aspp_mobilenetv2_tv_edgeailite",
    "fpn_aspp_mobilenetv2_tv_fd_edgeailite",
    "fpn_aspp_regnetx400mf_edgeailite",
    "unet_aspp_regnetx800mf_edgeailite",
    "deeplabv3plus_resnet50_p5_edgeailite",
    "mobilenetv2dilated_c1",
    "resnet18_c1",
)


def run(config: DevicesFitConfig) -> int:
    """Measure or read, fit, write the profile, and print how well it meets the networks."""
    threads = config.threads or usable_cores()
    base = blank_profile(config.alignment) if config.base is None else load_profile(config.base)
    base = replace(base, alignment=config.alignment)
    with tempfile.TemporaryDirectory(prefix="edgeailite-fit-") as folder:
        subjects = open_subjects(
            config.networks or NETWORKS,
            Path(folder),
            size=config.size,
            classes=config.num_classes,
            kinds=("float32", "int8"),
        )
        measured, origin = _measured(subjects, config, threads)
    without_layers = all(value is None for network in measured for value in network.layer_milliseconds)
    if without_layers and config.base is None:
        raise UsageError(f"{config.measured}: has totals only; give --base DEVICE with figures to start from")
    source = f"fitted to {len(measured)} networks, {origin}"
    facts = machine_facts(threads)
    title = config.title or f"{facts['cpu']} ({' '.join(facts['features'])}), {threads} threads"
    runtime = base.runtime if config.measured else f"onnxruntime {facts['onnxruntime']}"
    profile = replace(fit(measured, base, source), name=config.output.stem, title=title, runtime=runtime)
    write_profile(config.output, profile)
    print_result(f"devices fit: {config.output}", summary(measured, profile))
    return 0


def blank_profile(alignment: int) -> Profile:
    """A start without figures."""
    nothing, unknown = Figure(0.0, "not modelled: a cache is not told from memory"), Figure(1.0, "not measured")
    return Profile(
        name="blank",
        title="",
        runtime="",
        measured=True,
        rates={},
        bandwidth=unknown,
        on_chip_memory=nothing,
        on_chip_bandwidth=unknown,
        overhead=nothing,
        band=(1.0, 1.0),
        band_source="",
        alignment=alignment,
    )


def summary(measured: Sequence[Measured], profile: Profile) -> dict[str, Any]:
    """Measured and estimated ms of every network, and how far apart they are."""
    estimates = [estimate(network.layers, profile).milliseconds for network in measured]
    rows = {
        network.name: f"{network.milliseconds:.2f} ms measured, {found:.2f} estimated"
        for network, found in zip(measured, estimates, strict=True)
    }
    errors = [abs(found / network.milliseconds - 1) for network, found in zip(measured, estimates, strict=True)]
    band = f"x{profile.band[0]:.2f}..{profile.band[1]:.2f}: {profile.band_source}"
    return {**rows, "median error %": round(100 * float(np.median(errors)), 1), "band": band}


def write_profile(path: Path, profile: Profile) -> None:
    """A YAML file that `load_profile` reads. Raises DataError if it cannot be written."""
    text = yaml.safe_dump(profile_values(profile), sort_keys=False, width=120, allow_unicode=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); choose another --output") from None


def _measured(subjects: Sequence[Subject], config: DevicesFitConfig, threads: int) -> tuple[list[Measured], str]:
    """The networks with their times, and where those come from."""
    if config.measured is not None:
        times = read_times(config.measured)
        missing = [subject.name for subject in subjects if subject.name not in times]
        if missing:
            known = ", ".join(times) or "nothing"
            raise DataError(f"{config.measured}: no time of {missing[0]}; it has {known}")
        found = [Measured(s.name, s.layers, *_times_of(s, times[s.name])) for s in subjects]
        return found, f"times of {config.measured.name}"
    log(f"measuring {len(subjects)} networks, {threads} threads, {config.rounds} rounds")
    files = {subject.name: (subject.file, subject.layers) for subject in subjects}
    measured = measure_networks(files, threads=threads, rounds=config.rounds, height_width=config.size)
    return measured, f"measured on {datetime.now(UTC):%Y-%m-%d} with {threads} threads"


def _times_of(subject: Subject, time: dict[str, Any]) -> tuple[list[float | None], float]:
    """Per layer (where operators were profiled), and in all."""
    operators = [OperatorTime(**operator) for operator in time.get("operators", [])]
    return layer_times(operators, subject.layers), float(time["ms"])


def read_times(path: Path) -> dict[str, dict[str, Any]]:
    """Model -> {ms, operators}, from JSON of `bench` or a CSV with model and ms. Raises DataError for other files."""
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            rows = json.loads(text)["models"]
            return {row["model"]: {"ms": row["minimum_ms"], "operators": row.get("operators", [])} for row in rows}
        return {row["model"]: {"ms": float(row["ms"])} for row in csv.DictReader(text.splitlines())}
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: expected JSON of `edgeailite bench`, or CSV with model and ms ({error!r})") from None
