"""Options of `edgeailite data get`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DataGetConfig:
    """Download a data set and unpack it to where training looks for it, or say how it is got; then count its pictures.

    What is there is left as it is. Exit code 3 with what is missing.
    """

    name: str = ""
    """Data set; without one, a list of them with sizes and terms."""
    data_path: Path | None = None
    """Folder of the data set; default as in training."""
    list: bool = False
    """List the data sets with sizes and terms."""
