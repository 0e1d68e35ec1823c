"""Renderer of the generated `streets` scenes: painted planes to image, labels, depth and flow.

Deferred shading in numpy: OpenCV fills polygons with surface indices in painting order, then everything per pixel
(depth, texture position, light, shadow, haze, position in the previous frame) follows from the plane under that
pixel. The previous frame is the same call with the previous camera and the things moved back, so image pair, depth
and flow agree by construction. Texture detail finer than a pixel fades to its mean, as it would in a lens.

Pixel convention: integer indices are pixel centres. Camera axes: x right, y down, z forward.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeailite.data.streets.scene import EYE_HEIGHT, TIME_STEP, Light, Pose, World
from edgeailite.data.streets.shapes import ROAD, SIDEWALK, SKY, TERRAIN, Array, Thing

Floats = NDArray[np.float32]

NEAR = 0.4  # metres; polygons are cut here
_TILE = 256  # texels of the noise tile, 4 per wavelength
_UP = (0.0, 1.0, 0.0)


class Lens(NamedTuple):
    """Pinhole intrinsics in pixels for one image size."""

    height: int
    width: int
    fx: float
    fy: float
    u0: float
    v0: float


class Geometry(NamedTuple):
    """All surfaces of a world as arrays: corners (M, 3), where each surface starts (P,), and per surface (P, ...)."""

    corners: Array
    starts: NDArray[np.int64]
    normals: Array
    axes: NDArray[np.int64]  # world axes of the two texture coordinates
    anchors: Array
    velocities: Array
    labels: NDArray[np.uint8]
    materials: Array


class View(NamedTuple):
    """One rendered frame, flattened to N = height * width pixels."""

    image: Floats  # (N, 3), 0..1, before the sensor
    ids: NDArray[np.int64]  # (N,) surface index
    depth: Floats  # (N,) metres along the optical axis


def lens_for(height: int, width: int) -> Lens:
    """Return the data set's camera, 58 degrees wide, at this image size."""
    return Lens(height, width, 0.9 * width, 1.8 * height, 0.5 * width - 0.5, 0.46 * height - 0.5)


def geometry_of(things: list[Thing]) -> Geometry:
    """Flatten things into arrays; normals by Newell's method, texture axes those the plane is least tilted against."""
    surfaces = [surface for thing in things for surface in thing.surfaces]
    polygons = [surface.polygon for surface in surfaces]
    counts = np.array([len(polygon) for polygon in polygons])
    corners = np.concatenate(polygons)
    starts = np.concatenate(((0,), np.cumsum(counts)[:-1]))
    following = np.arange(1, len(corners) + 1)
    following[starts + counts - 1] = starts
    relative = corners - np.repeat(corners[starts], counts, axis=0)
    normals = np.add.reduceat(np.cross(relative, relative[following]), starts, axis=0)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    facing = np.abs(normals).argmax(axis=1)
    axes = np.array(((2, 1), (0, 2), (0, 1)))[facing]
    each = [len(thing.surfaces) for thing in things]
    return Geometry(
        corners,
        starts,
        normals,
        axes,
        np.repeat(np.array([thing.anchor for thing in things]), each, axis=0),
        np.repeat(np.array([thing.velocity for thing in things]), each, axis=0),
        np.array([surface.label for surface in surfaces], np.uint8),
        np.array([surface.material for surface in surfaces]),
    )


def rotation(pose: Pose) -> Array:
    """Return the rotation (3, 3) from world to camera: rows are the camera's right, down and forward."""
    sin_yaw, cos_yaw, sin_pitch, cos_pitch = np.sin(pose.yaw), np.cos(pose.yaw), np.sin(pose.pitch), np.cos(pose.pitch)
    return np.array(
        (
            (cos_yaw, 0.0, -sin_yaw),
            (-sin_yaw * sin_pitch, -cos_pitch, -cos_yaw * sin_pitch),
            (sin_yaw * cos_pitch, -sin_pitch, cos_yaw * cos_pitch),
        )
    )


def eye(pose: Pose) -> Array:
    """Return the camera's position in the world, (3,)."""
    return np.array((pose.x, EYE_HEIGHT, pose.z))


@lru_cache(maxsize=4)
def _rays(lens: Lens) -> tuple[Floats, Floats]:
    """Ray slopes (N,) along x and y of every pixel centre."""
    slope_x = (np.arange(lens.width) - lens.u0) / lens.fx
    slope_y = (np.arange(lens.height) - lens.v0) / lens.fy
    x, y = np.meshgrid(slope_x.astype(np.float32), slope_y.astype(np.float32))
    return x.ravel(), y.ravel()


