"""Examines all items of some splits in several processes, and adds up the results.

Each process gets a fixed number of items at a time, and only a few such chunks are under way, so that memory does not
grow with the length of a data set: an item leaves 16 + 32 bytes and its findings.
"""

from __future__ import annotations

import signal
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeailite.data.check.findings import Findings
from edgeailite.data.check.pictures import ItemReport, Targets, examine
from edgeailite.data.duplicates import DIGEST_BYTES, HASH_BYTES
from edgeailite.data.source import ClassTarget, DataSource, Item
from edgeailite.errors import DataError, option

CHUNK = 8  # items
AHEAD = 4  # chunks per process that are under way
SIZES_KEPT = 1000
IGNORED = 255

Examine = Callable[[Item, Targets, str], ItemReport]
Spread = Callable[[Sequence[Item], Targets, str], Iterator[ItemReport]]
"""Items, the targets of their data set and the name of the one whose classes are counted -> reports, in order."""


@dataclass
class SplitSurvey:
    """Added results of a split. `bad`: indices of items with an error.

    `pixels_where`: for each class, all labelled pixels (of any class) of the pictures that contain it.
    """

    source: DataSource
    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    pictures: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    pixels_where: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    digests: bytearray = field(default_factory=bytearray)
    fingerprints: bytearray = field(default_factory=bytearray)
    moments: NDArray[np.float64] = field(default_factory=lambda: np.zeros(6))  # sums of RGB and of RGB squared
    area: int = 0
    bad: set[int] = field(default_factory=set)
    ignored: Counter[int] = field(default_factory=Counter)  # pixels of each label value that is ignored

    def add(self, index: int, examined: ItemReport) -> None:
        """Add the results of item `index`; items come in order."""
        self.digests += examined.digest or bytes(DIGEST_BYTES)
        self.fingerprints += examined.fingerprint or bytes(HASH_BYTES)
        if any(finding.level == "error" for finding in examined.findings):
            self.bad.add(index)
        if examined.size is not None and (examined.size in self.sizes or len(self.sizes) < SIZES_KEPT):
            self.sizes[examined.size] += 1
        if examined.size is not None and examined.mean:
            area = examined.size[0] * examined.size[1]
            self.moments += area * np.array(examined.mean + examined.square)
            self.area += area
        if examined.counts is not None:
            there = examined.counts > 0
            self.pixels += examined.counts
            self.ignored.update(examined.ignored)
            self.pictures += there
            self.pixels_where[there] += int(examined.counts[:IGNORED].sum())

    def words(self) -> NDArray[np.uint64]:
        """Return the fingerprints as rows of four words."""
        return np.frombuffer(bytes(self.fingerprints), np.uint64).reshape(-1, HASH_BYTES // 8)

    def digest(self, index: int) -> bytes:
        """Return the digest of an item's picture; zeros if it could not be read."""
        return bytes(self.digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES])


def main_target(source: DataSource) -> str:
    """Return the name of the target whose classes are counted; "" for a data set without classes."""
    return next((name for name, target in source.targets.items() if isinstance(target, ClassTarget)), "")


def survey(
    source: DataSource,
    findings: Findings,
    *,
    workers: int,
    progress: Callable[[int], None] = lambda done: None,
    check: Examine = examine,
    real: Callable[[str], str] = lambda text: text,
    spread: Spread | None = None,
) -> SplitSurvey:
    """Examine every item of a split. `progress(number)` is called as items are done; `real` mends paths in findings.

    `spread` examines items elsewhere, and yields their reports in order; by default `workers` processes do it here.
    """
    result = SplitSurvey(source)
    if spread is None:
        examined = _examined(source.items, source.targets, main_target(source), check, workers)
    else:
        examined = spread([placed(item, real) for item in source.items], source.targets, main_target(source))
    for index, one in enumerate(examined):
        result.add(index, one)
        findings.add(finding.renamed(real) for finding in one.findings)
        progress(1)
    return result


def _examined(items: Sequence[Item], targets: Targets, main: str, check: Examine, workers: int) -> Iterator[ItemReport]:
    """Examine items one after the other, in order."""
    if workers == 0 or len(items) <= CHUNK:
        yield from (check(item, targets, main) for item in items)
        return
    chunks = (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))
    waiting: deque[Future[list[ItemReport]]] = deque()
    try:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_ignore_interrupt) as pool:
            for chunk in chunks:
                waiting.append(pool.submit(examine_all, chunk, targets, main, check))
                if len(waiting) >= AHEAD * workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
    except BrokenProcessPool:
        raise DataError(
            "a checking process was killed (out of memory?)", fix=f"lower {option('workers')}", code="lost-process"
        ) from None


def placed(item: Item, real: Callable[[str], str]) -> Item:
    """Return an item with the paths of the data set itself, which other machines know, in place of a mirror's."""
    images = tuple(Path(real(str(path))) for path in item.images)
    labels = {name: Path(real(str(value))) if isinstance(value, Path) else value for name, value in item.labels.items()}
    return replace(item, images=images, labels=labels)


def _ignore_interrupt() -> None:
    """Ctrl-C reaches every process of a terminal; only the first has to say so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def examine_all(items: Iterable[Item], targets: Targets, main: str, check: Examine = examine) -> list[ItemReport]:
    """Return the reports of some items: what a process or a machine does at a time."""
    return [check(item, targets, main) for item in items]


def median_frequency_weights(pixels: NDArray[np.int64], pixels_where: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return median frequency / frequency (Eigen and Fergus, ICCV 2015); 0 for a class that does not occur.

    The frequency of a class is its share of the labelled pixels of the pictures that have it (`pixels_where`).
    """
    frequency = pixels / np.maximum(pixels_where, 1)
    there = pixels > 0
    if not there.any():
        return np.zeros(len(pixels))
    return np.where(there, np.median(frequency[there]) / np.where(there, frequency, 1), 0.0)


def enet_weights(pixels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return 1/ln(1.02 + share of pixels) (Paszke et al., 2016), as training with `class_weights` "enet" uses them."""
    return 1 / np.log(1.02 + pixels / max(int(pixels.sum()), 1))
