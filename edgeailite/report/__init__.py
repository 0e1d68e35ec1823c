"""The report of a run: values in, one HTML file out, with every picture inside it (no remote assets, no scripts)."""

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

__all__ = [
    "LIMIT", "ClassResult", "DepthResult", "Example", "Form", "Grid", "Parity", "Report", "Rows", "Verdict",
    "flatten", "percent", "render", "tabulate",
]  # fmt: skip