@lru_cache(maxsize=1)
def _noise_tile() -> Floats:
    """Periodic smooth noise of unit variance, one feature per 4 texels; the same for every scene."""
    white = np.random.default_rng(20).standard_normal((_TILE, _TILE)).astype(np.float32)
    wrapped = np.pad(white, 8, mode="wrap")
    smooth = cv2.GaussianBlur(wrapped, (0, 0), 1.1)[8:-8, 8:-8]
    return np.ascontiguousarray(smooth / smooth.std())


def _clip_near(points: Array) -> Array:
    """Part of a polygon (K, 3) in camera axes beyond the near plane; empty when nothing is."""
    kept = []
    for a, b in zip(points, np.roll(points, -1, axis=0), strict=True):
        if a[2] >= NEAR:
            kept.append(a)
        if (a[2] >= NEAR) != (b[2] >= NEAR):
            kept.append(a + (b - a) * ((NEAR - a[2]) / (b[2] - a[2])))
    return np.array(kept).reshape(-1, 3)


def _fill(canvas: NDArray[np.uint16], points: Array, starts: NDArray[np.int64], values: list[int], lens: Lens) -> None:
    """Paint polygons given in camera axes (M, 3) onto a canvas of twice the lens' size, in order."""
    ends = [*starts[1:].tolist(), len(points)]
    nearest = np.minimum.reduceat(points[:, 2], starts)
    farthest = np.maximum.reduceat(points[:, 2], starts)
    pixels = _to_canvas(points, lens)
    for begin, end, value, near, far in zip(
        starts.tolist(), ends, values, nearest.tolist(), farthest.tolist(), strict=True
    ):
        if near >= NEAR:
            cv2.fillPoly(canvas, [pixels[begin:end]], (value,), shift=4)
        elif far > NEAR:
            cv2.fillPoly(canvas, [_to_canvas(_clip_near(points[begin:end]), lens)], (value,), shift=4)


def _to_canvas(points: Array, lens: Lens) -> NDArray[np.int32]:
    """Fixed-point (1/16) coordinates on a canvas of twice the lens' size."""
    inverse = 1.0 / np.maximum(points[:, 2], NEAR)
    u = 2.0 * (lens.fx * points[:, 0] * inverse + lens.u0) + 0.5
    v = 2.0 * (lens.fy * points[:, 1] * inverse + lens.v0) + 0.5
    return np.rint(np.clip(np.stack((u, v), axis=1), -1e5, 1e5) * 16.0).astype(np.int32)


def _shadow_mask(geometry: Geometry, corners: Array, pose: Pose, light: Light, lens: Lens) -> Floats:
    """Share of shadow (N,) 0..1 that everything above the ground casts on it; straight down under a grey sky."""
    sun = np.array(light.sun if sum(light.direct) > 0.3 else _UP)
    casts = ~np.isin(geometry.labels, (ROAD, SIDEWALK, TERRAIN, SKY))
    counts = np.diff(np.append(geometry.starts, len(corners)))
    thrown = corners - sun * (corners[:, 1:2] / sun[1])
    size = np.maximum.reduceat(thrown, geometry.starts) - np.minimum.reduceat(thrown, geometry.starts)
    casts &= (size[:, 0] > 0.2) & (size[:, 2] > 0.2)
    canvas = np.zeros((2 * lens.height, 2 * lens.width), np.uint16)
    if casts.any():
        points = (thrown[np.repeat(casts, counts)] - eye(pose)) @ rotation(pose).T
        starts = np.concatenate(((0,), np.cumsum(counts[casts])[:-1]))
        _fill(canvas, points, starts, [1] * len(starts), lens)
    small = cv2.resize(canvas.astype(np.float32), (lens.width, lens.height), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), 0.004 * lens.width), np.float32).ravel()


def _plane_rows(geometry: Geometry, corners: Array, moved: Array, pose: Pose, lens: Lens) -> Array:
    """Per surface (P, 14): inverse depth (3), s (4) and t (4) by the ray; scale and axes of the slant (3)."""
    camera, position = rotation(pose), eye(pose)
    basis = camera[[2, 0, 1]].T  # columns: forward, right, down
    distance = ((corners[geometry.starts] - position) * geometry.normals).sum(axis=1)
    distance = np.where(np.abs(distance) < 1e-4, 1e-4, distance)
    inverse_depth = (geometry.normals @ basis) / distance[:, None]
    offset = position - geometry.anchors - moved
    rows = np.arange(len(offset))
    texture = [
        np.concatenate((offset[rows, axis][:, None], basis[axis]), axis=1)
        for axis in (geometry.axes[:, 0], geometry.axes[:, 1])
    ]
    slanted = np.stack((geometry.axes[:, 0] == 2, geometry.axes[:, 1] == 2), axis=1)
    return np.concatenate((inverse_depth, *texture, lens.fx * np.abs(distance)[:, None], slanted), axis=1)


