"""All groups of cases, by name."""

from __future__ import annotations

from tests.fuzz import (
    checkpoint_values,
    checkpoints,
    contracts,
    links,
    onnx_files,
    pictures,
    requests,
    settings,
    tables,
    words,
)
from tests.fuzz.case import Group

MODULES = (checkpoints, checkpoint_values, onnx_files, contracts, settings, tables, pictures, links, words, requests)
GROUPS: dict[str, Group] = {group.name: group for module in MODULES for group in module.GROUPS}
