"""Quantization: `prepare` -> `calibrate` or training -> `integer_exact` and `convert` (which export writes)."""

from __future__ import annotations

from edgeailite.quantization.adaround import adaround
from edgeailite.quantization.bias_correction import correct_bias
from edgeailite.quantization.calibrate import calibrate, learn_ranges, set_input_range
from edgeailite.quantization.convert import convert
from edgeailite.quantization.equalize import equalize
from edgeailite.quantization.integer import integer_exact
from edgeailite.quantization.modules import set_state
from edgeailite.quantization.observers import DEFAULT_OBSERVER, OBSERVERS
from edgeailite.quantization.prepare import has_wide_parts, normalised_by, prepare, scheme_of, wide_parts
from edgeailite.quantization.schemes import DEFAULT_SCHEME, SCHEMES, Plan

__all__ = [
    "DEFAULT_OBSERVER",
    "DEFAULT_SCHEME",
    "OBSERVERS",
    "SCHEMES",
    "Plan",
    "adaround",
    "calibrate",
    "convert",
    "correct_bias",
    "equalize",
    "has_wide_parts",
    "integer_exact",
    "learn_ranges",
    "normalised_by",
    "prepare",
    "scheme_of",
    "set_input_range",
    "set_state",
    "wide_parts",
]
