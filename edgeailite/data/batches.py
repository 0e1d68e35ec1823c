"""The order of samples: batch samplers that are pure functions of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from edgeailite.errors import DataError

Key = tuple[int, ...]  # (epoch, index), or (epoch, index, short edge)


class EpochBatches:
    """Batch sampler: shuffled by (seed, epoch), incomplete last batch dropped, the first `skip` batches left out."""

    def __init__(self, size: int, batch_size: int, *, seed: int) -> None:
        if size < batch_size:
            raise DataError(f"{size} pictures give no batch of {batch_size}; lower --batch_size or add pictures")
        self.size, self.batch_size, self.seed = size, batch_size, seed
        self.epoch, self.skip = 0, 0

    def __len__(self) -> int:
        return self.size // self.batch_size - self.skip

    def __iter__(self) -> Iterator[list[Key]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.size)
        for batch in range(self.skip, self.size // self.batch_size):
            chosen = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield [(self.epoch, int(index)) for index in chosen]


class AspectBatches(EpochBatches):
    """Batches of either upright or other pictures, each batch with a short edge of its own.

    Two queues are filled in shuffled order; a full one is a batch. What is left in them at the end is dropped.
    """

    def __init__(self, upright: Sequence[bool], batch_size: int, *, seed: int, short_edges: Sequence[int]) -> None:
        super().__init__(len(upright), batch_size, seed=seed)
        self.upright, self.short_edges = tuple(upright), tuple(short_edges)
        counts = sum(self.upright), len(self.upright) - sum(self.upright)
        self.batches = sum(count // batch_size for count in counts)
        if not self.batches:
            raise DataError(
                f"{counts[0]} upright and {counts[1]} other pictures, which are not mixed, give no batch of "
                f"{batch_size}; lower --batch_size or add pictures"
            )

    def __len__(self) -> int:
        return self.batches - self.skip

    def __iter__(self) -> Iterator[list[Key]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(self.size)
        edges = rng.choice(self.short_edges, self.batches)
        queues: dict[bool, list[int]] = {False: [], True: []}
        done = 0
        for index in order.tolist():
            queue = queues[self.upright[index]]
            queue.append(index)
            if len(queue) < self.batch_size:
                continue
            if done >= self.skip:
                yield [(self.epoch, member, int(edges[done])) for member in queue]
            queue.clear()
            done += 1
