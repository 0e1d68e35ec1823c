"""Networks by name: `create_model(name)` and `list_models(pattern)`.

A network is a row of `MODELS`: an encoder and a decoder. Published older spellings are rows of `ALIASES`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from fnmatch import fnmatchcase

from edgeailite.errors import UsageError
from edgeailite.models import ade20k, edgeailite
from edgeailite.models.layers import UPSAMPLING
from edgeailite.models.pixel2pixel import DEEP_SUPERVISION, Pixel2Pixel
from edgeailite.models.row import ModelRow

__all__ = ["ALIASES", "DEEP_SUPERVISION", "MODELS", "ModelRow", "Pixel2Pixel", "create_model", "list_models"]

MODELS: dict[str, ModelRow] = {**edgeailite.MODELS, **ade20k.MODELS}
ALIASES: dict[str, str] = {**edgeailite.ALIASES, **ade20k.ALIASES}

INITIALIZE = {"edgeailite": edgeailite.initialize, "ade20k": ade20k.initialize}
DEFAULT_CLASSES = {"edgeailite": 19, "ade20k": 150}
DEFAULT_RANGES = {"depth": (0.0, 128.0)}


def list_models(pattern: str = "*") -> list[str]:
    """Names of the networks that match a shell pattern, sorted; aliases are left out."""
    return sorted(name for name in MODELS if fnmatchcase(name, pattern))


def create_model(
    name: str,
    num_classes: int | None = None,
    *,
    outputs: Mapping[str, int] | None = None,
    inputs: int = 1,
    output_range: Mapping[str, tuple[float, float]] | None = None,
    upsampling: str = "bilinear",
    align_corners: bool = False,
) -> Pixel2Pixel:
    """Build a network with its initial (random) weights.

    `num_classes` is short for `outputs={"segmentation": num_classes}` and defaults to 19 (edgeailite) or 150 (ADE20K).
    `outputs` gives one decoder each, `inputs` the number of images (N,3,H,W). `output_range` clamps outputs, by default
    depth to 0..128. `upsampling` inside an edgeailite decoder is bilinear, deconvolution or subpixel. `align_corners`
    is how the 2017 ADE20K networks (`v1_*`) were resized when their weights were published.
    Raises UsageError for an unknown name (says which are near) and for arguments that do not go together.
    """
    canonical = ALIASES.get(name, name)
    row = MODELS.get(canonical)
    if row is None:
        raise UsageError(unknown_model(name))
    if num_classes is not None and outputs is not None:
        raise UsageError("give num_classes or outputs, not both")
    channels = (
        dict(outputs)
        if outputs is not None
        else {"segmentation": DEFAULT_CLASSES[row.family] if num_classes is None else num_classes}
    )
    ranges = {k: v for k, v in DEFAULT_RANGES.items() if k in channels} | dict(output_range or {})
    decoder_options = _decoder_options(row, channels, ranges, inputs, upsampling, align_corners)
    encoder = row.make_encoder(inputs=inputs)
    decoders = {output: row.make_decoder(count, encoder, **decoder_options) for output, count in channels.items()}
    options = {"inputs": inputs, "output_range": ranges, "upsampling": upsampling, "align_corners": align_corners}
    model = Pixel2Pixel(
        canonical,
        encoder,
        decoders,
        channels,
        family=row.family,
        ranges=ranges,
        align_corners=align_corners,
        options=options,
    )
    INITIALIZE[row.family](model)
    return model


def unknown_model(name: str) -> str:
    """What to say about a name that no network has."""
    known = [*MODELS, *ALIASES]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or [n for n in known if name.lower() in n][:3]
    hint = f"; did you mean {', '.join(map(repr, near))}?" if near else ""
    return f"unknown model {name!r}; `edgeailite models` lists {len(MODELS)} networks{hint}"


def _decoder_options(
    row: ModelRow,
    channels: Mapping[str, int],
    ranges: Mapping[str, tuple[float, float]],
    inputs: int,
    upsampling: str,
    align_corners: bool,
) -> dict[str, object]:
    """Check what `create_model` was given; the keyword arguments of the family's decoders."""
    if not channels or any(count < 1 for count in channels.values()):
        raise UsageError(f"outputs {dict(channels)}: every output needs at least one channel")
    if inputs < 1:
        raise UsageError(f"inputs {inputs}: at least 1")
    for output, (low, high) in ranges.items():
        if output not in channels:
            raise UsageError(f"output_range {output!r}: no such output; outputs are {', '.join(channels)}")
        if not low < high:
            raise UsageError(f"output_range {output!r} {(low, high)}: low must be below high")
    if upsampling not in UPSAMPLING:
        raise UsageError(f"upsampling {upsampling!r}: known are {', '.join(UPSAMPLING)}")
    if row.family == "edgeailite":
        if align_corners:
            raise UsageError("align_corners belongs to the ADE20K family; edgeailite networks resize by half pixels")
        return {"method": upsampling}
    if upsampling != "bilinear":
        raise UsageError(f"upsampling {upsampling!r} belongs to the edgeailite family; ADE20K networks are bilinear")
    return {"align_corners": align_corners}
