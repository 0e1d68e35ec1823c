"""TensorBoard, where it is installed: a thin cover of torch's SummaryWriter that a missing package cannot break.

Every point stands at the number of optimizer steps since the start of the run, also those of an epoch: one axis, so
that a resumed run can say from where on older points are void (`purge`), and none is drawn twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeailite.errors import UsageError, option

FOLDER = "tensorboard"  # in the run folder

Mode = Literal["auto", "on", "off"]


def tensorboard_writer(mode: Mode) -> Any:
    """Return the class SummaryWriter, None if it is off or not installed. Raises UsageError if it is on and missing."""
    if mode == "off":
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter  # here: takes seconds, and may be missing
    except ImportError:
        if mode == "on":
            raise UsageError(
                f"{option('tensorboard')} on: the package tensorboard is not installed; "
                "pip install tensorboard, or take auto",
                code="not-installed",
            ) from None
        return None
    return SummaryWriter


class Tracker:
    """Scalars and pictures of one run, in `folder`/tensorboard; points of older processes from `purge` on are void."""

    def __init__(self, writer: Any, folder: Path, *, purge: int) -> None:
        self._writer = writer(log_dir=str(folder / FOLDER), purge_step=purge)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Write one point for each tag; NaN is left out."""
        for tag, value in values.items():
            if value == value:
                self._writer.add_scalar(tag, value, step)

    def picture(self, tag: str, image: NDArray[np.uint8], step: int) -> None:
        """Write a picture (H,W,3) uint8 RGB."""
        self._writer.add_image(tag, image, step, dataformats="HWC")

    def flush(self) -> None:
        """Write everything so far to disk."""
        self._writer.flush()

    def close(self) -> None:
        """Write everything to disk and close the files."""
        self._writer.close()
