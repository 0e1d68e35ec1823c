"""Networks by name: `create_model(name)` and `list_models(pattern)`.

A network is a row of `MODELS`: an encoder and a decoder. Published older spellings are rows of `ALIASES`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

from edgeailite.errors import UsageError
from edgeailite.models import ade20k, ddrnet, edgeailite, ffnet
from edgeailite.models.layers import UPSAMPLING, initialize_weights
from edgeailite.models.pixel2pixel import DEEP_SUPERVISION, Pixel2Pixel
from edgeailite.models.row import ModelRow

__all__ = ["ALIASES", "DEEP_SUPERVISION", "MODELS", "ModelRow", "Pixel2Pixel", "create_model", "list_models"]

MODELS: dict[str, ModelRow] = {**edgeailite.MODELS, **ade20k.MODELS, **ddrnet.MODELS, **ffnet.MODELS}
ALIASES: dict[str, str] = {**edgeailite.ALIASES, **ade20k.ALIASES}

INITIALIZE: dict[str, Callable[[Pixel2Pixel], None]] = {
    "edgeailite": edgeailite.initialize,
    "ade20k": ade20k.initialize,
    "ddrnet": ddrnet.initialize,
    "ffnet": initialize_weights,
}
DEFAULT_CLASSES = {"edgeailite": 19, "ade20k": 150, "ddrnet": 19, "ffnet": 19}
DEFAULT_RANGES = {"depth": (0.0, 128.0)}


def list_models(pattern: str = "*") -> list[str]:
    """List the names of networks that match a shell pattern, sorted, without aliases."""
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

    `num_classes` is short for `outputs={"segmentation": num_classes}` and defaults to 19 (ADE20K family: 150).
    `outputs` gives one decoder each, `inputs` the number of images (N,3,H,W). `output_range` clamps outputs, by default
    depth to 0..128. `upsampling` inside an edgeailite decoder is bilinear, deconvolution or subpixel. `align_corners`
    is how the 2017 ADE20K networks (`v1_*`) were resized when their weights were published.
    Raises UsageError for an unknown name (says which are near) and for arguments that do not go together.
    """
    canonical = ALIASES.get(name, name)
    row = MODELS.get(canonical)
    if row is None:
        raise UsageError(unknown_model(name), value=name, known=tuple(MODELS), code="unknown-name")
    if num_classes is not None and outputs is not None:
        raise UsageError("give num_classes or outputs, not both")
    if outputs is not None and not isinstance(outputs, Mapping):
        raise UsageError(f"outputs {outputs!r}: a mapping is needed, such as {{'segmentation': 19, 'depth': 1}}")
    default = DEFAULT_CLASSES[row.family] if num_classes is None else num_classes
    channels = dict(outputs) if outputs is not None else {"segmentation": default}
    _check_outputs(channels)
    _check_count("inputs", inputs)
    ranges = _checked_ranges(output_range, channels)
    decoder_options = _decoder_options(row, upsampling, align_corners=align_corners)
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
    """Return the message for a name that no network has."""
    known = [*MODELS, *ALIASES]
    words = name.lower().split("_")
    near = [f"v1_{name}"] if f"v1_{name}" in MODELS else [n for n in known if all(word in n for word in words)][:3]
    near = near or difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"; did you mean {', '.join(map(repr, near))}?" if near else ""
    return f"unknown model {name!r}; `edgeailite models` lists {len(MODELS)} networks{hint}"


def _decoder_options(row: ModelRow, upsampling: str, *, align_corners: bool) -> dict[str, object]:
    """The keyword arguments of the family's decoders. UsageError for the other family's option."""
    if upsampling not in UPSAMPLING:
        problem = f"upsampling {upsampling!r}: known are {', '.join(UPSAMPLING)}"
        raise UsageError(problem, value=upsampling, known=UPSAMPLING, code="unknown-name")
    if align_corners and row.family != "ade20k":
        raise UsageError("align_corners belongs to the ADE20K family", fix="other networks resize by half pixels")
    if row.family == "edgeailite":
        return {"method": upsampling}
    if upsampling != "bilinear":
        raise UsageError(
            f"upsampling {upsampling!r} belongs to the edgeailite family", fix="other networks are bilinear"
        )
    return {"align_corners": align_corners}


def _check_count(what: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{what} {value!r}: a whole number of at least 1 is needed")


def _check_outputs(channels: Mapping[str, int]) -> None:
    if not channels:
        raise UsageError("outputs {}: at least one output is needed")
    for output, count in channels.items():
        _check_count(f"outputs: channels of {output!r}", count)
        if not str(output).isidentifier() or str(output).endswith(DEEP_SUPERVISION):
            raise UsageError(f"outputs {output!r}: a name of letters, digits and _, not ending in {DEEP_SUPERVISION}")


def _checked_ranges(
    given: Mapping[str, tuple[float, float]] | None, channels: Mapping[str, int]
) -> dict[str, tuple[float, float]]:
    """Limits per output, the default ones included."""
    ranges = {name: limits for name, limits in DEFAULT_RANGES.items() if name in channels} | dict(given or {})
    for output, limits in ranges.items():
        if output not in channels:
            raise UsageError(
                f"output_range {output!r}: no such output",
                fix=f"outputs are {', '.join(channels)}",
                value=output,
                known=tuple(channels),
                code="unknown-name",
            )
        try:
            low, high = limits
            below = low < high
        except (TypeError, ValueError):
            below = False
        if not below:
            raise UsageError(f"output_range {output!r} {limits!r}: (low, high) is needed, low below high")
    return ranges
