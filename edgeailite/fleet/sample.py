"""Pictures of a manifest's sample in tar shards, in Parquet files and at addresses: where `recompute` does not look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from edgeailite.config import InferConfig
from edgeailite.fleet.stores import address_of
from edgeailite.fleet.units import PICTURE, SHARDS, rows_of, units_of
from edgeailite.inference.manifest import Entry
from edgeailite.inference.predictor import Encoded


def in_shards(config: InferConfig, words: Sequence[Path], sample: Sequence[Entry]) -> Iterator[Encoded] | None:
    """Yield the sample's pictures from these inputs, in any order; None if all inputs are plain files of this machine.

    Shards are read one after the other until all pictures are found.
    """
    if all(address_of(word) is None and word.suffix.lower() not in SHARDS for word in words):
        return None
    return _found(replace(config, input=tuple(words)), {entry.name for entry in sample})


def _found(config: InferConfig, wanted: set[str]) -> Iterator[Encoded]:
    for unit in units_of(config, None):
        if not wanted:
            return
        for row in () if unit.kind == PICTURE and unit.name not in wanted else rows_of(unit, config.column):
            if row.name in wanted:
                wanted.discard(row.name)
                yield row.name, row.data, row.problem
    for name in sorted(wanted):
        yield name, b"", "not in these files"
