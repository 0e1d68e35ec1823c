"""The augmentation of the published edgeailite recipes, in its order and with its probabilities.

(1) with p = 0.5 rotate by U(-5, 5) degrees, at the picture's own size; (2) with p = 0.5 resize height and width to
`size` times two independent U(1, 2) and take a random crop of `size`, else resize to `size`; (3) with p = 0.5 flip;
(4) take a random crop of `crop`. Unlike in the affine pipeline a picture is resized once, from its own size to the
size that is needed, so that enlarged pictures keep what the camera saw.

Changed against the published code: it fills what a rotation uncovers in the label with class 0, this ignores it; it
rotates before it shrinks, this shrinks by the same rule as validation and then rotates about the same point, by one
warp that also crops, at a fraction of the cost; labels are sampled once, from their own size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.data.augment.extras import NO_EXTRAS, Extras, balanced, mirrored
from edgeailite.data.augment.transforms import Image, Images, Targets, classes_of, resize_image, warp_image, warp_target


@dataclass(frozen=True)
class View:
    """One random draw: size to resize to, crop's corner (y, x) in it, rotation in radians, mirrored or not."""

    size: tuple[int, int]
    corner: tuple[int, int]
    angle: float
    flip: bool


@dataclass(frozen=True)
class PublishedTransform:
    """Random view of a sample by the rules of the module. `size` and `crop` are (height, width), crop within size."""

    size: tuple[int, int]
    crop: tuple[int, int]
    scale: tuple[float, float] = (1.0, 2.0)
    rotation: float = 5.0
    extras: Extras = NO_EXTRAS
    balanced_crops: int = 1
    interpolation: str = "area"
    flip: bool = True

    @property
    def stored(self) -> tuple[int, int] | None:
        """Return None, because pictures are resized from their own size."""
        return None

    def __call__(self, images: Images, targets: Targets, rng: np.random.Generator) -> tuple[Images, Targets]:
        stored = images[0].shape[0], images[0].shape[1]
        classes = classes_of(targets)
        view, _ = balanced(
            lambda: self._draw(rng),
            lambda drawn: None if classes is None else self._target(classes, drawn, stored),
            self.balanced_crops,
        )
        return self.extras(
            tuple(self._picture(image, view) for image in images),
            {name: self._target(values, view, stored) for name, values in targets.items()},
            rng,
        )

    def _draw(self, rng: np.random.Generator) -> View:
        angle = np.deg2rad(rng.uniform(-self.rotation, self.rotation)) if rng.random() < 0.5 else 0.0
        factors = rng.uniform(*self.scale, 2) if rng.random() < 0.5 else np.ones(2)
        size = np.maximum(np.rint(factors * self.size).astype(int), self.crop)
        first = rng.integers(0, np.maximum(size - self.size, 0), endpoint=True)
        flip = bool(rng.random() < 0.5) and self.flip
        second = rng.integers(0, np.maximum(np.minimum(size, self.size) - self.crop, 0), endpoint=True)
        top, left = (first + second).tolist()
        return View((int(size[0]), int(size[1])), (top, left), float(angle), flip)

    def _picture(self, image: Image, view: View) -> Image:
        resized = resize_image(image, view.size, self.interpolation)
        if view.angle:
            return warp_image(resized, self._matrix(view, view.size, image.shape[:2]), self.crop)
        (top, left), (height, width) = view.corner, self.crop
        part = resized[top : top + height, left : left + width]
        return mirrored(part) if view.flip else np.ascontiguousarray(part)

    def _target(self, values: NDArray[Any], view: View, stored: tuple[int, int]) -> NDArray[Any]:
        return warp_target(values, self._matrix(view, stored, stored), self.crop)

    def _matrix(self, view: View, given: tuple[int, int], stored: tuple[int, int]) -> NDArray[np.float64]:
        """2x3 matrix from a picture of size `given` to the crop; the rotation is one of the picture as `stored`.

        As 3x3 matrices of whole extents, then half a pixel less on both sides, as in the affine pipeline.
        """
        cos, sin = np.cos(view.angle), np.sin(view.angle)
        turn = _about(np.array([[cos, -sin], [sin, cos]]), stored)
        mirror = np.array([[-1.0, 0, self.crop[1]], [0, 1, 0], [0, 0, 1]]) if view.flip else np.eye(3)
        shift = np.array([[1.0, 0, -view.corner[1]], [0, 1, -view.corner[0]], [0, 0, 1]])
        whole = mirror @ shift @ _between(stored, view.size) @ turn @ _between(given, stored)
        half = np.array([[1.0, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
        return (np.linalg.inv(half) @ whole @ half)[:2]


def _between(old: tuple[int, int], new: tuple[int, int]) -> NDArray[np.float64]:
    return np.diag([new[1] / old[1], new[0] / old[0], 1.0])


def _about(linear: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """A linear map about the centre of a picture."""
    centre = np.array([size[1] / 2, size[0] / 2])
    full = np.eye(3)
    full[:2, :2], full[:2, 2] = linear, centre - linear @ centre
    return full
