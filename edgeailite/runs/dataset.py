"""Opens what an opened model can be measured on: a data set with labels for its outputs, or pictures alone."""

from __future__ import annotations

from pathlib import Path

from edgeailite.data import DATASETS, DataSource, default_path, open_dataset
from edgeailite.data.files.images import IMAGE_SUFFIXES
from edgeailite.data.files.listing import files_below
from edgeailite.data.sets.class_folders import NAME as CLASS_FOLDERS
from edgeailite.data.sets.class_folders import of_classes
from edgeailite.data.source import DepthTarget, Item
from edgeailite.errors import DataError, UsageError, option
from edgeailite.modelcard import CLASSIFICATION, FEATURES, ModelCard

PICTURES = "pictures"
"""In a card, the name of a data set that is a folder of pictures without labels."""


def pictures_in(card: ModelCard, folder: Path) -> DataSource:
    """Open the pictures at any depth of a folder, for a network that takes one; they have no labels.

    Raises UsageError for a network of several inputs, DataError for a folder without pictures.
    """
    if len(card.inputs) != 1:
        raise UsageError(
            f"the network takes {len(card.inputs)} pictures at a time ({', '.join(card.inputs)})",
            about="pictures",
            value=folder,
            fix=f"give {option('data_path')} of its data set",
        )
    found = files_below(folder, IMAGE_SUFFIXES) if folder.is_dir() else {}
    if not found:
        problem = "no such folder" if not folder.is_dir() else "no pictures in it"
        raise DataError(problem, path=folder, fix="give a folder of pictures", code="folder-missing")
    return DataSource(PICTURES, "all", tuple(Item((path,), {}) for path in found.values()), {})


def pictures_or_dataset(card: ModelCard, path: Path | None, split: str) -> DataSource:
    """Open the pictures to compare answers on: those of the card's folder without labels, or of its data set.

    `path` is another folder than the card's. Raises the errors of `pictures_in` and `dataset_of`.
    """
    folder = path or (None if card.data_path is None else Path(card.data_path))
    if card.dataset_name == PICTURES and folder is not None and not folder.is_file():
        return pictures_in(card, folder)
    return dataset_of(card, None, path, split)


def dataset_of(card: ModelCard, name: str | None, path: Path | None, split: str) -> DataSource:
    """Open a split of the data set `name` in the folder `path`; None for either means what the model was trained on.

    Returns a split with labels for every output of the model. Raises UsageError where it has no labels or another
    number of pictures per sample than the model takes, or the model has no output with a metric; DataError for other
    classes, or where nothing says in which folder the data set lies.
    """
    if not measured_outputs(card):
        raise UsageError(
            f"the model has no output with a metric, only {', '.join(card.outputs)}",
            fix="compare its numbers with those of another form of it: edgeailite compare A B "
            f"{option('data_path')} PICTURES",
            code="wrong-kind",
        )
    name = name or card.dataset_name
    if name == PICTURES and card.whole and (path is not None or card.data_path is not None):
        name = CLASS_FOLDERS
    if name == PICTURES:
        raise UsageError(
            "the model knows no labelled data set",
            fix=f"give {option('dataset_name')} NAME and {option('data_path')}, here or to `edgeailite card`",
        )
    found = path or (None if card.data_path is None else Path(card.data_path))
    if found is None and name in DATASETS and not default_path(name).is_dir():
        raise DataError(
            f"data set {name}: the model does not know where it lies, and {default_path(name)}/ does not exist; "
            f"give {option('data_path')} DIR",
            code="folder-missing",
        )
    source = open_dataset(name, found, split)
    if CLASSIFICATION in source.targets and card.whole and card.classes:
        source = of_classes(source, card.classes)
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
    for output, channels in measured_outputs(card).items():
        _check_output(card, source, output, channels)
    return source


def measured_outputs(card: ModelCard) -> dict[str, int]:
    """Return the outputs that have a metric, with their channels."""
    return {output: channels for output, channels in card.outputs.items() if card.tasks[output] != FEATURES}


def _check_output(card: ModelCard, source: DataSource, output: str, channels: int) -> None:
    """Raises DataError where an output has no target, or one of other classes."""
    if output not in source.targets:
        raise DataError(
            f"data set {source.name} has labels for {', '.join(source.targets)}, none for the model's output {output}; "
            "give the data set it was trained on",
            code="no-fit",
        )
    target = source.targets[output]
    count = 1 if isinstance(target, DepthTarget) else len(target.classes)
    if count != channels:
        names = f" ({', '.join(card.classes[:3])}, ...)" if channels == len(card.classes) else ""
        raise DataError(
            f"data set {source.name} has {count} classes but the model has {channels}{names}"
            f"{'' if len(card.outputs) == 1 else f' in output {output}'}; give the data set it was trained on",
            code="no-fit",
        )
