"""A network's weights under the names that were published, for other code to read."""

from __future__ import annotations

import re

from torch import Tensor

from edgeailite.models import Pixel2Pixel
from edgeailite.pretrained import ddrnet_names, ffnet_names


def published_state_dict(model: Pixel2Pixel) -> dict[str, Tensor]:
    """Return tensors by published key; save them with `torch.save`, and `load_pretrained` reads them back.

    edgeailite: `encoder.features...` and `decoders.<n>...`, as TI's checkpoints. ADE20K: `encoder.<key>` and
    `decoder.<key>`: the keys of the two published files after their part's name; further decoders are `decoder1.` on.
    DDRNet, FFNet: the keys of their original code; further decoders stay `decoders.<n>.`.
    """
    state = {key: value.detach() for key, value in model.state_dict().items()}
    if model.family == "edgeailite":
        return state
    if model.family == "ddrnet":
        return ddrnet_names.to_published(state)
    if model.family == "ffnet":
        return ffnet_names.to_published(state)
    return {re.sub(r"^decoders\.(\d+)\.", _decoder_name, key): value for key, value in state.items()}


def _decoder_name(found: re.Match[str]) -> str:
    return "decoder." if found.group(1) == "0" else f"decoder{found.group(1)}."
