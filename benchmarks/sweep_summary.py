"""The log of the slow export tests as Markdown: how many networks were exported, and how far files and torch differ.

EDGEAILITE_SWEEP_LOG=sweep.jsonl tools/test.sh tests/export -m slow
python benchmarks/sweep_summary.py sweep.jsonl
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

from edgeailite.models import MODELS


def main(path: Path) -> None:
    """One row per kind of file, family and decoder; schemes of int8 together."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    groups = defaultdict(list)
    for line in lines:
        row = MODELS[line["name"]]
        family = "ade20k, 2017" if line["name"].startswith("v1_") else row.family
        groups[line["kind"].split()[0], family, row.decoder].append(line)
    print("| file | family | decoder | encoders | inputs × outputs | files | largest difference | failed |")
    print("|---|---|---|---|---|---|---|---|")
    for (kind, family, decoder), members in sorted(groups.items(), key=lambda item: item[0][0]):
        encoders = len({MODELS[line["name"]].encoder for line in members})
        forms = sorted({f"{line['inputs']}×{line['outputs']}" for line in members})
        worst = max(
            line.get("difference_per_std" if kind == "float" else "difference", float("nan")) for line in members
        )
        failed = sum(line["result"] != "ok" for line in members)
        cells = (kind, family, decoder, encoders, ", ".join(forms), len(members), f"{worst:.1e}", failed)
        print(f"| {' | '.join(map(str, cells))} |")
    total, failed = len(lines), sum(line["result"] != "ok" for line in lines)
    print(f"\n{total} files, {failed} failed, {sum(line['seconds'] for line in lines) / 60:.0f} minutes in all.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
