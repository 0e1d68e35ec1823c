"""`edgeailite data stats`: how many, how large, which colours, which classes, and the class weights that follow."""

from __future__ import annotations

import json

from edgeailite.config import DataStatsConfig
from edgeailite.console import log, print_text
from edgeailite.data.check.begin import checked
from edgeailite.data.check.summary import summary
from edgeailite.data.check.text import describe
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
            print_text("\n\n".join(describe(split, values) for split, values in splits.items()))
        if unread:
            log(f"warning: {unread} errors, first: {errors[0]}; `edgeailite data check` lists all")
        return 1 if unread else 0
