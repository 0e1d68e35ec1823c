"""Recognises the kind of a file of weights by its keys, and renames its tensors to the names of our networks.

Sources of the table: torchvision's and pycls' module names; the key lists of TI's edgeai-torchvision and of CSAIL's
semantic-segmentation-pytorch (one file for the encoder, one for the decoder, three extra buffers for each synchronised
BatchNorm). TI's checkpoints of 2019 have older file names but, as far as its code tells, the same keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from torch import Tensor

from edgeailite.errors import DataError
from edgeailite.pretrained import ddrnet_names, ffnet_names
from edgeailite.pretrained.branch_names import HEAD as BRANCHES_HEAD
from edgeailite.pretrained.branch_names import rename_timm_branches
from edgeailite.pretrained.ddrnet_names import is_ddrnet
from edgeailite.pretrained.ffnet_names import is_ffnet
from edgeailite.pretrained.lite_names import (
    EFFICIENTNET_HEAD,
    MOBILENETV4_HEAD,
    TIMM_EFFICIENTNET_HEAD,
    rename_efficientnet,
    rename_timm_efficientnet,
    rename_timm_mobilenetv4,
    rename_timm_tensorflow,
)

Weights = Mapping[str, Tensor]

PAIR = "ADE20K encoder and decoder"
SYNC_BATCHNORM = ("_tmp_running_mean", "_tmp_running_var", "_running_iter")
_DECODER_MARKS = re.compile(
    r"(conv_last|cbr|cbr_deepsup|conv_last_deepsup|ppm|psp|ppm_conv|ppm_last_conv|fpn_in|fpn_out|conv4|bn4)\."
)
_PARTS = ("encoder.", "decoder.", "decoders.")
_WRAPPERS = ("module", "_orig_mod")  # of several devices and of quantization; of torch.compile


@dataclass(frozen=True)
class RecognisedWeights:
    """A recognised file: its kind, and its tensors named as in a network with one input.

    `explained` has, by prefix of the model's keys, the reason why such a file cannot have them.
    """

    kind: str
    weights: dict[str, Tensor]
    notes: tuple[str, ...] = ()
    explained: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Backbone:
    """A classification network: patterns of its keys, the prefix added to them, the prefixes left out.

    Each pattern fits several keys, so that a file that lacks one is recognised and the missing key is named. `called`
    is a pattern that the file's name or address holds, where keys do not tell networks apart.
    """

    kind: str
    has: tuple[str, ...]
    has_not: tuple[str, ...] = ()
    called: str = ""
    prefix: str = "encoder."
    unused: tuple[str, ...] = ()
    change: Callable[[dict[str, Tensor]], str] | None = None  # alters the dict in place and says what it did
    explained: Mapping[str, str] = field(default_factory=dict)


def _flip_first_convolution(weights: dict[str, Tensor]) -> str:
    if "stem.conv.weight" in weights:
        weights["stem.conv.weight"] = weights["stem.conv.weight"].flip(1)
    return "input channels of the first convolution flipped from BGR to RGB"


def _renumber_vgg(weights: dict[str, Tensor]) -> str:
    """Renumber the convolutions after the fourth pooling, which is left out, down by 1.

    Convolutions are 2 apart, 3 across a pooling.
    """
    pattern = re.compile(r"features\.(\d+)\.")
    numbers = sorted({int(found.group(1)) for key in weights if (found := pattern.match(key))})
    poolings = [after for before, after in pairwise(numbers) if after - before == 3]
    if len(poolings) == 4:
        for key in [k for k in weights if (found := pattern.match(k)) and int(found.group(1)) >= poolings[3]]:
            _, number, rest = key.split(".", 2)
            weights[f"features.{int(number) - 1}.{rest}"] = weights.pop(key)
    return "layers behind the fourth pooling, which the dilated network leaves out, renumbered"


_MOBILENET_UNUSED = ("features.18.", "classifier.")
_HRNET_UNUSED = ("incre_modules.", "downsamp_modules.", "final_layer.", "classifier.")
_BACKBONE_ONLY = {"decoders.": "the file holds a backbone only"}
_VGG_EXPLAINED = {"encoder.conv6.": "conv6 is no part of a VGG", "encoder.conv7.": "conv7 is no part of a VGG"}

# The first row that fits counts.
BACKBONES = (
    Backbone(
        "pycls RegNet backbone",
        has=(r"s\d\.b\d+\.f\.[abc]\.weight",),
        prefix="encoder.features.",
        unused=("head.",),
        change=_flip_first_convolution,
    ),
    Backbone(
        "torchvision MobileNetV2 backbone", has=(r"features\.\d+\.conv\.\d\.0\.weight",), unused=_MOBILENET_UNUSED
    ),
    Backbone("ADE20K MobileNetV2 backbone", has=(r"features\.\d+\.conv\.\d\.weight",), unused=_MOBILENET_UNUSED),
    Backbone(
        "torchvision VGG backbone",
        has=(r"features\.\d+\.bias",),
        has_not=(r"conv[67]\.", r"features\.\d+\.running_mean"),
        unused=("classifier.",),
        change=_renumber_vgg,
        explained=_VGG_EXPLAINED,
    ),
    Backbone(
        "EfficientNet-Lite backbone",
        has=(r"_blocks\.\d+\._depthwise_conv\.weight",),
        has_not=(r"_blocks\.\d+\._se_",),
        unused=EFFICIENTNET_HEAD,
        change=rename_efficientnet,
    ),
    Backbone(
        "timm MobileNetV4 backbone",
        has=(r"blocks\.\d\.\d+\.pw_exp\.conv\.weight",),
        unused=MOBILENETV4_HEAD,
        change=rename_timm_mobilenetv4,
    ),
    Backbone(
        "timm tf_efficientnet_lite backbone",
        has=(r"blocks\.\d\.\d+\.conv_dw\.weight",),
        has_not=(r"blocks\.\d\.\d+\.se\.",),
        called=r"tf_efficientnet_lite\d",
        unused=TIMM_EFFICIENTNET_HEAD,
        change=rename_timm_tensorflow,
    ),
    Backbone(
        "timm EfficientNet-Lite or MobileNetV2 backbone",
        has=(r"blocks\.\d\.\d+\.conv_dw\.weight",),
        has_not=(r"blocks\.\d\.\d+\.se\.",),
        unused=TIMM_EFFICIENTNET_HEAD,
        change=rename_timm_efficientnet,
    ),
    Backbone(
        "timm RepVGG or MobileOne backbone",
        has=(r"stages\.\d\.\d+\.conv_kxk\.(\d\.)?conv\.weight", r"stages\.\d\.\d+\.conv_kxk\.(\d\.)?bn\.weight"),
        has_not=(r"stages\.\d\.\d+\.attn\.",),
        unused=BRANCHES_HEAD,
        change=rename_timm_branches,
    ),
    Backbone("ADE20K VGG encoder", has=(r"features\.\d+\.bias", r"conv[67]\.(weight|bias)")),
    Backbone("ADE20K HRNet backbone", has=(r"transition\d\.", r"stage\d\.\d+\.branches\."), unused=_HRNET_UNUSED),
    Backbone(
        "ADE20K ResNet backbone (deep stem)", has=(r"(conv|bn)[23]\.", r"layer\d\.\d+\.conv\d\.weight"), unused=("fc.",)
    ),
    Backbone(
        "torchvision ResNet backbone",
        has=(r"layer\d\.\d+\.conv\d\.weight",),
        prefix="encoder.features.",
        unused=("fc.",),
    ),
)


def recognise(weights: Weights, source: str, *, own: bool = False) -> RecognisedWeights:
    """Recognise one file. `own`: it is a checkpoint of this package. Raises DataError for a lone decoder."""
    weights = without_wrappers(weights, source)
    if is_ddrnet(weights):
        return RecognisedWeights(ddrnet_names.KIND, ddrnet_names.from_published(weights))
    if is_ffnet(weights):
        return RecognisedWeights(ffnet_names.KIND, *ffnet_names.from_published(weights))
    backbone = _backbone_of(weights, source)
    if backbone is not None:
        return _backbone(backbone, weights)
    if _is_decoder(weights):
        raise DataError(
            "a decoder alone",
            path=source,
            fix="give both files, the encoder's first: ENCODER DECODER",
            code="wrong-kind",
        )
    if any(key.startswith("encoder.") for key in weights):
        return _network(weights, own=own)
    return RecognisedWeights("weights by name", dict(weights))


def recognise_pair(encoder: Weights, decoder: Weights, sources: tuple[str, str]) -> RecognisedWeights:
    """Recognise two published files as one network. Raises DataError if they are in the wrong order."""
    encoder, decoder = without_wrappers(encoder, sources[0]), without_wrappers(decoder, sources[1])
    if _is_decoder(encoder):
        raise DataError(
            "holds a decoder",
            path=sources[0],
            fix="give the encoder's file first: ENCODER DECODER",
            code="wrong-kind",
        )
    encoder, decoder = _without(encoder, "encoder."), _without(_without(decoder, "decoder."), "decoders.0.")
    if not any(_DECODER_MARKS.match(key) for key in decoder):
        raise DataError(
            "holds no ADE20K decoder",
            path=sources[1],
            fix="give its file second: ENCODER DECODER",
            code="wrong-kind",
        )
    named = {f"encoder.{k}": v for k, v in encoder.items()} | {f"decoders.0.{k}": v for k, v in decoder.items()}
    kept, note = _without_sync_batchnorm(named)
    return RecognisedWeights(PAIR, kept, note)


def without_wrappers(weights: Weights, source: str) -> dict[str, Tensor]:
    """Remove the names that wrappers add to keys: `module` and `_orig_mod` anywhere, and a first name that all share.

    A shared name is removed only if known keys remain: a plain network's own names stay.
    """
    cleaned = {".".join(part for part in key.split(".") if part not in _WRAPPERS): v for key, v in weights.items()}
    if len(cleaned) < len(weights):
        raise DataError("holds tensors twice, with and without 'module.'", path=source, fix="take one with either")
    bare = cleaned
    while not _is_known(bare):
        shared = {key.partition(".")[0] for key in bare}
        # below `features` an encoder of ours (RGB) looks like a backbone of pycls (BGR)
        if len(shared) != 1 or shared == {"features"} or not all("." in key for key in bare):
            return cleaned
        bare = _without(bare, f"{shared.pop()}.")
    return bare


def _is_known(weights: Weights) -> bool:
    parts = any(key.startswith(_PARTS) for key in weights)
    return parts or is_ddrnet(weights) or is_ffnet(weights) or _backbone_of(weights) is not None or _is_decoder(weights)


def _is_decoder(weights: Weights) -> bool:
    """ADE20K's decoder, or nothing but decoders under their networks' names."""
    marked = any(_DECODER_MARKS.match(key) for key in weights)
    return marked or all(key.startswith(("decoder.", "decoders.")) for key in weights)


def _without(weights: Weights, prefix: str) -> dict[str, Tensor]:
    """Without a prefix, where all keys have it."""
    shared = all(key.startswith(prefix) for key in weights)
    return {key.removeprefix(prefix): value for key, value in weights.items()} if shared else dict(weights)


def _backbone_of(weights: Weights, source: str = "") -> Backbone | None:
    named = (backbone for backbone in BACKBONES if re.search(backbone.called, source))
    return next((backbone for backbone in named if _fits(backbone, weights)), None)


def _fits(backbone: Backbone, weights: Weights) -> bool:
    def found(pattern: str) -> bool:
        return any(re.match(pattern, key) for key in weights)

    return all(map(found, backbone.has)) and not any(map(found, backbone.has_not))


def _backbone(backbone: Backbone, weights: Weights) -> RecognisedWeights:
    used = {key: value for key, value in weights.items() if not key.startswith(backbone.unused)}
    unused = [p.rstrip(".") for p in backbone.unused if any(key.startswith(p) for key in weights)]
    notes = [f"not used: {', '.join(unused)} ({len(weights) - len(used)} tensors)"] if unused else []
    if backbone.change is not None:
        notes.append(backbone.change(used))
    if backbone.kind.startswith("ADE20K"):
        used, note = _without_sync_batchnorm(used)
        notes += note
    explained = {**_BACKBONE_ONLY, **backbone.explained}
    return RecognisedWeights(backbone.kind, {backbone.prefix + k: v for k, v in used.items()}, tuple(notes), explained)


def _network(weights: Weights, *, own: bool) -> RecognisedWeights:
    """A network: ours, a published edgeailite one, an ADE20K one in one file, or the encoder of one of these."""
    if any(re.match(r"decoder\d*\.", key) for key in weights):
        named = {_numbered_decoder(key): value for key, value in weights.items()}
        return RecognisedWeights("ADE20K network in one file", *_without_sync_batchnorm(named))
    kept: dict[str, Tensor] = {}
    ranges = 0
    wrapped = {key.removesuffix("clips_act") for key in weights if key.endswith(".clips_act")}
    for key, value in weights.items():
        is_range = key.rpartition(".")[0] + "." in wrapped or (own and key.startswith("ranges."))
        kept |= {} if is_range else {key: value}
        ranges += is_range
    note = (f"{ranges} buffers of activation ranges left out",) if ranges else ()
    if not own and all(key.startswith("encoder.") for key in kept):
        kept, left_out = _without_sync_batchnorm(kept)
        return RecognisedWeights("backbone by this package's names", kept, (*note, *left_out), _BACKBONE_ONLY)
    kind = "edgeailite checkpoint" if own else "edgeailite network"
    return RecognisedWeights(f"{kind} after quantization-aware training" if ranges else kind, kept, note)


def _numbered_decoder(key: str) -> str:
    """`decoder.x` -> `decoders.0.x`, `decoder1.x` -> `decoders.1.x`."""
    found = re.match(r"decoder(\d*)\.(.*)", key)
    return f"decoders.{found.group(1) or 0}.{found.group(2)}" if found else key


def _without_sync_batchnorm(weights: Weights) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Exactly the three extra buffers of CSAIL's synchronised BatchNorm are left out."""
    kept = {key: value for key, value in weights.items() if key.rpartition(".")[2] not in SYNC_BATCHNORM}
    extra = len(weights) - len(kept)
    return kept, (f"{extra} buffers of synchronised BatchNorm left out",) if extra else ()
