"""A trace for people: a table of its tensors, what it says in a few lines, and the curve of its growth."""

from __future__ import annotations

from edgeailite.drawing.plots import growth_curve
from edgeailite.errors import some_of
from edgeailite.export.trace.compare import Row, Trace

NAMED = 5  # tensors that a line of the summary names


def table_cells(found: Trace) -> tuple[list[str], list[list[str]]]:
    """Return the head of the table and its rows, one for each tensor."""
    steps = any(row.max_steps is not None for row in found.rows)
    head = ["tensor", "layer", "SQNR dB", "fall dB", "max |d|", *(["steps"] if steps else [])]
    rows = []
    for row in found.rows:
        name = row.second if row.first == row.second else f"{row.first} = {row.second}"
        sqnr = "equal" if row.sqnr_db is None else f"{row.sqnr_db:.1f}"
        fall = f"{row.fall_db:.1f}" if row.fall_db >= 0.05 else ""
        count = "" if row.max_steps is None else f"{row.max_steps:.0f}"
        cells = [name, row.layer, sqnr, fall, f"{row.max_difference:.3g}", *([count] if steps else [])]
        rows.append([*cells, f"{row.mean_shift:.2g}", per_cent(row.equal), "departs" if row.departs else ""])
    return [*head, "mean shift", "equal %", ""], rows


def summary(found: Trace) -> list[str]:
    """Return what the table says, in a few lines."""
    lines = [f"{len(found.rows)} tensors matched by {found.matching.by}, {found.pictures} picture(s)"]
    for label, names in zip(found.sides, found.matching.unmatched, strict=True):
        if names:
            lines.append(f"not matched in {label}: {some_of(names, NAMED)}")
    if found.unread:
        lines.append(
            f"not read, since reading them would change OpenVINO's result: {len(found.unread)} inputs of additions"
        )
    for label, gap in zip(found.sides, found.disturbed, strict=True):
        if gap > 0:
            lines.append(f"reading the inner tensors of {label} changes its outputs by up to {gap:.3g}")
    first = _place(found.first_difference)
    if found.first_difference is None and _outputs_differ(found):
        first = "in the outputs alone; what else was compared is equal"
    lines.append(f"first difference: {first}")
    lines.append(f"first departure beyond rounding: {_place(found.first_departure)}")
    if costly := [f"{row.layer} ({row.fall_db:.1f} dB)" for row in found.costliest[:NAMED]]:
        lines.append(f"costs most: {', '.join(costly)}")
    for name, agreement in found.outputs.items():
        share, gap_or_none = agreement["equal_argmax"], agreement["max_difference"]
        equal = "" if share is None else f" argmax equal on {per_cent(share, 3)} % of pixels"
        gap_text = "" if gap_or_none is None else f" max |difference| {gap_or_none:.4g}"
        text = f"{equal}{',' if equal and gap_text else ''}{gap_text}" or " not comparable, the shapes differ"
        lines.append(f"output {name}:{text}")
    return lines


def _outputs_differ(found: Trace) -> bool:
    return any(values["equal_argmax"] not in (None, 1) or values["max_difference"] for values in found.outputs.values())


def per_cent(share: float, decimals: int = 2) -> str:
    """Write a share as per cent; 100 only where it is all."""
    return f"{100 * share if share == 1 else min(100 * share, 100 - 10**-decimals):.{decimals}f}"


def _place(row: Row | None) -> str:
    if row is None:
        return "none"
    size = f"max |difference| {row.max_difference:.3g}" if row.max_steps is None else f"max {row.max_steps:.0f} steps"
    return f"{row.second} ({row.operator}, layer {row.layer}), {size}, equal {per_cent(row.equal)} %"


def draw(found: Trace) -> bytes:
    """Return the growth curve as PNG: SQNR over the graph's order, the costliest layers named."""
    named = {row.second for row in found.costliest[:NAMED]}
    points = [(row.layer if row.second in named else "", row.sqnr_db) for row in found.rows]
    departure = next((index for index, row in enumerate(found.rows) if row.departs), None)
    return growth_curve(points, title=f"{found.sides[1]} against {found.sides[0]}: SQNR, dB", departure=departure)
