"""Calibrating a device's figures from measured networks: the inverse of the roofline, by non-negative least squares.

Unknown are the time per MAC or element of every kind and type, the time per byte, and the overhead per layer. Given
which layers are bound by memory, the roofline is linear in them; so bounds and figures are found in turns:

1. Start: a kind's time per work is that of its quick layers, the time per byte that of the quickest layer of all.
2. Every layer is bound by what takes longer under the figures so far.
3. Solve for the figures: one equation per measured layer, one per network for its total; an equation's weight is
   1 / sqrt(time), so that errors of networks are relative ones and large layers do not drown small ones.
4. Go on with 2 until bounds repeat.

Where only totals are known (a board without a profiler), a base profile gives the start, and as much of an equation
per figure as keeps figures near it that the totals do not tell. Figures of kinds that no layer had are taken from a
kind that is computed alike, and say so. What a device leaves to its host, and how much faster its on-chip memory is, is
not fitted but kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgeailite.cost.devices.profile import KINDS, TYPES, UNALIGNED, Figure, Profile
from edgeailite.cost.devices.roofline import estimate, kind_of, type_of, work_of
from edgeailite.cost.layer import Layer
from edgeailite.errors import UsageError, option

Array = NDArray[np.float64]
Key = tuple[str, str]  # type, kind
ROUNDS = 30
TOTAL_WEIGHT = 4.0  # of a network's equation against one of its layers
PRIOR_WEIGHT = 0.1  # of a base profile's figure, relative to a network of 1 ms
START_PERCENTILE = 75
MOSTLY = 0.25
SMALLEST_BAND = 0.1  # even where held-out networks are met better
INT8_SUFFIX = " int8"
UNTESTED_BAND = (0.5, 2.0)
ALIKE = {
    "linear": "pointwise",
    "dense": "pointwise",
    "pointwise": "dense",
    "grouped": "depthwise",
    "depthwise": "grouped",
    "stem": "dense",
    "resize": "elementwise",
    "elementwise": "resize",
}  # an unaligned kind: the same aligned


@dataclass(frozen=True)
class MeasuredNetwork:
    """A network on a device: its layers, the milliseconds of each (None if not measured) and of the whole network.

    The int8 file of a network is named as the float one, plus `INT8_SUFFIX`.
    """

    name: str
    layers: Sequence[Layer]
    layer_milliseconds: Sequence[float | None]
    milliseconds: float

    @property
    def network(self) -> str:
        """Name of the network, whose files are held out together."""
        return self.name.removesuffix(INT8_SUFFIX)


@dataclass(frozen=True)
class _Rows:
    """Layers of all networks that cost something. `column` is that of the layer's kind among `keys`."""

    keys: list[Key]
    column: NDArray[np.int64]
    work: Array  # 10^6 MACs or elements
    moved: Array  # 10^6 bytes
    network: NDArray[np.int64]
    milliseconds: Array  # NaN where not measured
    totals: Array


def fit(networks: Sequence[MeasuredNetwork], profile: Profile, source: str) -> Profile:
    """Fit the figures of `profile` to measurements, and its band by leaving out each network (all its files) in turn.

    Figures that times cannot show stay as given: on-chip memory, fallback, names. `source` is written beside every
    fitted figure. Raises UsageError without networks, and for a network that took no longer than the profile gives to
    its host.
    """
    if not networks:
        raise UsageError("nothing to fit: no network was measured")
    for network in networks:
        on_host = _on_host(network, profile)
        if network.milliseconds <= on_host:
            raise UsageError(
                f"{network.name}: {network.milliseconds:.4g} ms, but the base's figures of the host give {on_host:.4g} "
                f"ms to what it computes alone; correct host_bandwidth and host_overhead, or take "
                f"another {option('base')}"
            )
    fitted = _fitted(networks, profile, source)
    names = list(dict.fromkeys(network.network for network in networks))
    ratios = []
    for name in names if len(names) > 2 else []:
        others = _completed(_fitted([n for n in networks if n.network != name], profile, source), fitted)
        held_out = [network for network in networks if network.network == name]
        ratios += [network.milliseconds / estimate(network.layers, others).milliseconds for network in held_out]
    if not ratios:
        return replace(fitted, band=UNTESTED_BAND, band_source="not tested: fewer than 3 networks were measured")
    band = (min(1 - SMALLEST_BAND, *ratios), max(1 + SMALLEST_BAND, *ratios))
    return replace(fitted, band=band, band_source=f"{len(names)} networks, each estimated by a fit of the others")


