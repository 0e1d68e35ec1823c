"""Options of the verbs about what networks cost: models, choose, complexity, bench, devices list, devices fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from edgeailite.config.checks import (
    SMALLEST,
    check,
    check_above_zero,
    check_accelerator,
    check_least,
    check_machine,
    check_size,
    group,
)
from edgeailite.errors import option

Size = tuple[int, int]  # height, width
DEFAULT_SIZE: Size = (384, 768)  # of networks given by name
Runtime = Literal["onnxruntime", "openvino", "torch"]


@dataclass(frozen=True)
class ModelsConfig:
    """List networks with parameters, GigaMACs, strides and published weights."""

    pattern: str = "*"
    """Names to list; * stands for any characters."""
    family: Literal["all", "edgeailite", "ade20k", "ddrnet", "ffnet"] = "all"
    """Only networks of this family."""
    max_gmacs: float | None = None
    """Only networks that cost at most this many GigaMACs."""
    img_resize: tuple[int, int] = DEFAULT_SIZE
    """Input size that the GigaMACs are counted at, height and width."""
    num_classes: int | None = None
    """Classes of the segmentation output; default 19 (edgeailite) or 150 (ade20k)."""
    inputs: int = 1
    """Pictures that a network takes at once, e.g. 2 for optical flow and picture."""
    sort: Literal["name", "parameters", "gmacs"] | None = None
    """Order of the rows, ascending; default name, or gmacs where --max_gmacs is given."""
    json: bool = False
    """Print JSON instead of a table."""

    renamed: ClassVar = {"size": "img_resize"}

    def __post_init__(self) -> None:
        check_size("img_resize", self.img_resize)
        check_least(self, 1, "num_classes", "inputs")
        check_above_zero(self, "max_gmacs")


@dataclass(frozen=True)
class ChooseConfig:
    """List networks within a budget, best known accuracy first, each with the command that trains it."""

    max_gmacs: float | None = None
    """Budget in GigaMACs."""
    max_ms: float | None = None
    """Budget in milliseconds on --device."""
    device: str | None = None
    """Estimate milliseconds on this device; `edgeailite devices list` names them. For an Ethos-U Vela compiles each
    network (pip install ethos-u-vela), which takes seconds."""
    type: Literal["auto", "int8", "float32"] = "auto"
    """Arithmetic of the estimate; auto = int8 where the device has it."""
    img_resize: tuple[int, int] = DEFAULT_SIZE
    """Input size of the network, height and width."""
    num_classes: int = 19
    """Number of classes: 19 = Cityscapes, 21 = COCO, 32, 150 = ADE20K. Accuracies measured with as many come first."""
    results: tuple[Path, ...] = ()
    """Files with accuracies of your own: JSON of `edgeailite validate`, or CSV with network, miou and if known size
    (HxW), data, classes and type (float or int8)."""
    unknown: bool = False
    """Also list networks without a known accuracy, after the others."""
    dataset_name: str = ""
    """Data set to name in the training commands; without one it is recognised by its folder."""
    data_path: Path | None = None
    """Folder of the data set to name in the training commands."""
    rows: int = 12
    """Most rows to print."""
    json: bool = False
    """Print JSON instead of a table."""

    renamed: ClassVar = {"size": "img_resize", "classes": "num_classes", "limit": "rows"}

    def __post_init__(self) -> None:
        check_size("img_resize", self.img_resize)
        check_above_zero(self, "max_gmacs", "max_ms")
        check(self.max_ms is None or self.device is not None, "max_ms", self.max_ms, f"{option('device')} NAME with it")
        named = self.type == "auto" or self.device is not None
        check(named, "type", self.type, f"{option('device')} NAME with it, whose arithmetic it is")
        check_least(self, 1, "num_classes", "rows")


@dataclass(frozen=True)
class ComplexityConfig:
    """Count what a network costs: GigaMACs, parameters, memory and bytes, layer by layer."""

    model: str | None = None
    """Network name, run folder, checkpoint (.pt), ONNX or .tflite file; with --all a pattern of names, e.g. 'unet*'."""
    img_resize: tuple[tuple[int, int], ...] = ()
    """Input sizes, one or several pairs of height and width; default that of the run or file, else 384 768."""
    num_classes: int | None = None
    """Classes of a network given by name; default 19 (edgeailite) or 150 (ade20k)."""
    inputs: int = 1
    """Pictures that a network given by name takes at once, e.g. 2 for optical flow and picture."""
    int8: bool = False
    """Count the int8 network that a float one is expected to become."""
    accelerator: str | None = None
    """Also estimate the int8 network on this Ethos-U (ethos-u55-32 to ethos-u85-2048) with Arm's compiler Vela, up to
    the decoder's result (pip install ethos-u-vela); takes int8 .tflite files too."""
    layers: Literal["top", "all", "none"] = "top"
    """Rows of the table of layers: the ten with most MACs, all, or none."""
    all: bool = False
    """Compare all networks instead, one row each."""
    results: tuple[Path, ...] = ()
    """With --all: files with accuracies (JSON of `validate --json True`, or CSV with network and miou), which give the
    networks that no other beats on both cost and accuracy."""
    json: bool = False
    """Print JSON instead of tables."""
    csv: Path | None = None
    """Also write the rows to this file: layers, or with --all networks."""
    html: Path | None = None
    """Also write a page with plots to this file."""

    renamed: ClassVar = {"size": "img_resize"}

    def __post_init__(self) -> None:
        large = all(min(size) >= SMALLEST for size in self.img_resize)
        check(large, "img_resize", self.img_resize, f"height and width of at least {SMALLEST}")
        once = len(set(self.img_resize)) == len(self.img_resize)
        check(once, "img_resize", self.img_resize, "each size once")
        check_least(self, 1, "num_classes", "inputs")
        check_accelerator(self.accelerator)
        alone = self.accelerator is None or not self.all
        check(alone, "accelerator", self.accelerator, f"one network; without {option('all')}")


