"""The numbers of a surveyed split, as values that JSON can hold, and lists of the items that are fine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeailite.data.check.survey import IGNORED, SplitSurvey, enet_weights, main_target, median_frequency_weights
from edgeailite.data.files.listing import LISTS_FOLDER
from edgeailite.data.lists import line_of, write_list
from edgeailite.data.source import Item

SIZES_TOLD = 12


def summary(one: SplitSurvey) -> dict[str, Any]:
    """Return counts, sizes (most frequent first), colours, and one row per class."""
    mean, square = np.split(one.moments / max(one.area, 1), 2)
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    sizes = one.sizes.most_common()
    labelled = int(one.pixels[:IGNORED].sum())
    return {
        "pictures": len(one.source.items),
        "with_errors": len(one.bad),
        "sizes": [{"width": w, "height": h, "pictures": count} for (h, w), count in sizes[:SIZES_TOLD]],
        "other_sizes": len(sizes) - min(len(sizes), SIZES_TOLD),
        "mean_rgb": [round(value, 3) for value in mean.tolist()],
        "std_rgb": [round(value, 3) for value in deviation.tolist()],
        "labelled_pixels": labelled,
        "ignored_pixels": int(one.pixels[IGNORED]),
        "classes": _classes(one, labelled) if main_target(one.source) else [],
    }


def _classes(one: SplitSurvey, labelled: int) -> list[dict[str, Any]]:
    names = one.source.classes
    pixels = one.pixels[: len(names)]
    median = median_frequency_weights(pixels, one.pixels_where[: len(names)])
    enet = enet_weights(pixels)
    return [
        {
            "name": name,
            "pixels": int(pixels[index]),
            "share": round(int(pixels[index]) / max(labelled, 1), 6),
            "pictures": int(one.pictures[index]),
            "weight_median_frequency": round(float(median[index]), 4),
            "weight_enet": round(float(enet[index]), 4),
        }
        for index, name in enumerate(names)
    ]


def write_lists(
    surveys: dict[str, SplitSurvey], root: Path, folder: Path | None, *, real: Callable[[str], str] = str
) -> dict[str, Path]:
    """Write `<split>.txt` with the items without errors, into the data set's folder of lists or another `folder`.

    The lists of the data set are written over, since what was checked is what they name; no other file is.
    """
    written = {split: (folder or root / LISTS_FOLDER) / f"{split}.txt" for split in surveys}
    for split, one in surveys.items():
        kept = [item for index, item in enumerate(one.source.items) if index not in one.bad]
        write_list(written[split], (line_of(_renamed(item, real), root) for item in kept), over=folder is None)
    return written


def _renamed(item: Item, real: Callable[[str], str]) -> Item:
    """Return an item with the real names of its files."""
    labels = {key: Path(real(str(label))) if isinstance(label, Path) else label for key, label in item.labels.items()}
    return replace(item, images=tuple(Path(real(str(image))) for image in item.images), labels=labels)
