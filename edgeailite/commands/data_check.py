"""`edgeailite data check`: the doctor of data sets, as text, JSON, a page, and lists without what is broken."""

from __future__ import annotations

import json
from typing import Any

from edgeailite.config import DataCheckConfig
from edgeailite.console import log, print_text
from edgeailite.data.check import CODES, Checkup
from edgeailite.data.check.begin import checked
from edgeailite.data.check.findings import LEVELS
from edgeailite.data.check.summary import summary, write_lists
from edgeailite.data.check.survey import Spread
from edgeailite.data.check.text import describe
from edgeailite.errors import counted
from edgeailite.untrusted import printable


def run(config: DataCheckConfig) -> int:
    """Check, print, write; 3 with errors, 1 with warnings, else 0."""
    where = (config.dataset_name, config.data_path, config.split)
    with checked("check", *where, config.workers, _spread(config)) as checkup:
        if config.html is not None:
            from edgeailite.report.data_page import write_page  # matplotlib and jinja2 only where they are used

            write_page(checkup, config.html)
            log(f"page: {config.html}")
        if config.fix == "list":
            written = write_lists(checkup.surveys, checkup.root, config.save_path, real=checkup.real)
            for split, path in written.items():
                one = checkup.surveys[split]
                log(f"list: {path} ({len(one.source.items) - len(one.bad)} of {len(one.source.items)} pictures)")
        text = json.dumps(as_json(checkup)) if config.json else as_text(checkup, config.show)
        text = text.encode(errors="backslashreplace").decode()  # names need not be text
        (print if config.json else print_text)(text)
        return checkup.exit_code


def as_json(checkup: Checkup) -> dict[str, Any]:
    """Return everything that was found as plain values for JSON."""
    found = checkup.findings
    return {
        "dataset": checkup.name,
        "path": str(checkup.root),
        **{f"{level}s": found.count(level) for level in LEVELS},
        "counts": dict(found.counts),
        "findings": [{"level": f.level, "code": f.code, "file": f.file, "message": f.message} for f in found.ordered()],
        "not_opened": checkup.closed,
        "splits": {split: summary(one) for split, one in checkup.surveys.items()},
    }


def as_text(checkup: Checkup, show: int) -> str:
    """Return the findings by kind, the first few of each, then the classes of each split, as text for people."""
    found = checkup.findings
    parts = []
    ordered = found.ordered()
    for code in dict.fromkeys(finding.code for finding in ordered):
        ours = [finding for finding in ordered if finding.code == code]
        told = ours if show == 0 else ours[:show]
        level, meaning = CODES[code]
        lines = [f"{level}: {code}: {meaning} ({found.counts[code]})"]
        lines += [printable(f"  {finding.file}: {finding.message}") for finding in told]
        more = found.counts[code] - len(told)
        parts.append("\n".join([*lines, *([f"  … and {more} more"] if more else [])]))
    parts += [describe(split, summary(one)) for split, one in checkup.surveys.items()]
    parts += [f"split {split}: not opened; repair the above, then check again for the rest" for split in checkup.closed]
    counts = ", ".join(counted(found.count(level), level) for level in LEVELS)
    total = sum(len(one.source.items) for one in checkup.surveys.values())
    return "\n\n".join([*parts, f"data check: {checkup.name}, {total} pictures: {counts}"])


def _spread(config: DataCheckConfig) -> Spread | None:
    """Return the function that examines pictures on other machines, if the options ask for them."""
    if config.engine == "local":
        return None
    from edgeailite.fleet.validation import spread_of  # it brings in what labels pictures

    return spread_of(config)
