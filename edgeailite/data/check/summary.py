"""The numbers of a surveyed split, as values that JSON can hold, and lists of the items that are fine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgeailite.data.check.survey import IGNORED, SplitSurvey, enet_weights, main_target, median_frequency_weights
from edgeailite.errors import UsageError, option
from edgeailite.files import unwritable, write_atomic

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
    surveys: dict[str, SplitSurvey], root: Path, folder: Path, *, real: Callable[[str], str] = str
) -> dict[str, Path]:
    """Write `<split>.txt` with the pictures (relative to `root`) of items without errors; no file is written over."""
    written = {split: folder / f"{split}.txt" for split in surveys}
    for path in written.values():
        if path.exists():
            raise UsageError(
                f"{path.name} is there already",
                about="output",
                value=folder,
                fix="choose another folder",
                code="not-ours",
            )
    for split, one in surveys.items():
        names = [real(str(item.image)) for index, item in enumerate(one.source.items) if index not in one.bad]
        lines = [f"{_relative(name, root)}\n" for name in names]
        path = written[split]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, "".join(lines).encode("utf-8", errors="surrogateescape"))
        except OSError as error:
            raise unwritable(path, error, fix=f"choose another {option('output')}") from None
    return written


def _relative(name: str, root: Path) -> str:
    path = Path(name)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
