"""Options of the verbs that take networks from elsewhere: card and import."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from edgeailite.config.checks import check, check_size, group


@dataclass(frozen=True, kw_only=True)
class Described:
    """Facts about a network that its file does not hold."""

    group("classes")
    classes: tuple[str, ...] = ()
    """Names of the classes, one per channel of the output; or one text file with a name per line."""
    palette: tuple[int, ...] = ()
    """Red, green and blue (0 to 255) of each class, one after the other; default colours easy to tell apart."""
    like: Path | None = None
    """A run or an exported file to take classes, colours and preprocessing from."""

    group("preprocessing")
    mean: tuple[float, float, float] | None = None
    """Subtracted from each channel of a picture of 0 to 255; of ImageNet: 123.675 116.28 103.53."""
    scale: tuple[float, float, float] | None = None
    """Then multiplied with each channel; of ImageNet: 0.017125 0.017507 0.017429 (1 / 58.395, ...)."""
    img_resize: tuple[int, int] | None = None
    """Size of the pictures, height and width; needed where the file leaves it open."""
    channel_order: Literal["RGB", "BGR"] | None = None
    """Order of the channels; default RGB."""
    interpolation: Literal["linear_exact", "area"] | None = None
    """How pictures are resized; default linear_exact."""

    def check_described(self, *, least: int) -> None:
        """Raise UsageError for a value out of range, or a side of the picture below `least`."""
        check_size("img_resize", self.img_resize, least=least)
        check(self.scale is None or min(self.scale) > 0, "scale", self.scale, "three numbers above 0")
        check(len(self.palette) % 3 == 0, "palette", self.palette, "three numbers per class")
        check(all(0 <= part <= 255 for part in self.palette), "palette", self.palette, "numbers from 0 to 255")


@dataclass(frozen=True)
class CardConfig(Described):
    """Write into a copy of an ONNX file from elsewhere what the other verbs need to know: classes, preprocessing."""

    group("file")
    file: Path
    """ONNX file of any tool, float or int8, whose inputs are normalised pictures (N,3,H,W) or (N,H,W,3)."""
    save_path: Path | None = None
    """File to write; default <file>_card.onnx beside it."""

    group("classes")
    outputs: tuple[str, ...] = ()
    """Outputs of the file to keep, the one with the classes first; default all of them."""

    group("data")
    dataset_name: str | None = None
    """Data set whose classes these are, for validate and quantize; default none."""

    first: ClassVar = ("file", "save_path", "like", "classes", "mean", "scale", "img_resize")

    def __post_init__(self) -> None:
        self.check_described(least=1)


@dataclass(frozen=True, kw_only=True)
class ImportConfig(Described):
    """Turn weights from elsewhere into a run folder that every verb opens: those of TI's edgeailite, of CSAIL's ADE20K
    toolkit, DDRNet's, and of backbones of torchvision, pycls and timm, under whatever key and prefix they lie.

    What the file holds is recognised by its keys, and all of it has to fit the network."""

    group("weights")
    checkpoint: tuple[str, ...]
    """A file or an address of weights; of the ADE20K toolkit two: ENCODER DECODER."""
    model_name: str = ""
    """Network that the weights are of; default the one that they fit, if there is only one."""
    save_path: Path | None = None
    """Run folder to write; default runs/<name of the file>."""
    upsampling: Literal["bilinear", "deconvolution", "subpixel"] = "bilinear"
    """Up-sampling inside an edgeailite decoder."""
    align_corners: bool = False
    """Resize as PyTorch did in 2017, which the published weights of `v1_*` networks expect."""
    untrained_decoder: bool = False
    """Accept a backbone alone: the decoder has random values, and the run only serves to measure cost and to train."""

    group("classes")
    outputs: tuple[str, ...] = ()
    """Names of the outputs in the order of the file, if it has several; default segmentation."""

    group("preprocessing")
    mean: tuple[float, float, float] | None = None
    """Subtracted from each channel of a picture of 0 to 255; default what is usual for such files (TI: 128)."""
    scale: tuple[float, float, float] | None = None
    """Then multiplied with each channel; default what is usual for such files (TI: 1/64 = 0.015625)."""
    img_resize: tuple[int, int] | None = None
    """Size of the pictures, height and width; default 384 768, of the ADE20K toolkit 512 512, of DDRNet 1024 2048."""
    channel_order: Literal["RGB", "BGR"] | None = None
    """Order of the channels; default RGB, for ADE20K weights of 2018 (files baseline-*) BGR."""

    group("data")
    dataset_name: str = ""
    """Data set that the network was trained on, which names classes and outputs; default what data_path holds, or none:
    classes are then named by `classes` or by numbers."""
    data_path: Path | None = None
    """Folder of the data set."""

    first: ClassVar = ("checkpoint", "model_name", "save_path", "dataset_name", "data_path", "classes", "img_resize")

    def __post_init__(self) -> None:
        self.check_described(least=32)
        check(1 <= len(self.checkpoint) <= 2, "checkpoint", " ".join(self.checkpoint), "one file, or ENCODER DECODER")
