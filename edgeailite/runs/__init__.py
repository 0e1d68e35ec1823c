"""Run folders: checkpoints, opening a trained network or a file, resuming, the columns of metrics.csv."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeailite.runs.dataset import dataset_of
    from edgeailite.runs.open import OpenModel, open_model

__all__ = ["OpenModel", "dataset_of", "open_model"]


def __getattr__(name: str) -> Any:
    """Load what opens networks when it is first asked for: reading metrics.csv needs no torch."""
    if name == "dataset_of":
        from edgeailite.runs import dataset

        return dataset.dataset_of
    if name in __all__:
        from edgeailite.runs import open as opening

        return getattr(opening, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
