"""`edgeailite presets`: the named recipes, one line each."""

from __future__ import annotations

from edgeailite.config import PresetsConfig
from edgeailite.presets import PRESETS


def run(config: PresetsConfig) -> int:
    """Print name and line of every preset."""
    for name, preset in PRESETS.items():
        print(f"{name:<12} {preset.line}")
    return 0