@dataclass(frozen=True)
class BenchConfig:
    """Measure how long networks take on this machine's CPU, in turns."""

    models: tuple[str, ...]
    """ONNX or .tflite files, run folders, checkpoints, or names of networks (measured with random weights)."""
    runtimes: tuple[Runtime, ...] = ("onnxruntime",)
    """What runs them. torch takes no files; openvino must be installed; LiteRT runs .tflite files."""
    int8: bool = False
    """Measure networks given by name as int8 files as well."""
    img_resize: tuple[int, int] | None = None
    """Input size, height and width; default that of the file or run, 384 768 for names."""
    num_classes: int | None = None
    """Classes of networks given by name; default 19 (edgeailite) or 150 (ade20k)."""
    threads: int | None = None
    """CPU threads; default all."""
    rounds: int = 30
    """Rounds that count; in each, every network runs once."""
    warmup: int = 5
    """Rounds before them, which do not count."""
    operators: int = 0
    """Also print this many of the slowest operators of each network, from the runtime's profiler (0 = none)."""
    device: str | None = None
    """Also estimate the times on this device; `edgeailite devices list` names them."""
    json: bool = False
    """Print JSON instead of tables; with --operators all operators."""

    renamed: ClassVar = {"size": "img_resize"}

    def __post_init__(self) -> None:
        check_machine(self.threads)
        check(len(self.models) >= 1, "models", self.models, "at least one")
        check(len(self.runtimes) >= 1, "runtimes", self.runtimes, "at least one")
        check_least(self, 1, "rounds", "num_classes")
        check_least(self, 0, "warmup", "operators")
        check_size("img_resize", self.img_resize)


@dataclass(frozen=True)
class DevicesListConfig:
    """List the devices that estimates know, or the figures of one device with their sources."""

    device: str | None = None
    """Device whose figures are printed: a name, or a .yaml file."""
    json: bool = False
    """Print JSON instead of a table."""

    renamed: ClassVar = {"name": "device"}


@dataclass(frozen=True)
class DevicesFitConfig:
    """Find the figures of a device from measured times of networks, and write them to its profile."""

    models: tuple[str, ...] = ()
    """ONNX files, run folders or names; default eight networks, each as float and int8 file, at --img_resize."""
    measured: Path | None = None
    """Times from the device: .json that `edgeailite bench --json True --operators 1` printed there, or .csv with the
    columns model (as given here) and ms. Default: measure here and now."""
    base: str | None = None
    """Device or .yaml file with figures for what the times do not tell; needed where only totals are known."""
    output: Path = Path("my_device.yaml")
    """Profile to write; the file's name is the device's name."""
    title: str | None = None
    """What the device is; default this CPU, or the board that --measured or --base names."""
    alignment: int | None = None
    """Channels that fill a vector: layers with other counts get rates of their own; default that of --base, else 8."""

    group("measurement")
    img_resize: tuple[int, int] | None = None
    """Input size, height and width; default that of the file or run, 192 384 for names."""
    num_classes: int = 19
    """Classes of networks given by name."""
    threads: int | None = None
    """CPU threads; default all."""
    rounds: int = 30
    """Rounds that count; in each, every network runs once."""

    renamed: ClassVar = {"size": "img_resize", "networks": "models"}

    def __post_init__(self) -> None:
        check_machine(self.threads)
        check_size("img_resize", self.img_resize)
        check(self.output.suffix == ".yaml", "output", self.output, "a file that ends in .yaml")
        check_least(self, 1, "alignment", "rounds", "num_classes")
