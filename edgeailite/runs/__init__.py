"""Run folders: checkpoints, opening a trained network or a file, resuming, the columns of metrics.csv."""

from typing import TYPE_CHECKING

from edgeailite.lazy import lazily

if TYPE_CHECKING:
    from edgeailite.runs.dataset import dataset_of
    from edgeailite.runs.open import OpenModel, open_model

__all__ = ["OpenModel", "dataset_of", "open_model"]

# Reading metrics.csv needs no torch.
__getattr__ = lazily(__name__, {"OpenModel": "open", "dataset_of": "dataset", "open_model": "open"})
