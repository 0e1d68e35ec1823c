"""Encoders: image (N,3,H,W) to features, shallow to deep, one per stride.

The contract, which decoders rely on: `channels` and `strides` list the features in the order in which
`forward` returns them, `group_size` is the number of channels per group of the 3x3 convolutions
(1 = depthwise), `activation` is the activation class. Features are read-only.
"""

from __future__ import annotations

from collections.abc import Callable

from edgeailite.models.encoders.mobilenetv2 import MobileNetV2

ENCODERS: dict[str, Callable[..., MobileNetV2]] = {
    "mobilenetv2_tv": MobileNetV2,
}
