"""Augmentation of a view after its geometry is settled (colours, blur, cut-out), and the choice among several views.

Colours, blur and cut-out are off by default; each draws from the generator only when it is on, so that turning one on
does not change the others' geometry. Colours and blur change the first picture only: further inputs (optical flow)
hold values, not colours. Where a picture is cut out, it is grey, and the label is ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeailite.data.source import IGNORE

Image = NDArray[np.uint8]
View = TypeVar("View")
BORDER = (128, 128, 128)  # the mean of the published recipes: zero after normalisation
GREY_OF_RGB = np.array([0.299, 0.587, 0.114])
LARGEST_SHARE = 0.75  # of one class in a balanced crop


@dataclass(frozen=True)
class Extras:
    """Amounts of the extras; 0 = off.

    `color_jitter`: contrast, brightness and saturation, each up to this share. `blur`: Gaussian, standard deviation up
    to so many pixels, in half of the pictures. `cutout`: a rectangle of up to this share of height and of width, in
    half of the pictures.
    """

    color_jitter: float = 0.0
    blur: float = 0.0
    cutout: float = 0.0

    def __call__(
        self, images: tuple[Image, ...], targets: Mapping[str, NDArray[Any]], rng: np.random.Generator
    ) -> tuple[tuple[Image, ...], Mapping[str, NDArray[Any]]]:
        """The view with extras; what they leave alone is given back as it is."""
        first = blurred(jitter_colors(images[0], self.color_jitter, rng), self.blur, rng)
        images = (first, *images[1:])
        if self.cutout == 0 or rng.random() >= 0.5:
            return images, targets
        hole = _hole(first.shape[0], first.shape[1], self.cutout, rng)
        return tuple(_filled(image, hole, BORDER) for image in images), {
            name: _filled(values, hole, ignored(values)) for name, values in targets.items()
        }


NO_EXTRAS = Extras()


def ignored(values: NDArray[Any]) -> int:
    """Return the value of a target where nothing is known: 255 for classes, 0 for depth."""
    return IGNORE if values.dtype == np.uint8 else 0


def mirrored(values: NDArray[Any]) -> NDArray[Any]:
    """Exchange left and right."""
    flipped: NDArray[Any] = cv2.flip(values, 1)
    return flipped


def jitter_colors(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Change contrast, brightness and saturation at random, each up to `amount`, by one matrix; (H,W,3) uint8 RGB."""
    if amount == 0:
        return image
    contrast, saturation = rng.uniform(1 - amount, 1 + amount, 2)
    brightness = rng.uniform(-amount, amount) * 128
    mix = contrast * (saturation * np.eye(3) + (1 - saturation) * GREY_OF_RGB)
    offset = np.full((3, 1), 128 - 128 * contrast + brightness)
    jittered: NDArray[Any] = cv2.transform(image, np.hstack([mix, offset]))
    return jittered


def blurred(image: Image, largest: float, rng: np.random.Generator) -> Image:
    """Blur half of the pictures with a Gaussian whose standard deviation is at most `largest` pixels."""
    if largest == 0 or rng.random() >= 0.5:
        return image
    sigma = max(rng.uniform(0.1 * largest, largest), 0.01)  # OpenCV refuses 0; a hundredth changes nothing
    blurry: NDArray[Any] = cv2.GaussianBlur(image, (0, 0), sigma)
    return blurry


def _hole(height: int, width: int, share: float, rng: np.random.Generator) -> tuple[slice, slice]:
    """A rectangle inside height x width, each side up to `share` of it."""
    sides = np.ceil(rng.uniform(0, share, 2) * (height, width)).astype(np.int64)
    corner = rng.integers(0, np.array((height, width), np.int64) - sides, endpoint=True)
    (top, left), (bottom, right) = corner.tolist(), (corner + sides).tolist()
    return slice(top, bottom), slice(left, right)


def _filled(values: NDArray[Any], hole: tuple[slice, slice], filling: object) -> NDArray[Any]:
    values = values.copy()  # a view may be the stored picture itself
    values[hole] = filling
    return values


def balanced(
    draw: Callable[[], View], label_of: Callable[[View], NDArray[Any] | None], candidates: int
) -> tuple[View, NDArray[Any] | None]:
    """Return the first of up to `candidates` views in which no class has more than 75 % of the labelled pixels.

    Without one: the view whose largest share is smallest. `label_of` returns a view's classes, which are returned
    with it, or None if there are none to balance: then the first view is taken.
    """
    best, best_label, best_share = draw(), None, np.inf
    if candidates == 1:
        return best, None
    view = best
    for attempt in range(candidates):
        view = view if attempt == 0 else draw()
        label = label_of(view)
        if label is None:
            return best, None
        share = largest_share(label)
        if share < best_share:
            best, best_label, best_share = view, label, share
        if share <= LARGEST_SHARE:
            break
    return best, best_label


def largest_share(label: NDArray[np.uint8]) -> float:
    """Return the share of the most frequent class among the labelled pixels; 1 if nothing is labelled."""
    counts = np.bincount(label.ravel(), minlength=256)
    counts[IGNORE] = 0
    return float(counts.max() / counts.sum()) if counts.any() else 1.0
