"""Vehicles, people, riders and bicycles of the generated `streets` scenes.

Colours are drawn from wide palettes that overlap with houses and pavement on purpose: wheels, panes and lamps make a
car, head, trunk and legs make a person. All functions are pure in (rng, arguments) and give a `Thing` in world
metres.
"""

from __future__ import annotations

import numpy as np

from edgeailite.data.streets.shapes import (
    BICYCLE,
    BUS,
    CAR,
    CROSSING,
    LANES,
    NO_GRID,
    PARKED,
    PAVEMENT,
    PERSON,
    RIDER,
    Array,
    Colour,
    Surface,
    Thing,
    bar,
    disc,
    lengthwise,
    level,
    outline,
    paint,
    pick,
    scaled,
    shrink,
    tint,
    upright,
    wheel,
)

BODY_COLOURS: tuple[Colour, ...] = (
    (0.10, 0.10, 0.11),
    (0.30, 0.31, 0.33),
    (0.62, 0.63, 0.65),
    (0.86, 0.86, 0.85),
    (0.58, 0.12, 0.10),
    (0.14, 0.22, 0.48),
    (0.45, 0.38, 0.28),
    (0.16, 0.34, 0.24),
    (0.80, 0.64, 0.18),
    (0.72, 0.12, 0.10),
    (0.12, 0.28, 0.60),
)
CLOTHES: tuple[Colour, ...] = (
    (0.12, 0.12, 0.14),
    (0.18, 0.22, 0.38),
    (0.45, 0.44, 0.42),
    (0.78, 0.76, 0.72),
    (0.70, 0.16, 0.14),
    (0.14, 0.28, 0.58),
    (0.82, 0.66, 0.20),
    (0.20, 0.42, 0.32),
    (0.66, 0.52, 0.22),
    (0.34, 0.50, 0.66),
    (0.48, 0.34, 0.26),
)
SKIN: tuple[Colour, ...] = ((0.86, 0.66, 0.55), (0.70, 0.50, 0.38), (0.42, 0.28, 0.20))
HAIR: tuple[Colour, ...] = ((0.10, 0.08, 0.07), (0.30, 0.20, 0.12), (0.62, 0.48, 0.28), (0.55, 0.55, 0.55))
GLASS: Colour = (0.13, 0.16, 0.20)
TYRE: Colour = (0.07, 0.07, 0.08)
_TYRE_PAINT = paint(TYRE, noise=0.02)
_HUB_PAINT = paint((0.52, 0.53, 0.55), noise=0.02)


def _wheels(label: int, x: float, zs: tuple[float, ...], radius: float) -> list[Surface]:
    tyres = [Surface(wheel(x, radius, z, radius), label, _TYRE_PAINT) for z in zs]
    return tyres + [Surface(wheel(x, radius, z, 0.55 * radius), label, _HUB_PAINT) for z in zs]


def _near_face(
    rng: np.random.Generator, x: float, z: float, *, width: float, belt: float, body: Colour, away: bool
) -> list[Surface]:
    """Tail (away) or front of a car: panel, bumper, lamps, plate, tyres."""
    half = 0.5 * width
    lamp: Colour = (0.80, 0.08, 0.06) if away else (0.95, 0.94, 0.85)
    grille = (0.10, 0.10, 0.11) if not away else scaled(body, 0.75)
    plate = paint((0.92, 0.90, 0.80) if rng.random() < 0.7 else (0.90, 0.78, 0.20), noise=0.0)
    light = paint(lamp, noise=0.0, glow=float(rng.uniform(0.2, 0.8)))
    parts = [
        (upright(x - half + 0.06, x - half + 0.28, 0.0, 0.4, z), _TYRE_PAINT),
        (upright(x + half - 0.28, x + half - 0.06, 0.0, 0.4, z), _TYRE_PAINT),
        (upright(x - half, x + half, 0.22, belt, z), paint(body, scaled(body, 0.8), noise=0.03)),
        (upright(x - half, x + half, 0.22, 0.45, z), paint(scaled(body, 0.45), noise=0.03)),
        (upright(x - 0.45, x + 0.45, belt - 0.34, belt - 0.14, z), paint(grille, noise=0.02)),
        (upright(x - half + 0.04, x - half + 0.40, belt - 0.32, belt - 0.12, z), light),
        (upright(x + half - 0.40, x + half - 0.04, belt - 0.32, belt - 0.12, z), light),
        (upright(x - 0.27, x + 0.27, 0.42, 0.55, z), plate),
    ]
    return [Surface(polygon, CAR, material) for polygon, material in parts]


