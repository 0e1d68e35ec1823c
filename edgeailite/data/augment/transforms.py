"""Pictures and labels to samples. Every augmentation is a pure function of (seed, epoch, index).

Validation: resize as `preprocessing` does; labels keep their own size. Training: resize to `size`, then rotation,
scale, crop and flip as *one* affine warp (pictures bilinear, border = mean; labels nearest, border = ignore; depth
nearest, border = not known), then the extras of `augment`. `augment_published` and `augment_ade20k` hold the published
pipelines. Pictures stay uint8: the engine normalises on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeailite.data.augment.extras import BORDER, NO_EXTRAS, Extras, balanced, ignored

Image = NDArray[np.uint8]
Images = tuple[Image, ...]  # (H,W,3) uint8 RGB, one per input stream
Targets = Mapping[str, NDArray[Any]]  # (H,W): uint8 classes, 255 = ignore; float32 depth, 0 = not known
Transform = Callable[[Images, Targets, np.random.Generator], tuple[Images, Targets]]
ASPECT_JITTER = 0.1
INTERPOLATIONS = ("linear_exact", "area")


def resize_image(image: Image, size: tuple[int, int], interpolation: str = "linear_exact") -> Image:
    """Resize (H,W,3) -> (size[0],size[1],3) by the rule of this name, which `preprocessing` describes and
    reproduces.
    """
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"interpolation {interpolation!r}: expected one of {', '.join(INTERPOLATIONS)}")
    if image.shape[:2] == size:
        return image
    shrinks = size[0] < image.shape[0] or size[1] < image.shape[1]
    rule = cv2.INTER_AREA if interpolation == "area" and shrinks else cv2.INTER_LINEAR_EXACT
    resized: NDArray[Any] = cv2.resize(image, size[::-1], interpolation=rule)
    return resized


def resize_label(label: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Resize (H,W) -> `size` by nearest neighbour, which adds no new values."""
    if label.shape == size:
        return label
    resized: NDArray[Any] = cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return resized


def warp_image(image: Image, matrix: NDArray[np.float64], size: tuple[int, int]) -> Image:
    """Move a picture by a 2x3 matrix, bilinearly, with the mean as border; returns (size[0],size[1],3).

    With a fourth channel, because OpenCV moves four channels in a third of the time of three, to the same values.
    """
    four = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
    warped = cv2.warpAffine(four, matrix, size[::-1], flags=cv2.INTER_LINEAR, borderValue=(*BORDER, 0))
    view: NDArray[Any] = cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB)
    return view


def warp_target(values: NDArray[Any], matrix: NDArray[np.float64], size: tuple[int, int]) -> NDArray[Any]:
    """Move a target by a 2x3 matrix, by nearest neighbour; the border is ignored or unknown."""
    mask: NDArray[Any] = cv2.warpAffine(
        values, matrix, size[::-1], flags=cv2.INTER_NEAREST, borderValue=ignored(values)
    )
    return mask


def classes_of(targets: Targets) -> NDArray[Any] | None:
    """Return the first target with classes, by whose balance a crop is chosen; None if there is none."""
    return next((values for values in targets.values() if values.dtype == np.uint8), None)


@dataclass(frozen=True)
class TrainTransform:
    """Random view of a sample. `size` and `crop` are (height, width); see the module for the rules.

    `flip` mirrors half of the pictures. `balanced_crops` above 1 draws up to so many views and takes the first without
    a class of more than 75 %.
    """

    size: tuple[int, int]
    crop: tuple[int, int]
    scale: tuple[float, float] = (1.0, 2.0)
    rotation: float = 5.0
    extras: Extras = NO_EXTRAS
    balanced_crops: int = 1
    interpolation: str = "linear_exact"
    flip: bool = True

    @property
    def stored(self) -> tuple[int, int] | None:
        """Return the fixed size of pictures before anything random, which a cache may hold; else None."""
        return self.size

    def __call__(self, images: Images, targets: Targets, rng: np.random.Generator) -> tuple[Images, Targets]:
        masks = {name: resize_label(values, self.size) for name, values in targets.items()}
        classes = classes_of(masks)
        matrix, _ = balanced(
            lambda: self._matrix(rng),
            lambda drawn: None if classes is None else warp_target(classes, drawn, self.crop),
            self.balanced_crops,
        )
        views = tuple(
            warp_image(resize_image(image, self.size, self.interpolation), matrix, self.crop) for image in images
        )
        return self.extras(views, {name: warp_target(values, matrix, self.crop) for name, values in masks.items()}, rng)

    def _matrix(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """2x3 matrix source -> crop: flip, scale, rotate about the centre, then shift to a random crop.

        Extents count whole pixels, OpenCV's coordinates name pixel centres: half a pixel less on both sides.
        """
        scale = rng.uniform(*self.scale)
        aspect = rng.uniform(1 - ASPECT_JITTER, 1 + ASPECT_JITTER) if self.scale[0] != self.scale[1] else 1.0
        angle = np.deg2rad(rng.uniform(-self.rotation, self.rotation)) if rng.random() < 0.5 else 0.0
        flip = -1.0 if rng.random() < 0.5 and self.flip else 1.0
        zoom = np.diag([flip * scale * aspect, scale / aspect])
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        linear = turn @ zoom
        extent = np.array([self.size[1] * scale * aspect, self.size[0] * scale / aspect])
        slack = np.abs(extent - np.array(self.crop[::-1])) / 2
        centre = np.array(self.crop[::-1]) / 2 + rng.uniform(-1, 1, 2) * slack
        shift = (centre - 0.5) - linear @ (np.array(self.size[::-1]) / 2 - 0.5)
        return np.hstack([linear, shift[:, None]])


@dataclass(frozen=True)
class EvalTransform:
    """Pictures at `size` by the named rule, or their own; labels at `output_size` or their own; nothing random."""

    size: tuple[int, int] | None
    interpolation: str = "linear_exact"
    output_size: tuple[int, int] | None = None

    def __call__(self, images: Images, targets: Targets, rng: np.random.Generator) -> tuple[Images, Targets]:
        if self.output_size is not None:
            targets = {name: resize_label(values, self.output_size) for name, values in targets.items()}
        if self.size is None:
            return images, targets
        return tuple(resize_image(image, self.size, self.interpolation) for image in images), targets