def _completed(profile: Profile, other: Profile) -> Profile:
    """Rates that a fit without one network lacks altogether, from the fit with it."""
    rates = {
        element_type: {**other.rates[element_type], **profile.rates.get(element_type, {})}
        for element_type in other.rates
    }
    return replace(profile, rates=rates)


def _fitted(networks: Sequence[MeasuredNetwork], profile: Profile, source: str) -> Profile:
    profile = replace(profile, fused=_fused(networks) or profile.fused)
    rows = _rows(networks, profile)
    prior = _prior(rows, profile)
    has_layers = bool(np.isfinite(rows.milliseconds).any())
    values = _start(rows) if has_layers else prior
    seen: set[bytes] = set()
    for _ in range(ROUNDS):
        memory = np.asarray(rows.moved * values[-2] > rows.work * values[rows.column], bool)
        if memory.tobytes() in seen:
            break
        seen.add(memory.tobytes())
        values = _solve(rows, memory, None if has_layers else prior, values)
    return _profile(rows.keys, values, profile, source)


def _fused(networks: Sequence[MeasuredNetwork]) -> tuple[str, ...]:
    """Return the operators that mostly did not appear in profiles, though layers of their network were measured."""
    seen: dict[str, list[bool]] = {}
    for network in networks:
        if any(milliseconds is not None for milliseconds in network.layer_milliseconds):
            for layer, milliseconds in zip(network.layers, network.layer_milliseconds, strict=True):
                if kind_of(layer) is not None:
                    seen.setdefault(f"{type_of(layer)} {layer.operator}", []).append(milliseconds is not None)
    return tuple(sorted(operator for operator, found in seen.items() if np.mean(found) < MOSTLY))


def _rows(networks: Sequence[MeasuredNetwork], profile: Profile) -> _Rows:
    found = [
        (index, (type_of(layer), kind), layer, milliseconds)
        for index, network in enumerate(networks)
        for layer, milliseconds in zip(network.layers, network.layer_milliseconds, strict=True)
        if (kind := kind_of(layer, profile.alignment)) is not None
        and f"{type_of(layer)} {layer.operator}" not in profile.fused
        and layer.operator not in profile.fallback
    ]
    keys = sorted({key for _, key, _, _ in found})
    return _Rows(
        keys,
        np.array([keys.index(key) for _, key, _, _ in found]),
        np.array([work_of(layer, key[1]) / 1e6 for _, key, layer, _ in found]),
        np.array([_moved(layer, profile) / 1e6 for _, _, layer, _ in found]),
        np.array([index for index, _, _, _ in found]),
        np.array([np.nan if ms is None else ms for _, _, _, ms in found]),
        np.array([network.milliseconds - _on_host(network, profile) for network in networks]),
    )


def _moved(layer: Layer, profile: Profile) -> float:
    """Bytes, as many as would take the same time through the external memory."""
    moved = layer.bytes_read + layer.bytes_written
    return moved * profile.bandwidth.value / profile.bandwidth_for(moved)


def _on_host(network: MeasuredNetwork, profile: Profile) -> float:
    """Return the milliseconds that the host computes, which are not fitted."""
    left = [layer for layer in network.layers if layer.operator in profile.fallback and kind_of(layer) is not None]
    return sum(profile.host_milliseconds(layer.bytes_read + layer.bytes_written) for layer in left)


def _start(rows: _Rows) -> Array:
    """Rule 1. Values are ms per 10^6 MACs (or elements) by column, then ms per 10^6 bytes, then ms per layer."""
    known = np.isfinite(rows.milliseconds) & (rows.milliseconds > 0)
    per_work = rows.milliseconds[known] / np.maximum(rows.work[known], 1e-9)
    column = rows.column[known]
    quick = [
        np.percentile(per_work[column == index], 100 - START_PERCENTILE) if (column == index).any() else 0.0
        for index in range(len(rows.keys))
    ]
    per_byte = float((rows.milliseconds[known] / rows.moved[known]).min())
    return np.array([*quick, per_byte, 0.0])


