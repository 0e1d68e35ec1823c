"""Things beside the road in the generated `streets` scenes: houses, fences, hedges, trees, poles, signs.

`out` is the outward direction, +1 on the right of the road and -1 on the left. Wall, fence and render colours overlap
with those of cars, clothes and pavement on purpose: the grid of windows, the pickets and the outline are the cue.
"""

from __future__ import annotations

import numpy as np

from edgeailite.data.streets.shapes import (
    BACKDROP,
    BUILDING,
    FENCE,
    NO_GRID,
    PAVEMENT,
    POLE,
    SIGN,
    VEGETATION,
    Array,
    Colour,
    Material,
    Surface,
    Thing,
    disc,
    lengthwise,
    outline,
    paint,
    pick,
    scaled,
    shrink,
    tint,
    upright,
)

WALLS: tuple[Colour, ...] = (
    (0.62, 0.34, 0.26),
    (0.80, 0.76, 0.66),
    (0.52, 0.52, 0.52),
    (0.78, 0.66, 0.44),
    (0.36, 0.37, 0.40),
    (0.86, 0.86, 0.86),
    (0.44, 0.52, 0.60),
    (0.42, 0.30, 0.24),
    (0.50, 0.56, 0.44),
    (0.70, 0.48, 0.44),
    (0.80, 0.62, 0.24),
    (0.34, 0.38, 0.28),
    (0.30, 0.40, 0.58),
    (0.64, 0.22, 0.18),
)
ROOFS: tuple[Colour, ...] = ((0.45, 0.22, 0.17), (0.24, 0.24, 0.27), (0.36, 0.30, 0.27))
PANES: tuple[Colour, ...] = ((0.14, 0.17, 0.22), (0.24, 0.28, 0.34), (0.50, 0.58, 0.66))
LEAVES: tuple[Colour, ...] = (
    (0.20, 0.34, 0.12),
    (0.30, 0.40, 0.16),
    (0.14, 0.27, 0.13),
    (0.42, 0.40, 0.16),
    (0.44, 0.30, 0.16),
    (0.30, 0.33, 0.26),
    (0.40, 0.24, 0.20),
)
FENCES: tuple[Colour, ...] = (
    (0.46, 0.32, 0.20),
    (0.85, 0.84, 0.80),
    (0.16, 0.22, 0.19),
    (0.48, 0.49, 0.50),
    (0.60, 0.50, 0.38),
    (0.30, 0.20, 0.16),
)
METAL: tuple[Colour, ...] = ((0.34, 0.35, 0.36), (0.18, 0.20, 0.20), (0.58, 0.59, 0.60), (0.24, 0.30, 0.27))


def _wall_paint(rng: np.random.Generator, wall: Colour, *, lit: float) -> Material:
    """Wall with its grid of windows; `lit` is the share of light the panes give themselves."""
    panes = pick(rng, PANES, 0.1) if lit == 0.0 else tint(rng, (0.85, 0.68, 0.36), 0.2)
    period = float(rng.uniform(1.9, 3.2)), float(rng.uniform(2.7, 3.4))
    duty = float(rng.uniform(0.38, 0.66)), float(rng.uniform(0.42, 0.62))
    return paint(
        wall,
        panes,
        period=period,
        duty=duty,
        variation=float(rng.uniform(0.3, 0.9)),
        noise=float(rng.uniform(0.03, 0.12)),
        wavelength=float(rng.uniform(0.5, 3.0)),
        glow=lit,
    )


