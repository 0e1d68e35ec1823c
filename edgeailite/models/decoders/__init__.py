"""Decoders: encoder features to raw predictions (N,C,H/s,W/s), before the last up-sampling.

A decoder gets the encoder's `channels`, `strides` and `group_size` once, in its constructor, and picks its
features by stride there. It never changes the list it is given: several decoders share it.
"""

from __future__ import annotations

from collections.abc import Callable

from edgeailite.models.decoders.deeplabv3plus import DeepLabV3PlusLite

DECODERS: dict[str, Callable[..., DeepLabV3PlusLite]] = {
    "deeplabv3plus": DeepLabV3PlusLite,
}
