"""Label files of one item: does every value have a class, and is there anything to learn from?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeailite.data.check.findings import Finding, from_error
from edgeailite.data.sets.folder_values import MINUS_ONE
from edgeailite.data.source import IGNORE, STRAY, ClassTarget, DepthTarget
from edgeailite.data.variety import ignored_values
from edgeailite.errors import DataError, option

VALUES_NAMED = 6  # of the label values that have no class


class MaskCheck(NamedTuple):
    """Result of checking a class map: classes (H,W), 255 for ignored pixels and those without a class; None if unread.

    `ignored`: pixels of each label value that is ignored.
    """

    findings: list[Finding]
    classes: NDArray[np.uint8] | None = None
    ignored: Mapping[int, int] = {}


def check_classes(target: ClassTarget, label: Any) -> MaskCheck:
    """Look at a class map."""
    file = str(label)
    try:
        raw = target.read(label)
    except DataError as error:
        return MaskCheck([from_error(error, default="bad-label-file", file=file)])
    ignored = ignored_values(target, raw)
    values, counts = _histogram(raw)
    unknown = [value for value in values if value not in target.label_map]
    classes, _ = target.look_up(raw)
    if unknown:
        found = _unknown(target, file, raw, values, dict(zip(values, counts, strict=True)), unknown)
        return MaskCheck([found], classes, ignored)
    labelled = sorted({target.label_map[value] for value in values} - {IGNORE})
    if not labelled:
        fix = "nothing can be learned from it; leave it out, or correct label_map"
        found = Finding("all-ignore", file, f"no labelled pixel, only {_list(values)} (ignore); {fix}")
        return MaskCheck([found], classes, ignored)
    if len(labelled) == 1 and IGNORE not in (target.label_map[value] for value in values):
        name = target.classes[labelled[0]]
        found = Finding("one-class", file, f"every pixel is {name} ({_list(values)}); look whether it was drawn")
        return MaskCheck([found], classes, ignored)
    return MaskCheck([], classes, ignored)


def check_depth(target: DepthTarget, label: Any) -> tuple[list[Finding], NDArray[np.float32] | None]:
    """Check a depth map; return the findings and its values, None if it cannot be read."""
    file = str(label)
    try:
        values = target.read(label)
    except DataError as error:
        return [from_error(error, default="bad-label-file", file=file)], None
    if not np.isfinite(values).all():
        y, x = np.argwhere(~np.isfinite(values))[0]
        message = f"depth {values[y, x]} at x={x} y={y}, expected metres, 0 = not known; write 0 there"
        return [Finding("bad-label-file", file, message)], values
    if not (values > 0).any():
        return [Finding("all-ignore", file, "no known depth, every pixel is 0; leave it out")], values
    return [], values


def _unknown(
    target: ClassTarget,
    file: str,
    raw: NDArray[np.integer],
    values: list[int],
    counts: dict[int, int],
    unknown: list[int],
) -> Finding:
    """Make the finding for label values without a class, with their probable meaning."""
    known = sorted(set(target.label_map) - {IGNORE})
    named = []
    for value in unknown[:VALUES_NAMED]:
        y, x = np.unravel_index(int(np.argmax(raw == value)), raw.shape)
        named.append(f"{value} ({counts[value]} pixels, first at x={x} y={y})")
    more = f" and {len(unknown) - VALUES_NAMED} more values" if len(unknown) > VALUES_NAMED else ""
    what = (
        f"label {', '.join(named)}{more} but the data set has {len(target.classes)} classes from label values "
        f"{target.told_values()}"
    )
    settings = target.settings or f"dataset.yaml ({option('dataset_name')} folder)"
    where = f"label_map in {settings}"
    if set(unknown) <= {IGNORE, *MINUS_ONE}:
        fix = f'looks like "ignore" of another tool; map {unknown[0]} to 255 (ignore) in {where}'
        return Finding("unmapped-ignore", file, f"{what}; {fix}")
    if unknown == [known[-1] + 1] and known[0] not in values:
        fix = (
            f"every label looks one too high, {known[0]} does not occur; subtract 1 (reduce_zero_label) or mend {where}"
        )
        return Finding("off-by-one", file, f"{what}; {fix}")
    wide = [value for value in unknown if counts[value] >= STRAY * raw.size]
    one, many = (
        f"{what}; {target.label_fix((wide or unknown)[:VALUES_NAMED], settings, stray=stray)}"
        for stray in (not wide, False)
    )
    return Finding("label-out-of-range", file, one, tuple(unknown[:VALUES_NAMED]), many)


def _histogram(raw: NDArray[np.integer]) -> tuple[list[int], list[int]]:
    """Return the values that occur, ascending, and their counts."""
    if raw.dtype == np.uint8:
        counts = np.bincount(raw.ravel(), minlength=256)
        values = np.flatnonzero(counts)
        return values.tolist(), counts[values].tolist()
    found, often = np.unique(raw, return_counts=True)
    return found.tolist(), often.tolist()


def _list(values: list[int]) -> str:
    return "label " + ", ".join(str(value) for value in values[:VALUES_NAMED])