def _lit(geometry: Geometry, corners: Array, pose: Pose, light: Light) -> tuple[Floats, Floats]:
    """Both colours (P, 3) of every surface under this light."""
    towards = ((eye(pose) - corners[geometry.starts]) * geometry.normals).sum(axis=1, keepdims=True)
    normals = geometry.normals * np.where(towards < 0, -1.0, 1.0)
    lambert = np.maximum(normals @ np.array(light.sun), 0.0)[:, None]
    level = np.array(light.ambient) * (0.92 + 0.08 * normals[:, 1:2]) + np.array(light.direct) * lambert
    glow = geometry.materials[:, 13:14]
    first, second = geometry.materials[:, 0:3] * level, geometry.materials[:, 3:6] * (level * (1.0 - glow) + glow)
    return first.astype(np.float32), second.astype(np.float32)


def _pulse(at: Floats, period: Floats, duty: Floats, density: Floats) -> tuple[Floats, Floats]:
    """Coverage 0..1 of a periodic stripe, softened to the pixel `density` per metre, and the cell numbers."""
    cell = at / period
    number = np.floor(cell)
    pixels = period * density
    sharp = np.clip((0.5 * duty - np.abs(cell - number - 0.5)) * pixels + 0.5, 0.0, 1.0)
    duty = np.minimum(duty, 1.0)
    return duty + (sharp - duty) * np.clip(0.4 * pixels - 0.6, 0.0, 1.0), number


def _wrap(at: Floats, shape: tuple[int, int]) -> Floats:
    """Coordinate on the periodic noise tile; np.mod does the same seven times slower."""
    return np.asarray(at - _TILE * np.floor(at * (1.0 / _TILE)), np.float32).reshape(shape)


def _texture_noise(s: Floats, t: Floats, wavelength: Floats, density: Floats, shape: tuple[int, int]) -> Floats:
    """Three octaves of noise anchored to the surface (N,), each faded where it is finer than two pixels."""
    total = np.zeros_like(s)
    detail = 0.5 * density * wavelength
    for weight, ratio in ((0.8, 1.0), (0.55, 1 / 3.1), (0.4, 1 / 9.7)):
        scale = (4.0 / ratio) / wavelength
        x, y = _wrap(s * scale, shape), _wrap(t * scale, shape)
        octave = cv2.remap(_noise_tile(), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP).ravel()
        total += weight * np.clip(detail * ratio - 0.5, 0.0, 1.0) * octave
    return total


def _shade(table: Array, ids: NDArray[np.int64], lens: Lens) -> tuple[Floats, Floats, Floats]:
    """Depth (N,), share of the second colour (N,) and brightness (N,) of every pixel from its surface's row."""
    x, y = _rays(lens)
    f = np.take(np.ascontiguousarray(table.T, np.float32), ids, axis=1)  # (21, N)
    inverse = np.maximum(f[0] + x * f[1] + y * f[2], 1.5e-4)
    depth = 1.0 / inverse
    s = f[3] + depth * (f[4] + x * f[5] + y * f[6])
    t = f[7] + depth * (f[8] + x * f[9] + y * f[10])
    straight = lens.fx * inverse
    slanted = np.minimum(straight, f[11] * inverse * inverse)
    lower = slanted - straight
    cover_s, cell_s = _pulse(s, f[14], f[16], straight + f[12] * lower)
    cover_t, cell_t = _pulse(t, f[15], f[17], straight + f[13] * lower)
    share = cover_s * cover_t
    key = (cell_s.astype(np.int64) * 7919 + cell_t.astype(np.int64) * 104729) & (_TILE * _TILE - 1)
    vary = f[18] * share * np.clip(0.4 * np.minimum(f[14], f[15]) * slanted - 0.6, 0.0, 1.0)
    brightness = (
        1.0
        + f[19] * _texture_noise(s, t, f[20], slanted, (lens.height, lens.width))
        + 0.5 * vary * _noise_tile().ravel()[key]
    )
    sky = ids == 0
    share[sky] = np.clip(t[sky] / 1400.0, 0.0, 1.0)
    return depth, share, np.clip(brightness, 0.25, 1.9)


