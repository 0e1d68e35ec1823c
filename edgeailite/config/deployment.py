"""Options of the verbs that use a run folder: validate, export, verify."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeailite.config.checks import Device, check, check_machine


@dataclass(frozen=True)
class ValidateConfig:
    """Measure accuracy of a run folder, a checkpoint or an ONNX file."""

    model: Path
    """Run folder, .pt checkpoint or .onnx file."""
    dataset_name: str | None = None
    """Default: the data set the model was trained on."""
    data_path: Path | None = None
    """Folder of the data set; default as in training (ONNX files do not hold it)."""
    split: str = "val"
    """train, val or test."""
    epoch_size: float = 0.0
    """Part of the split, evenly spaced: 0 = all, below 1 a share, else a number of pictures."""
    img_resize: tuple[int, int] | None = None
    """Size H W of the pictures; default the network's, but their own with --window or --short_edges."""
    output_size: tuple[int, int] | None = None
    """Size H W of the labels; default their own."""
    scales: tuple[float, ...] = (1.0,)
    """Factors of the picture size; the predictions at all of them are averaged."""
    flip: bool = False
    """Average with the predictions of the mirrored pictures."""
    window: tuple[int, int] | None = None
    """Size H W of a window that slides over the pictures; overlapping predictions are averaged."""
    window_stride: tuple[int, int] | None = None
    """Pixels H W from one window to the next; default two thirds of the window."""
    short_edges: tuple[int, ...] = ()
    """ADE20K's averaging: each picture once per short edge (published: 300 400 500 600)."""
    max_size: int = 1000
    """With --short_edges: the longer edge is at most this."""
    padding: int = 8
    """With --short_edges: heights and widths are rounded up to a multiple of it (32 for UPerNet and HRNet)."""
    miou_absent: Literal["leave_out", "zero"] = "leave_out"
    """Classes that occur nowhere: out of the mean, or counted as 0 as in the published edgeailite and ADE20K code."""
    boundary: bool = False
    """Measure edges too: boundary IoU and boundary F score (slow)."""
    confusion: Path | None = None
    """Write the confusion matrix to this .csv (pixels) or .png (picture); one file per output with classes."""
    integer_exact: bool = False
    """For a quantized run: compute as the integer kernels do, bit for bit (slow), not with float fake-quantization."""
    batch_size: int = 1
    """Pictures per step, at most: those of one step have labels of one size."""
    workers: int | Literal["auto"] = "auto"
    """Loader processes; auto = one per core, up to 8."""
    device: Device = "auto"
    """Where to run torch models."""
    threads: int | None = None
    """CPU threads; default all."""
    json: bool = False
    """Print one JSON object instead of a table."""

    def __post_init__(self) -> None:
        check_machine(self.threads, workers=self.workers)
        check(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        check(self.epoch_size >= 0, "epoch_size", self.epoch_size, "0 or more")
        check(self.max_size >= 32, "max_size", self.max_size, "at least 32")
        check(self.padding >= 1, "padding", self.padding, "at least 1")
        check(bool(self.scales) and min(self.scales) > 0, "scales", self.scales, "numbers above 0")
        check(all(edge >= 32 for edge in self.short_edges), "short_edges", self.short_edges, "at least 32 pixels each")
        for name, least in (("img_resize", 32), ("output_size", 1), ("window", 32), ("window_stride", 1)):
            size = getattr(self, name)
            check(size is None or min(size) >= least, name, size, f"height and width of at least {least}")
        self._check_together()

    def _check_together(self) -> None:
        """Options that exclude or need one another."""
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
class ExportConfig:
    """Write model.onnx (float run) or model_int8.onnx (quantized run)."""

    run: Path
    """Run folder or checkpoint."""
    output: Path | None = None
    """File to write; default model.onnx or model_int8.onnx in the run folder, for some targets model_<target>.onnx."""
    target: Literal["onnxruntime", "openvino", "tensorrt", "tidl"] = "onnxruntime"
    """Device family that the file is written for and checked against. openvino: the same file; tensorrt: a run of
    scheme s8s8; tidl: one of tidl_pow2, as Clips, as QDQ, and settings for the compiler."""
    img_resize: tuple[int, int] | None = None
    """Input size H W; default the run's."""
    dynamic: bool = False
    """Leave batch, height and width open."""
    argmax: Literal["none", "full", "before_upsampling"] = "none"
    """Append ArgMax: after the last up-sampling, or before it (nearest up-sampling of labels; faster, other edges)."""
    opset: int | None = None
    """ONNX opset, at least 17; default 21, for tensorrt 17, for tidl 18."""
    simplify: bool = True
    """Run onnxsim and check that nothing changed."""
    kernels: Literal["plain", "onnxruntime"] = "plain"
    """onnxruntime: rewrite the int8 file for speed on x86 there; same results bit for bit, more MACs (zeros)."""

    def __post_init__(self) -> None:
        check(self.opset is None or 17 <= self.opset <= 23, "opset", self.opset, "17 to 23")
        if self.img_resize is not None:
            check(min(self.img_resize) >= 32, "img_resize", self.img_resize, "height and width of at least 32")


@dataclass(frozen=True)
class VerifyConfig:
    """Prove that the exported file gives what torch gave; or re-check a file alone against its contract.json."""

    model: Path
    """Run folder, checkpoint, or an .onnx file followed by its contract.json."""
    contract: Path | None = None
    """contract.json of the .onnx file (needs numpy and onnxruntime only)."""
    data_path: Path | None = None
    """Folder of the data set; default as in training."""
    split: str = "val"
    """Split whose pictures are compared."""
    images: int = 8
    """Pictures compared at the exported size (0 = the whole split)."""
    sizes: tuple[tuple[int, int], ...] = ((96, 160), (97, 161), (225, 401))
    """Further sizes H W at which one picture is compared."""
    skip_hash: bool = False
    """Look at the numbers first, not at file hashes: find where a fault is. A run's file must be what export writes
    all the same; of a file alone it is said that it is another one than the contract's."""
    export_again: bool = True
    """Write the run's file once more, in memory, and compare every node, weight and entry. False: pictures alone are
    compared, and nothing is called proven (for files that other versions of torch or onnx wrote)."""
    min_fake_quant: float | None = None
    """Least agreement (0 to 1) of the fake-quantized network that was validated with the integer one: share of equal
    labels. Default 0.98, or less for a network that one grey level changes as much."""
    trace: tuple[str, str] | None = None
    """Compare two forms of the network layer by layer: float, fake_quant, integer_exact, the run's file as ort,
    ort:LEVEL (DISABLED, EXTENDED, ALL), openvino or openvino:f32, or FILE.onnx, FILE.onnx@LEVEL, FILE.onnx@openvino."""
    trace_local: bool = False
    """Hand the first form's values to every layer of the second (a torch form): each layer's own difference."""
    trace_plot: Path | None = None
    """Draw how the difference grows to this .png."""
    trace_pictures: Path | None = None
    """Picture or folder of pictures to trace with; default the data set's."""
    img_resize: tuple[int, int] | None = None
    """With --trace of files without our metadata: size H W of the pictures (value range as in our networks)."""
    threads: int | None = None
    """CPU threads; default all."""
    json: bool = False
    """Print one JSON object instead of a table."""

    def __post_init__(self) -> None:
        check_machine(self.threads)
        check(self.images >= 0, "images", self.images, "0 or more")
        if self.min_fake_quant is not None:
            check(0 <= self.min_fake_quant <= 1, "min_fake_quant", self.min_fake_quant, "0 to 1")
        for size in self.sizes:
            check(min(size) >= 32, "sizes", size, "heights and widths of at least 32")
        self._check_trace()

    def _check_trace(self) -> None:
        """What goes with --trace alone."""
        if self.trace_plot is not None:
            check(self.trace_plot.suffix == ".png", "trace_plot", self.trace_plot, "a file name *.png")
        if self.img_resize is not None:
            check(min(self.img_resize) >= 1, "img_resize", self.img_resize, "height and width of at least 1")
        if self.trace is None:
            for name in ("trace_plot", "trace_pictures", "img_resize"):
                check(getattr(self, name) is None, name, getattr(self, name), "none without --trace")
            check(not self.trace_local, "trace_local", self.trace_local, "False without --trace")
