"""The report of a run: values in, one HTML file out, with every picture inside it (no remote assets, no scripts)."""

from typing import TYPE_CHECKING, Any

from edgeailite.report.page import LIMIT, render
from edgeailite.report.record import (
    ClassResult,
    DepthResult,
    Example,
    Form,
    Grid,
    Parity,
    Report,
    Rows,
    Verdict,
)
from edgeailite.report.text import flatten, percent, tabulate

if TYPE_CHECKING:
    from edgeailite.report.write import Page, write_report

__all__ = [
    "LIMIT", "ClassResult", "DepthResult", "Example", "Form", "Grid", "Page", "Parity", "Report", "Rows", "Verdict",
    "flatten", "percent", "render", "tabulate", "write_report",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load `write_report` when it is first asked for: the page of `data check` needs no torch."""
    if name in ("Page", "write_report"):
        from edgeailite.report import write

        return getattr(write, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
