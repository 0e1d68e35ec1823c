"""Key names of timm's RepVGG and MobileOne weights, turned into ours."""

from __future__ import annotations

import re

from torch import Tensor

HEAD = ("final_conv.", "head.")
_PARTS = (
    (re.compile(r"^conv_kxk\.(?=\d)"), "branches."),  # MobileOne: numbered
    (re.compile(r"^conv_kxk\."), "branches.0."),  # RepVGG: one
    (re.compile(r"^conv_(1x1|scale)\."), "point."),
)
_LAYERS = ((".conv.", ".0."), (".bn.", ".1."))


def rename_timm_branches(weights: dict[str, Tensor]) -> str:
    """Rename timm's weights of `repvgg_*` and `mobileone_s*` in place, blocks numbered through; returns a note."""
    numbers = sorted({tuple(map(int, found.groups())) for key in weights if (found := _stage(key))})
    for key in list(weights):
        found = _stage(key)
        if found:
            block, rest = 1 + numbers.index(tuple(map(int, found.groups()))), key[found.end() :]
        elif key.startswith("stem."):
            block, rest = 0, key.removeprefix("stem.")
        else:
            continue
        weights[f"features.{block}.{_renamed(rest)}"] = weights.pop(key)
    return "names of timm turned into this package's"


def _stage(key: str) -> re.Match[str] | None:
    return re.match(r"stages\.(\d+)\.(\d+)\.", key)


def _renamed(part: str) -> str:
    for pattern, new in _PARTS:
        part = pattern.sub(new, part)
    for old, new in _LAYERS:
        part = part.replace(old, new)
    return part
