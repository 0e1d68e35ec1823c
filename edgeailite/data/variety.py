"""Refuses a split with nothing to learn: training needs pixels of two classes; a split for validation alone, of one.

With a single class, a network that always answers it is right everywhere, and the accuracy is 100 %. Usually the
other class is a label value that is ignored, as 255 in masks of 0 and 255.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.data.files.images import read_file
from edgeailite.data.source import IGNORE, ROWS_SHOWN, ClassTarget, DataSource
from edgeailite.errors import DataError

VALUES_TOLD = 4  # ignored label values
MANY = 1000  # masks after which it is said that this takes a while


def need_classes(source: DataSource, least: int, *, notice: Callable[[str], None] = lambda text: None) -> None:
    """Raise DataError if fewer than `least` classes occur in the masks of a split.

    Masks are read in a shuffled order until that many classes were seen: mostly one or two, all of them only before an
    error.
    """
    if not source.has_classes:
        return
    target = source.main
    key = next(name for name, other in source.targets.items() if other is target)
    seen: set[int] = set()
    ignored: Counter[int] = Counter()
    pixels = 0
    for done, index in enumerate(np.random.default_rng(0).permutation(len(source.items)).tolist(), 1):
        label = source.items[index].labels[key]
        raw = target.read(label)
        classes = target.to_classes(raw, label, source.name)
        seen |= set(np.flatnonzero(np.bincount(classes.ravel(), minlength=256)[:IGNORE]).tolist())
        if len(seen) >= least:
            return
        ignored += ignored_values(target, raw)
        pixels += classes.size
        if done == MANY:
            notice(f"fewer than {least} classes in {done} masks of split {source.split}; looking at all of them")
    told = too_few(target, sorted(seen), ignored, pixels=pixels, label=source.items[0].labels[key])
    raise DataError(f"data set {source.name}: split {source.split}: {told}", code="too-few-classes")


def ignored_values(target: ClassTarget, raw: NDArray[np.integer]) -> Counter[int]:
    """Count the pixels of each label value that is ignored."""
    unused = [value for value, found in target.label_map.items() if found == IGNORE]
    if raw.dtype == np.uint8:
        counts = np.bincount(raw.ravel(), minlength=256)
        return Counter({value: int(counts[value]) for value in unused if 0 <= value < 256 and counts[value]})
    values, often = np.unique(raw, return_counts=True)
    counted = dict(zip(values.tolist(), often.tolist(), strict=True))
    return Counter({value: counted[value] for value in unused if value in counted})


def too_few(target: ClassTarget, seen: Sequence[int], ignored: Mapping[int, int], *, pixels: int, label: Any) -> str:
    """Return the message for masks in which at most one class occurs: what is ignored, and what to do."""
    if seen:
        what = f"only one class occurs, {target.classes[seen[0]]}, so that nothing can be learned"
    else:
        what = "no pixel has a class, so that nothing can be learned or measured"
    if ignored:
        return f"{what}; {told_ignored(ignored, pixels)}: {_fix(target, seen, ignored, label)}"
    if isinstance(label, Path) and _has_alpha(label):
        return f"{what}; masks such as {label.name} have an alpha channel, which is not read: save the labels as grey"
    if not isinstance(label, Path):
        return f"{what}; look whether things are annotated, and not covered by others (overlaps in dataset.yaml)"
    return f"{what}; look whether these masks are the right files, and drawn"


def told_ignored(ignored: Mapping[int, int], pixels: int) -> str:
    """Return the ignored label values and how much they cover, as text."""
    often = Counter(ignored).most_common(VALUES_TOLD)
    rows = [f"{value} ({count} pixels, {100 * count / max(pixels, 1):.1f} %)" for value, count in often]
    more = f" and {len(ignored) - VALUES_TOLD} more" if len(ignored) > VALUES_TOLD else ""
    return f"ignored {'is label' if len(ignored) == 1 else 'are labels'} {', '.join(rows)}{more}"


def _fix(target: ClassTarget, seen: Sequence[int], ignored: Mapping[int, int], label: Any) -> str:
    if not isinstance(label, Path):
        return "these pixels have no annotation; draw them, or leave out background: false"
    if target.settings is None:
        return "look whether these masks are the right files, and drawn"
    unseen = [name for index, name in enumerate(target.classes) if index not in seen]
    return f"if that is a class, say so in {target.settings}: {as_classes(target, ignored, unseen)}"


def as_classes(target: ClassTarget, ignored: Mapping[int, int], unseen: Sequence[str]) -> str:
    """Return the label_map in which the most frequent ignored values are the classes that were not seen."""
    rows = {value: target.classes[found] for value, found in target.label_map.items() if found != IGNORE}
    rows = {value: name for value, name in rows.items() if name not in unseen}
    values = sorted(value for value, _ in Counter(ignored).most_common(VALUES_TOLD))
    names = [*unseen, *["NAME"] * len(values)]
    rows |= dict(zip(values, names, strict=False))
    return f"label_map: {{{', '.join(f'{value}: {rows[value]}' for value in sorted(rows)[:ROWS_SHOWN])}}}"


def _has_alpha(label: Path) -> bool:
    try:
        header = read_file(label)[1]
    except DataError:
        return False
    return header is not None and header.alpha
