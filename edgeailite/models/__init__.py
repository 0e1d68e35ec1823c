"""Networks by name: `create_model(name)` and `list_models(pattern)`.

A network is a row of `MODELS`: an encoder, how it is strided, and a decoder. Published older spellings are
rows of `ALIASES`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from edgeailite.errors import UsageError
from edgeailite.models.decoders import DECODERS
from edgeailite.models.encoders import ENCODERS
from edgeailite.models.pixel2pixel import Pixel2Pixel

__all__ = ["ALIASES", "MODELS", "ModelRow", "Pixel2Pixel", "create_model", "list_models"]

DEFAULT_CLASSES = 19


@dataclass(frozen=True)
class ModelRow:
    """How a named network is put together."""

    encoder: str
    decoder: str
    output_stride: int


MODELS: dict[str, ModelRow] = {
    "deeplabv3plus_mobilenetv2_tv_edgeailite": ModelRow("mobilenetv2_tv", "deeplabv3plus", output_stride=16),
}

ALIASES: dict[str, str] = {
    "deeplabv3plus_edgeailite_mobilenetv2_tv": "deeplabv3plus_mobilenetv2_tv_edgeailite",
}


def list_models(pattern: str = "*") -> list[str]:
    """Names of the networks that match a shell pattern, sorted; aliases are left out."""
    return sorted(name for name in MODELS if fnmatchcase(name, pattern))


def create_model(name: str, num_classes: int | None = None, *, outputs: Mapping[str, int] | None = None) -> Pixel2Pixel:
    """Build a network with its initial (random) weights.

    `num_classes` is short for `outputs={"segmentation": num_classes}` and defaults to 19.
    Raises UsageError for an unknown name (says which exist) and for both arguments at once.
    """
    row = MODELS.get(ALIASES.get(name, name))
    if row is None:
        near = difflib.get_close_matches(name, [*MODELS, *ALIASES], n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"unknown model {name!r}; known: {', '.join(list_models())}{hint}")
    if num_classes is not None and outputs is not None:
        raise UsageError("give num_classes or outputs, not both")
    channels = dict(outputs) if outputs is not None else {"segmentation": num_classes or DEFAULT_CLASSES}
    if not channels or any(count < 1 for count in channels.values()):
        raise UsageError(f"outputs {channels}: every output needs at least one channel")
    encoder = ENCODERS[row.encoder](output_stride=row.output_stride)
    decoders = {
        output: DECODERS[row.decoder](
            count,
            channels=encoder.channels,
            strides=encoder.strides,
            group_size=encoder.group_size,
            activation=encoder.activation,
        )
        for output, count in channels.items()
    }
    return Pixel2Pixel(ALIASES.get(name, name), encoder, decoders, channels)
