"""Options of the verb that describes networks from elsewhere: card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from edgeailite.config.checks import check, check_size, group


@dataclass(frozen=True)
class CardConfig:
    """Write into a copy of an ONNX file from elsewhere what the other verbs need to know: classes, preprocessing."""

    group("file")
    file: Path
    """ONNX file of any tool, float or int8, whose inputs are normalised pictures (N,3,H,W)."""
    save_path: Path | None = None
    """File to write; default <file>_card.onnx beside it."""
    like: Path | None = None
    """A run or an exported file to take classes, colours and preprocessing from."""

    group("classes")
    classes: tuple[str, ...] = ()
    """Names of the classes, one per channel of the output; or one text file with a name per line."""
    palette: tuple[int, ...] = ()
    """Red, green and blue (0 to 255) of each class, one after the other; default colours easy to tell apart."""
    outputs: tuple[str, ...] = ()
    """Outputs of the file to keep, the one with the classes first; default all of them."""

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

    group("data")
    dataset_name: str | None = None
    """Data set whose classes these are, for validate and quantize; default none."""

    first: ClassVar = ("file", "save_path", "like", "classes", "mean", "scale", "img_resize")

    def __post_init__(self) -> None:
        check_size("img_resize", self.img_resize, least=1)
        check(self.scale is None or min(self.scale) > 0, "scale", self.scale, "three numbers above 0")
        check(len(self.palette) % 3 == 0, "palette", self.palette, "three numbers per class")
        check(all(0 <= part <= 255 for part in self.palette), "palette", self.palette, "numbers from 0 to 255")
