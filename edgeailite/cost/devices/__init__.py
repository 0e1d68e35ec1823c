"""Devices as figures, what networks take on them (a roofline), and figures from measured networks."""

from __future__ import annotations

from edgeailite.cost.devices.fit import INT8_SUFFIX, MeasuredNetwork, fit
from edgeailite.cost.devices.profile import Figure, Profile, list_devices, load_profile, profile_values
from edgeailite.cost.devices.roofline import Estimate, estimate

__all__ = [
    "INT8_SUFFIX", "Estimate", "Figure", "MeasuredNetwork", "Profile",
    "estimate", "fit", "list_devices", "load_profile", "profile_values",
]  # fmt: skip
