"""Layers by hand and devices by hand, for tests without networks."""

from __future__ import annotations

from math import prod

from edgeailite.cost import Layer, Value
from edgeailite.cost.devices import Figure, Profile
from edgeailite.cost.devices.profile import KINDS

RATES = {  # 10^9 per second
    "float32": dict(zip(KINDS, (100.0, 80.0, 20.0, 40.0, 50.0, 60.0, 1.0, 3.0, 30.0, 5.0, 15.0, 0.5), strict=True)),
    "int8": dict(zip(KINDS, (400.0, 300.0, 25.0, 45.0, 60.0, 200.0, 1.5, 9.0, 90.0, 6.0, 35.0, 1.2), strict=True)),
}


def device(
    *, bandwidth: float = 10.0, overhead: float = 5.0, alignment: int = 8, fallback: tuple[str, ...] = ()
) -> Profile:
    """A device whose figures are all different."""
    figure = {name: Figure(value, "by hand") for name, value in (("bandwidth", bandwidth), ("overhead", overhead))}
    return Profile(
        name="planted",
        title="planted",
        runtime="none",
        measured=False,
        rates={t: {kind: Figure(rate, "by hand") for kind, rate in row.items()} for t, row in RATES.items()},
        on_chip_memory=Figure(0.0, "by hand"),
        on_chip_bandwidth=figure["bandwidth"],
        band=(0.5, 2.0),
        band_source="by hand",
        alignment=alignment,
        fallback=fallback,
        host_bandwidth=Figure(1.0, "by hand"),
        host_overhead=Figure(100.0, "by hand"),
        **figure,
    )


def convolution(
    name: str, taken: int, given: int, *, kernel: int = 1, groups: int = 1, side: int = 32, integer: bool = False
) -> Layer:
    """A convolution of stride 1 on a square."""
    item = 1 if integer else 4
    weight = (given, taken // groups, kernel, kernel)
    return Layer(
        name,
        "convolution",
        (Value(f"{name}.in", (1, taken, side, side), item),),
        (Value(name, (1, given, side, side), item),),
        macs=prod(weight) * side * side,
        parameters=prod(weight),
        weight_bytes=prod(weight) * item,
        integer=integer,
        kernel=weight,
        groups=groups,
    )


def plain(name: str, operator: str, channels: int, *, side: int = 32, integer: bool = False) -> Layer:
    """A layer without weights that keeps the shape."""
    value = Value(name, (1, channels, side, side), 1 if integer else 4)
    return Layer(name, operator, (value,), (value,), integer=integer)
