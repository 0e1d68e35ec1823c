"""Pictures and labels to samples. Every augmentation is a pure function of (seed, epoch, index).

Validation: resize as `preprocessing` does (INTER_LINEAR_EXACT); labels keep their own size. Training: resize to
`size`, then rotation, scale, crop and flip as *one* affine warp (pictures bilinear, border = mean; labels nearest,
border = ignore; depth nearest, border = not known), then colour jitter of the first picture. The published pipeline
fills borders of labels with class 0; this one ignores them. Pictures stay uint8: the engine normalises on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeailite.data.source import IGNORE

Image = NDArray[np.uint8]
Images = tuple[Image, ...]  # (H,W,3) uint8 RGB, one per input stream
Targets = Mapping[str, NDArray[Any]]  # (H,W): uint8 classes, 255 = ignore; float32 depth, 0 = not known
Transform = Callable[[Images, Targets, np.random.Generator], tuple[Images, Targets]]
BORDER = (128, 128, 128)
ASPECT_JITTER = 0.1


def resize_image(image: Image, size: tuple[int, int]) -> Image:
    """(H,W,3) -> (size[0],size[1],3) with INTER_LINEAR_EXACT, which `preprocessing` reproduces bit for bit."""
    if image.shape[:2] == size:
        return image
    resized: NDArray[Any] = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR_EXACT)
    return resized


def resize_label(label: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """(H,W) -> size by nearest neighbour: no new values."""
    if label.shape == size:
        return label
    resized: NDArray[Any] = cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return resized


@dataclass(frozen=True)
class TrainTransform:
    """Random view of a sample. `size` and `crop` are (height, width); see the module for the rules."""

    size: tuple[int, int]
    crop: tuple[int, int]
    scale: tuple[float, float] = (1.0, 2.0)
    rotation: float = 5.0
    color_jitter: float = 0.3

    def __call__(self, images: Images, targets: Targets, rng: np.random.Generator) -> tuple[Images, Targets]:
        matrix = self._matrix(rng)
        views = tuple(self._view(resize_image(image, self.size), matrix) for image in images)
        masks = {name: self._mask(resize_label(values, self.size), matrix) for name, values in targets.items()}
        # further inputs (optical flow) hold values, not colours
        return (jitter_colors(views[0], self.color_jitter, rng), *views[1:]), masks

    def _view(self, image: Image, matrix: NDArray[np.float64]) -> Image:
        view: NDArray[Any] = cv2.warpAffine(image, matrix, self.crop[::-1], flags=cv2.INTER_LINEAR, borderValue=BORDER)
        return view

    def _mask(self, values: NDArray[Any], matrix: NDArray[np.float64]) -> NDArray[Any]:
        border = IGNORE if values.dtype == np.uint8 else 0
        mask: NDArray[Any] = cv2.warpAffine(
            values, matrix, self.crop[::-1], flags=cv2.INTER_NEAREST, borderValue=border
        )
        return mask

    def _matrix(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """2x3 matrix source -> crop: flip, scale, rotate about the centre, then shift to a random crop.

        Extents count whole pixels, OpenCV's coordinates name pixel centres: half a pixel less on both sides.
        """
        scale = rng.uniform(*self.scale)
        aspect = rng.uniform(1 - ASPECT_JITTER, 1 + ASPECT_JITTER) if self.scale[0] != self.scale[1] else 1.0
        angle = np.deg2rad(rng.uniform(-self.rotation, self.rotation)) if rng.random() < 0.5 else 0.0
        flip = -1.0 if rng.random() < 0.5 else 1.0
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
    """The picture at network size, the label at its own size, nothing random."""

    size: tuple[int, int]

    def __call__(self, images: Images, targets: Targets, rng: np.random.Generator) -> tuple[Images, Targets]:
        return tuple(resize_image(image, self.size) for image in images), targets


def jitter_colors(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Random contrast and brightness (by table) and saturation, each up to `amount`; (H,W,3) uint8 RGB."""
    if amount == 0:
        return image
    contrast, saturation = rng.uniform(1 - amount, 1 + amount, 2)
    brightness = rng.uniform(-amount, amount) * 128
    table = np.clip((np.arange(256) - 128.0) * contrast + 128.0 + brightness, 0, 255).astype(np.uint8)
    toned = cv2.LUT(image, table)
    grey = cv2.cvtColor(cv2.cvtColor(toned, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    jittered: NDArray[Any] = cv2.addWeighted(toned, saturation, grey, 1 - saturation, 0)
    return jittered
