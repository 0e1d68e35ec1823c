"""The doctor of data sets: examines every picture and mask of every split, and compares the splits with each other.

`check_dataset` goes on after every bad file; what it found is a list of findings with codes (`findings.CODES`). It
never writes to the data set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from edgeailite.data.check.across_masks import masks_of, reword
from edgeailite.data.check.classes import check_split_classes
from edgeailite.data.check.findings import CODES, Finding, Findings, Level
from edgeailite.data.check.leftovers import check_lists, stray_files
from edgeailite.data.check.opening import Mirror, Open, mirrored, open_split
from edgeailite.data.check.survey import SplitSurvey, Spread, survey
from edgeailite.data.duplicates import DIGEST_BYTES, nearest, split_sequences
from edgeailite.data.lists import list_file
from edgeailite.data.sets.folder_files import CALLED, NAME
from edgeailite.errors import DataError, UsageError

__all__ = ["CODES", "Checkup", "Finding", "Findings", "Level", "SplitSurvey", "check_dataset", "splits_of"]

USUAL_SPLITS = ("train", "val", "test")
UNDIVIDED = "default"  # CVAT's list of all pictures
Apart = Callable[[str, str], bool]


@dataclass
class Checkup:
    """All that was found. `surveys` has the splits that could be opened, in order, `closed` those that could not."""

    name: str
    root: Path
    findings: Findings = field(default_factory=Findings)
    surveys: dict[str, SplitSurvey] = field(default_factory=dict)
    closed: list[str] = field(default_factory=list)
    real: Callable[[str], str] = lambda text: text

    @property
    def exit_code(self) -> int:
        """Return 3 with errors, 1 with warnings, 0 with notes or nothing."""
        return 3 if self.findings.count("error") else 1 if self.findings.count("warning") else 0


def splits_of(read: Open, root: Path) -> tuple[str, ...]:
    """Return the splits that a data set lists, or the usual ones if it lists none.

    CVAT's list of everything, `default`, is no split any more where `edgeailite data split` has divided it.
    """
    try:
        read(root, "?")
    except UsageError as error:
        if error.known:
            divided = any(list_file(root, split).is_file() for split in ("train", "val"))
            return tuple(name for name in error.known if name != UNDIVIDED or not divided)
    except DataError:
        pass
    return USUAL_SPLITS


@contextmanager
def check_dataset(
    name: str,
    read: Open,
    root: Path,
    splits: Sequence[str],
    *,
    workers: int = 0,
    progress: Callable[[str, int, int], None] = lambda split, done, total: None,
    spread: Spread | None = None,
) -> Iterator[Checkup]:
    """Check some splits of a data set; the result can be read inside the `with` block.

    `read(root, split)` opens a split, `progress(split, done, total)` is told of every picture. `spread` examines items
    on other machines, in place of `workers` processes here.
    """
    with mirrored(root) as mirror:
        checkup = Checkup(name, root, real=mirror.real)
        _open(checkup, read, splits, mirror, partial(survey, workers=workers, spread=spread), progress)
        checkup.findings.add(mirror.findings)
        sources = [one.source for one in checkup.surveys.values()]
        strays = [finding.renamed(mirror.real) for finding in stray_files(sources)]
        checkup.findings.add([*strays, *check_lists(root, splits)])
        whole = set(splits_of(read, root)) <= set(splits)
        if whole:
            checkup.findings.add(_needed(checkup, splits))
        _compare(checkup, whole=whole)
        reword(checkup.findings, {mirror.real(mask) for source in sources for mask in masks_of(source)})
        yield checkup


def _needed(checkup: Checkup, splits: Sequence[str]) -> Iterator[Finding]:
    """Find that a data set has no split to train on, or none to validate on."""
    there = [split for split in splits if split in checkup.surveys or split in checkup.closed]
    missing = [split for split in ("train", "val") if there and not set(there) & set(CALLED[split])]
    if not missing:
        return
    own = checkup.name == NAME
    fix = (
        f"`edgeailite data split {checkup.root}` writes lists of both"
        if own
        else f"`edgeailite data get {checkup.name}`"
    )
    message = f"has {', '.join(there)}, no {' and no '.join(missing)}; {fix}"
    yield Finding("split-needed", str(checkup.root), message)


def _compare(checkup: Checkup, *, whole: bool) -> None:
    """Find problems between splits. A split is not compared with one that is part of it.

    `whole`: all splits were asked for.
    """
    within = _within(checkup)

    def apart(split: str, other: str) -> bool:
        return (split, other) not in within and (other, split) not in within

    checkup.findings.add(_parts(within))
    checkup.findings.add(_repeated(checkup, apart))
    checkup.findings.add(_near(checkup, apart))
    if not within:
        checkup.findings.add(_sequences(checkup))
    asked = any(finding.cause == "not-two-classes" for finding in checkup.findings.kept)
    if not asked:  # else it is said already that the values have no meaning
        checkup.findings.add(check_split_classes(checkup.surveys, whole=whole and not checkup.closed))


def _open(
    checkup: Checkup,
    read: Open,
    splits: Sequence[str],
    mirror: Mirror,
    look: Callable[..., SplitSurvey],
    progress: Callable[[str, int, int], None],
) -> None:
    """Open and survey the splits one by one."""
    absent: list[Finding] = []
    for split in splits:
        try:
            opened = open_split(read, checkup.root, split, mirror)
        except UsageError:
            if len(splits) == 1:
                raise
            continue  # one of the usual splits, which this data set does not know
        gone = all(finding.cause == "folder-missing" for finding in opened.findings)
        if opened.source is None and gone and len(splits) > 1:
            absent += opened.findings
            continue
        checkup.findings.add(opened.findings)
        if opened.source is None:
            checkup.closed.append(split)
        else:
            total, done = len(opened.source.items), 0

            def advance(count: int, *, split: str = split, total: int = total) -> None:
                nonlocal done
                done += count
                progress(split, done, total)

            checkup.surveys[split] = look(opened.source, checkup.findings, progress=advance, real=mirror.real)
    some = bool(checkup.surveys or checkup.findings.kept)
    missing = "split-missing" if some else "listing"
    told = absent if some else absent[:1]  # where there is nothing, the first usual split says so for all
    checkup.findings.add(Finding(missing, finding.file, finding.message) for finding in told)


def _repeated(checkup: Checkup, apart: Apart) -> Iterator[Finding]:
    """Pictures that occur a second time: in another split an error, in the same a warning."""
    seen: dict[bytes, list[tuple[str, int]]] = {}
    for split, one in checkup.surveys.items():
        for index in range(len(one.source.items)):
            digest = one.digest(index)
            if digest == bytes(DIGEST_BYTES):
                continue
            places = seen.setdefault(digest, [])
            first, at = next((place for place in places if place[0] == split or apart(place[0], split)), ("", 0))
            if first != split:
                places.append((split, index))
            if not first:
                continue
            other = checkup.real(str(checkup.surveys[first].source.items[at].image))
            file = checkup.real(str(one.source.items[index].image))
            if first == split:
                message = f"the same pixels as {other} of the same split; leave one of them out"
                yield Finding("repeated-picture", file, message)
            else:
                one.bad.add(index)
                message = f"the same pixels as {other} of split {first}; leave it out of {split}"
                yield Finding("leak", file, message)


def _within(checkup: Checkup) -> dict[tuple[str, str], int]:
    """(split, larger split) where a split is a part of another, as val of trainval, with its number of pictures."""
    names = {split: {str(item.image) for item in one.source.items} for split, one in checkup.surveys.items()}
    return {
        (split, other): len(names[split])
        for split in names
        for other in names
        if split != other and names[split] <= names[other] and (names[split] != names[other] or split < other)
    }


def _parts(within: Mapping[tuple[str, str], int]) -> Iterator[Finding]:
    for (split, other), count in within.items():
        message = f"all {count} pictures are in {other} as well; do not train on one and validate on the other"
        yield Finding("split-within", f"split {split}", message)


def _near(checkup: Checkup, apart: Apart) -> Iterator[Finding]:
    """Find pictures that are nearly equal to one of an earlier split."""
    splits = list(checkup.surveys)
    known = {split: one.words() for split, one in checkup.surveys.items()}
    for place, split in enumerate(splits):
        for other in (name for name in splits[:place] if apart(name, split)):
            ours, theirs = (np.flatnonzero(known[name].any(1)) for name in (split, other))
            for row, column, bits in nearest(known[split][ours], known[other][theirs]):
                at, there = int(ours[row]), int(theirs[column])
                if checkup.surveys[split].digest(at) == checkup.surveys[other].digest(there):
                    continue
                file, twin = (
                    checkup.real(str(checkup.surveys[name].source.items[index].image))
                    for name, index in ((split, at), (other, there))
                )
                message = (
                    f"nearly the picture {twin} of split {other} ({bits} of 256 bits differ); keep both in one split"
                )
                yield Finding("near-duplicate", file, message)


def _sequences(checkup: Checkup) -> Iterator[Finding]:
    stems = {split: [item.image.stem for item in one.source.items] for split, one in checkup.surveys.items()}
    for first, before, second, after, step, usual in split_sequences(stems):
        message = (
            f"frame {before} is in split {first}, {after} in {second}, {step} frames apart (usual step {usual}): "
            "they may show one scene; keep a sequence in one split if accuracy on unseen places counts"
        )
        file = next(i.image for i in checkup.surveys[second].source.items if i.image.stem == after)
        yield Finding("sequence-split", checkup.real(str(file)), message)
