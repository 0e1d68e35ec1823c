"""Layout of one generated `streets` scene: the things and their places, the light, and the camera's position.

`build_world` draws everything from one random generator, in metres and without knowing any image size, so the same
(seed, index) is the same street at every resolution. The difficulty is set here and in the palettes; it was chosen by
what a random forest on colour, position and local means reaches (see benchmarks/streets_difficulty.py), not by
training a network.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from edgeailite.data.streets import roadside, traffic
from edgeailite.data.streets.shapes import (
    BACKDROP,
    CROSSING,
    NO_GRID,
    PAVEMENT,
    ROAD,
    SIDEWALK,
    SKY,
    TERRAIN,
    Colour,
    Surface,
    Thing,
    level,
    paint,
    pick,
    scaled,
    tint,
    upright,
)

EYE_HEIGHT = 1.65
TIME_STEP = 0.1  # seconds between the previous frame and this one
FAR = 160.0  # end of the ground, metres


class Light(NamedTuple):
    """Illumination and sensor: colours are factors on the paint, `sun` is the unit direction towards the sun."""

    ambient: Colour
    direct: Colour
    sun: tuple[float, float, float]
    horizon: Colour
    haze: float  # per metre
    gain: float
    noise: float  # standard deviation at mid grey, 0..1
    blur: float  # sigma at 256 pixels width


class Pose(NamedTuple):
    """Camera position (m) and heading: yaw to the right and pitch downwards, radians."""

    x: float
    z: float
    yaw: float
    pitch: float


class World(NamedTuple):
    """Everything that is drawn, in painting order, with the camera now and one time step earlier."""

    things: list[Thing]
    light: Light
    pose: Pose
    previous: Pose


class Street(NamedTuple):
    """Cross-section in metres: road edges, lane middles, the eye; verge, pavement and parking as (left, right)."""

    left: float
    right: float
    own: float
    oncoming: float
    eye: float
    verge: tuple[float, float]
    pavement: tuple[float, float]
    parking: tuple[bool, bool]
    dusk: bool


def build_world(rng: np.random.Generator) -> World:
    """Draw a street, its light and the two camera poses from `rng`."""
    light, sky, dusk = _light(rng)
    street = _street(rng, dusk)
    things = [sky, _ground(rng, street)]
    standing = [thing for out in (-1.0, 1.0) for thing in _verge(rng, street, out)]
    standing += _far_end(rng, dusk) + _road_users(rng, street)
    things += sorted(standing, key=lambda thing: (thing.band, -thing.z))
    return World(things, light, *_poses(rng, street))


def _light(rng: np.random.Generator) -> tuple[Light, Thing, bool]:
    """Light of a sunny, grey or late day, and the sky that belongs to it."""
    kind = str(rng.choice(("sun", "grey", "dusk"), p=(0.5, 0.32, 0.18)))
    table: dict[str, tuple[Colour, Colour, Colour, Colour]] = {  # ambient, direct, horizon, zenith
        "sun": ((0.50, 0.53, 0.60), (0.62, 0.58, 0.50), (0.80, 0.85, 0.92), (0.36, 0.55, 0.84)),
        "grey": ((0.84, 0.86, 0.88), (0.05, 0.05, 0.05), (0.80, 0.82, 0.84), (0.62, 0.65, 0.69)),
        "dusk": ((0.46, 0.44, 0.52), (0.40, 0.28, 0.14), (0.92, 0.70, 0.54), (0.40, 0.44, 0.62)),
    }
    ambient, direct, horizon, zenith = table[kind]
    warm = float(rng.uniform(-0.12, 0.12))
    cast = (1.0 + warm, 1.0 + float(rng.uniform(-0.04, 0.04)), 1.0 - warm)
    azimuth, elevation = float(rng.uniform(0.0, 2.0 * np.pi)), float(rng.uniform(0.35, 1.0))
    sun = (
        float(np.cos(elevation) * np.sin(azimuth)),
        float(np.sin(elevation)),
        float(np.cos(elevation) * np.cos(azimuth)),
    )
    horizon, zenith = tint(rng, horizon, 0.14), tint(rng, zenith, 0.2)
    light = Light(
        (ambient[0] * cast[0], ambient[1] * cast[1], ambient[2] * cast[2]),
        (direct[0] * cast[0], direct[1] * cast[1], direct[2] * cast[2]),
        sun,
        horizon,
        haze=float(rng.uniform(0.001, 0.006)),
        gain=float(rng.uniform(0.85, 1.2)),
        noise=float(rng.uniform(0.012, 0.035)),
        blur=float(rng.uniform(0.35, 0.65)),
    )
    clouds = paint(horizon, zenith, noise=float(rng.uniform(0.02, 0.14)), wavelength=1800.0, glow=1.0)
    return light, Thing([Surface(upright(-2e4, 2e4, -5e3, 2e4, 5e3), SKY, clouds)], -2, 5e3), kind == "dusk"


def _street(rng: np.random.Generator, dusk: bool) -> Street:
    """Lanes, parking strips and pavements around the eye, which drives on the right."""
    lane = float(rng.uniform(2.9, 3.8))
    parking = bool(rng.random() < 0.55), bool(rng.random() < 0.5)
    left = -lane - (2.1 if parking[0] else 0.3)
    right = lane + (2.1 if parking[1] else 0.3)
    own = 0.5 * lane
    pavement = float(rng.uniform(2.2, 4.5)), float(rng.uniform(2.2, 4.5))
    eye = own + float(rng.uniform(-0.5, 0.5))
    green = [float(rng.uniform(1.2, 2.6)) if rng.random() < 0.55 else 0.0 for _ in range(2)]
    return Street(left, right, own, -own, eye, (green[0], green[1]), pavement, parking, dusk)


def _poses(rng: np.random.Generator, street: Street) -> tuple[Pose, Pose]:
    """This camera and the one a time step earlier: ego speed, a little side slip, yaw rate and nodding."""
    yaw, pitch = float(rng.normal(0.0, 0.075)), float(rng.normal(0.015, 0.028))
    forward, aside = float(rng.uniform(1.0, 9.0)) * TIME_STEP, float(rng.normal(0.0, 0.02))
    turn, nod = float(rng.normal(0.0, 0.006)), float(rng.normal(0.0, 0.002))
    return Pose(street.eye, 0.0, yaw, pitch), Pose(street.eye - aside, -forward, yaw - turn, pitch - nod)


def _ground(rng: np.random.Generator, street: Street) -> Thing:
    """Grass, pavements, road and markings, all in the plane y = 0."""
    soil = pick(rng, ((0.36, 0.38, 0.20), (0.36, 0.38, 0.20), (0.46, 0.40, 0.30), (0.44, 0.42, 0.36)), 0.16)
    grass = paint(scaled(soil, float(rng.uniform(0.7, 1.4))), noise=0.22, wavelength=1.5)
    tar = pick(rng, ((0.34, 0.34, 0.35), (0.33, 0.34, 0.37), (0.37, 0.34, 0.32)), 0.07)
    asphalt = scaled(tar, float(rng.uniform(0.65, 1.6)))
    surfaces = [Surface(level(-70.0, 70.0, -3.0, FAR), TERRAIN, grass)]
    inner = street.left - street.verge[0], street.right + street.verge[1]
    edges = ((inner[0] - street.pavement[0], inner[0]), (inner[1], inner[1] + street.pavement[1]))
    for x0, x1 in edges:
        stone = pick(rng, ((0.50, 0.48, 0.46), (0.46, 0.46, 0.47), (0.50, 0.40, 0.35), (0.50, 0.46, 0.36)), 0.14)
        slab = scaled(stone, float(rng.uniform(0.65, 1.45)))
        size = float(rng.uniform(0.6, 1.5))
        slabs = paint(scaled(slab, 0.7), slab, period=(size, size), duty=(0.93, 0.95), variation=0.12, noise=0.07)
        surfaces.append(Surface(level(x0, x1, -3.0, FAR), SIDEWALK, slabs))
    road = paint(asphalt, noise=float(rng.uniform(0.05, 0.14)), wavelength=float(rng.uniform(1.0, 3.0)))
    surfaces.append(Surface(level(street.left, street.right, -3.0, FAR), ROAD, road))
    kerb = paint(tint(rng, (0.66, 0.65, 0.63), 0.2), noise=0.05)
    surfaces.append(Surface(level(street.left - 0.22, street.left, -3.0, FAR), SIDEWALK, kerb))
    surfaces.append(Surface(level(street.right, street.right + 0.22, -3.0, FAR), SIDEWALK, kerb))
    surfaces += _patches(rng, street, asphalt) + _markings(rng, street, asphalt)
    return Thing(surfaces, -1, FAR)


def _patches(rng: np.random.Generator, street: Street, asphalt: Colour) -> list[Surface]:
    """Mended asphalt and manhole covers."""
    surfaces = []
    for _ in range(int(rng.integers(0, 4))):
        x, z = float(rng.uniform(street.left, street.right - 1.5)), float(rng.uniform(4.0, 25.0))
        shade = paint(scaled(asphalt, float(rng.uniform(0.7, 1.2))), noise=0.1)
        patch = level(x, min(x + float(rng.uniform(0.7, 2.0)), street.right), z, z + float(rng.uniform(0.8, 6.0)))
        surfaces.append(Surface(patch, ROAD, shade))
    return surfaces


def _markings(rng: np.random.Generator, street: Street, asphalt: Colour) -> list[Surface]:
    """Centre line, edge lines and perhaps a zebra crossing."""
    white = tint(rng, (0.82, 0.82, 0.80), 0.16)
    gap = (6.0, float(rng.uniform(0.4, 0.7))) if rng.random() < 0.7 else (NO_GRID, 2.0)
    dashes = paint(asphalt, white, period=(NO_GRID, gap[0]), duty=(2.0, gap[1]), noise=0.08)
    surfaces = [Surface(level(-0.09, 0.09, -3.0, FAR), ROAD, dashes)]
    if rng.random() < 0.6:
        for x in (2.0 * street.own, 2.0 * street.oncoming):
            surfaces.append(Surface(level(x - 0.07, x + 0.07, -3.0, FAR), ROAD, paint(white, noise=0.08)))
    if rng.random() < 0.35:
        z = float(rng.uniform(6.5, 14.0))
        zebra = paint(asphalt, white, period=(1.0, NO_GRID), duty=(0.5, 2.0), noise=0.08)
        surfaces.append(Surface(level(street.left + 0.3, street.right - 0.3, z, z + 3.2), ROAD, zebra))
    return surfaces


def _verge(rng: np.random.Generator, street: Street, out: float) -> list[Thing]:
    """Make one side of the street: stretches of houses, gardens and park beyond the pavement, and the things on it."""
    index = 0 if out < 0 else 1
    kerb = street.left if out < 0 else street.right
    inner = kerb + out * street.verge[index]
    back = inner + out * street.pavement[index]
    things: list[Thing] = []
    z = float(rng.uniform(-8.0, 2.0))
    while z < 95.0:
        end = z + float(rng.uniform(10.0, 26.0))
        kind = str(rng.choice(("houses", "garden", "park"), p=(0.34, 0.42, 0.24)))
        things += _stretch(rng, kind, back, z, end, out=out, dusk=street.dusk)
        z = end
    return things + _on_pavement(rng, inner, back, out) + _at_kerb(rng, kerb, out)


def _stretch(
    rng: np.random.Generator, kind: str, back: float, z0: float, z1: float, *, out: float, dusk: bool
) -> list[Thing]:
    """Houses at the pavement, a garden with fence or hedge before set-back houses, or a park."""
    if kind == "houses":
        height = float(rng.uniform(5.0, 14.0))
        return [roadside.building(rng, back + out * 0.2, z0, z1, out=out, height=height, dusk=dusk)]
    things: list[Thing] = []
    depth = float(rng.uniform(3.5, 8.0))
    if kind == "garden":
        height = float(rng.uniform(3.5, 8.0))
        things.append(roadside.building(rng, back + out * depth, z0 + 2.0, z1 - 1.0, out=out, height=height, dusk=dusk))
    elif rng.random() < 0.7:
        tall = float(rng.uniform(2.5, 7.0))
        things.append(roadside.hedge(rng, back + out * (depth + 4.0), z0, z1, height=tall))
    for z in sorted(rng.uniform(z0 + 2.0, z1 - 1.0, int(rng.integers(0, 3))).tolist(), reverse=True):
        x = back + out * float(rng.uniform(1.5, 3.2))
        things.append((roadside.tree if rng.random() < 0.6 else roadside.bush)(rng, x, z))
    border = rng.random()
    if border < 0.70:
        things.append(roadside.fence(rng, back + out * 0.15, z0, z1)._replace(band=2))
    elif border < 0.85:
        height = float(rng.uniform(0.8, 1.7))
        things.append(roadside.hedge(rng, back + out * 0.3, z0, z1, height=height))
    # a stretch is one step of the painting order: a house must hide the trees of the stretch behind it
    return [thing._replace(band=BACKDROP, z=z0) for thing in things]


def _on_pavement(rng: np.random.Generator, inner: float, back: float, out: float) -> list[Thing]:
    """People and parked bicycles between house line and verge."""
    width = abs(back - inner)
    things: list[Thing] = []
    for _ in range(int(rng.integers(1, 6))):
        x = inner + out * float(rng.uniform(0.35, 0.9)) * width
        pace = float(rng.choice((-1.4, 0.0, 1.4)))
        things.append(traffic.person(rng, x, float(rng.uniform(9.0, 21.0)), band=PAVEMENT, velocity=(0.0, pace)))
    if rng.random() < 0.5:
        z, x = float(rng.uniform(8.0, 16.0)), inner + out * (width - 1.0)
        for step in range(int(rng.integers(1, 4))):
            things.append(traffic.parked_bicycle(rng, x, z + 0.9 * step))
    return things


def _at_kerb(rng: np.random.Generator, kerb: float, out: float) -> list[Thing]:
    """Trees, poles and signs along the kerb."""
    things: list[Thing] = []
    edge = kerb + out * 0.45
    makers = {
        "tree": lambda z: roadside.tree(rng, edge + out * 0.85, z),
        "lamp": lambda z: roadside.lamp_post(rng, edge, z, out=out),
        "bollard": lambda z: roadside.bollard(rng, edge, z),
        "sign": lambda z: roadside.sign(rng, edge, z),
    }
    z = float(rng.uniform(7.0, 11.0))
    while z < 40.0:
        kind = str(rng.choice(tuple(makers), p=(0.18, 0.32, 0.14, 0.36)))
        things.append(makers[kind](z))
        z += float(rng.uniform(3.0, 9.0))
    return things


def _far_end(rng: np.random.Generator, dusk: bool) -> list[Thing]:
    """Houses, trees or nothing across the end of the street."""
    z, kind = float(rng.uniform(95.0, 130.0)), rng.random()
    if kind < 0.35:
        return roadside.terrace(rng, -60.0, 60.0, z, dusk=dusk)
    return roadside.wood(rng, -60.0, 60.0, z) if kind < 0.75 else []


def _road_users(rng: np.random.Generator, street: Street) -> list[Thing]:
    """Parked cars, traffic in both lanes, riders, and people or riders who cross in front of it."""
    things: list[Thing] = []
    for parked, x, away in (
        (street.parking[0], street.left + 1.05, False),
        (street.parking[1], street.right - 1.05, True),
    ):
        if parked:
            things += _row(rng, street, x, float(rng.uniform(5.0, 12.0)), away=away, drives=False)
    crossing, riding = rng.random(2).tolist()
    start = 17.0 if riding < 0.5 else 13.0 if crossing < 0.6 else 8.0
    for x, away in ((street.own, True), (street.oncoming, False)):
        things += _row(rng, street, x, start + float(rng.uniform(0.0, 16.0)), away=away, drives=True)
    if riding < 0.5:
        z, away = float(rng.uniform(11.5, 15.0) if crossing < 0.6 else rng.uniform(7.0, 15.0)), bool(rng.random() < 0.6)
        x = 2.0 * street.own - 0.55 if away else 2.0 * street.oncoming + 0.55
        things.append(traffic.lane_rider(rng, x, z, speed=5.0 if away else -5.0))
    if crossing < 0.6:
        things += _crossing(rng, street)
    return things


def _row(rng: np.random.Generator, street: Street, x: float, z: float, *, away: bool, drives: bool) -> list[Thing]:
    """Make a row of cars, now and then a bus, from z on."""
    things = []
    for _ in range(int(rng.integers(1, 4)) if not drives else int(rng.integers(0, 4))):
        shift, speed = float(rng.uniform(-0.2, 0.2)), float(rng.uniform(4.0, 12.0)) * (1.0 if away else -1.0)
        long = drives and rng.random() < 0.42
        make = traffic.bus if long else traffic.car
        things.append(make(rng, x + shift, z, away=away, eye_x=street.eye, speed=speed, drives=drives))
        z += (12.5 if long else 5.5) + float(rng.exponential(10.0 if drives else 2.0))
    return things


def _crossing(rng: np.random.Generator, street: Street) -> list[Thing]:
    """People and riders on the road between the camera and the traffic."""
    things = []
    for z in (8.0, 9.3, 10.6):
        kind = rng.random()
        x, heading = float(rng.uniform(-1.0, 1.0)) * (2.0 * street.own - 0.9), float(rng.choice((-1.0, 1.0)))
        if kind < 0.42:
            things.append(traffic.crossing_rider(rng, x, z, speed=4.0 * heading))
        elif kind < 0.80:
            things.append(traffic.person(rng, x, z, band=CROSSING, velocity=(1.4 * heading, 0.0)))
    return things
