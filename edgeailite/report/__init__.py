"""The report of a run: values in, one HTML file out, with every picture inside it (no remote assets, no scripts)."""

from typing import TYPE_CHECKING

from edgeailite.lazy import lazily

if TYPE_CHECKING:
    from edgeailite.report.write import Page, write_report

__all__ = ["Page", "write_report"]

# The page of `data check` needs no torch.
__getattr__ = lazily(__name__, {"Page": "write", "write_report": "write"})
