"""Is the conversion to integers right? Compares the fake-quantized network that was validated with the integer one.

The integer-exact network is made by the same code as the file, so it cannot vouch for the file. Two gates can:

1. Layer by layer. Each layer of the integer-exact network is handed the values of the fake-quantized one: its codes may
   be one step off, where a value lies between two codes, and not all to one side (`LARGEST_SHIFT`; schemes whose
   kernels round halves otherwise than the training may). This holds for networks that were never trained, too.
2. From picture to answer. Labels must be equal on `SHARE` of the pixels; an output without classes must have an error,
   root mean square, of at most 1 - SHARE of its standard deviation. Single steps grow in a network whose answers depend
   on them. So, where nothing else was asked for, it is enough that the conversion changes at most `GREY_LEVELS` times
   what a picture changes whose values are moved by up to one grey level: the network is that unsteady by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

from edgeailite.errors import ParityError, option
from edgeailite.export.trace.compare import Row, trace
from edgeailite.export.trace.torch_side import torch_side
from edgeailite.preprocessing import Preprocessing
from edgeailite.quantization import scheme_of
from edgeailite.runtime.contract import labels_of

Array = NDArray[Any]
SHARE = 0.98  # of labels; trained networks have 0.998, those of power-of-two scales 0.99
GREY_LEVELS = 2.0
LARGEST_SHIFT = 0.1  # of a step, mean; measured: 0.015 at most
LAYERS_SIZE = (128, 160)  # height and width, at most, at which the conversion is looked at layer by layer
ENOUGH_VALUES = 1000  # a mean of fewer says nothing


def size_for_layers(module: fx.GraphModule, pre: Preprocessing, *, inputs: int) -> Preprocessing:
    """Return the preprocessing at LAYERS_SIZE or smaller, as gate 1 needs; at its own size where no other is taken."""
    small = pre.with_size((min(pre.height, LAYERS_SIZE[0]), min(pre.width, LAYERS_SIZE[1])))
    try:
        with torch.no_grad():
            module(*(torch.zeros(1, 3, *small.size) for _ in range(inputs)))
    except RuntimeError:  # a network of one size, of somebody else
        return pre
    return small


def check_layers(module: fx.GraphModule, images: Sequence[Array], *, name: str) -> dict[str, Any]:
    """Apply gate 1 to one picture; return its figures. Raises ParityError, naming the first layer that departs."""
    sides = (torch_side("fake_quant", module), torch_side("integer_exact", module))
    found = trace(*sides, [images], local=True)
    if lost := found.matching.unmatched[0]:  # the second has more: quantizers in front of activations
        raise ParityError(f"{name}: the conversion loses {lost[0]}: the integer network has no such tensor")
    for first, second in found.matching.pairs:
        grids = [side.places[tensor].grid for side, tensor in zip(sides, (first, second), strict=True)]
        codes = {(grid.scale, grid.unsigned_zero) for grid in grids if grid is not None}
        if len(codes) > 1:
            raise ParityError(f"{name}: the conversion departs at {first}: another scale or zero point than validated")
    rounds_alike = not scheme_of(module).half_up
    for row in found.rows:
        one_sided = rounds_alike and row.max_steps is not None and _shift(row) > LARGEST_SHIFT
        if row.departs or one_sided:
            raise ParityError(
                f"{name}: the conversion departs at {row.second} (layer {row.layer}): handed the same values, the "
                f"integer network is off by {_size(row)} from the fake-quantized one that was validated"
            )
    steps = [row for row in found.rows if row.max_steps is not None]
    return {
        "layers": len(steps),
        "largest_step": max((row.max_steps or 0.0 for row in steps), default=0.0),
        "largest_shift": max((_shift(row) for row in steps), default=0.0),
    }


def _shift(row: Row) -> float:
    return abs(row.mean_shift) if np.prod(row.shape) >= ENOUGH_VALUES else 0.0


def _size(row: Row) -> str:
    steps = f"{row.max_difference:.3g}" if row.max_steps is None else f"{row.max_steps:.0f} steps"
    return f"up to {steps}, on average {row.mean_shift:.2g}"


@dataclass
class Agreements:
    """The agreement of two forms of a network, by output and picture, from 0 to 1.

    With classes it is the share of equal labels; without, 1 - error (root mean square) / standard deviation.
    """

    parts: dict[str, list[float]] = field(default_factory=dict)

    def add(self, expected: Mapping[str, Array], got: Mapping[str, Array]) -> None:
        """Add one picture."""
        for name, value in expected.items():
            self.parts.setdefault(name, []).append(_agreement(value, got[name]))

    @property
    def least(self) -> tuple[float, str]:
        """Mean agreement of the output that agrees least, and its name."""
        return min((float(np.mean(values)), name) for name, values in self.parts.items())


def _agreement(expected: Array, got: Array) -> float:
    labels, others = labels_of(expected), labels_of(got)
    if labels is not None and others is not None:
        return float((labels == others).mean())
    error = float(np.sqrt(np.square(expected.astype(np.float64) - got).mean()))
    return 1.0 if error == 0 else 1.0 - min(1.0, error / max(float(expected.std(dtype=np.float64)), 1e-12))


def check_answers(found: Agreements, unsteady: Agreements | None, *, least: float | None, name: str) -> dict[str, Any]:
    """Apply gate 2; return its figures. Raises ParityError where the two forms agree on too little.

    `unsteady` is the agreement of the network with itself when pictures change by a grey level; `least` is the share
    asked for, None for SHARE.
    """
    share, output = found.least
    asked = SHARE if least is None else least
    figures: dict[str, Any] = {"agreement": share, "asked": asked}
    if share >= asked:
        return figures
    steady = "" if unsteady is None else f" (a grey level changes {100 * (1 - unsteady.least[0]):.2f} %)"
    if least is None and unsteady is not None:
        figures["one_grey_level"] = unsteady.least[0]
        if 1 - share <= GREY_LEVELS * (1 - unsteady.least[0]):
            return figures
    raise ParityError(
        f"{name}: output {output}: the integer network agrees with the fake-quantized one that was validated on "
        f"{100 * share:.2f} %, asked for are {100 * asked:g} %{steady}; see "
        f"{option('trace')} fake_quant integer_exact, or "
        f"{option('min_fake_quant')}"
    )


def one_grey_level_off(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the picture with each value moved by -1, 0 or 1: at random, but the same at every call."""
    moves = np.random.default_rng(0).integers(-1, 2, picture.shape)
    return np.asarray(np.clip(picture + moves, 0, 255), np.uint8)
