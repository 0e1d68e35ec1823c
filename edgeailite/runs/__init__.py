"""Run folders: checkpoints, opening a trained network or a file, resuming, the columns of metrics.csv."""

from typing import TYPE_CHECKING

from edgeailite.lazy import lazily

if TYPE_CHECKING:
    from edgeailite.runs.dataset import dataset_of
    from edgeailite.runs.importing import ImportedRun, import_run
    from edgeailite.runs.open import OpenModel, open_model

__all__ = ["ImportedRun", "OpenModel", "dataset_of", "import_run", "open_model"]

# Reading metrics.csv needs no torch.
__getattr__ = lazily(
    __name__,
    {
        "ImportedRun": "importing",
        "OpenModel": "open",
        "dataset_of": "dataset",
        "import_run": "importing",
        "open_model": "open",
    },
)
