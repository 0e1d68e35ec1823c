"""Parameters and MACs of networks by name, without building them: from a table that is exact at every picture size.

The output of a convolution at stride s has ceil(H / s) x ceil(W / s) positions, because kernels are odd and padded by
half, or a number that pictures do not change (pyramid pooling). So a row of `network_costs.csv` holds the MACs per
position at every stride. `tools/network_costs.py` writes the table by counting; the tests count again. Networks on VGG
are not in it: their pooling rounds down.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("network_costs.csv")
STRIDES = tuple(2**power for power in range(10))
FIXED = 0  # instead of a stride: MACs that the picture's size does not change
COLUMNS = {stride: f"macs_at_{stride}" if stride else "macs_fixed" for stride in (FIXED, *STRIDES)}


@dataclass(frozen=True)
class NetworkCost:
    """Cost of a network with one input and `classes`: `macs_at` are MACs per position by stride (FIXED: all of them).

    `strides` are those of the encoder's features, `decoder_stride` that of the prediction before the last resize.
    """

    classes: int
    parameters: int
    strides: tuple[int, ...]
    decoder_stride: int
    macs_at: Mapping[int, int]

    def macs(self, height_width: tuple[int, int]) -> int:
        """Return the MACs for one picture of (height, width)."""
        height, width = height_width
        return sum(
            macs * (1 if stride == FIXED else -(-height // stride) * -(-width // stride))
            for stride, macs in self.macs_at.items()
        )


@cache
def network_costs() -> dict[str, NetworkCost]:
    """Return the table, by network; with the number of classes that each has by default.

    >>> network_costs()["unet_aspp_mobilenetv2_tv_edgeailite"].macs((384, 768))
    2204264448
    """
    with TABLE.open(encoding="utf-8", newline="") as file:
        return {row["network"]: _cost(row) for row in csv.DictReader(file)}


def _cost(row: Mapping[str, str]) -> NetworkCost:
    return NetworkCost(
        classes=int(row["classes"]),
        parameters=int(row["parameters"]),
        strides=tuple(map(int, row["strides"].split())),
        decoder_stride=int(row["decoder_stride"]),
        macs_at={stride: int(row[column]) for stride, column in COLUMNS.items() if row[column]},
    )
