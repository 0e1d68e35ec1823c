"""Findings of the classes of whole splits: too few to learn from, in no split, or in one and not in another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from edgeailite.data.check.findings import Finding
from edgeailite.data.check.survey import IGNORED, SplitSurvey, main_target
from edgeailite.data.sets.coco import Drawing
from edgeailite.data.sets.folder_polygons import BACKGROUND
from edgeailite.data.variety import as_classes, told_ignored, too_few


def check_split_classes(surveys: Mapping[str, SplitSurvey], *, whole: bool) -> Iterator[Finding]:
    """Yield all findings about classes. `whole`: every split of the data set was looked at."""
    counted = {split: one for split, one in surveys.items() if main_target(one.source) and one.pixels.any()}
    present = {split: set(np.flatnonzero(one.pixels[:IGNORED]).tolist()) for split, one in counted.items()}
    few = list(_too_few(counted, present))
    yield from few
    nowhere: set[int] = set()
    if whole and not few and any(split.startswith("train") for split in present):
        nowhere = _nowhere(counted, present)
        if nowhere:
            yield _told_nowhere(counted, sorted(nowhere))
    for split, there in present.items():
        yield from _absent(counted[split], split, there, nowhere, {n: p for n, p in present.items() if n != split})


def _too_few(counted: Mapping[str, SplitSurvey], present: Mapping[str, set[int]]) -> Iterator[Finding]:
    """Splits without two classes. Those with many errors are not judged, nor those to be labelled by others (test)."""
    learned = [split for split in counted if split.startswith("train")] or list(counted)[:1]
    single = any(len(present[split]) < 2 for split in learned)
    for split, one in counted.items():
        if len(present[split]) > 1 or split.startswith("test") or 2 * len(one.bad) > len(one.source.items):
            continue
        label = one.source.items[0].labels[main_target(one.source)]
        told = too_few(one.source.main, sorted(present[split]), one.ignored, pixels=int(one.pixels.sum()), label=label)
        code = "single-class" if split in learned else "measures-one-class" if present[split] else "nothing-labelled"
        if code == "measures-one-class":
            if single:
                continue  # for the same reason, mostly
            told = told.replace("so that nothing can be learned", "so that little can be measured")
        yield Finding(code, f"split {split}", told)


def _nowhere(counted: Mapping[str, SplitSurvey], present: Mapping[str, set[int]]) -> set[int]:
    """Return classes that the user's settings name and no split has.

    Published data sets name all their classes anyway.
    """
    one = next(iter(counted.values()))
    if one.source.main.settings is None:
        return set()
    nowhere = set(range(len(one.source.classes))) - set().union(*present.values())
    drawn = isinstance(one.source.items[0].labels[main_target(one.source)], Drawing)
    return nowhere - {0} if drawn and one.source.classes[0] == BACKGROUND else nowhere  # nobody named that


def _told_nowhere(counted: Mapping[str, SplitSurvey], nowhere: list[int]) -> Finding:
    one = next(iter(counted.values()))
    target = one.source.main
    names = [target.classes[index] for index in nowhere]
    ignored: Counter[int] = sum((other.ignored for other in counted.values()), Counter())
    message = f"no pixel of {', '.join(names)} in any split: nothing can be learned of it"
    label = one.source.items[0].labels[main_target(one.source)]
    if isinstance(label, Drawing):
        message += "; annotate it, take the category out, or look whether smaller things cover it"
    elif ignored:
        pixels = sum(int(other.pixels.sum()) for other in counted.values())
        fix = as_classes(target, ignored, names)
        message += f"; {told_ignored(ignored, pixels)}: if that is it, say so in {target.settings}: {fix}"
    else:
        message += "; take it out of the classes, or look whether the masks are whole"
    return Finding("class-nowhere", str(target.settings), message)


def _absent(
    one: SplitSurvey, split: str, there: set[int], nowhere: set[int], others: Mapping[str, set[int]]
) -> Iterator[Finding]:
    """Classes that a split lacks."""
    classes = one.source.classes
    absent = [index for index in range(len(classes)) if index not in there | nowhere]
    elsewhere: set[int] = set().union(*others.values())
    untrained = [index for index in absent if index in elsewhere] if split.startswith("train") else []
    rest = [index for index in absent if index not in untrained]
    if untrained:
        names = ", ".join(classes[index] for index in untrained)
        yield Finding("class-untrained", f"split {split}", f"no pixel of {names}, which other splits have; add some")
    if rest:
        names = ", ".join(classes[index] for index in rest)
        yield Finding("class-absent", f"split {split}", f"no pixel of {names}; mIoU leaves out what does not occur")
