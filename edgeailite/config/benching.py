"""Options of the verbs about speed: bench, choose, devices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeailite.config.checks import check, check_machine

Runtime = Literal["onnxruntime", "openvino", "torch"]


def _check_size(size: tuple[int, int] | None) -> None:
    check(size is None or min(size) >= 32, "size", size, "height and width of at least 32")


@dataclass(frozen=True)
class BenchConfig:
    """Measure how long networks take, in turns, on this machine's CPU."""

    models: tuple[str, ...]
    """ONNX files, run folders, checkpoints, or names of networks (measured with their initial weights)."""
    runtimes: tuple[Runtime, ...] = ("onnxruntime",)
    """What runs them; torch takes no ONNX files, openvino must be installed."""
    int8: bool = False
    """Measure networks given by name as int8 files as well."""
    size: tuple[int, int] | None = None
    """Input size H W; default that of the file or run, 384 768 for names."""
    num_classes: int | None = None
    """Classes of networks given by name; default 19 (edgeailite) or 150 (ade20k)."""
    threads: int | None = None
    """CPU threads; default all."""
    rounds: int = 30
    """Rounds that count; in each, every network runs once."""
    warmup: int = 5
    """Rounds before."""
    operators: int = 0
    """Also print so many of the slowest operators of each network, from the runtime's profiler (0 = none)."""
    device: str | None = None
    """Also estimate the times on this device; `edgeailite devices list` names them."""
    json: bool = False
    """Print JSON instead of tables; with --operators all operators."""

    def __post_init__(self) -> None:
        check_machine(self.threads)
        check(len(self.models) >= 1, "models", self.models, "at least one")
        check(len(self.runtimes) >= 1, "runtimes", self.runtimes, "at least one")
        check(self.rounds >= 1, "rounds", self.rounds, "at least 1")
        check(self.warmup >= 0, "warmup", self.warmup, "0 or more")
        check(self.operators >= 0, "operators", self.operators, "0 or more")
        check(self.num_classes is None or self.num_classes >= 1, "num_classes", self.num_classes, "at least 1")
        _check_size(self.size)


@dataclass(frozen=True)
class ChooseConfig:
    """Networks within a budget, best known accuracy first, each with the command that trains it."""

    max_gmacs: float | None = None
    """Budget in GigaMACs."""
    max_ms: float | None = None
    """Budget in milliseconds on --device."""
    device: str | None = None
    """Estimate milliseconds on this device; `edgeailite devices list` names them."""
    type: Literal["auto", "int8", "float32"] = "auto"
    """Arithmetic of the estimate; auto = int8 where the device has it."""
    size: tuple[int, int] = (384, 768)
    """Input size H W."""
    classes: int = 19
    """Classes; tables of accuracy with as many come first, 19 = Cityscapes, 21 = COCO, 32 or 150 = ADE20K."""
    results: tuple[Path, ...] = ()
    """Files with accuracies of your own: JSON of `edgeailite validate`, or CSV with network, miou and if known size
    (HxW), data, classes and type (float or int8)."""
    unknown: bool = False
    """Also list networks without a known accuracy, after the others."""
    dataset_name: str = "folder"
    """Data set of the training commands."""
    limit: int = 12
    """Rows printed."""
    json: bool = False
    """Print JSON instead of a table."""

    def __post_init__(self) -> None:
        _check_size(self.size)
        check(self.max_gmacs is None or self.max_gmacs > 0, "max_gmacs", self.max_gmacs, "above 0")
        check(self.max_ms is None or self.max_ms > 0, "max_ms", self.max_ms, "above 0")
        check(self.max_ms is None or self.device is not None, "max_ms", self.max_ms, "--device NAME with it")
        named = self.type == "auto" or self.device is not None
        check(named, "type", self.type, "--device NAME with it, whose arithmetic it is")
        check(self.classes >= 1, "classes", self.classes, "at least 1")
        check(self.limit >= 1, "limit", self.limit, "at least 1")


@dataclass(frozen=True)
class DevicesListConfig:
    """The devices that estimates know, or the figures of one with their sources."""

    name: str | None = None
    """Name of a device, or a .yaml file: print its figures."""
    json: bool = False
    """Print JSON instead of a table."""


@dataclass(frozen=True)
class DevicesFitConfig:
    """Calibrate the figures of a device from measured networks, and write its profile."""

    networks: tuple[str, ...] = ()
    """ONNX files, run folders or names; default eight networks, each as float and int8 file, at --size."""
    measured: Path | None = None
    """Times from the device: .json that `edgeailite bench --json True --operators 1` printed there, or .csv with the
    columns model (as given here) and ms. Default: measure here and now."""
    base: str | None = None
    """Device or .yaml file with figures for what the times do not tell; needed where only totals are known."""
    output: Path = Path("my_device.yaml")
    """Profile to write; its name is the device's name."""
    title: str | None = None
    """What the device is; default this CPU, or the board that --measured or --base names."""
    alignment: int | None = None
    """Channels that fill a vector: layers with other counts get rates of their own; default that of --base, else 8."""
    size: tuple[int, int] | None = None
    """Input size H W; default that of the file or run, 192 384 for names."""
    num_classes: int = 19
    """Classes of networks given by name."""
    threads: int | None = None
    """CPU threads; default all."""
    rounds: int = 30
    """Rounds of the measurement."""

    def __post_init__(self) -> None:
        check_machine(self.threads)
        _check_size(self.size)
        check(self.output.suffix == ".yaml", "output", self.output, "a file that ends in .yaml")
        check(self.alignment is None or self.alignment >= 1, "alignment", self.alignment, "at least 1")
        check(self.rounds >= 1, "rounds", self.rounds, "at least 1")
        check(self.num_classes >= 1, "num_classes", self.num_classes, "at least 1")