def _cabin_faces(
    x: float, z: float, length: float, *, width: float, belt: float, roof: float, nose: float, tail: float, side: float
) -> tuple[Array, Array, Array]:
    """Sloping flank, near pane frame and roof of a car's cabin (4, 3 each)."""
    half, inset, rake = 0.5 * width, 0.16, 0.35
    flank_x, top_x = x + side * half, x + side * (half - inset)
    near, far = z + nose, z + length - tail
    flank = ((flank_x, belt, near), (flank_x, belt, far), (top_x, roof, far - rake), (top_x, roof, near + rake))
    pane = (
        (x - half, belt, near),
        (x + half, belt, near),
        (x + half - inset, roof, near + rake),
        (x - half + inset, roof, near + rake),
    )
    top = level(x - half + inset, x + half - inset, near + rake, max(far - rake, near + rake + 0.3), roof)
    return np.array(flank), np.array(pane), top


def car(rng: np.random.Generator, x: float, z: float, *, away: bool, eye_x: float, speed: float, drives: bool) -> Thing:
    """Make a car centred at x with its near end at z; `away` shows its tail; speed in m/s along +z when it `drives`."""
    width, height, length = float(rng.uniform(1.7, 1.9)), float(rng.uniform(1.42, 1.85)), float(rng.uniform(3.8, 4.7))
    body = pick(rng, BODY_COLOURS)
    belt = 0.62 * height
    nose, tail = float(rng.uniform(0.1, 0.8)), float(rng.uniform(1.0, 1.3))
    if not away:
        nose, tail = tail, nose
    side = -1.0 if x > eye_x else 1.0
    flank_x = x + side * 0.5 * width
    flank, pane, roof = _cabin_faces(x, z, length, width=width, belt=belt, roof=height, nose=nose, tail=tail, side=side)
    coat = paint(body, noise=0.03, wavelength=1.5)
    glass = paint(tint(rng, GLASS, 0.12), noise=0.25, wavelength=1.2)
    pillar = 0.5 * (flank[0] + flank[1]), 0.5 * (flank[2] + flank[3])
    surfaces = [
        Surface(level(x - 0.5 * width, x + 0.5 * width, z, z + length, 0.2), CAR, paint((0.05, 0.05, 0.05))),
        Surface(lengthwise(flank_x, z, z + length, 0.22, belt), CAR, coat),
        Surface(lengthwise(flank_x, z, z + length, 0.22, 0.36), CAR, paint(scaled(body, 0.45))),
        Surface(flank, CAR, coat),
        Surface(shrink(np.array((flank[0], pillar[0], pillar[1], flank[3])), 0.2), CAR, glass),
        Surface(shrink(np.array((pillar[0], flank[1], flank[2], pillar[1])), 0.2), CAR, glass),
        *_wheels(CAR, flank_x, (z + 0.75, z + length - 0.8), 0.34),
        Surface(roof, CAR, coat),
        Surface(level(x - 0.5 * width, x + 0.5 * width, z, z + nose, belt), CAR, coat),
        Surface(pane, CAR, coat),
        Surface(shrink(pane, 0.16), CAR, glass),
        *_near_face(rng, x, z, width=width, belt=belt, body=body, away=away),
    ]
    return Thing(surfaces, LANES if drives else PARKED, z, (x, 0.0, z), (0.0, 0.0, speed if drives else 0.0))


def bus(rng: np.random.Generator, x: float, z: float, *, away: bool, eye_x: float, speed: float, drives: bool) -> Thing:
    """Make a city bus: long box with a row of panes, a tall windscreen and a lit destination panel."""
    half, height, length = 1.25, float(rng.uniform(2.9, 3.3)), float(rng.uniform(8.0, 11.0))
    body = pick(rng, BODY_COLOURS[2:], 0.2)
    stripe = paint(pick(rng, BODY_COLOURS, 0.2), noise=0.03)
    coat = paint(body, noise=0.03, wavelength=2.0)
    glass = paint(tint(rng, GLASS, 0.1), noise=0.25, wavelength=1.5)
    panes = paint(scaled(body, 0.5), GLASS, period=(1.45, NO_GRID), duty=(0.86, 2.0), variation=0.5, noise=0.1)
    flank = x + (-half if x > eye_x else half)
    lamp: Colour = (0.80, 0.08, 0.06) if away else (0.95, 0.94, 0.85)
    light = paint(lamp, noise=0.0, glow=0.6)
    panel = paint((0.08, 0.08, 0.08), (0.95, 0.65, 0.15), period=(0.3, 0.5), duty=(0.6, 0.5), noise=0.0, glow=0.7)
    sill = 1.35 if away else 0.95
    parts = [
        (lengthwise(flank, z, z + length, 0.3, height), coat),
        (lengthwise(flank, z + 0.3, z + length - 0.2, 1.35, 2.45), panes),
        (lengthwise(flank, z, z + length, 0.3, 0.8), stripe),
        (upright(x - half + 0.1, x - half + 0.45, 0.0, 0.5, z), _TYRE_PAINT),
        (upright(x + half - 0.45, x + half - 0.1, 0.0, 0.5, z), _TYRE_PAINT),
        (upright(x - half, x + half, 0.3, height, z), coat),
        (upright(x - half, x + half, 0.3, 0.8, z), stripe),
        (upright(x - half + 0.15, x + half - 0.15, sill, 2.45, z), glass),
        (upright(x - half + 0.35, x + half - 0.35, 2.55, height - 0.12, z), panel),
        (upright(x - half + 0.08, x - half + 0.45, 0.62, 0.88, z), light),
        (upright(x + half - 0.45, x + half - 0.08, 0.62, 0.88, z), light),
    ]
    surfaces = [Surface(polygon, BUS, material) for polygon, material in parts]
    wheels = _wheels(BUS, flank, (z + 1.9, z + length - 2.2), 0.5)
    return Thing(
        surfaces[:3] + wheels + surfaces[3:],
        LANES if drives else PARKED,
        z,
        (x, 0.0, z),
        (0.0, 0.0, speed if drives else 0.0),
    )


