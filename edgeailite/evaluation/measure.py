"""Accuracy of an opened model: the labelled split it is measured on, and one pass over it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from edgeailite.console import progress
from edgeailite.data import DATASETS, DataSource, default_path, open_dataset
from edgeailite.data.loader import eval_loader
from edgeailite.data.source import ClassTarget
from edgeailite.errors import DataError, UsageError
from edgeailite.evaluation import Protocol, Tally, evaluate, part_of
from edgeailite.evaluation.summary import tasks_of
from edgeailite.modelcard import ModelCard
from edgeailite.runs.open import OpenModel

AS_TRAINED = Protocol()


def dataset_of(card: ModelCard, name: str | None, path: Path | None, split: str) -> DataSource:
    """The data set a model was trained on, or the one asked for; with labels for every output of the model.

    Raises UsageError for pictures without labels or of another number of inputs, DataError for other classes, or
    where nothing says in which folder it lies.
    """
    name = name or card.dataset_name
    found = path or (None if card.data_path is None else Path(card.data_path))
    if found is None and name in DATASETS and not default_path(name).is_dir():
        raise DataError(
            f"data set {name}: the model does not know where it lies, and {default_path(name)}/ does not exist; "
            "give --data_path DIR"
        )
    source = open_dataset(name, found, split)
    item = source.items[0]
    if not item.labels:
        raise UsageError(f"--dataset_name {source.name}: has pictures only, no labels to compare with")
    if len(item.images) != len(card.inputs):
        raise UsageError(
            f"--dataset_name {source.name}: has {len(item.images)} picture(s) per sample, but the model takes "
            f"{len(card.inputs)}; give the data set it was trained on"
        )
    for output, channels in card.outputs.items():
        _check_output(card, source, output, channels)
    return source


def _check_output(card: ModelCard, source: DataSource, output: str, channels: int) -> None:
    """Raises DataError where an output has no target, or one of other classes."""
    if output not in source.targets:
        raise DataError(
            f"data set {source.name} has labels for {', '.join(source.targets)}, none for the model's output {output}; "
            "give the data set it was trained on"
        )
    target = source.targets[output]
    count = len(target.classes) if isinstance(target, ClassTarget) else 1
    if count != channels:
        names = f" ({', '.join(card.classes[:3])}, ...)" if channels == len(card.classes) else ""
        raise DataError(
            f"data set {source.name} has {count} classes but the model has {channels}{names}"
            f"{'' if len(card.outputs) == 1 else f' in output {output}'}; give the data set it was trained on"
        )


def measure(
    opened: OpenModel,
    source: DataSource,
    *,
    workers: int | Literal["auto"],
    batch_size: int = 1,
    protocol: Protocol = AS_TRAINED,
) -> Tally:
    """What a network makes of a split, by output."""
    indices = part_of(len(source.items), protocol.epoch_size)
    transform = protocol.transform(opened.card.preprocessing)
    loader = eval_loader(source, transform, batch_size=batch_size, workers=workers, indices=indices)
    with progress("validate", len(indices)) as (bar, task):
        return evaluate(
            protocol.predictor(opened.predict),
            loader,
            tasks_of(source, opened.card.outputs),
            views=protocol.views,
            boundary=protocol.boundary,
            on_picture=lambda picture: bar.advance(task),
        )
