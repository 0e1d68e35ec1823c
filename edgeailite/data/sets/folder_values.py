"""Finds the label values in the masks of a folder, and the number of classes if no settings say what they mean.

Nothing is guessed: values that do not number classes are an error that lists them all and shows how to name them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from edgeailite.data.files.colors import IndexReader
from edgeailite.data.files.palettes import palette_clash
from edgeailite.data.sets.folder_settings import IGNORE, Settings
from edgeailite.data.source import STRAY
from edgeailite.errors import DataError, counted

ROW = 32  # so many label values may have gaps: classes are rare; beyond, half of them must be seen
SHOWN = 20  # values named in a message
MINUS_ONE = (-1, 2**16 - 1, 2**32 - 1)  # "ignore" of other tools, as it is stored in files without a sign


class UnclearLabelsError(DataError):
    """Values that do not number classes. `label_map`: rows of `dataset.yaml` under which the masks can be looked at."""

    def __init__(self, problem: str = "", *, label_map: Mapping[int, str] | None = None, **fields: Any) -> None:
        super().__init__(problem, **fields)
        self.label_map = dict(label_map or {})


@dataclass(frozen=True)
class ValueOccurrence:
    """Occurrence of a value: `share` is the largest part of one mask, `first` a mask that has it."""

    pixels: int
    masks: int
    share: float
    first: str

    @property
    def stray(self) -> bool:
        """True if the value is probably a slip, not a class."""
        return self.masks == 1 and self.share < STRAY


def index_reader(settings: Settings) -> IndexReader:
    """Return the reader of masks that hold numbers."""
    return IndexReader(settings.file, numbers=bool(settings.label_map) or settings.reduce_zero_label)


def class_count(masks: Sequence[Path], settings: Settings) -> int:
    """Count the classes that masks hold: 0 to the highest value that is not ignored. Raises UnclearLabelsError."""
    stamps = tuple((path, (stat := path.stat()).st_mtime_ns, stat.st_size) for path in masks)
    ignored = {
        IGNORE,
        *MINUS_ONE,
        *settings.ignore,
        *(settings.label_map or {}),
        *([0] if settings.reduce_zero_label else []),
    }
    seen = _values_of(stamps, index_reader(settings))
    values = sorted(set(seen) - ignored)
    lowest = 1 if settings.reduce_zero_label else 0
    folder, where = masks[0].parent, f"{len(masks)} masks such as {masks[0].name}"
    if not values or (values == [0] and IGNORE in seen):
        hint = " (255 as a class: label_map: {0: background, 255: object})" if IGNORE in seen else ""
        raise UnclearLabelsError(
            f"{where} hold only the label values {', '.join(map(str, sorted(seen)))}: not two classes",
            fix=f"say in {settings.file} what they mean{hint}",
            path=folder,
            code="not-two-classes",
            label_map=_named(sorted(seen)),
        )
    if len(values) >= IGNORE:
        raise UnclearLabelsError(
            f"{where} hold {len(values)} different label values, {_list(list(map(str, values)))}: more than the "
            f"{IGNORE} classes that there can be",
            fix="are they numbers of things? save the class of each pixel",
            path=folder,
            code="too-many-classes",
        )
    gaps = values[-1] >= ROW and len(values) < (values[-1] + 1 - lowest) / 2
    if gaps or values[0] < 0 or values[-1] - lowest >= IGNORE:
        clear = [value for value in values if not seen[value].stray]
        named = clear if len(clear) > 1 else values
        raise UnclearLabelsError(
            f"{where} hold the label values {_list([_told(value, seen[value]) for value in values])}, which do not "
            "number classes in a row",
            fix=f"say in {settings.file} what they mean: label_map: {{{_list([f'{value}: NAME' for value in named])}}}",
            path=folder,
            code="gaps",
            label_map=_named(named) | dict.fromkeys(sorted(ignored - {IGNORE} - set(MINUS_ONE)), "ignore"),
        )
    return values[-1] + 1 - lowest


def check_palettes(masks: Sequence[Path], settings: Settings) -> None:
    """Raise UnclearLabelsError if masks give one label two colours and no settings say what numbers mean."""
    if settings.label_map or settings.reduce_zero_label or settings.colors:
        return
    clash = palette_clash(masks, index_reader(settings))
    if clash is not None:
        rows = _list([f'"{red},{green},{blue}": CLASS' for red, green, blue in clash.colours])
        raise UnclearLabelsError(
            f"label {clash.label} has the colour {clash.colour} in {clash.mask.name} and "
            f"{clash.other_colour} in {clash.other_mask.name}: their palettes differ, so a number need not mean the "
            "same in both",
            fix=f"say in {settings.file} which colour is which class: colors: {{{rows}}}, or, if the numbers "
            "are right, name them: label_map",
            path=masks[0].parent,
            code="palettes-differ",
            label_map=_named(clash.values),
        )


def _told(value: int, seen: ValueOccurrence) -> str:
    """A value, and how rare it is if it is."""
    pixels = counted(seen.pixels, "pixel")
    return f"{value} ({pixels} in 1 mask, {seen.first})" if seen.stray else str(value)


def _list(words: Sequence[str]) -> str:
    return ", ".join([*words[:SHOWN], *(["..."] if len(words) > SHOWN else [])])


def _named(values: Sequence[int]) -> dict[int, str]:
    names = {value: "ignore" if value in MINUS_ONE else f"label {value}" for value in values}
    return names if len(names) < IGNORE else {}


@lru_cache(maxsize=8)
def _values_of(stamps: tuple[tuple[Path, int, int], ...], read: IndexReader) -> Mapping[int, ValueOccurrence]:
    """Label values in mask files, named with time and size so that changed ones are read again."""
    seen: dict[int, ValueOccurrence] = {}
    for path, _, _ in stamps:
        mask = read(path)
        for value, count in zip(*(found.tolist() for found in np.unique(mask, return_counts=True)), strict=True):
            old = seen.get(value, ValueOccurrence(0, 0, 0.0, path.name))
            share = max(old.share, count / mask.size)
            seen[value] = ValueOccurrence(old.pixels + count, old.masks + 1, share, old.first)
    return seen
