"""`ModelRow`: how a named network is put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from edgeailite.models.encoders.chain import Encoder


@dataclass(frozen=True)
class ModelRow:
    """A named network: its family, the names of encoder and decoder, and the functions that make them.

    `make_encoder(inputs=...)` gives the encoder, `make_decoder(channels, encoder, method=...)` (edgeailite) or
    `make_decoder(channels, encoder, align_corners=...)` (others) a decoder for it.
    """

    family: str
    encoder: str
    decoder: str
    make_encoder: Callable[..., Encoder]
    make_decoder: Callable[..., nn.Module]
