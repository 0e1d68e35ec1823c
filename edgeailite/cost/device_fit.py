"""A device's profile from measured times of networks: one call from the options of `devices fit` to its figures."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import yaml

from edgeailite.config import DevicesFitConfig
from edgeailite.console import log
from edgeailite.cost.candidates import Subject, open_subjects
from edgeailite.cost.device_times import BoardTimes, read_times
from edgeailite.cost.devices import INT8_SUFFIX, Figure, MeasuredNetwork, Profile, fit, load_profile, profile_values
from edgeailite.cost.latency import layer_times, measure_networks
from edgeailite.environment import machine_facts, machine_title, usable_cores
from edgeailite.errors import DataError, UsageError, option
from edgeailite.files import write_result

KINDS = ("float32", "int8")
NAME_SIZE = (192, 384)
ALIGNMENT = 8  # channels: what AVX-512 and onnxruntime's blocked layout divide by
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


@dataclass(frozen=True)
class DeviceFit:
    """A profile, and the measured networks that its figures come from."""

    profile: Profile
    networks: tuple[MeasuredNetwork, ...]


def fit_device(config: DevicesFitConfig) -> DeviceFit:
    """Measure networks here, or read their times on a board, and write the profile that meets them best to `output`.

    Raises UsageError where the times do not tell every figure and no `base` is given, DataError for times that are
    missing or of another size, and for a profile that cannot be written.

        found = fit_device(DevicesFitConfig(measured=Path("times.csv"), base="tda4vm", output=Path("my_board.yaml")))
        found.profile.band
    """
    threads = config.threads or usable_cores()
    base = blank_profile(config.alignment or ALIGNMENT) if config.base is None else load_profile(config.base)
    base = replace(base, alignment=config.alignment or base.alignment)
    board = None if config.measured is None else read_times(config.measured)
    networks = config.models or NETWORKS
    with tempfile.TemporaryDirectory(prefix="edgeailite-fit-") as folder:
        subjects = open_subjects(
            networks,
            Path(folder),
            size=config.img_resize,
            name_size=NAME_SIZE,
            classes=config.num_classes,
            kinds=KINDS if board is None else _kinds(networks, board),
            threads=threads,
        )
        if board is None:
            measured, origin = _measure(subjects, threads=threads, rounds=config.rounds)
        else:
            measured, origin = _given(subjects, board), f"times of {board.path.name}"
    without_layers = all(value is None for network in measured for value in network.layer_milliseconds)
    if without_layers and config.base is None:
        raise UsageError(f"{config.measured}: has totals only; give {option('base')} DEVICE with figures to start from")
    source = f"fitted to {len(measured)} networks, {origin}"
    title, runtime = _machine(board, base, threads)
    profile = fit(measured, base, source)
    profile = replace(profile, name=config.output.stem, title=config.title or title, runtime=runtime)
    write_profile(config.output, profile)
    return DeviceFit(profile, tuple(measured))


def blank_profile(alignment: int) -> Profile:
    """Return a device without figures, for `fit` to start from; `alignment` channels fill a vector of it."""
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


def write_profile(path: Path, profile: Profile) -> None:
    """Write a YAML file that `load_profile` reads. Raises DataError if it cannot be written."""
    text = yaml.safe_dump(profile_values(profile), sort_keys=False, width=120, allow_unicode=True)
    write_result(path, text, "output")


def _kinds(networks: Sequence[str], board: BoardTimes) -> tuple[str, ...]:
    """The kinds of file that names stand for: those that the board has times of."""
    suffixes = {"float32": "", "int8": INT8_SUFFIX}
    found = tuple(kind for kind in KINDS if any(name + suffixes[kind] in board.times for name in networks))
    return found or KINDS


def _machine(board: BoardTimes | None, base: Profile, threads: int) -> tuple[str, str]:
    """Title and runtime: of this machine, or of the board as its file or the base says."""
    if board is not None:
        return board.title or base.title, board.runtime or base.runtime
    facts = machine_facts(threads)
    return machine_title(facts), f"onnxruntime {facts['onnxruntime']}"


def _measure(subjects: Sequence[Subject], *, threads: int, rounds: int) -> tuple[list[MeasuredNetwork], str]:
    """The networks with their times here, and what a figure's source says of them."""
    log(f"measuring {len(subjects)} networks, {threads} threads, {rounds} rounds")
    files = {subject.name: (subject.file, subject.layers, subject.height_width) for subject in subjects}
    measured = measure_networks(files, threads=threads, rounds=rounds)
    return measured, f"measured on {datetime.now(UTC):%Y-%m-%d} with {threads} threads"


def _given(subjects: Sequence[Subject], board: BoardTimes) -> list[MeasuredNetwork]:
    """The networks with the board's times. Raises DataError for one without, or of another size."""
    measured = []
    for subject in subjects:
        time = board.times.get(subject.name)
        if time is None:
            raise DataError(f"{board.path}: no time of {subject.name}; it has {', '.join(board.times)}")
        if time.size is not None and time.size != subject.height_width:
            there, here = ("x".join(map(str, size or ())) for size in (time.size, subject.height_width))
            raise DataError(
                f"{board.path}: {subject.name} was measured at {there}, but is opened at {here}; "
                f"give the same {option('img_resize')}",
                code="no-fit",
            )
        times = layer_times(time.operators, subject.layers)
        measured.append(MeasuredNetwork(subject.name, subject.layers, times, time.milliseconds))
    return measured
