"""`edgeailite data stats`: how many, how large, which colours, which classes, and the class weights that follow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from edgeailite.commands.data import checked, table
from edgeailite.config import DataStatsConfig
from edgeailite.console import log
from edgeailite.data.check.summary import summary
from edgeailite.errors import DataError


def run(config: DataStatsConfig) -> int:
    """Print the numbers of every split; 1 if some pictures could not be counted. DataError if nothing could."""
    with checked("stats", config.dataset_name, config.data_path, config.split, config.workers) as checkup:
        errors = [finding for finding in checkup.findings.ordered() if finding.level == "error"]
        if not checkup.surveys:
            raise DataError(f"{errors[0].file}: {errors[0].message}" if errors else f"{checkup.root}: no pictures")
        splits = {split: summary(one) for split, one in checkup.surveys.items()}
        unread = sum(checkup.findings.counts[finding] for finding in {error.code for error in errors} - {"leak"})
        if config.json:
            print(json.dumps({"dataset": checkup.name, "path": str(checkup.root), "splits": splits}))
        else:
            print("\n\n".join(describe(split, values) for split, values in splits.items()))
        if unread:
            log(f"warning: {unread} errors, first: {errors[0]}; `edgeailite data check` lists all")
        return 1 if unread else 0


def describe(split: str, values: Mapping[str, Any]) -> str:
    """A split in words and a table of its classes."""
    sizes = ", ".join(f"{size['width']}x{size['height']} ({size['pictures']})" for size in values["sizes"])
    more = f" and {values['other_sizes']} more sizes" if values["other_sizes"] else ""
    colours = " ".join(
        f"{name} {mean:.1f}±{std:.1f}"
        for name, mean, std in zip("RGB", values["mean_rgb"], values["std_rgb"], strict=True)
    )
    ignored = values["ignored_pixels"]
    share = ignored / max(ignored + values["labelled_pixels"], 1)
    lines = [f"split {split}: {values['pictures']} pictures, {sizes or 'none readable'}{more}; {colours}"]
    if values["classes"]:
        lines[0] += f"; {100 * share:.2f} % ignored"
        rows = [
            [
                row["name"],
                str(row["pixels"]),
                f"{100 * row['share']:.3f}",
                str(row["pictures"]),
                f"{row['weight_median_frequency']:.3f}",
                f"{row['weight_enet']:.3f}",
            ]
            for row in values["classes"]
        ]
        lines.append(table(["class", "pixels", "%", "pictures", "median freq. weight", "ENet weight"], rows))
    return "\n".join(lines)
