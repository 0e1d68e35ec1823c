"""Where two forms of one network first depart, and how the difference grows from layer to layer.

Figures per tensor that both have, over all pictures: signal-to-noise ratio of the second against the first (SQNR, in
dB), largest difference and mean shift (in steps of the second's quantizer, or the first's where it has none), and the
share of equal codes on that grid, of equal values where no side has one.

A tensor departs where the difference cannot be rounding: for two integer forms of one quantization any other code;
where a quantizer is in play more than one step; for floats more than `FLOAT_LOGIT_TOLERANCE` of the standard deviation.
Where most tensors have the same scale and zero point on both sides, one that has not departs, too.

What a layer costs is the fall of the SQNR from its worst input to its result. An input counts at most as what its
number of bits gives anyway (6 dB a bit, less 8), so that no layer is blamed for being the first one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgeailite.errors import UsageError, option
from edgeailite.export.trace.matching import Matching, match
from edgeailite.export.trace.sides import Array, Grid, Place, Reading, Side, sources_among
from edgeailite.runtime.contract import labels_of

FLOAT_LOGIT_TOLERANCE = 1e-3  # of the standard deviation, as in `parity`
DB_PER_BIT, DB_OFF = 6.02, 8.0
FLOAT_DB = 100.0  # what float32 gives
STEP_SLACK = 1e-4  # of a step: the resize's own rounding
COSTLY_DB = 1.0  # a smaller fall is nobody's fault
LABEL = "_label"


@dataclass(frozen=True)
class Sums:
    """Sums over the pictures of one tensor, from which its figures are computed."""

    count: int
    signal: float
    noise: float
    largest: float
    largest_steps: float
    equal: int
    shift: float
    total: float

    def plus(self, other: Sums) -> Sums:
        """Return the sums of both together."""
        return Sums(
            self.count + other.count,
            self.signal + other.signal,
            self.noise + other.noise,
            float(np.maximum(self.largest, other.largest)),  # NaN stays NaN
            float(np.maximum(self.largest_steps, other.largest_steps)),
            self.equal + other.equal,
            self.shift + other.shift,
            self.total + other.total,
        )


@dataclass(frozen=True)
class Row:
    """A tensor that both sides have; `sqnr_db` is None without any difference, `max_steps` None without a quantizer."""

    first: str
    second: str
    layer: str
    operator: str
    shape: tuple[int, ...]
    sqnr_db: float | None
    max_difference: float
    max_steps: float | None
    mean_shift: float
    equal: float
    fall_db: float
    departs: bool
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Trace:
    """The comparison of two sides: tensors in graph order, how they were paired, agreement of the outputs."""

    sides: tuple[str, str]
    local: bool
    pictures: int
    matching: Matching
    rows: tuple[Row, ...]
    outputs: Mapping[str, Mapping[str, float | None]]
    disturbed: tuple[float, float]
    unread: tuple[str, ...]

    @property
    def first_difference(self) -> Row | None:
        """The first tensor that is not the same in every bit."""
        return next((row for row in self.rows if row.sqnr_db is not None), None)

    @property
    def first_departure(self) -> Row | None:
        """The first tensor that differs by more than rounding."""
        return next((row for row in self.rows if row.departs), None)

    @property
    def costliest(self) -> tuple[Row, ...]:
        """Tensors by how far the SQNR falls there, those that cost something."""
        return tuple(sorted((r for r in self.rows if r.fall_db >= COSTLY_DB), key=lambda row: -row.fall_db))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        named = {"first_difference": self.first_difference, "first_departure": self.first_departure}
        return {
            "sides": list(self.sides),
            "local": self.local,
            "pictures": self.pictures,
            "matched_by": self.matching.by,
            "matched": len(self.rows),
            "unmatched": [list(names) for names in self.matching.unmatched],
            **{key: None if row is None else row.second for key, row in named.items()},
            "costliest": [row.second for row in self.costliest],
            "unread": list(self.unread),
            "disturbed": list(self.disturbed),
            "outputs": {name: dict(values) for name, values in self.outputs.items()},
            "rows": [asdict(row) for row in self.rows],
        }


def trace(first: Side, second: Side, pictures: Iterable[Sequence[Array]], *, local: bool = False) -> Trace:
    """Compare two sides tensor by tensor on normalised inputs, one tuple per sample.

    `local` feeds each layer of the second side the first side's values, so errors do not accumulate. Raises UsageError
    where the second side is a file and cannot be fed, where no tensors can be paired, or without a picture.
    """
    if local and not second.feeds:
        raise UsageError(
            f"{option('trace_local')}: {second.label} is a file, whose layers cannot be fed; put a torch form second"
        )
    matching: Matching | None = None
    sums: dict[tuple[str, str], Sums] = {}
    outputs: dict[str, list[Mapping[str, float | None]]] = {}
    shapes: Mapping[str, tuple[int, ...]] = {}
    count, disturbed = 0, (0.0, 0.0)
    for images in pictures:
        if matching is None:
            matching, shapes = _matched(first, second, images)
        mine, theirs = _read_both(first, second, images, matching=matching, local=local)
        for a, b in matching.pairs:
            part = _measure(mine.values[a], theirs.values[b], _grid(first.places[a], second.places[b]))
            sums[a, b] = sums[a, b].plus(part) if (a, b) in sums else part
        for name, agreement in _outputs(mine, theirs).items():
            outputs.setdefault(name, []).append(agreement)
        count += 1
        disturbed = (max(disturbed[0], mine.disturbed), max(disturbed[1], theirs.disturbed))
    if matching is None:
        raise UsageError(f"{option('trace')}: no picture was compared; give at least one")
    rows = _rows(first, second, sums, shapes=shapes, local=local)
    merged = {name: _merge_outputs(parts) for name, parts in outputs.items()}
    return Trace(
        (first.label, second.label), local, count, matching, rows, merged, disturbed, (*first.unread, *second.unread)
    )


def _matched(first: Side, second: Side, images: Sequence[Array]) -> tuple[Matching, Mapping[str, tuple[int, ...]]]:
    """Read all tensors of both sides once and pair them; return the pairs and the second side's shapes."""
    shapes = [
        {name: value.shape for name, value in side.read(images, list(side.places), {}).values.items()}
        for side in (first, second)
    ]
    matching = match(first, second, shapes)
    if not matching.pairs:
        raise UsageError(
            f"{option('trace')} {first.label} {second.label}: no tensor of the one is like one of the other, "
            "neither by name nor by operator and shape; are they the same network at one size?",
            code="no-fit",
        )
    return matching, shapes[1]


