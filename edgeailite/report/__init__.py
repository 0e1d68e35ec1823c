"""The report of a run: values in, one HTML file out, with every picture inside it (no remote assets, no scripts)."""

from edgeailite.report.page import LIMIT, render, template
from edgeailite.report.pictures import figure, photo_uri
from edgeailite.report.record import (
    ClassResult,
    DepthResult,
    Example,
    Figure,
    Form,
    Grid,
    Parity,
    Report,
    Rows,
    Verdict,
)
from edgeailite.report.text import flatten, percent, tabulate

__all__ = [
    "LIMIT", "ClassResult", "DepthResult", "Example", "Figure", "Form", "Grid", "Parity", "Report", "Rows", "Verdict",
    "figure", "flatten", "percent", "photo_uri", "render", "tabulate", "template",
]  # fmt: skip