def building(
    rng: np.random.Generator, x: float, z0: float, z1: float, *, out: float, height: float, dusk: bool
) -> Thing:
    """Make a house with its front at x along z0..z1: an end wall towards the camera, ground floor, perhaps a roof."""
    wall = pick(rng, WALLS, 0.22)
    front = _wall_paint(rng, wall, lit=0.6 if dusk and rng.random() < 0.4 else 0.0)
    depth = x + out * 11.0
    end_wall = front if rng.random() < 0.4 else front._replace(period_s=NO_GRID, period_t=NO_GRID, duty_s=0.0)
    surfaces = [
        Surface(upright(x, depth, 0.0, height, z0), BUILDING, end_wall),
        Surface(lengthwise(x, z0, z1, 0.0, height), BUILDING, front),
    ]
    if rng.random() < 0.5:
        storey = pick(rng, WALLS, 0.25)
        shop = paint(
            storey,
            pick(rng, PANES, 0.15),
            period=(float(rng.uniform(2.5, 5.0)), 3.4),
            duty=(float(rng.uniform(0.5, 0.85)), float(rng.uniform(0.5, 0.75))),
            variation=0.6,
        )
        surfaces.append(Surface(lengthwise(x, z0, z1, 0.0, 3.1), BUILDING, shop))
        surfaces.append(Surface(lengthwise(x, z0, z1, 3.0, 3.35), BUILDING, paint(pick(rng, WALLS, 0.3))))
    if rng.random() < 0.6:
        surfaces.append(Surface(lengthwise(x, z0, z1, height - 0.3, height), BUILDING, paint(scaled(wall, 0.7))))
        ridge, top = x + out * 4.5, height + float(rng.uniform(1.5, 3.5))
        slope = np.array(((x, height, z0), (x, height, z1), (ridge, top, z1), (ridge, top, z0)))
        gable = np.array(((x, height, z0), (x + out * 9.0, height, z0), (ridge, top, z0)))
        tiles = paint(pick(rng, ROOFS), noise=0.12, wavelength=0.8)
        surfaces += [Surface(gable, BUILDING, paint(wall)), Surface(slope, BUILDING, tiles)]
    return Thing(surfaces, BACKDROP, z0, (x, 0.0, z0))


def terrace(rng: np.random.Generator, x0: float, x1: float, z: float, *, dusk: bool) -> list[Thing]:
    """Make houses across the far end of the street, from x0 to x1."""
    things = []
    while x0 < x1:
        width = float(rng.uniform(9.0, 22.0))
        wall = _wall_paint(rng, pick(rng, WALLS, 0.22), lit=0.6 if dusk and rng.random() < 0.4 else 0.0)
        front = upright(x0, x0 + width, 0.0, float(rng.uniform(7.0, 18.0)), z)
        things.append(Thing([Surface(front, BUILDING, wall)], BACKDROP, z, (x0, 0.0, z)))
        x0 += width
    return things


def fence(rng: np.random.Generator, x: float, z0: float, z1: float) -> Thing:
    """Make pickets, boards or railings along z0..z1; labelled as one solid strip, as in Cityscapes."""
    colour, height = pick(rng, FENCES, 0.2), float(rng.uniform(1.2, 2.0))
    gap = tint(rng, (0.22, 0.24, 0.20), 0.2)
    noise, style = 0.08, int(rng.integers(3))
    if style == 0:
        material = paint(gap, colour, period=(0.55, NO_GRID), duty=(0.55, 2.0), variation=0.3, noise=noise)
    elif style == 1:
        material = paint(gap, colour, period=(NO_GRID, 0.42), duty=(2.0, 0.7), variation=0.3, noise=noise)
    else:
        material = paint(scaled(colour, 0.55), colour, period=(2.0, 0.6), duty=(0.9, 0.8), variation=0.2, noise=noise)
    rail = paint(scaled(colour, 1.15), noise=0.03)
    surfaces = [
        Surface(lengthwise(x, z0, z1, 0.0, height), FENCE, material),
        Surface(lengthwise(x, z0, z1, height - 0.13, height), FENCE, rail),
    ]
    return Thing(surfaces, BACKDROP, z0, (x, 0.0, z0))


def _leaf_paint(rng: np.random.Generator, wavelength: float) -> Material:
    leaves = pick(rng, LEAVES, 0.1)
    return paint(leaves, noise=float(rng.uniform(0.28, 0.42)), wavelength=wavelength)