def render(geometry: Geometry, light: Light, pose: Pose, lens: Lens, *, back: float = 0.0) -> View:
    """Draw the world seen from `pose`, with its things moved back by `back` seconds."""
    moved = -back * geometry.velocities
    counts = np.diff(np.append(geometry.starts, len(geometry.corners)))
    corners = geometry.corners + np.repeat(moved, counts, axis=0)
    canvas = np.zeros((2 * lens.height, 2 * lens.width), np.uint16)
    _fill(canvas, (corners - eye(pose)) @ rotation(pose).T, geometry.starts, list(range(len(counts))), lens)
    ids = canvas[::2, ::2].ravel().astype(np.int64)
    first, second = _lit(geometry, corners, pose, light)
    table = np.concatenate(
        (_plane_rows(geometry, corners, moved, pose, lens)[:, :14], geometry.materials[:, 6:13]), axis=1
    )
    depth, share, brightness = _shade(table, ids, lens)
    image = np.take(first, ids, axis=0)
    image += np.take(second - first, ids, axis=0) * share[:, None]
    image *= brightness[:, None]
    _soften_edges(image, canvas, ids, first, second, geometry.materials)
    _shadow(image, _shadow_mask(geometry, corners, pose, light, lens), geometry.labels[ids], light)
    veil = np.minimum(depth * light.haze, 1.5)
    veil = (veil / (1.0 + veil) * (ids > 0))[:, None]
    image += (np.array(light.horizon, np.float32) - image) * veil
    return View(image, ids, depth)


def _soften_edges(
    image: Floats, canvas: NDArray[np.uint16], ids: NDArray[np.int64], first: Floats, second: Floats, materials: Array
) -> None:
    """Blend surfaces in pixels where the four sub-pixels differ, by the surfaces' mean colours; changes `image`."""
    cover = (np.minimum(materials[:, 8], 1.0) * np.minimum(materials[:, 9], 1.0))[:, None]
    flat = (first + (second - first) * cover).astype(np.float32)
    quarters = [canvas[::2, ::2], canvas[1::2, ::2], canvas[::2, 1::2], canvas[1::2, 1::2]]
    mixed = (quarters[0] != quarters[1]) | (quarters[0] != quarters[2]) | (quarters[0] != quarters[3])
    at = np.flatnonzero(mixed)
    mean = sum(flat[quarter.ravel()[at]] for quarter in quarters) * np.float32(0.25)
    image[at] += mean - flat[ids[at]]


def _shadow(image: Floats, mask: Floats, labels: NDArray[np.uint8], light: Light) -> None:
    """Darken the ground where the mask says so; changes `image`."""
    ambient, direct = np.array(light.ambient), np.array(light.direct) * light.sun[1]
    ratio = ambient / (ambient + direct) if sum(light.direct) > 0.3 else np.array((0.6, 0.6, 0.6))
    at = np.flatnonzero((mask > 0) & ((labels == ROAD) | (labels == SIDEWALK) | (labels == TERRAIN)))
    image[at] *= 1.0 - mask[at, None] * (1.0 - ratio.astype(np.float32))


def flow_of(geometry: Geometry, view: View, world: World, lens: Lens) -> Floats:
    """Compute where each pixel's point was in the previous frame, minus the pixel: (H, W, 2) in pixels."""
    x, y = _rays(lens)
    previous = rotation(world.previous)
    turn = (previous @ rotation(world.pose).T).astype(np.float32)
    offsets = (eye(world.pose) - eye(world.previous) - TIME_STEP * geometry.velocities) @ previous.T
    start = np.take(np.ascontiguousarray(offsets.T, np.float32), view.ids, axis=1)  # (3, N)
    px, py, pz = (start[k] + view.depth * (turn[k, 0] * x + turn[k, 1] * y + turn[k, 2]) for k in range(3))
    pz = np.maximum(pz, 1e-2)
    flow = np.stack((lens.fx * (px / pz - x), lens.fy * (py / pz - y)), axis=1)
    return np.asarray(flow, np.float32).reshape(lens.height, lens.width, 2)


def expose(view: View, light: Light, rng: np.random.Generator, lens: Lens) -> NDArray[np.uint8]:
    """Return the sensor's picture (H, W, 3) uint8 RGB: gain, soft shoulder, lens blur, noise."""
    image = view.image.reshape(lens.height, lens.width, 3) * np.float32(light.gain)
    sigma = light.blur * (lens.width / 256.0) ** 0.5
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)
    np.minimum(image, 1.0, out=image)
    image *= 1.5 - 0.5 * image
    image += np.float32(light.noise) * rng.standard_normal(image.shape, np.float32)
    return np.asarray(np.clip(image * 255.0 + 0.5, 0.0, 255.0), np.uint8)
