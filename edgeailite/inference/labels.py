"""Classes back to the label values of the data set that a network was trained on (`infer original_ids`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeailite.data import DataSource, open_dataset
from edgeailite.data.source import IGNORE, ClassTarget
from edgeailite.errors import DataError, EdgeailiteError, UsageError, option
from edgeailite.modelcard import ModelCard

SPLITS = ("val", "train")


def original_values(card: ModelCard, path: Path | None) -> dict[str, NDArray[np.uint8]]:
    """Return for each output with classes the label value (256) of each class; the least if a class has several.

    Raises UsageError where the data set cannot be opened, DataError where it has other classes.
    """
    source = _data_set(card, path)
    found = {}
    for output, channels in card.outputs.items():
        if output not in card.classified:
            continue
        target = source.targets.get(output)
        if not isinstance(target, ClassTarget) or len(target.classes) != channels:
            raise DataError(
                f"{option('original_ids')}: data set {source.name} has no {channels} classes for output {output}",
                code="no-fit",
            )
        found[output] = inverse(target.label_map)
        lost = next((index for index in range(channels) if _unwritable(target.label_map, index)), None)
        if lost is not None:
            values = ", ".join(str(value) for value, index in target.label_map.items() if index == lost)
            raise DataError(
                f"{option('original_ids')}: class {target.classes[lost]} has label value {values}, "
                f"and result files hold "
                f"0 to 255; leave {option('original_ids')} out"
            )
    return found


def inverse(label_map: Mapping[int, int]) -> NDArray[np.uint8]:
    """Return the label value (256) by class; a class without one is 255."""
    values = np.full(256, IGNORE, np.uint8)
    for value in sorted(label_map, reverse=True):
        if label_map[value] != IGNORE and 0 <= value <= IGNORE:
            values[label_map[value]] = value
    return values


def _unwritable(label_map: Mapping[int, int], index: int) -> bool:
    values = [value for value, found in label_map.items() if found == index]
    return bool(values) and not any(0 <= value <= IGNORE for value in values)


def _data_set(card: ModelCard, path: Path | None) -> DataSource:
    known = path or (None if card.data_path is None else Path(card.data_path))
    reason = ""
    for split in SPLITS:
        try:
            return open_dataset(card.dataset_name, known, split)
        except EdgeailiteError as error:
            reason = reason or str(error)
    raise UsageError(
        f"{option('original_ids')}: the label values stand with data set {card.dataset_name} "
        f"({reason}); give its {option('data_path')}"
    )