def _ragged(rng: np.random.Generator, x: float, y: float, z: float, width: float, height: float) -> Array:
    """Blob with a leafy edge facing along the street, cut at the ground, (22, 3)."""
    angle = np.linspace(0.0, 2.0 * np.pi, 22, endpoint=False)
    radius = 1.0 + rng.uniform(-0.14, 0.10, 22)
    polygon = np.full((22, 3), z)
    polygon[:, 0] = x + width * radius * np.cos(angle)
    polygon[:, 1] = np.maximum(y + height * radius * np.sin(angle), 0.0)
    return polygon


def hedge(rng: np.random.Generator, x: float, z0: float, z1: float, *, height: float) -> Thing:
    """Make a hedge, or with some height the edge of a wood, along z0..z1 with an uneven top."""
    count = 12
    top_z = np.linspace(z1, z0, count)
    top_y = height * (1.0 + rng.uniform(-0.12, 0.12, count))
    top = np.stack((np.full(count, x), top_y, top_z), axis=1)
    polygon = np.concatenate((np.array(((x, 0.0, z0), (x, 0.0, z1))), top))
    material = _leaf_paint(rng, 0.35 * height + 0.3)
    return Thing([Surface(polygon, VEGETATION, material)], BACKDROP, z0, (x, 0.0, z0))


def wood(rng: np.random.Generator, x0: float, x1: float, z: float) -> list[Thing]:
    """Make trees across the far end of the street."""
    things = []
    while x0 < x1:
        width = float(rng.uniform(4.0, 8.0))
        blob = _ragged(rng, x0, 0.35 * width, z, 0.8 * width, float(rng.uniform(0.9, 1.5)) * width)
        things.append(Thing([Surface(blob, VEGETATION, _leaf_paint(rng, 3.0))], BACKDROP, z, (x0, 0.0, z)))
        x0 += width
    return things


def tree(rng: np.random.Generator, x: float, z: float) -> Thing:
    """Make a street tree: trunk and a crown of three blobs, all vegetation."""
    trunk, clear = float(rng.uniform(0.12, 0.22)), float(rng.uniform(2.3, 3.0))
    width, height = float(rng.uniform(1.1, 1.8)), float(rng.uniform(1.3, 2.2))
    bark = paint(tint(rng, (0.30, 0.24, 0.19), 0.12), noise=0.25, wavelength=0.4)
    leaves = _leaf_paint(rng, 0.9)
    light = leaves._replace(red=leaves.red * 1.2, green=leaves.green * 1.2, red2=leaves.red * 1.2)
    light = light._replace(green2=light.green)
    y = clear + 0.8 * height
    side, lift = float(rng.uniform(-0.5, 0.5)) * width, float(rng.uniform(0.2, 0.5)) * height
    surfaces = [
        Surface(upright(x - trunk, x + trunk, 0.0, clear + 0.4 * height, z), VEGETATION, bark),
        Surface(_ragged(rng, x, y, z, width, height), VEGETATION, leaves),
        Surface(_ragged(rng, x + side, y + lift, z, 0.6 * width, 0.6 * height), VEGETATION, light),
    ]
    return Thing(surfaces, PAVEMENT, z, (x, 0.0, z))


def bush(rng: np.random.Generator, x: float, z: float) -> Thing:
    """Make a low shrub."""
    size = float(rng.uniform(0.5, 1.1))
    blob = _ragged(rng, x, 0.45 * size, z, 1.2 * size, 0.75 * size)
    return Thing([Surface(blob, VEGETATION, _leaf_paint(rng, 0.5))], PAVEMENT, z, (x, 0.0, z))


