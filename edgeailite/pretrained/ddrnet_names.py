"""Key names of published DDRNet checkpoints (ydhongHIT/DDRNet) <-> ours."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

KIND = "DDRNet network"
_MARK = re.compile(r"(model\.)?spp\.scale0\.")
_HEADS = ("final_layer.", "seghead_extra.")
_FIRST = ((".bn1.", ".first.0."), (".conv1.", ".first.2."))  # published, ours


def is_ddrnet(weights: Mapping[str, Tensor]) -> bool:
    """Tell if tensors are those of a published DDRNet for segmentation, in its training's wrapper or bare."""
    return any(_MARK.match(key) for key in weights)


def from_published(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename published tensors to ours; those of the training's loss (`loss.`) are left out."""
    bare = {key.removeprefix("model."): value for key, value in weights.items() if not key.startswith("loss.")}
    return {_ours(key): value for key, value in bare.items()}


def to_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename our tensors to the published names; those of further outputs keep ours."""
    return {_published(key): value for key, value in state.items()}


def _ours(key: str) -> str:
    if not key.startswith(_HEADS):
        return f"encoder.{key}"
    for published, own in _FIRST:
        key = key.replace(published, own)
    return f"decoders.0.{key}"


def _published(key: str) -> str:
    for published, own in _FIRST if key.startswith("decoders.0.") else ():
        key = key.replace(own, published)
    return key.removeprefix("encoder.").removeprefix("decoders.0.")