def _read_both(
    first: Side, second: Side, images: Sequence[Array], *, matching: Matching, local: bool
) -> tuple[Reading, Reading]:
    mine = first.read(images, [a for a, _ in matching.pairs], {})
    fed = {b: mine.values[a] for a, b in matching.pairs} if local else {}
    return mine, second.read(images, [b for _, b in matching.pairs], fed)


def _grid(first: Place, second: Place) -> Grid | None:
    return second.grid or first.grid


def _measure(a: Array, b: Array, grid: Grid | None) -> Sums:
    """Sum up the difference of one tensor on one picture, in steps of `grid` where there is one."""
    gap = b.astype(np.float64) - a
    steps = gap if grid is None else grid.codes(b) - grid.codes(a)
    return Sums(
        a.size,
        float(np.square(a, dtype=np.float64).sum()),
        float(np.square(gap).sum()),
        float(np.abs(gap).max(initial=0.0)),
        float(np.abs(steps).max(initial=0.0)),
        int((steps == 0).sum()),
        float(gap.sum()),
        float(a.sum(dtype=np.float64)),
    )


def _rows(
    first: Side,
    second: Side,
    sums: Mapping[tuple[str, str], Sums],
    *,
    shapes: Mapping[str, tuple[int, ...]],
    local: bool,
) -> tuple[Row, ...]:
    known = {b: total for (_, b), total in sums.items()}
    ratios = {b: _sqnr(total) for b, total in known.items()}
    related = _one_quantization(first, second, list(sums))
    steps = _resized_steps(first, second, list(sums))
    rows = []
    for (a, b), total in sums.items():
        mine, theirs = first.places[a], second.places[b]
        grid = _grid(mine, theirs)
        cap = _given_by(grid)
        sources = tuple(sources_among(second, b, known))
        before = min([cap, *(_given_by(second.places[source].grid) if local else ratios[source] for source in sources)])
        row = Row(
            a,
            b,
            mine.layer if first.feeds else theirs.layer,
            theirs.operator,
            shapes[b],
            None if math.isinf(ratios[b]) else ratios[b],
            total.largest,
            None if grid is None else total.largest_steps,
            total.shift / total.count / (1.0 if grid is None else grid.scale),
            total.equal / total.count,
            before - min(cap, ratios[b]),
            departs=_exceeds(total, grid, exact=related and first.integer and second.integer, step=steps.get(b, 0.0))
            or (related and _same_grid(mine, theirs) is False),
            sources=sources,
        )
        rows.append(row)
    return tuple(rows)


