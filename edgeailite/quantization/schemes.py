"""Quantization schemes as plain records, and plans: layers that depart from their scheme in bits.

`ort_u8s8`: uint8 activations with a zero point (0 after ReLU), int8 symmetric weights per output channel, int32 bias
at scale input x weight. It is what onnxruntime's x86 integer kernels fuse: signed activations leave most convolutions
in float there. `ort_u8s7` keeps weights to 7 bits: without VNNI, AVX2 and AVX-512 add pairs of products in 16 bits,
and 2 x 255 x 63 still fits. `ort_u8s8_tensor` has one scale for all weights of a layer, for devices that read no more.
`s8s8` is TensorRT's: int8 everywhere, no zero points. `tidl_pow2` is the arithmetic of TI's published training
(xnn.quantize): power-of-two scales, one per tensor, weights and bias of 8 bits, halves rounded up. Its signed tensors
are written as uint8 with zero point 128, which are the same values, because that is what onnxruntime fuses; kernels
round halves to even, which is the one difference left. `portable` gives the same codes in every arithmetic that rounds
to the nearest code, in .onnx and .tflite files alike (`quantization.tie_free` has the proof).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgeailite.errors import UsageError

WEIGHT_BITS = (4, 8, 16)
ACTIVATION_BITS = (8, 16)


@dataclass(frozen=True)
class Scheme:
    """Rules that turn ranges into codes: bits, zero points, scales. `quantization.grids` has the formulas."""

    name: str
    about: str
    symmetric: bool = False
    """Activations: zero is the middle of the codes, or the first where no value is negative; else any code."""
    signed: bool = False
    """Activation codes are signed (and zero is code 0, behind a ReLU too)."""
    power_of_two: bool = False
    """Scales of activations, weights and bias are powers of two."""
    per_channel: bool = True
    """A weight scale per output channel, else one."""
    weight_bits: int = 8
    full_weights: bool = False
    """Weight codes reach -2^(bits-1), else they are symmetric."""
    half_up: bool = False
    """Fake quantization rounds halves up (activations) and away from zero (weights), else to even as in files."""
    bias_bits: int | None = None
    """Bits of the bias, on a power-of-two scale of its own; None: int32 at scale input x weight."""
    published_ranges: bool = False
    """Ranges are tracked as TI's training does (`tidl_ranges`), whatever percentile is asked for."""
    tie_free: bool = False
    """No sum of a layer lies in the middle between two codes, so that all ways to round agree (`tie_free`)."""


_ROWS = (
    Scheme("ort_u8s8", "onnxruntime and OpenVINO on CPUs: uint8 activations, int8 weights per channel"),
    Scheme(
        "ort_u8s7", "the same with 7-bit weights, for CPUs without VNNI, whose int8 sums may saturate", weight_bits=7
    ),
    Scheme(
        "ort_u8s8_tensor",
        "the same as ort_u8s8 with one weight scale per tensor, for devices without more",
        per_channel=False,
    ),
    Scheme("s8s8", "TensorRT: int8 activations without zero points", symmetric=True, signed=True),
    Scheme(
        "tidl_pow2",
        "TI TIDL: power-of-two scales, one per tensor, as TI's published training",
        symmetric=True,
        power_of_two=True,
        per_channel=False,
        full_weights=True,
        half_up=True,
        bias_bits=8,
        published_ranges=True,
    ),
    Scheme(
        "portable",
        "any integer runtime: the same codes in all of them, by power-of-two scales and sums without ties",
        power_of_two=True,
        tie_free=True,
    ),
)
SCHEMES: dict[str, Scheme] = {row.name: row for row in _ROWS}
DEFAULT_SCHEME = "ort_u8s8"


@dataclass(frozen=True)
class Plan:
    """Bits that differ from the scheme's: of weights by convolution, of activations by range (its name in `ranges`).

    Raises UsageError for bits that no file holds.
    """

    weights: Mapping[str, int] = field(default_factory=dict)
    activations: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, given, allowed in (
            ("weights", self.weights, WEIGHT_BITS),
            ("activations", self.activations, ACTIVATION_BITS),
        ):
            for name, bits in given.items():
                if bits not in allowed:
                    known = ", ".join(map(str, allowed))
                    raise UsageError(f"plan: {what} of {name} have {bits!r} bits", fix=f"possible are {known}")


EVERYTHING_AS_THE_SCHEME = Plan()


def get_scheme(name: str) -> Scheme:
    """Return a scheme by name. Raises UsageError for an unknown one."""
    if name not in SCHEMES:
        raise UsageError(
            f"unknown quantization scheme {name!r}",
            fix=f"known: {', '.join(SCHEMES)}",
            code="unknown-name",
            value=name,
            known=tuple(SCHEMES),
        )
    return SCHEMES[name]
