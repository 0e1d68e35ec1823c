"""Names of a network with one input and one decoder -> the keys of a network with several of either."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from edgeailite.models import Pixel2Pixel
from edgeailite.pretrained.recognise import RecognisedWeights


@dataclass(frozen=True)
class PlacedWeights:
    """Tensors by the model's own keys; `explained` has the reasons for missing prefixes.

    `spread`: one input's tensors stand for several inputs. `copied`: one decoder's tensors stand for several decoders,
    and some may not fit.
    """

    weights: dict[str, Tensor]
    notes: tuple[str, ...] = ()
    explained: Mapping[str, str] = field(default_factory=dict)
    spread: bool = False
    copied: bool = False


def place(found: RecognisedWeights, model: Pixel2Pixel) -> PlacedWeights:
    """Copy one stream's tensors to all input streams and a single decoder's to all decoders; the notes say so."""
    weights, notes, explained = found.weights, list(found.notes), dict(found.explained)
    fusion = f"encoder.{model.encoder.fuse_key}."
    spread = model.inputs > 1 and not any(key.startswith(fusion) for key in weights)
    if spread:
        targets = _targets(model)
        weights = {new: value for key, value in weights.items() for new in _streams(key, targets)}
        explained = {new: why for prefix, why in explained.items() for new in _streams(prefix, targets)}
        explained[fusion] = "the file has one input"
        notes.append(f"one input's weights copied to all {model.inputs} inputs")
    numbers = {key.split(".")[1] for key in weights if key.startswith("decoders.")}
    copied = numbers == {"0"} and len(model.decoders) > 1
    if copied:
        weights = {new: value for key, value in weights.items() for new in _decoders(key, len(model.decoders))}
        notes.append(f"one decoder's weights copied to all {len(model.decoders)} decoders")
    return PlacedWeights(dict(weights), tuple(notes), explained, spread, copied)


def _targets(model: Pixel2Pixel) -> dict[str, list[str]]:
    """Block name -> its key in every stream that has it."""
    targets: dict[str, list[str]] = {}
    for keys in [*model.encoder.stems, model.encoder.trunk]:
        for name, key in keys.items():
            targets.setdefault(name, []).append(key)
    return targets


def _streams(key: str, targets: Mapping[str, list[str]]) -> list[str]:
    """`encoder.<block>.rest` -> the same of every stream; other keys as they are."""
    parts = key.removeprefix("encoder.").split(".")
    if key.startswith("encoder."):
        for length in range(len(parts), 0, -1):
            rest = parts[length:]
            if (name := ".".join(parts[:length])) in targets:
                return [".".join(["encoder", block, *rest]) for block in targets[name]]
    return [key]


def _decoders(key: str, count: int) -> list[str]:
    if not key.startswith("decoders.0."):
        return [key]
    return [f"decoders.{number}.{key.removeprefix('decoders.0.')}" for number in range(count)]