def _given_by(grid: Grid | None) -> float:
    """Return the SQNR in dB that the grid's number of bits gives at best."""
    return FLOAT_DB if grid is None else DB_PER_BIT * grid.bits - DB_OFF


def _one_quantization(first: Side, second: Side, pairs: Sequence[tuple[str, str]]) -> bool:
    """Return whether most tensors that both sides quantize have the same scale and zero point."""
    same = [_same_grid(first.places[a], second.places[b]) for a, b in pairs]
    return 2 * same.count(True) > len(same) - same.count(None) > 0


def _same_grid(first: Place, second: Place) -> bool | None:
    """Return whether two grids are the same, int8 around 0 being uint8 around 128; None unless both are quantized."""
    if first.grid is None or second.grid is None:
        return None
    return (first.grid.scale, first.grid.unsigned_zero) == (second.grid.scale, second.grid.unsigned_zero)


def _sqnr(total: Sums) -> float:
    if total.noise == 0:
        return math.inf
    return 10 * math.log10(max(total.signal, 1e-30) / total.noise)


def _resized_steps(first: Side, second: Side, pairs: Sequence[tuple[str, str]]) -> dict[str, float]:
    """Map resized values that are not quantized again to the step of their source: they may differ by that step."""
    grids = {b: grid for a, b in pairs if (grid := _grid(first.places[a], second.places[b])) is not None}
    found = {}
    for _, b in pairs:
        sources = list(sources_among(second, b, grids))
        if b not in grids and second.places[b].operator == "Resize" and sources:
            found[b] = max(grids[source].scale for source in sources)
    return found


def _exceeds(total: Sums, grid: Grid | None, *, exact: bool, step: float) -> bool:
    """Return whether the difference is more than rounding; `step` is that of values that were quantized earlier."""
    if step and not exact:
        return not total.largest <= step * (1 + STEP_SLACK)  # `not`: NaN departs
    if grid is not None:
        return not total.largest_steps <= (0 if exact else 1)
    variance = total.signal / total.count - (total.total / total.count) ** 2
    return not total.largest <= FLOAT_LOGIT_TOLERANCE * math.sqrt(max(0.0, variance)) + 1e-6


def _outputs(mine: Reading, theirs: Reading) -> dict[str, Mapping[str, float | None]]:
    """Compare outputs of the same name, or a label map with its logits, or else outputs of the same position."""
    found: dict[str, Mapping[str, float | None]] = {}
    by_name = {name.removesuffix(LABEL): value for name, value in theirs.outputs.items()}
    for position, (name, value) in enumerate(mine.outputs.items()):
        other = by_name.get(name.removesuffix(LABEL))
        if other is None:
            other = list(theirs.outputs.values())[position] if position < len(theirs.outputs) else None
        if other is not None:
            found[name] = _output_agreement(value, other)
    return found


def _output_agreement(a: Array, b: Array) -> Mapping[str, float | None]:
    labels, others = labels_of(a), labels_of(b)
    comparable = labels is not None and others is not None and labels.shape == others.shape
    return {
        "equal_argmax": float((labels == others).mean()) if comparable else None,
        "max_difference": float(np.abs(a.astype(np.float64) - b).max()) if a.shape == b.shape else None,
    }


def _merge_outputs(parts: Sequence[Mapping[str, float | None]]) -> Mapping[str, float | None]:
    shares = [part["equal_argmax"] for part in parts if part["equal_argmax"] is not None]
    gaps = [part["max_difference"] for part in parts if part["max_difference"] is not None]
    return {
        "equal_argmax": float(np.mean(shares)) if shares else None,
        "max_difference": max(gaps) if gaps else None,
    }
