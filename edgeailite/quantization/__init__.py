"""Quantization: `prepare`, then `calibrate` or training, then `integer_exact` (evaluation) and `convert` (the file)."""

from __future__ import annotations

from edgeailite.quantization.adaround import adaround
from edgeailite.quantization.bias_correction import correct_bias
from edgeailite.quantization.calibrate import calibrate, learn_ranges, set_input_range
from edgeailite.quantization.convert import convert
from edgeailite.quantization.equalize import equalize
from edgeailite.quantization.integer import integer_exact
from edgeailite.quantization.modules import set_state
from edgeailite.quantization.observers import DEFAULT_OBSERVER, OBSERVERS
from edgeailite.quantization.prepare import normalised_by, prepare, scheme_of, wide_parts
from edgeailite.quantization.schemes import DEFAULT_SCHEME, EVERYTHING_AS_THE_SCHEME, SCHEMES, Plan
from edgeailite.quantization.tidl import constrain_weights, published_names, set_published_ranges
from edgeailite.quantization.tie_safe import settle_scales

__all__ = [
    "DEFAULT_OBSERVER",
    "DEFAULT_SCHEME",
    "EVERYTHING_AS_THE_SCHEME",
    "OBSERVERS",
    "SCHEMES",
    "Plan",
    "adaround",
    "calibrate",
    "constrain_weights",
    "convert",
    "correct_bias",
    "equalize",
    "integer_exact",
    "learn_ranges",
    "normalised_by",
    "prepare",
    "published_names",
    "scheme_of",
    "set_input_range",
    "set_published_ranges",
    "set_state",
    "settle_scales",
    "wide_parts",
]
