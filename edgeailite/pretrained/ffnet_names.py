"""Key names of published FFNet checkpoints (Qualcomm-AI-research/FFNet) <-> ours."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

KIND = "FFNet network"
_ENCODER = ("backbone_model.", "encoder.")  # published, ours
_SMOOTHING = "smoothing.weight"  # halves pictures before the network; a fixed filter, not learnt
_HEAD = "decoders.0."
_PARTS = {"adapter_conv": "head.layers.0", "last_layer": "head.layers.3"}  # ours, published; others are below layers.1


def is_ffnet(weights: Mapping[str, Tensor]) -> bool:
    """Tell if tensors are those of a published FFNet for segmentation."""
    return any(key.startswith("head.layers.0.adapter_conv.") for key in weights)


def from_published(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Rename published tensors to ours; return notes, too.

    Checkpoints named `_pre_down` hold a filter that halves pictures of 1024x2048 before the network: it is left out.
    """
    kept = {_ours(key): value for key, value in weights.items() if key != _SMOOTHING}
    note = "the filter that halves pictures is left out: give the network pictures of half the size"
    return kept, (note,) if _SMOOTHING in weights else ()


def to_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename our tensors to the published names; those of further outputs keep ours."""
    return {_published(key): value for key, value in state.items()}


def _ours(key: str) -> str:
    if key.startswith(_ENCODER[0]):
        return key.replace(*_ENCODER, 1)
    bare = key.removeprefix("head.layers.").partition(".")[2]
    return _HEAD + bare.replace(".layers.", ".", 1)


def _published(key: str) -> str:
    if key.startswith(_ENCODER[1]):
        return key.replace(*_ENCODER[::-1], 1)
    if not key.startswith(_HEAD):
        return key
    *path, position, leaf = key.removeprefix(_HEAD).split(".")
    where = _PARTS.get(path[0], "head.layers.1")
    between = () if path[0] == "last_layer" else ("layers",)
    return ".".join((where, *path, *between, position, leaf))