def lamp_post(rng: np.random.Generator, x: float, z: float, *, out: float) -> Thing:
    """Make a lamp post with an arm over the road."""
    half, height = float(rng.uniform(0.10, 0.16)), float(rng.uniform(4.5, 7.5))
    metal = paint(pick(rng, METAL), noise=0.04)
    arm = float(rng.uniform(0.8, 1.8))
    surfaces = [
        Surface(upright(x - 1.5 * half, x + 1.5 * half, 0.0, 0.9, z), POLE, metal),
        Surface(upright(x - half, x + half, 0.0, height, z), POLE, metal),
        Surface(upright(x - out * arm, x, height - 0.2, height, z), POLE, metal),
        Surface(upright(x - out * (arm + 0.5), x - out * arm, height - 0.25, height, z), POLE, metal),
    ]
    return Thing(surfaces, PAVEMENT, z, (x, 0.0, z))


def bollard(rng: np.random.Generator, x: float, z: float) -> Thing:
    """Make a knee-high post with a light ring."""
    half, height = float(rng.uniform(0.10, 0.16)), float(rng.uniform(0.9, 1.15))
    surfaces = [
        Surface(upright(x - half, x + half, 0.0, height, z), POLE, paint(pick(rng, METAL), noise=0.04)),
        Surface(upright(x - half, x + half, height - 0.3, height - 0.14, z), POLE, paint((0.85, 0.84, 0.8))),
    ]
    return Thing(surfaces, PAVEMENT, z, (x, 0.0, z))


def _sign_faces(rng: np.random.Generator, x: float, y: float, z: float, size: float) -> list[tuple[Array, Material]]:
    """Rim, field and symbol of a traffic sign: ban, warning, information, right of way or a name board."""
    worn = float(rng.uniform(0.6, 1.0))
    red, white, blue = (
        tint(rng, scaled(c, worn), 0.1) for c in ((0.76, 0.12, 0.11), (0.93, 0.92, 0.9), (0.12, 0.28, 0.6))
    )
    yellow, ink = tint(rng, scaled((0.9, 0.72, 0.2), worn), 0.1), (0.08, 0.08, 0.09)
    triangle = ((-1.1 * size, -0.75 * size), (1.1 * size, -0.75 * size), (0.0, 1.1 * size))
    diamond = ((0.0, -1.1 * size), (1.1 * size, 0.0), (0.0, 1.1 * size), (-1.1 * size, 0.0))
    square, board = (
        upright(x - size, x + size, y - size, y + size, z),
        upright(x - 1.7 * size, x + 1.7 * size, y, y + size, z),
    )
    rims: tuple[tuple[Array, Colour, Colour, Colour], ...] = (
        (disc(x, y, z, size), red, white, ink),
        (outline(triangle, x, y, z), red, white, ink),
        (square, blue, blue, white),
        (outline(diamond, x, y, z), white, yellow, yellow),
        (board, white, yellow if rng.random() < 0.5 else blue, white),
        (disc(x, y, z, size), white, blue, white),
    )
    shape, rim, field, symbol = rims[int(rng.integers(len(rims)))]
    return [
        (shape, paint(rim, noise=0.02)),
        (shrink(shape, 0.34), paint(field, noise=0.02)),
        (shrink(shape, 0.72), paint(symbol)),
    ]


def sign(rng: np.random.Generator, x: float, z: float) -> Thing:
    """Make one or two traffic signs on a post."""
    half, size = float(rng.uniform(0.07, 0.10)), float(rng.uniform(0.40, 0.56))
    y = float(rng.uniform(2.2, 2.7))
    surfaces = [Surface(upright(x - half, x + half, 0.0, y + size, z), POLE, paint(pick(rng, METAL), noise=0.04))]
    surfaces += [Surface(shape, SIGN, material) for shape, material in _sign_faces(rng, x, y, z, size)]
    if rng.random() < 0.3:
        surfaces += [Surface(shape, SIGN, m) for shape, m in _sign_faces(rng, x, y + 2.2 * size, z, size)]
    return Thing(surfaces, PAVEMENT, z, (x, 0.0, z))
