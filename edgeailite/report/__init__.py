"""The report of a run: values in, one HTML file out, with every picture inside it (no remote assets, no scripts)."""

from typing import TYPE_CHECKING

from edgeailite.lazy import lazily
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

# The page of `data check` needs no torch.
__getattr__ = lazily(__name__, {"Page": "write", "write_report": "write"})
