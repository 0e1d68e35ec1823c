"""Divides pictures without splits into those to train on and those to validate on.

Pictures that show the same are kept in one split: equal ones, nearly equal ones (`duplicates`), and neighbouring frames
of a numbered series. Among such groups those to validate on are chosen so that every class has its share of pixels in
both splits. Nothing is moved: the result is a list for each split (`lists`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeailite.console import log
from edgeailite.data.duplicates import FRAME, NEAR_BITS, digest, fingerprint
from edgeailite.data.items import read_item
from edgeailite.data.lists import line_of, list_file, name_below, write_list
from edgeailite.data.sets.folder import folder, unsplit
from edgeailite.data.sets.folder_files import CALLED
from edgeailite.data.source import ClassTarget, DataSource, Item
from edgeailite.errors import DataError, UsageError, option

BLOCKS = 2  # a long series gives at least so many blocks of neighbouring frames to the splits that are not `train`
Progress = Callable[[int, int], None]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Division:
    """Lists that were written: their files and numbers of pictures by split, and each class's pixels by split.

    `left_out` are messages about pictures that cannot be read, which no list names.
    """

    files: Mapping[str, Path]
    counts: Mapping[str, int]
    classes: Sequence[str]
    pixels: Mapping[str, Numbers]
    left_out: Sequence[str]


def split_folder(
    root: Path, shares: Mapping[str, float], *, seed: int = 1, progress: Progress = lambda done, total: None
) -> Division:
    """Write lists of `train` and of the splits in `shares` (name: share of the pictures) for data of one's own.

    The pictures are those of `train` or of the only split, else all that lie in the data set. Raises UsageError where
    the data set has one of these splits already, DataError for fewer pictures than splits.
    """
    source = undivided(root, shares)
    looked = _look(source, progress)
    groups = _groups(looked, root, min(share for share in shares.values() if share > 0))
    chosen = choose(groups, _by_group(groups, looked.pixels), shares, np.random.default_rng(seed))
    if not all(chosen.values()):
        problem = f"data set folder: {len(groups)} pictures that differ are too few for splits {', '.join(chosen)}"
        raise DataError(problem, fix="add pictures", path=root, code="empty-split")
    files, counts, pixels = {}, {}, {}
    for split, members in chosen.items():
        lines = [line_of(looked.items[index], root) for index in sorted(members)]
        files[split], counts[split] = list_file(root, split), len(lines)
        pixels[split] = looked.pixels[sorted(members)].sum(0)
        write_list(files[split], lines)
    classes = next(target.classes for target in source.targets.values() if isinstance(target, ClassTarget))
    return Division(files, counts, classes, pixels, looked.left_out)


def undivided(root: Path, wanted: Mapping[str, float]) -> DataSource:
    """Open the pictures of a folder that are to be divided. Raises UsageError where a wanted split is there."""
    try:
        folder(root, "?")
    except UsageError as error:
        known = error.known
    except DataError as error:
        if error.code != "folder-missing" or not root.is_dir():
            raise
        return unsplit(root)
    there = [split for split in wanted if set(known) & set(CALLED.get(split, (split,)))]
    if there:
        fix = f"remove {list_file(root, there[0])}" if list_file(root, there[0]).is_file() else "nothing is to be split"
        raise UsageError(f"has a split {there[0]} already", about="data_path", value=root, fix=fix, code="not-ours")
    pool = next((split for split in known if split in CALLED["train"]), known[0] if len(known) == 1 else None)
    if pool is None:
        raise UsageError(f"has splits {', '.join(known)}, none of them train", about="data_path", value=root)
    return folder(root, pool)


@dataclass(frozen=True)
class _Looked:
    """Items that can be read, with pixels by class (N,C), digests, and fingerprints (None for flat pictures)."""

    items: Sequence[Item]
    pixels: Numbers
    digests: Sequence[bytes]
    prints: Sequence[bytes | None]
    left_out: Sequence[str]


def _look(source: DataSource, progress: Progress) -> _Looked:
    items, pixels, digests, prints, left_out = [], [], [], [], []
    count = len(source.classes)
    for done, item in enumerate(source.items, 1):
        try:
            images, targets = read_item(source, item)
        except DataError as error:
            left_out.append(str(error))
        else:
            classes = next(targets[name] for name, target in source.targets.items() if isinstance(target, ClassTarget))
            items.append(item)
            pixels.append(np.bincount(classes.ravel(), minlength=256)[:count])
            digests.append(digest(images[item.camera]))
            prints.append(fingerprint(images[item.camera]))
        progress(done, len(source.items))
    table = np.array(pixels, np.int64).reshape(len(items), count)
    return _Looked(items, table, digests, prints, left_out)


def _groups(looked: _Looked, root: Path, share: float) -> list[list[int]]:
    """Return indices of pictures in groups that stay together, each sorted."""
    parents = list(range(len(looked.items)))

    def root_of(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    longest = max(2, round(share * len(looked.items) / BLOCKS))
    for block in _blocks([Path(name_below(item, root)) for item in looked.items], longest):
        for index in block[1:]:
            parents[root_of(index)] = root_of(block[0])
    for one, other in _alike(looked):
        parents[root_of(one)] = root_of(other)
    groups: dict[int, list[int]] = {}
    for index in range(len(looked.items)):
        groups.setdefault(root_of(index), []).append(index)
    return list(groups.values())


def _blocks(names: Sequence[Path], longest: int) -> Iterator[list[int]]:
    """Yield indices of neighbouring frames: of a series such as street_0001, street_0002, whole or cut into blocks.

    Names that are numbers alone are no series.
    """
    series: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for index, name in enumerate(names):
        match = FRAME.match(re.sub(r"_leftImg8bit$", "", name.stem))
        if match and match[1]:
            series.setdefault((name.parent.as_posix(), match[1]), []).append((int(match[2]), index))
    for frames in series.values():
        ordered = [index for _, index in sorted(frames)]
        blocks = -(-len(ordered) // longest)
        yield from (part.tolist() for part in np.array_split(np.array(ordered), blocks))


def _alike(looked: _Looked) -> Iterator[tuple[int, int]]:
    """Yield pairs of pictures with equal pixels, and of pictures that are nearly equal to the eye."""
    first: dict[bytes, int] = {}
    for index, own in enumerate(looked.digests):
        if first.setdefault(own, index) != index:
            yield first[own], index
    known = [index for index, own in enumerate(looked.prints) if own is not None]
    if not known:
        return
    words = np.frombuffer(b"".join(own for own in looked.prints if own is not None), np.uint64).reshape(len(known), -1)
    for row in range(1, len(known)):
        bits = np.bitwise_count(words[:row] ^ words[row]).sum(1, dtype=np.int64)
        yield from ((known[other], known[row]) for other in np.flatnonzero(bits <= NEAR_BITS).tolist())


def _by_group(groups: Sequence[Sequence[int]], pixels: Numbers) -> Numbers:
    return np.array([pixels[members].sum(0) for members in groups]).reshape(len(groups), pixels.shape[1])


def choose(
    groups: Sequence[Sequence[int]], pixels: Numbers, shares: Mapping[str, float], rng: np.random.Generator
) -> dict[str, list[int]]:
    """Give groups of pictures to splits; what is left is `train`. Returns the pictures of each split.

    Groups are added one by one to a split, each time the one after which its classes are nearest to their shares
    (`pixels` is (groups, classes)), until no group brings the number of pictures nearer to its share.
    """
    order = rng.permutation(len(groups))
    sizes = np.array([len(groups[index]) for index in order], np.int64)
    table = pixels[order] / np.maximum(pixels.sum(0), 1)
    free = np.ones(len(order), bool)
    chosen: dict[str, list[int]] = {"train": []}
    for split, share in shares.items():
        taken, want, own = np.zeros(pixels.shape[1]), share * sizes.sum(), 0
        members: list[int] = []
        while free.sum() > 1:
            fits = free & (abs(own + sizes - want) < abs(own - want)) if members else free
            if not fits.any():
                break
            cost = np.abs(taken + table - share).sum(1) + np.abs(own + sizes - want) / max(want, 1)
            best = int(np.argmin(np.where(fits, cost, np.inf)))
            free[best], taken, own = False, taken + table[best], own + int(sizes[best])
            members += groups[order[best]]
        chosen[split] = members
    chosen["train"] = [index for place in np.flatnonzero(free) for index in groups[order[place]]]
    return chosen


def need_val(root: Path, share: float, *, seed: int, dry: bool = False) -> None:
    """Write lists for `train` and `val` where a folder has no split to validate on; lists that are there stay.

    Raises UsageError where the folder itself has a split `val`, and in a dry run, which writes nothing.
    """
    if list_file(root, "val").is_file():
        return
    if dry:
        fix = f"write the lists first: `edgeailite data split {root}`"
        raise UsageError("a dry run writes no lists", about="val_share", value=share, fix=fix)
    try:
        made = split_folder(root, {"val": share}, seed=seed)
    except UsageError as error:
        fix = f"leave {option('val_share')} out"
        raise UsageError(f"{root} {error.problem}", about="val_share", value=share, fix=fix) from None
    log(
        f"data: {made.counts['train']} pictures to train on and {made.counts['val']} to validate on, in the lists of "
        f"{made.files['val'].parent}"
    )
