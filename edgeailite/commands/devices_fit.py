"""`edgeailite devices fit`: a profile from networks measured here, or from times that another board gave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeailite.config import DevicesFitConfig
from edgeailite.console import print_result
from edgeailite.cost.device_fit import fit_device
from edgeailite.cost.devices import MeasuredNetwork, Profile, estimate


def run(config: DevicesFitConfig) -> int:
    """Fit, and print how well the profile meets the networks."""
    found = fit_device(config)
    print_result(f"devices fit: {config.output}", _summary(found.networks, found.profile))
    return 0


def _summary(measured: Sequence[MeasuredNetwork], profile: Profile) -> dict[str, Any]:
    """Measured and estimated ms of every network, and how far apart they are."""
    estimates = [estimate(network.layers, profile).milliseconds for network in measured]
    rows = {
        network.name: f"{network.milliseconds:.2f} ms measured, {found:.2f} estimated"
        for network, found in zip(measured, estimates, strict=True)
    }
    errors = [abs(found / network.milliseconds - 1) for network, found in zip(measured, estimates, strict=True)]
    band = f"x{profile.band[0]:.2f}..{profile.band[1]:.2f}: {profile.band_source}"
    return {**rows, "median error %": round(100 * float(np.median(errors)), 1), "band": band}