def _prior(rows: _Rows, profile: Profile) -> Array:
    """The figures of a profile in the same order; kinds it lacks as those computed alike."""
    rates = [
        profile.rate(*key) or profile.rate(key[0], _alike(key[1])) or profile.rate("float32", key[1])
        for key in rows.keys
    ]
    known = [rate for rate in rates if rate] or [1.0]
    values = [1 / (rate or known[0]) for rate in rates]
    return np.array([*values, 1 / profile.bandwidth.value, profile.overhead.value / 1e3])


def _alike(kind: str) -> str:
    return kind.removesuffix(UNALIGNED) if kind.endswith(UNALIGNED) else ALIKE[kind]


def _solve(rows: _Rows, memory: NDArray[np.bool_], prior: Array | None, values: Array) -> Array:
    """Rule 3."""
    count = len(rows.keys)
    features = np.zeros((len(rows.work), count + 2))
    features[np.arange(len(rows.work)), rows.column] = np.where(memory, 0, rows.work)
    features[:, count] = np.where(memory, rows.moved, 0)
    features[:, count + 1] = 1
    totals = np.zeros((len(rows.totals), count + 2))
    np.add.at(totals, rows.network, features)
    known = np.isfinite(rows.milliseconds) & (rows.milliseconds > 0)
    weight = 1 / np.sqrt(rows.milliseconds[known])
    heavy = TOTAL_WEIGHT / np.sqrt(rows.totals)
    equations = [features[known] * weight[:, None], totals * heavy[:, None]]
    results = [rows.milliseconds[known] * weight, rows.totals * heavy]
    if prior is not None:
        equations.append(np.diag(PRIOR_WEIGHT / np.maximum(prior, 1e-9)))
        results.append(np.full(len(prior), PRIOR_WEIGHT))
    solved = non_negative_least_squares(np.concatenate(equations), np.concatenate(results))
    told = features.any(axis=0) & (solved > 0)
    told[-1] = True  # an overhead may be 0; a rate or a bandwidth must be finite
    return np.where(told, solved, values)


def non_negative_least_squares(matrix: Array, result: Array) -> Array:
    """Return the x >= 0 with the least |matrix x - result|, by Lawson and Hanson's active sets (scaled columns)."""
    scale = np.linalg.norm(matrix, axis=0)
    scale[scale == 0] = 1
    scaled = matrix / scale
    x = np.zeros(scaled.shape[1])
    free = np.zeros(len(x), bool)
    for _ in range(3 * len(x)):
        gradient = scaled.T @ (result - scaled @ x)
        gradient[free] = -np.inf
        if gradient.max() <= 1e-10 * np.abs(scaled.T @ result).max():
            break
        free[int(gradient.argmax())] = True
        while True:
            solved = np.zeros(len(x))
            solved[free] = np.linalg.lstsq(scaled[:, free], result, rcond=None)[0]
            if solved[free].min() > 0:
                break
            falling = free & (solved <= 0)
            step = (x[falling] / (x[falling] - solved[falling] + 1e-300)).min()
            x = x + step * (solved - x)
            free &= x > 1e-12
            if not free.any():
                break
        x = solved
    return x / scale


def _profile(keys: Sequence[Key], values: Array, profile: Profile, source: str) -> Profile:
    """Figures as the file has them: 10^9 per second, GB/s, us."""
    rates: dict[str, dict[str, Figure]] = {t: dict(profile.rates.get(t, {})) for t in TYPES}
    for (element_type, kind), value in zip(keys, values, strict=False):
        rates[element_type][kind] = Figure(1 / max(float(value), 1e-9), source)
    for element_type in TYPES:
        row = rates[element_type]
        for kind in ALIKE if row else ():
            alike = ALIKE[kind] if ALIKE[kind] in row else next(iter(row))
            row.setdefault(kind, Figure(row[alike].value, f"not measured: as {alike}"))
        rates[element_type] = {kind: row[kind] for kind in KINDS if kind in row}
    bandwidth = Figure(1 / max(float(values[-2]), 1e-9), source)
    faster = profile.on_chip_bandwidth.value / profile.bandwidth.value  # this ratio is kept
    return replace(
        profile,
        measured=True,
        rates={t: row for t, row in rates.items() if row},
        bandwidth=bandwidth,
        on_chip_bandwidth=Figure(bandwidth.value * faster, source),
        overhead=Figure(1e3 * float(values[-1]), source),
    )