def person(rng: np.random.Generator, x: float, z: float, *, band: int, velocity: tuple[float, float]) -> Thing:
    """Make someone standing or walking; velocity is (along x, along z) in m/s."""
    k = float(rng.uniform(0.86, 1.08))
    stride = float(rng.uniform(0.06, 0.30)) if any(velocity) else 0.08
    top, trousers = paint(pick(rng, CLOTHES), noise=0.08, wavelength=0.3), paint(pick(rng, CLOTHES), noise=0.08)
    skin, hair = paint(pick(rng, SKIN, 0.06), noise=0.02), paint(pick(rng, HAIR, 0.06), noise=0.02)
    shoes = paint(tint(rng, (0.2, 0.18, 0.17), 0.2), noise=0.0)
    flip = -1.0 if velocity[0] < 0 else 1.0
    swing = 0.6 * stride
    parts = [
        (bar((-0.08 * k, 0.88 * k), (-stride, 0.06), 0.19 * k), trousers),
        (bar((0.08 * k, 0.88 * k), (stride, 0.06), 0.19 * k), trousers),
        (bar((-stride - 0.07, 0.05), (-stride + 0.14, 0.05), 0.10), shoes),
        (bar((stride - 0.07, 0.05), (stride + 0.14, 0.05), 0.10), shoes),
        (bar((-0.25 * k, 1.40 * k), (-0.27 * k - swing, 0.82 * k), 0.13 * k), top),
        (bar((0.25 * k, 1.40 * k), (0.27 * k + swing, 0.82 * k), 0.13 * k), top),
        (((-0.19 * k, 0.80 * k), (0.19 * k, 0.80 * k), (0.27 * k, 1.45 * k), (-0.27 * k, 1.45 * k)), top),
    ]
    if rng.random() < 0.25:
        coat = ((-0.27 * k, 0.45 * k), (0.27 * k, 0.45 * k), (0.18 * k, 1.0 * k), (-0.18 * k, 1.0 * k))
        parts.append((coat, top))
    surfaces = [Surface(outline(points, x, 0.0, z, flip=flip), PERSON, material) for points, material in parts]
    surfaces += [
        Surface(disc(x, 1.60 * k, z, 0.155 * k, squeeze=0.85), PERSON, hair),
        Surface(disc(x + flip * 0.03, 1.57 * k, z, 0.115 * k, squeeze=0.85), PERSON, skin),
    ]
    return Thing(surfaces, band, z, (x, 0.0, z), (velocity[0], 0.0, velocity[1]))


def _bicycle_surfaces(rng: np.random.Generator, x: float, z: float, flip: float) -> list[Surface]:
    """Bicycle seen from the side: two spoked wheels, frame, saddle, handlebar."""
    frame = paint(tint(rng, pick(rng, BODY_COLOURS), 0.2), noise=0.02)
    spokes = paint(tint(rng, (0.34, 0.34, 0.35), 0.15), noise=0.1, wavelength=0.2)
    rubber = paint(TYRE, noise=0.0)
    surfaces = []
    for dx in (-0.52, 0.52):
        surfaces.append(Surface(disc(x + flip * dx, 0.36, z, 0.36), BICYCLE, rubber))
        surfaces.append(Surface(disc(x + flip * dx, 0.36, z, 0.26), BICYCLE, spokes))
    parts = [
        (bar((-0.52, 0.36), (0.0, 0.33), 0.08), frame),
        (bar((0.0, 0.33), (0.42, 0.82), 0.09), frame),
        (bar((0.0, 0.33), (-0.18, 0.90), 0.09), frame),
        (bar((-0.14, 0.78), (0.42, 0.80), 0.09), frame),
        (bar((0.52, 0.36), (0.38, 1.02), 0.08), frame),
        (bar((-0.32, 0.94), (-0.05, 0.94), 0.10), rubber),
        (bar((0.30, 1.03), (0.52, 1.05), 0.09), rubber),
    ]
    return surfaces + [Surface(outline(points, x, 0.0, z, flip=flip), BICYCLE, paint_) for points, paint_ in parts]


