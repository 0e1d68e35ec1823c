"""`edgeailite presets`: the named recipes, one line each, by group."""

from __future__ import annotations

from edgeailite.config import PresetsConfig
from edgeailite.presets import GROUPS, PRESETS


def run(config: PresetsConfig) -> int:
    """Print name and line of every preset, under headings."""
    width = max(map(len, PRESETS)) + 1
    for heading, group in GROUPS.items():
        print(f"\n{heading}")
        for name, preset in group.items():
            print(f"  {f'{name} {preset.takes}'.strip():<{width}} {preset.line}")
    return 0
