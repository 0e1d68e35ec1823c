"""The order of samples: batch samplers that are pure functions of (seed, epoch).

An epoch may be shorter or longer than the split: longer ones are several passes, each in an order of its own. Several
processes draw the same batches, and each takes its own part of every batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from edgeailite.errors import DataError, UsageError, option

Key = tuple[int, ...]  # (view, index), or (view, index, short edge); the view is the epoch, but in repeated passes
PASS = 1 << 20  # a second pass of epoch e has view e + PASS, so that its pictures are augmented anew


@dataclass(frozen=True)
class Portion:
    """The part of the order of pictures that a process uses.

    `size` is option `epoch_size` (0 = all, below 1 a share, else pictures). Batches are multiples of `group`; of each
    batch, process `rank` of `processes` takes its part.
    """

    size: float = 0.0
    group: int = 1
    rank: int = 0
    processes: int = 1

    def pictures(self, available: int) -> int:
        """Count the pictures in an epoch of a split that has `available`."""
        if self.size == 0:
            return available
        return max(1, round(available * self.size)) if self.size < 1 else int(self.size)


ALL = Portion()


class EpochBatches:
    """Batch sampler: shuffled by (seed, epoch), incomplete last batch dropped, the first `skip` batches left out."""

    def __init__(self, size: int, batch_size: int, *, seed: int, portion: Portion = ALL) -> None:
        """Raises DataError where not one batch comes out, UsageError for one that processes cannot share."""
        if size < batch_size and portion.pictures(size) <= size:
            raise DataError(
                f"{size} pictures give no batch of {batch_size}",
                value=size,
                fix=f"lower {option('batch_size')} or add pictures",
                code="too-few-pictures",
            )
        if batch_size % portion.processes:
            raise UsageError(
                f"expected a multiple of the {portion.processes} processes", about="batch_size", value=batch_size
            )
        self.size, self.batch_size, self.seed, self.portion = size, batch_size, seed, portion
        self.epoch, self.skip = 0, 0
        self.batches = self._whole_groups(portion.pictures(size) // batch_size)

    def __len__(self) -> int:
        return self.batches - self.skip

    def __iter__(self) -> Iterator[list[Key]]:
        stream = self._stream()
        for batch in range(self.batches):
            chosen = [next(stream) for _ in range(self.batch_size)]
            if batch >= self.skip:
                yield self._own(chosen)

    def _stream(self) -> Iterator[Key]:
        """(view, index) without end: the split in shuffled order, again and again."""
        for repetition in count():
            view = self.epoch + PASS * repetition
            for index in np.random.default_rng([self.seed, view]).permutation(self.size).tolist():
                yield view, index

    def _own(self, batch: Sequence[Key]) -> list[Key]:
        return list(batch[self.portion.rank :: self.portion.processes])

    def _whole_groups(self, batches: int) -> int:
        if batches < self.portion.group:
            raise DataError(
                f"an epoch of {batches} batches of {self.batch_size} gives no update of {self.portion.group} batches",
                fix=f"lower {option('accumulate')} or {option('batch_size')}, or raise {option('epoch_size')}",
                code="too-few-pictures",
            )
        return batches - batches % self.portion.group


class AspectBatches(EpochBatches):
    """Batches of either upright or other pictures, each batch with a short edge of its own.

    Two queues are filled in shuffled order; a full one is a batch. What is left in them at the end is dropped.
    """

    def __init__(
        self, upright: Sequence[bool], batch_size: int, *, seed: int, short_edges: Sequence[int], portion: Portion = ALL
    ) -> None:
        super().__init__(len(upright), batch_size, seed=seed, portion=portion)
        self.upright, self.short_edges = tuple(upright), tuple(short_edges)
        counts = sum(self.upright), len(self.upright) - sum(self.upright)
        whole = sum(number // batch_size for number in counts)
        if not whole:
            raise DataError(
                f"{counts[0]} upright and {counts[1]} other pictures, which are not mixed, give no batch of "
                f"{batch_size}",
                fix=f"lower {option('batch_size')} or add pictures",
                code="too-few-pictures",
            )
        if portion.pictures(self.size) == self.size:  # one pass, in which a batch of each kind may remain incomplete
            self.batches = self._whole_groups(whole)

    def __iter__(self) -> Iterator[list[Key]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        rng.permutation(self.size)  # the order, which `_stream` draws from the same numbers
        edges = rng.choice(self.short_edges, self.batches)
        queues: dict[bool, list[Key]] = {False: [], True: []}
        done = 0
        for view, index in self._stream():
            queue = queues[self.upright[index]]
            queue.append((view, index))
            if len(queue) < self.batch_size:
                continue
            if done >= self.skip:
                yield self._own([(*key, int(edges[done])) for key in queue])
            queue.clear()
            done += 1
            if done == self.batches:
                return
