"""Estimated time of a network on a device, from its layers and the device's profile alone: a roofline, layer by layer.

Rules:

1. Every layer has a kind (`kind_of`). Batch normalisation and activations have none and cost nothing: runtimes compute
   them inside the convolution before. So do the operators that a profile lists as fused. Layers whose channels are no
   multiple of the device's vector have a kind of their own where that makes a difference (`SPLIT`).
2. Work is MACs for convolutions and linear layers, elements written for the others. Computing takes work / rate, with
   the device's rate for the kind and the type (int8 for integer layers, else float32).
3. Moving takes (bytes read + bytes written) / bandwidth: that of the on-chip memory where all of them fit, else that of
   the external memory.
4. A layer takes the longer of the two, and the overhead per layer.
5. An operator that the device leaves to its host takes bytes / the host's bandwidth, and the overhead of changing over.
6. The network takes the sum. The band around it is the profile's: measured on networks that were held out for a fitted
   profile, a guess (and wide) for one from a datasheet.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from edgeailite.cost.devices.profile import CONVOLUTIONS, SPLIT, UNALIGNED, Profile
from edgeailite.cost.layer import Layer
from edgeailite.errors import UsageError

ACTIVATIONS = ("relu", "clip", "leaky_relu", "sigmoid", "hardsigmoid", "hardswish", "silu")
FREE = ("batch_norm", "dropout", "identity", *ACTIVATIONS)
KIND_OF_OPERATOR = {"linear": "linear", "resize": "resize", "resize_nearest": "resize"}  # elementwise: all others
STEM_CHANNELS = 4  # a picture, with or without depth


@dataclass(frozen=True)
class LayerEstimate:
    """Time of one layer, and what it is bound by: compute, memory or host."""

    name: str
    kind: str
    milliseconds: float
    bound: str


@dataclass(frozen=True)
class Estimate:
    """Time of a network: the middle, and the band it lies in."""

    milliseconds: float
    low: float
    high: float
    layers: tuple[LayerEstimate, ...]


def kind_of(layer: Layer, alignment: int = 1) -> str | None:
    """Return the kind: dense, pointwise, depthwise, grouped, stem, linear, resize or elementwise; None if it is free.

    Those of `SPLIT` end in `_unaligned` where the channels taken are no multiple of `alignment`.
    """
    if layer.operator in FREE:
        return None
    if layer.operator in ("convolution", "transposed_convolution"):
        kind = _convolution_kind(layer)
    else:
        kind = KIND_OF_OPERATOR.get(layer.operator, "elementwise")
    unaligned = kind in SPLIT and _channels(layer) % alignment != 0
    return kind + UNALIGNED if unaligned else kind


def _channels(layer: Layer) -> int:
    """Channels that a layer takes; a resize gives as many as it takes."""
    return layer.kernel[1] * layer.groups if layer.operator == "convolution" else layer.output_shape[1]


def _convolution_kind(layer: Layer) -> str:
    if layer.groups > 1:
        return "depthwise" if layer.kernel[1] == 1 else "grouped"
    if layer.operator == "convolution" and layer.kernel[1] <= STEM_CHANNELS:
        return "stem"
    return "pointwise" if set(layer.kernel[2:]) <= {1} else "dense"


def work_of(layer: Layer, kind: str) -> int:
    """Return the work that the rate of this kind counts: MACs, or elements written."""
    return layer.macs if kind.removesuffix(UNALIGNED) in CONVOLUTIONS else math.prod(layer.output_shape)


def type_of(layer: Layer) -> str:
    """Return the element type whose rates apply to a layer."""
    return "int8" if layer.integer else "float32"


def estimate_layer(layer: Layer, profile: Profile) -> LayerEstimate | None:
    """Time of one layer; None for one that costs nothing. UsageError where the device cannot compute it at all."""
    kind = kind_of(layer, profile.alignment)
    if kind is None or f"{type_of(layer)} {layer.operator}" in profile.fused:
        return None
    moved = layer.bytes_read + layer.bytes_written
    if layer.operator in profile.fallback:
        return LayerEstimate(layer.name, kind, profile.host_milliseconds(moved), "host")
    rate = profile.rate(type_of(layer), kind)
    if rate is None:
        known = ", ".join(profile.rates)
        raise UsageError(f"device {profile.name}: no rate for {type_of(layer)} {kind} ({layer.name}); it has {known}")
    computing = work_of(layer, kind) / rate / 1e6
    moving = moved / profile.bandwidth_for(moved) / 1e6
    bound = "compute" if computing >= moving else "memory"
    return LayerEstimate(layer.name, kind, max(computing, moving) + profile.overhead.value / 1e3, bound)


def estimate(layers: Iterable[Layer], profile: Profile) -> Estimate:
    """Time of a network on a device."""
    found = tuple(part for part in (estimate_layer(layer, profile) for layer in layers) if part is not None)
    total = sum(part.milliseconds for part in found)
    low, high = profile.band
    return Estimate(total, total * low, total * high, found)
