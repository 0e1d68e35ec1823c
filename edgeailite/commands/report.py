"""`edgeailite report`: one HTML file of a run, gathered from its folder and a pass over the split."""

from __future__ import annotations

from edgeailite.config import ReportConfig
from edgeailite.console import print_result
from edgeailite.report import write_report


def run(config: ReportConfig) -> int:
    """Write the file and print its path and size."""
    page = write_report(config)
    print_result("report", {"report": str(page.path), "megabytes": round(page.size / 1e6, 2)})
    return 0
