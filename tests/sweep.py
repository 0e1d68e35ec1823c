"""The networks that exports are proven for, each built so that its numbers look like those of a trained one.

Selection: `int8_names()` are all that int8 is promised for; `covering_names()` has every encoder and every decoder of
every family at least once, to be combined with each of `COMBINATIONS`.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from edgeailite.modelcard import ModelCard, changed_options
from edgeailite.models import MODELS, Pixel2Pixel
from edgeailite.quantization import DEFAULT_SCHEME, calibrate, prepare, set_input_range
from tests.golden import golden_card, golden_model

OUTPUTS = {"segmentation": 19, "depth": 1, "motion": 2}
COMBINATIONS = [(inputs, outputs) for inputs in (1, 2) for outputs in (1, 2, 3)]
INT8_ENCODERS = ("mobilenetv2dilated", "resnet18", "resnet18dilated")  # of the ADE20K family
LOG = "EDGEAILITE_SWEEP_LOG"  # environment variable: a file that gets one JSON line per network


def int8_names() -> list[str]:
    """All of the edgeailite and DDRNet families; of the ADE20K family, every decoder on the small encoders."""
    return [name for name, row in MODELS.items() if row.family != "ade20k" or row.encoder in INT8_ENCODERS]


def covering_names() -> list[str]:
    """Every encoder once, with the decoder seen least so far; then every decoder that is still missing."""
    rows = MODELS
    seen: Counter[tuple[str, str]] = Counter()
    chosen = []
    for encoder in dict.fromkeys((row.family, row.encoder) for row in rows.values()):
        mine = [name for name, row in rows.items() if (row.family, row.encoder) == encoder]
        chosen.append(min(mine, key=lambda name: seen[rows[name].family, rows[name].decoder]))
        seen[rows[chosen[-1]].family, rows[chosen[-1]].decoder] += 1
    for name, row in rows.items():
        if not seen[row.family, row.decoder]:
            chosen.append(name)
            seen[row.family, row.decoder] += 1
    return chosen


def sweep_model(name: str, *, inputs: int = 1, outputs: int = 1) -> Pixel2Pixel:
    """The network with golden weights and the BatchNorm statistics of a few pictures; the 2017 ones align corners.

    Statistics of few values stay the golden ones: their small variances would blow up rounding. MobileOne adds three
    branches per layer, which grow without statistics of their own, so it sees more pictures.
    """
    channels = dict(list(OUTPUTS.items())[:outputs])
    pictures = 8 if "mobileone" in name else 4
    model = golden_model(name, outputs=channels, inputs=inputs, align_corners=name.startswith("v1_"))
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(_choose_momentum) for norm in norms]
    torch.manual_seed(0)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # single values in BatchNorm
        model.train()(*pixels(inputs, (pictures, 64, 64)))
    for norm, hook in zip(norms, hooks, strict=True):
        hook.remove()
        norm.momentum = 0.1
        norm.running_var.clamp_(min=0.05)
    return model.eval()


def golden_sweep_model(name: str, *, inputs: int = 1, outputs: int = 1) -> Pixel2Pixel:
    """The network with golden weights and statistics, for float: better conditioned, its numbers are not of one size.

    With batch statistics the float32 of torch is 2e-4 std from float64 in ResNeXt101. Depth is open above: a clamp at
    128 would hide the std that its rounding belongs to.
    """
    channels = dict(list(OUTPUTS.items())[:outputs])
    ranges = {"depth": (0.0, 1e9)} if "depth" in channels else {}
    corners = name.startswith("v1_")
    return golden_model(name, outputs=channels, inputs=inputs, align_corners=corners, output_range=ranges)


def _choose_momentum(norm: nn.BatchNorm2d, inputs: tuple[Tensor, ...]) -> None:
    """All or nothing."""
    values_per_channel = inputs[0].numel() // inputs[0].shape[1]
    norm.momentum = 1.0 if values_per_channel >= 32 else 0.0


def quantized(model: Pixel2Pixel, scheme: str = DEFAULT_SCHEME) -> fx.GraphModule:
    """Prepared and calibrated on two batches."""
    result = prepare(model, scheme).eval()
    set_input_range(result, -2.0, 127 / 64)
    calibrate(result, [pixels(model.inputs, (2, 64, 64), seed=seed) for seed in (1, 2)])
    return result


def sweep_card(model: Pixel2Pixel, size: tuple[int, int] = (64, 96)) -> ModelCard:
    """A card without a data set."""
    return replace(
        golden_card(size, next(iter(model.outputs.values()))),
        model_name=model.name,
        outputs=model.outputs,
        options=changed_options(model.options),
    )


def pixels(inputs: int, shape: tuple[int, int, int], *, seed: int = 0) -> tuple[Tensor, ...]:
    """Normalised smooth pictures, one batch per input; `shape` is (batch, height, width)."""
    generator = torch.Generator().manual_seed(seed)
    batch, height, width = shape

    def image() -> Tensor:
        small = torch.randint(0, 256, (batch, 3, max(2, height // 8), max(2, width // 8)), generator=generator)
        large = F.interpolate(small.float(), (height, width), mode="bicubic").round().clamp(0, 255)
        return (large - 128) / 64

    return tuple(image() for _ in range(inputs))


@contextmanager
def logged(kind: str, name: str, inputs: int, outputs: int) -> Iterator[dict[str, Any]]:
    """Collects the numbers of one network; prints them, and appends them to the file that LOG names."""
    line: dict[str, Any] = {"kind": kind, "name": name, "inputs": inputs, "outputs": outputs}
    began = time.perf_counter()
    try:
        yield line
        line["result"] = "ok"
    except BaseException as error:
        line["result"] = f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
        raise
    finally:
        line["seconds"] = round(time.perf_counter() - began, 1)
        print(json.dumps(line))
        if LOG in os.environ:
            with Path(os.environ[LOG]).open("a") as file:
                file.write(json.dumps(line) + "\n")
