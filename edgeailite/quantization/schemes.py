"""Quantization schemes as plain records.

`ort_u8s8`: uint8 activations with a zero point (0 after ReLU), int8 symmetric weights per output channel, int32 bias
at scale input x weight. It is what onnxruntime's x86 integer kernels fuse: signed activations leave most convolutions
in float there. `ort_u8s7` keeps weights to 7 bits: without VNNI, AVX2 and AVX-512 add pairs of products in 16 bits,
and 2 x 255 x 63 still fits.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeailite.errors import UsageError


@dataclass(frozen=True)
class Scheme:
    """Activation codes are 0..activation_limit, weight codes -weight_limit..weight_limit."""

    name: str
    activation_limit: int
    weight_limit: int


SCHEMES: dict[str, Scheme] = {
    "ort_u8s8": Scheme("ort_u8s8", activation_limit=255, weight_limit=127),
    "ort_u8s7": Scheme("ort_u8s7", activation_limit=255, weight_limit=63),
}
DEFAULT_SCHEME = "ort_u8s8"


def get_scheme(name: str) -> Scheme:
    """The record. Raises UsageError for an unknown name."""
    if name not in SCHEMES:
        raise UsageError(f"unknown quantization scheme {name!r}; known: {', '.join(SCHEMES)}")
    return SCHEMES[name]
