"""The contract of a proven file: what `edgeailite.runtime.recheck` needs to test it anywhere, and the numbers seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeailite import __version__
from edgeailite.data.augment.transforms import resize_image
from edgeailite.data.files.images import read_image
from edgeailite.environment import environment
from edgeailite.errors import UsageError
from edgeailite.export.parity import Picture, Subject, make_golden
from edgeailite.files import sha256_of
from edgeailite.quantization.arithmetic import ONNXRUNTIME_ROWS
from edgeailite.runtime.contract import described
from edgeailite.runtime.contract_file import BASE, EVERY_BIT, FLOAT_LOGIT_TOLERANCE, FLOAT_TOLERANCE, FORMAT

GOLDEN_PICTURES = 2
GOLDEN_WIDTH, GOLDEN_TALLEST = 160, 8192


def contract_values(subject: Subject, items: Sequence[tuple[Path, ...]], results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of contract.json for a proven file: promises, golden pictures, and `results` with versions.

    The golden pictures are taken evenly spaced from `items`, the files of each sample.
    """
    step = max(1, len(items) // GOLDEN_PICTURES)
    chosen = [tuple(map(small, pictures)) for pictures in read_pictures(items[::step][:GOLDEN_PICTURES])]
    return {
        "format": FORMAT,
        "edgeailite": __version__,
        "file": subject.file.name,
        "kind": subject.kind,
        "exact": subject.kind == "int8" and subject.promise is None,
        "sha256": sha256_of(subject.file),
        "tolerance": {
            "int8": (subject.promise or EVERY_BIT) if subject.kind == "int8" else None,
            "float_logits_std": FLOAT_LOGIT_TOLERANCE,
            "float_layer_std": FLOAT_TOLERANCE,
        },
        "preprocessing": subject.card.to_dict()["preprocessing"],
        "card": described(subject.card),
        "environment": environment(),
        "results": results,
        "golden": [golden_case(subject, *pictures) for pictures in chosen],
    }


def golden_case(subject: Subject, *pictures: Picture) -> dict[str, Any]:
    """Return the golden case of one sample; of an exact int8 file in every arithmetic of onnxruntime.

    The entries are those of `BASE`; `arithmetics` holds what differs in others, or the name of `BASE` if nothing does.
    """
    if subject.kind != "int8":
        return make_golden(subject, *pictures).to_dict()
    case = make_golden(subject, *pictures, arithmetic=BASE).to_dict()
    if subject.promise is not None:
        return case
    found = {}
    for name in ONNXRUNTIME_ROWS:
        if name != BASE:
            try:
                found[name] = difference(case, make_golden(subject, *pictures, arithmetic=name).to_dict())
            except UsageError:  # an operator that was never compared with its kernels: nothing is claimed
                continue
    return case | {"arithmetics": found}


def difference(case: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any] | str:
    """Return outputs and layers (their sha256) that differ from those of the case; `BASE` if none does."""
    outputs = {name: value for name, value in other["outputs"].items() if value != case["outputs"][name]}
    pairs = zip(case["layers"], other["layers"], strict=True)
    layers = {b["tensor"]: b["sha256"] for a, b in pairs if a["sha256"] != b["sha256"]}
    return {"outputs": outputs, "layers": layers} if outputs or layers else BASE


def read_pictures(items: Sequence[tuple[Path, ...]]) -> Iterator[tuple[Picture, ...]]:
    """Read the pictures (H,W,3) RGB of each sample, one sample at a time."""
    for paths in items:
        yield tuple(map(read_image, paths))


def small(picture: Picture) -> Picture:
    """Shrink a golden picture to 160 px wide; re-checking resizes it again, so the resize is covered as well."""
    height = min(max(1, round(picture.shape[0] * GOLDEN_WIDTH / picture.shape[1])), GOLDEN_TALLEST)
    return resize_image(picture, (height, GOLDEN_WIDTH))
