"""`edgeailite presets`: the named recipes, one line each, by group."""

from __future__ import annotations

from edgeailite.config import PresetsConfig
from edgeailite.console import print_entries
from edgeailite.presets import GROUPS, PRESETS


def run(config: PresetsConfig) -> int:
    """Print name and line of every preset, under headings."""
    width = max(map(len, PRESETS)) + 1
    for heading, group in GROUPS.items():
        print(f"\n{heading}")
        print_entries({f"{name} {preset.takes}".strip(): preset.line for name, preset in group.items()}, width)
    return 0
