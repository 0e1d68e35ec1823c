"""Options of how training pictures are resized and varied: a part of `TrainConfig`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgeailite.config.checks import check


@dataclass(frozen=True)
class Augmentation:
    """What happens to a picture between file and network, in training."""

    img_resize: tuple[int, int] = (384, 768)
    """Input size H W of validation and of the exported network."""
    image_mean: tuple[float, float, float] = (128.0, 128.0, 128.0)
    """Subtracted from pixels 0..255, per channel in the network's order."""
    image_scale: tuple[float, float, float] = (1 / 64, 1 / 64, 1 / 64)
    """Multiplied with pixels after the mean."""
    input_channel_reverse: bool = False
    """Give the network BGR. ADE20K weights of 2018 want it, with mean 102.9801 115.9465 122.7717, scale 1 1 1."""
    rand_scale: tuple[float, float] = (1.0, 2.0)
    """Random scale of training pictures, relative to img_resize; height and width are drawn alike but for 10 %."""
    rand_crop: tuple[int, int] | None = None
    """Size H W of training crops; default img_resize."""
    interpolation: Literal["linear_exact", "area"] = "linear_exact"
    """How pictures are resized, in training and on the device: linear_exact, which any code can reproduce in every bit,
    or area, which averages where pictures shrink, as the published recipes do (reproduced within 1 of 255)."""
    pipeline: Literal["affine", "published", "ade20k"] = "affine"
    """Augmentation: one affine warp; the steps of the published edgeailite recipes; or those of the ADE20K recipes,
    where pictures keep their shape and each batch has a short edge of its own."""
    short_edges: tuple[int, ...] = (300, 375, 450, 525, 600)
    """Pipeline ade20k: short edges to draw from, one per batch."""
    max_size: int = 1000
    """Pipeline ade20k: largest long edge."""
    padding: int = 8
    """Pipeline ade20k: height and width of a batch are padded to a multiple of this; padding is ignored."""
    rotation: float = 5.0
    """Random rotation up to this many degrees, in half of the pictures."""
    flip: bool = True
    """Mirror half of the pictures left to right."""
    color_jitter: float | None = None
    """Random brightness, contrast and saturation, up to this share; default 0.3, with the published pipelines 0."""
    blur: float = 0.0
    """Random Gaussian blur, standard deviation up to so many pixels, in half of the pictures."""
    cutout: float = 0.0
    """A grey and ignored rectangle of up to this share of height and width, in half of the pictures."""
    balanced_crops: int = 1
    """Draw up to so many crops and take the first in which no class has more than 75 % of the labelled pixels."""

    def check_augmentation(self) -> None:
        """Raise UsageError for a value out of range, or two that exclude each other."""
        check(min(self.img_resize) >= 32, "img_resize", self.img_resize, "height and width of at least 32")
        check(all(s != 0 for s in self.image_scale), "image_scale", self.image_scale, "other than 0")
        check(0 < self.rand_scale[0] <= self.rand_scale[1], "rand_scale", self.rand_scale, "0 < low <= high")
        jitter = self.color_jitter
        check(jitter is None or 0 <= jitter < 1, "color_jitter", jitter, "a share from 0 to below 1")
        check(self.blur >= 0, "blur", self.blur, "0 or more")
        check(0 <= self.cutout <= 1, "cutout", self.cutout, "a share from 0 to 1")
        check(self.balanced_crops >= 1, "balanced_crops", self.balanced_crops, "at least 1")
        check(min(self.short_edges, default=0) >= 32, "short_edges", self.short_edges, "one or more, of at least 32")
        check(self.max_size >= 32, "max_size", self.max_size, "at least 32")
        check(self.padding >= 1, "padding", self.padding, "at least 1")
        if self.rand_crop is not None:
            check(min(self.rand_crop) >= 32, "rand_crop", self.rand_crop, "height and width of at least 32")
        if self.pipeline == "ade20k":
            check(self.balanced_crops == 1, "balanced_crops", self.balanced_crops, "1: pipeline ade20k does not crop")
            check(self.rand_crop is None, "rand_crop", self.rand_crop, "None: pipeline ade20k does not crop")
        if self.pipeline == "published" and self.rand_crop is not None:
            inside = self.rand_crop[0] <= self.img_resize[0] and self.rand_crop[1] <= self.img_resize[1]
            check(inside, "rand_crop", self.rand_crop, f"within img_resize {self.img_resize} in pipeline published")
