"""Activation ranges of a published file of quantization-aware training; its weights are `load_pretrained`'s."""

from __future__ import annotations

from pathlib import Path

from edgeailite.errors import DataError, option
from edgeailite.pretrained.find_state_dict import state_dict_of
from edgeailite.pretrained.open_weights import fetch
from edgeailite.pretrained.reading import read_weights
from edgeailite.pretrained.recognise import without_wrappers
from edgeailite.untrusted import is_finite, shown

CLIPS, BATCHES = ".clips_act", ".num_batches_tracked"


def published_ranges(source: str | Path) -> dict[str, tuple[float, float, int]]:
    """Read the ranges of a file: key of each module -> low and high end, and the number of batches it has seen.

    Raises DataError for a file without ranges.
    """
    weights, _ = state_dict_of(read_weights(fetch(source)), str(source))
    tensors = without_wrappers(weights, str(source))
    ranges = {}
    for key, value in tensors.items():
        if not key.endswith(CLIPS):
            continue
        name = key.removesuffix(CLIPS)
        ends = value.flatten().tolist()
        if len(ends) != 2 or not all(map(is_finite, ends)) or not ends[0] <= ends[1]:
            raise DataError(f"{key} is {shown(ends)}, not a low and a high end", path=source, fix="take another file")
        batches = tensors.get(name + BATCHES)
        if batches is not None and not (batches.numel() == 1 and is_finite(batches.item())):
            raise DataError(
                f"{name + BATCHES} is {shown(batches.tolist())}, not a number", path=source, fix="take another file"
            )
        ranges[name] = (float(ends[0]), float(ends[1]), 0 if batches is None else int(batches))
    if not ranges:
        raise DataError(
            "no activation ranges (clips_act) in this file",
            path=source,
            fix=f"calibrate without {option('pretrained')}",
            code="wrong-kind",
        )
    return ranges
