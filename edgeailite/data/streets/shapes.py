"""Building blocks of the generated `streets` scenes: planar, painted polygons in metres.

World coordinates: x to the right, y up from the ground, z forward along the street. Everything in a scene, from a
facade to the rear lamp of a car, is a `Surface`: one planar polygon, one Cityscapes label and one `Material`. Because
every surface is a plane with a procedural texture anchored to it, depth, flow and occlusion follow exactly from the
geometry; nothing is drawn in pixels. The shapes themselves are in `streets_roadside` and `streets_traffic`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Colour = tuple[float, float, float]

ROAD, SIDEWALK, BUILDING, FENCE, POLE, SIGN = 7, 8, 11, 13, 17, 20
VEGETATION, TERRAIN, SKY, PERSON, RIDER, CAR, BUS, BICYCLE = 21, 22, 23, 24, 25, 26, 28, 33
BACKDROP, PAVEMENT, PARKED, LANES, CROSSING = range(5)  # bands of a `Thing`

NO_GRID = 1e6  # a period no scene is as long as


class Material(NamedTuple):
    """Procedural paint, flat so that a list of them is one array: two colours (0..1), a grid that selects the second
    (period in metres and duty 0..1 along the two texture axes, `variation` of brightness per cell), noise (relative
    amplitude and longest wavelength in metres) and `glow`, the share of the colour that needs no light."""

    red: float
    green: float
    blue: float
    red2: float
    green2: float
    blue2: float
    period_s: float
    period_t: float
    duty_s: float
    duty_t: float
    variation: float
    noise: float
    wavelength: float
    glow: float


class Surface(NamedTuple):
    """One painted planar polygon: corners (K, 3) in metres, Cityscapes label id, material."""

    polygon: Array
    label: int
    material: Material


class Thing(NamedTuple):
    """Surfaces that move together, in painting order.

    `band` counts from the houses to the middle of the road: for a camera in the street, what is laterally nearer hides
    what is laterally farther, and within a band the smaller `z` hides the larger, so (band, -z) is a painting order.
    `velocity` is in m/s and (0, 0, 0) for what stands still. Grids and noise are anchored at `anchor`.
    """

    surfaces: list[Surface]
    band: int
    z: float
    anchor: tuple[float, float, float] = (0.0, 0.0, 0.0)
    velocity: tuple[float, float, float] = (0.0, 0.0, 0.0)


def paint(
    colour: Colour,
    second: Colour | None = None,
    *,
    period: tuple[float, float] = (NO_GRID, NO_GRID),
    duty: tuple[float, float] = (2.0, 2.0),
    variation: float = 0.0,
    noise: float = 0.05,
    wavelength: float = 0.6,
    glow: float = 0.0,
) -> Material:
    """Make a material; without a grid the second colour equals the first, and a duty of 2 covers an axis wholly."""
    return Material(*colour, *(second or colour), *period, *duty, variation, noise, wavelength, glow)


def upright(x0: float, x1: float, y0: float, y1: float, z: float) -> Array:
    """Return a rectangle that faces along the street."""
    return np.array(((x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)))


def lengthwise(x: float, z0: float, z1: float, y0: float, y1: float) -> Array:
    """Return an upright rectangle parallel to the street."""
    return np.array(((x, y0, z0), (x, y0, z1), (x, y1, z1), (x, y1, z0)))


def level(x0: float, x1: float, z0: float, z1: float, y: float = 0.0) -> Array:
    """Return a horizontal rectangle."""
    return np.array(((x0, y, z0), (x1, y, z0), (x1, y, z1), (x0, y, z1)))


def outline(points: Iterable[Sequence[float]], x: float, y: float, z: float, *, flip: float = 1.0) -> Array:
    """Return a polygon facing along the street from (dx, dy) offsets; flip=-1 mirrors it."""
    return np.array([(x + flip * dx, y + dy, z) for dx, dy in points])


def bar(start: tuple[float, float], end: tuple[float, float], width: float) -> list[tuple[float, float]]:
    """Return the offsets of a straight bar of `width` between two points, for `outline`."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    half = 0.5 * width / max((dx * dx + dy * dy) ** 0.5, 1e-6)
    nx, ny = -dy * half, dx * half
    return [
        (start[0] + nx, start[1] + ny),
        (end[0] + nx, end[1] + ny),
        (end[0] - nx, end[1] - ny),
        (start[0] - nx, start[1] - ny),
    ]


_ANGLES = np.linspace(0.0, 2.0 * np.pi, 14, endpoint=False)
_CIRCLE = np.stack((np.cos(_ANGLES), np.sin(_ANGLES)), axis=1)


def disc(x: float, y: float, z: float, radius: float, *, squeeze: float = 1.0) -> Array:
    """Return a disc facing along the street; `squeeze` scales its width."""
    polygon = np.full((len(_CIRCLE), 3), z)
    polygon[:, 0] = x + radius * squeeze * _CIRCLE[:, 0]
    polygon[:, 1] = y + radius * _CIRCLE[:, 1]
    return polygon


def wheel(x: float, y: float, z: float, radius: float) -> Array:
    """Return a disc parallel to the street."""
    polygon = np.full((len(_CIRCLE), 3), x)
    polygon[:, 2] = z + radius * _CIRCLE[:, 0]
    polygon[:, 1] = y + radius * _CIRCLE[:, 1]
    return polygon


def shrink(quad: Array, share: float) -> Array:
    """Return the polygon drawn towards its centre, to 1 - share of its size."""
    centre = quad.mean(axis=0)
    return np.asarray(centre + (quad - centre) * (1.0 - share))


def tint(rng: np.random.Generator, colour: Colour, spread: float) -> Colour:
    """Return a colour near `colour`: common and per-channel offsets up to `spread`, clipped to 0.02..0.98."""
    common, *channels = (rng.random(4) - 0.5).tolist()
    red, green, blue = (
        min(max(c + spread * (1.4 * common + 0.6 * d), 0.02), 0.98) for c, d in zip(colour, channels, strict=True)
    )
    return red, green, blue


def pick(rng: np.random.Generator, colours: Sequence[Colour], spread: float = 0.12) -> Colour:
    """Return a tinted choice of the palette."""
    return tint(rng, colours[int(rng.integers(len(colours)))], spread)


def scaled(colour: Colour, factor: float) -> Colour:
    """Make the colour darker or lighter."""
    return min(colour[0] * factor, 1.0), min(colour[1] * factor, 1.0), min(colour[2] * factor, 1.0)
