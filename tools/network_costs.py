"""Write edgeailite/cost/network_costs.csv: PYTHONPATH=. python tools/network_costs.py

Counts every network at one large size, where each stride has positions of its own, and checks the row at an odd size;
a network whose row is wrong there is left out, with a line on stderr. Takes minutes. With --only PATTERN only the
matching rows are counted anew, and those of networks that are gone are removed.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from fnmatch import fnmatchcase

from edgeailite.commands.models import describe
from edgeailite.cost.count import count_network
from edgeailite.cost.network_costs import COLUMNS, FIXED, STRIDES, TABLE, NetworkCost, network_costs
from edgeailite.models import list_models

LARGE = (1536, 3072)
ODD = (97, 161)


def counted(name: str) -> NetworkCost | None:
    """Count a network's row; None if it does not give the MACs of the odd size."""
    costs = count_network(name, (LARGE, ODD), num_classes=None, inputs=1, int8=False)
    macs_at: Counter[int] = Counter()
    for layer in costs[LARGE].layers:
        if layer.macs:
            shape = layer.output_shape[2:]
            stride = next((s for s in STRIDES if shape == (LARGE[0] // s, LARGE[1] // s)), FIXED)
            macs_at[stride] += layer.macs if stride == FIXED else layer.macs // (shape[0] * shape[1])
    facts = describe(name, None, LARGE, stored=False)
    cost = NetworkCost(
        facts["classes"],
        costs[LARGE].parameters,
        tuple(facts["strides"]),
        facts["decoder_stride"],
        dict(sorted(macs_at.items())),
    )
    return cost if cost.macs(ODD) == costs[ODD].macs and cost.macs(LARGE) == costs[LARGE].macs else None


def main() -> int:
    """Count what is asked for, then write all rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*")
    only = parser.parse_args().only
    known = network_costs() if TABLE.is_file() else {}
    rows = {}
    for name in list_models():
        cost = counted(name) if fnmatchcase(name, only) or name not in known else known[name]
        if cost is None:
            print(f"{name} is left out: its MACs at odd sizes follow no row", file=sys.stderr)
        else:
            rows[name] = cost
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["network", "classes", "parameters", "strides", "decoder_stride", *COLUMNS.values()])
        for name, cost in rows.items():
            per_stride = [cost.macs_at.get(stride, "") for stride in COLUMNS]
            strides = " ".join(map(str, cost.strides))
            writer.writerow([name, cost.classes, cost.parameters, strides, cost.decoder_stride, *per_stride])
    return 0


if __name__ == "__main__":
    sys.exit(main())
