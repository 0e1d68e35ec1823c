"""Options of the verbs that measure and prove a network: validate, compare, export, verify, report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from edgeailite.config.checks import (
    Computing,
    Engine,
    Machine,
    Weights,
    check,
    check_accelerator,
    check_arithmetic,
    check_engine,
    check_machine,
    check_size,
    group,
)
from edgeailite.errors import option


@dataclass(frozen=True)
class ValidateConfig(Machine, Engine):
    """Measure accuracy of a run folder, a checkpoint or an exported file."""

    group("data")
    model: Path
    """Run folder, .pt checkpoint, .onnx or .tflite file."""
    dataset_name: str | None = None
    """Data set; default the one that the model was trained on."""
    data_path: Path | None = None
    """Folder of the data set; default as in training (exported files do not hold it)."""
    split: str = "val"
    """Split to measure on: train, val or test."""
    epoch_size: float = 0.0
    """Part of the split, evenly spaced: 0 = all, below 1 a share, else a number of pictures."""
    weights: Weights = "best"
    """Of a run folder: best.pt, of its best validation score, or last.pt, of its last epoch. A file is taken as it
    is."""

    group("size and averaging")
    img_resize: tuple[int, int] | None = None
    """Size of the pictures, height and width; default the network's, with --window or --short_edges their own."""
    output_size: tuple[int, int] | None = None
    """Size of the labels, height and width; default their own."""
    scales: tuple[float, ...] = (1.0,)
    """Factors of the picture size; the predictions at all of them are averaged."""
    flip: bool = False
    """Average with the predictions of the mirrored pictures."""
    window: tuple[int, int] | None = None
    """Size of a window that slides over the pictures, height and width; overlapping predictions are averaged."""
    window_stride: tuple[int, int] | None = None
    """Pixels from one window to the next, down and to the right; default two thirds of the window."""
    short_edges: tuple[int, ...] = ()
    """The averaging of ADE20K: each picture once per short edge (published: 300 400 500 600)."""
    max_size: int = 1000
    """With --short_edges: the longer edge is at most this."""
    padding: int = 8
    """With --short_edges: heights and widths are rounded up to a multiple of this (32 for UPerNet and HRNet)."""

    group("what is measured")
    miou_absent: Literal["leave_out", "zero"] = "leave_out"
    """Classes that occur nowhere: left out of the mean, or counted as 0 as the published code does."""
    boundary: bool = False
    """Measure edges too: boundary IoU and boundary F score (slow)."""
    confusion: Path | None = None
    """Write the confusion matrix to this .csv (pixels) or .png (picture); one file per output with classes."""
    integer_exact: bool = False
    """For a quantized run: compute as the integer kernels do, bit for bit (slow), not with float fake-quantization."""
    arithmetic: str | None = None
    """Whose integer kernels those are (implies --integer_exact True): onnxruntime_x86, onnxruntime_sse2,
    onnxruntime_arm64, tflite_reference or xnnpack; default onnxruntime's on this machine."""

    group("machine")
    batch_size: int = 1
    """Most pictures per step; those of one step have labels of one size."""
    json: bool = False
    """Print one JSON object instead of a table."""

    first: ClassVar = ("model", "dataset_name", "data_path", "split", "img_resize", "integer_exact", "json")

    def __post_init__(self) -> None:
        check_machine(self.threads, workers=self.workers)
        check_engine(self)
        check_arithmetic(self.arithmetic)
        check(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        check(self.epoch_size >= 0, "epoch_size", self.epoch_size, "0 or more")
        check(self.max_size >= 32, "max_size", self.max_size, "at least 32")
        check(self.padding >= 1, "padding", self.padding, "at least 1")
        check(bool(self.scales) and min(self.scales) > 0, "scales", self.scales, "numbers above 0")
        check(all(edge >= 32 for edge in self.short_edges), "short_edges", self.short_edges, "at least 32 pixels each")
        check_size("img_resize", self.img_resize)
        check_size("output_size", self.output_size, least=1)
        check_size("window", self.window)
        check_size("window_stride", self.window_stride, least=1)
        self._check_together()

    def _check_together(self) -> None:
        """Check options that exclude or need one another."""
        if self.short_edges:
            check(self.scales == (1.0,), "scales", self.scales, "none beside short_edges, which give the sizes")
            check(self.img_resize is None, "img_resize", self.img_resize, "none beside short_edges")
        if self.window_stride is not None:
            check(self.window is not None, "window_stride", self.window_stride, "a window beside it")
            steps = zip(self.window_stride, self.window or self.window_stride, strict=True)
            check(all(step <= side for step, side in steps), "window_stride", self.window_stride, "at most the window")
        if self.confusion is not None:
            check(self.confusion.suffix in (".csv", ".png"), "confusion", self.confusion, "a file name *.csv or *.png")


@dataclass(frozen=True)
class CompareConfig(Machine):
    """Compare two models on the same pictures: differences with 95 % intervals, and the pictures they disagree on."""

    a: Path
    """Run folder, checkpoint, .onnx or .tflite file."""
    b: Path
    """The other one; differences are B minus A."""
    dataset_name: str | None = None
    """Data set; default the one that A was trained on."""
    data_path: Path | None = None
    """Folder of the data set; default as in training."""
    split: str = "val"
    """Split to compare on: train, val or test."""
    epoch_size: float = 0.0
    """Part of the split, evenly spaced: 0 = all, below 1 a share, else a number of pictures."""
    weights: Weights = "best"
    """Of run folders: best.pt, of the best validation score, or last.pt, of the last epoch. Files are taken as they
    are."""
    draws: int = 2000
    """Random draws of pictures (with replacement) from which the intervals are computed."""
    seed: int = 1
    """Fixes these draws."""
    sheet: Path | None = None
    """Write the pictures on which the two disagree most to this .png (several outputs: one file each)."""
    images: int = 8
    """Number of pictures on the sheet."""
    integer_exact: bool = False
    """For quantized runs: compute as the integer kernels do, bit for bit (slow), not with float fake-quantization."""
    arithmetic: str | None = None
    """Whose integer kernels those are (implies --integer_exact True): onnxruntime_x86, onnxruntime_sse2,
    onnxruntime_arm64, tflite_reference or xnnpack; default onnxruntime's on this machine."""
    json: bool = False
    """Print one JSON object instead of tables."""

    def __post_init__(self) -> None:
        check_machine(self.threads, workers=self.workers, seed=self.seed)
        check(self.epoch_size >= 0, "epoch_size", self.epoch_size, "0 or more")
        check_arithmetic(self.arithmetic)
        check(self.draws >= 100, "draws", self.draws, "at least 100")
        check(self.images >= 1, "images", self.images, "at least 1")
        if self.sheet is not None:
            check(self.sheet.suffix == ".png", "sheet", self.sheet, "a file name *.png")


@dataclass(frozen=True)
class ExportConfig:
    """Write model.onnx (float run) or model_int8.onnx (quantized run), or another target's files."""

    run: Path
    """Run folder or checkpoint."""
    output: Path | None = None
    """File to write; default model.onnx or model_int8.onnx in the run folder, for some targets model_<target>.onnx or
    model_int8.tflite."""
    target: Literal["onnxruntime", "openvino", "tensorrt", "tidl", "tflite", "ethos-u"] = "onnxruntime"
    """Runtime that the file is written for and checked against. openvino: the same file as onnxruntime; tensorrt: for a
    run of scheme s8s8; tidl: for a run of scheme tidl_pow2, one file with Clips, one with QDQ, and settings for the
    compiler; tflite: for a quantized run, an int8 file for LiteRT, microcontrollers and NPUs; ethos-u: the same, and
    compiled by Vela (pip install ethos-u-vela)."""
    accelerator: str | None = None
    """With --target ethos-u: NPU to compile for, ethos-u55-32 to ethos-u85-2048 (family and 8-bit MACs per cycle)."""
    weights: Weights = "best"
    """Of a run folder: best.pt, of its best validation score, or last.pt, of its last epoch. A file is taken as it
    is."""
    img_resize: tuple[int, int] | None = None
    """Input size of the network, height and width; default the run's."""
    dynamic: bool = False
    """Leave batch, height and width open."""
    argmax: Literal["none", "full", "before_upsampling"] = "none"
    """Let the file give class numbers: take the best class after the last up-sampling (full), or before it (faster;
    labels are then up-sampled to the nearest pixel, which moves edges)."""
    head: Literal["logits", "quantized", "codes"] = "logits"
    """What the outputs of a .tflite file hold: logits (float32), quantized (int8, which a scale turns into logits), or
    codes (the same at the decoder's size, without the last up-sampling)."""
    c_array: bool = False
    """With --target tflite: write the file as C source too, model_int8.h and model_int8.c, with golden cases by which a
    board can be checked."""
    bundle: Path | None = None
    """Folder to write as well, to copy to a device: the file, its contract if it is proven, classes and colours, a loop
    for cameras, requirements and a README."""
    opset: int | None = None
    """ONNX opset, at least 17; default 21, for tensorrt 17, for tidl 18."""
    simplify: bool = True
    """Run onnxsim on what torch's exporter wrote (networks with other operators than ours), and check that nothing
    changed."""
    kernels: Literal["plain", "onnxruntime"] = "plain"
    """onnxruntime: rewrite the int8 file for speed on x86 there; same results bit for bit, more MACs."""

    def __post_init__(self) -> None:
        check(self.opset is None or 17 <= self.opset <= 23, "opset", self.opset, "17 to 23")
        check_accelerator(self.accelerator)
        check_size("img_resize", self.img_resize)


@dataclass(frozen=True)
class VerifyConfig:
    """Prove that the exported file gives what torch gave; or re-check a file alone against its contract.json."""

    model: Path
    """Run folder, checkpoint, or an .onnx or .tflite file followed by its contract."""
    contract: Path | None = None
    """contract.json of the file (needs numpy and onnxruntime only; a .tflite file numpy and LiteRT). With --pictures:
    where to write it; default contract_int8.json beside the file."""
    data_path: Path | None = None
    """Folder of the data set; default as in training."""
    split: str = "val"
    """Split whose pictures are compared."""
    weights: Weights = "best"
    """Of a run folder: the weights that were exported, best.pt or last.pt."""
    images: int = 8
    """Number of pictures compared at the exported size (0 = the whole split)."""
    sizes: tuple[tuple[int, int], ...] = ((96, 160), (97, 161), (225, 401))
    """Further sizes at which one picture is compared: pairs of height and width."""
    skip_hash: bool = False
    """Compare numbers first, not file hashes, to find where a fault is. The file of a run must still be what export
    writes; of a file alone the result says that it is not the contract's."""
    export_again: bool = True
    """Write the run's file once more, in memory, and compare every node, weight and entry. False: only pictures are
    compared, and nothing is called proven (for files that other versions of torch or onnx wrote)."""
    min_fake_quant: float | None = None
    """Least agreement (0 to 1) of the fake-quantized network that was validated with the integer one: share of equal
    labels. Default 0.98, or less for a network that one grey level changes as much."""
    threads: int | None = None
    """CPU threads; default all."""
    json: bool = False
    """Print one JSON object instead of a table."""
    pictures: Path | None = None
    """Folder of pictures on which an int8 .onnx file of any tool (QDQ or QOperator) is proven by itself: what
    onnxruntime computes here against what the file's integers say. Writes its contract."""

    group("find the layer that differs")
    trace: tuple[str, str] | None = None
    """Compare two forms of the network layer by layer: float, fake_quant, integer_exact (as this machine computes) or
    integer_exact:ARITHMETIC (onnxruntime_x86, onnxruntime_sse2, onnxruntime_arm64, tflite_reference or xnnpack); the
    run's ONNX file as ort, ort:LEVEL (DISABLED, EXTENDED, ALL), openvino or openvino:f32, its .tflite file as tflite
    (LiteRT with XNNPACK) or tflite:reference; or FILE.onnx, FILE.onnx@LEVEL, FILE.onnx@openvino, FILE.tflite,
    FILE.tflite@reference."""
    trace_local: bool = False
    """Feed each layer of the second form (a torch form) the first form's values, so that differences do not add up."""
    trace_plot: Path | None = None
    """Draw how the difference grows to this .png."""
    trace_pictures: Path | None = None
    """Picture or folder of pictures to trace with; default the data set's."""
    img_resize: tuple[int, int] | None = None
    """With --trace or --pictures, for files without our metadata: input size, height and width (pixel values as in our
    networks)."""

    def __post_init__(self) -> None:
        check_machine(self.threads)
        check(self.images >= 0, "images", self.images, "0 or more")
        if self.min_fake_quant is not None:
            check(0 <= self.min_fake_quant <= 1, "min_fake_quant", self.min_fake_quant, "0 to 1")
        for size in self.sizes:
            check(min(size) >= 32, "sizes", size, "heights and widths of at least 32")
        self._check_trace()

    def _check_trace(self) -> None:
        """Check options that only --trace uses."""
        if self.trace_plot is not None:
            check(self.trace_plot.suffix == ".png", "trace_plot", self.trace_plot, "a file name *.png")
        check_size("img_resize", self.img_resize, least=1)
        if self.pictures is not None:
            check(self.trace is None, "pictures", self.pictures, f"none beside {option('trace')}")
            check(
                self.model.suffix == ".onnx", "pictures", self.pictures, "none for a run, which has pictures of its own"
            )
        if self.trace is None:
            for name in ("trace_plot", "trace_pictures"):
                check(getattr(self, name) is None, name, getattr(self, name), f"none without {option('trace')}")
            alone = self.img_resize is None or self.pictures is not None
            check(alone, "img_resize", self.img_resize, f"none without {option('trace')} or {option('pictures')}")
            check(not self.trace_local, "trace_local", self.trace_local, f"False without {option('trace')}")


@dataclass(frozen=True)
class ReportConfig(Computing):
    """Write an HTML page about a run, at most 5 MB: data, curves, accuracy, pictures, quantization, cost, proof."""

    model: Path
    """Run folder, checkpoint, .onnx or .tflite file."""
    output: Path | None = None
    """File to write; default report.html in the run folder."""
    data_path: Path | None = None
    """Folder of the data set; default as in training."""
    split: str = "val"
    """Split that is measured, and whose worst pictures are shown."""
    weights: Weights = "best"
    """Of a run folder: best.pt, of its best validation score, or last.pt, of its last epoch. A file is taken as it
    is."""
    images: int = 6
    """Number of worst pictures shown of each output."""
    forms: Literal["none", "quick", "all"] = "quick"
    """Other forms of the network to measure. quick: the float run and the exported file; all: the integer-exact
    network as well (slow); none."""
    devices: tuple[str, ...] = ()
    """Devices whose time is estimated: names of `edgeailite devices list` (Ethos-U: of runs and .tflite files), or YAML
    files."""

    renamed: ClassVar = {"run": "model"}

    def __post_init__(self) -> None:
        check_machine(self.threads)
        check(self.images >= 0, "images", self.images, "0 or more")