def parked_bicycle(rng: np.random.Generator, x: float, z: float) -> Thing:
    """Make a bicycle on its stand."""
    return Thing(_bicycle_surfaces(rng, x, z, 1.0 if rng.random() < 0.5 else -1.0), PAVEMENT, z, (x, 0.0, z))


def crossing_rider(rng: np.random.Generator, x: float, z: float, *, speed: float) -> Thing:
    """Make a rider seen from the side, moving along x at `speed` m/s."""
    flip = -1.0 if speed < 0 else 1.0
    top, trousers = paint(pick(rng, CLOTHES), noise=0.08, wavelength=0.3), paint(pick(rng, CLOTHES), noise=0.08)
    skin, helmet = paint(pick(rng, SKIN, 0.06), noise=0.02), paint(pick(rng, BODY_COLOURS, 0.2), noise=0.02)
    parts = [
        (bar((-0.16, 0.98), (0.16, 0.72), 0.19), trousers),
        (bar((0.16, 0.76), (0.04, 0.28), 0.16), trousers),
        (bar((-0.02, 0.24), (0.18, 0.24), 0.10), paint((0.15, 0.14, 0.14))),
        (((-0.32, 0.92), (-0.02, 0.90), (0.32, 1.42), (0.02, 1.54)), top),
        (bar((0.16, 1.40), (0.44, 1.06), 0.13), top),
    ]
    surfaces = _bicycle_surfaces(rng, x, z, flip)
    surfaces += [Surface(outline(points, x, 0.0, z, flip=flip), RIDER, paint_) for points, paint_ in parts]
    surfaces += [
        Surface(disc(x + flip * 0.26, 1.64, z, 0.14, squeeze=0.9), RIDER, skin),
        Surface(disc(x + flip * 0.24, 1.71, z, 0.14), RIDER, helmet),
    ]
    return Thing(surfaces, CROSSING, z, (x, 0.0, z), (speed, 0.0, 0.0))


def lane_rider(rng: np.random.Generator, x: float, z: float, *, speed: float) -> Thing:
    """Make a rider seen from the back or the front, moving along z at `speed` m/s."""
    top, trousers = paint(pick(rng, CLOTHES), noise=0.08, wavelength=0.3), paint(pick(rng, CLOTHES), noise=0.08)
    skin, helmet = paint(pick(rng, SKIN, 0.06), noise=0.02), paint(pick(rng, BODY_COLOURS, 0.2), noise=0.02)
    rubber, frame = paint(TYRE, noise=0.0), paint(pick(rng, BODY_COLOURS), noise=0.02)
    parts = [
        (((-0.09, 0.0), (0.09, 0.0), (0.09, 0.80), (-0.09, 0.80)), BICYCLE, rubber),
        (((-0.12, 0.45), (0.12, 0.45), (0.12, 0.95), (-0.12, 0.95)), BICYCLE, frame),
        (bar((-0.36, 1.06), (0.36, 1.06), 0.10), BICYCLE, rubber),
        (bar((-0.13, 0.98), (-0.19, 0.28), 0.16), RIDER, trousers),
        (bar((0.13, 0.98), (0.19, 0.42), 0.16), RIDER, trousers),
        (bar((-0.24, 1.46), (-0.36, 1.10), 0.13), RIDER, top),
        (bar((0.24, 1.46), (0.36, 1.10), 0.13), RIDER, top),
        (((-0.21, 0.90), (0.21, 0.90), (0.27, 1.50), (-0.27, 1.50)), RIDER, top),
    ]
    surfaces = [Surface(outline(points, x, 0.0, z), label, material) for points, label, material in parts]
    surfaces += [
        Surface(disc(x, 1.66, z, 0.14, squeeze=0.85), RIDER, skin),
        Surface(disc(x, 1.73, z, 0.14), RIDER, helmet),
    ]
    return Thing(surfaces, LANES, z, (x, 0.0, z), (0.0, 0.0, speed))
