"""Opens the data set that an opened model can be measured on: labels for every output, of the classes that it knows."""

from __future__ import annotations

from pathlib import Path

from edgeailite.data import DATASETS, DataSource, default_path, open_dataset
from edgeailite.data.source import ClassTarget
from edgeailite.errors import DataError, UsageError, option
from edgeailite.modelcard import ModelCard


def dataset_of(card: ModelCard, name: str | None, path: Path | None, split: str) -> DataSource:
    """Open a split of the data set `name` in the folder `path`; None for either means what the model was trained on.

    Returns a split with labels for every output of the model. Raises UsageError where it has no labels or another
    number of pictures per sample than the model takes, DataError for other classes, or where nothing says in which
    folder the data set lies.
    """
    name = name or card.dataset_name
    found = path or (None if card.data_path is None else Path(card.data_path))
    if found is None and name in DATASETS and not default_path(name).is_dir():
        raise DataError(
            f"data set {name}: the model does not know where it lies, and {default_path(name)}/ does not exist; "
            f"give {option('data_path')} DIR",
            code="folder-missing",
        )
    source = open_dataset(name, found, split)
    item = source.items[0]
    if not item.labels:
        raise UsageError(
            f"{option('dataset_name')} {source.name}: has pictures only, no labels to compare with", code="no-fit"
        )
    if len(item.images) != len(card.inputs):
        raise UsageError(
            f"{option('dataset_name')} {source.name}: has {len(item.images)} picture(s) per sample, but the "
            f"model takes {len(card.inputs)}; give the data set it was trained on",
            code="no-fit",
        )
    for output, channels in card.outputs.items():
        _check_output(card, source, output, channels)
    return source


def _check_output(card: ModelCard, source: DataSource, output: str, channels: int) -> None:
    """Raises DataError where an output has no target, or one of other classes."""
    if output not in source.targets:
        raise DataError(
            f"data set {source.name} has labels for {', '.join(source.targets)}, none for the model's output {output}; "
            "give the data set it was trained on",
            code="no-fit",
        )
    target = source.targets[output]
    count = len(target.classes) if isinstance(target, ClassTarget) else 1
    if count != channels:
        names = f" ({', '.join(card.classes[:3])}, ...)" if channels == len(card.classes) else ""
        raise DataError(
            f"data set {source.name} has {count} classes but the model has {channels}{names}"
            f"{'' if len(card.outputs) == 1 else f' in output {output}'}; give the data set it was trained on",
            code="no-fit",
        )
