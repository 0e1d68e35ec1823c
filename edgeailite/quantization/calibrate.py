"""`calibrate`: ranges of a prepared model from a few batches, without training."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, fx

from edgeailite.errors import DataError
from edgeailite.quantization.graph import is_input, named_outputs, readers
from edgeailite.quantization.modules import ActivationQuantizer, set_state
from edgeailite.quantization.tie_safe import make_tie_safe

Batch = Tensor | tuple[Tensor, ...]
ONE_VALUE = (
    "every picture that calibration saw is of one colour: the ranges tell nothing of real pictures; "
    "calibrate on pictures as the network will meet"
)
HOLDS = "holds NaN or infinite values; leave it out of calibration"
GIVES = (
    "the network gives NaN or infinite values for it; leave it out, or validate the float run: weights may be damaged"
)


def set_input_range(model: fx.GraphModule, low: float, high: float) -> None:
    """Fix the range of every input: preprocessed uint8 pictures then lose nothing in quantization."""
    for name in _input_ranges(model):
        model.ranges.get_submodule(name).set_range(low, high)


def learn_ranges(model: fx.GraphModule) -> None:
    """Make parameters (`ranges.*.ends`) of all ranges but the inputs', from where they are."""
    inputs = _input_ranges(model)
    for name, module in model.ranges.named_children():
        if name not in inputs:
            module.learn()


def _input_ranges(model: fx.GraphModule) -> set[str]:
    """Return the names of the ranges of the network's inputs."""
    quantizers = [user for node in model.graph.nodes if is_input(node) for user in readers(node)]
    return {str(node.target).removeprefix("ranges.") for node in quantizers}


@torch.no_grad()
def calibrate(model: fx.GraphModule, batches: Iterable[Batch], *, names: Sequence[str] = ()) -> None:
    """Run the float model on normalised inputs (N,3,H,W) to find activation ranges, then switch quantization on.

    Scales are moved by up to 1e-5 (2e-4 behind a function), so that every runtime computes alike (`tie_safe`).
    A batch of a network with several inputs is a tuple of as many tensors. `names` are those of the pictures, in order,
    for messages. Raises ValueError without batches, DataError for a picture that holds, or leads to, NaN or infinity.
    """
    training = model.training
    model.eval()
    for module in model.modules():
        if isinstance(module, ActivationQuantizer):
            module.train()  # ranges move in training mode only; the network itself stays in eval mode
    set_state(model, observing=True, enabled=False)
    count, of_one_value = 0, True
    for batch in batches:
        images = batch if isinstance(batch, tuple) else (batch,)
        _check_finite(images, HOLDS, names, count)
        outputs = model(*images)
        _check_finite(named_outputs(outputs).values(), GIVES, names, count)
        count += len(images[0])
        of_one_value = of_one_value and all(bool((x.amin((2, 3)) == x.amax((2, 3))).all()) for x in images)
    set_state(model, observing=False, enabled=True)
    for name, module in model.named_modules():
        if isinstance(module, ActivationQuantizer):
            _settle(name, module)
    make_tie_safe(model)
    model.train(training)
    if of_one_value:
        warnings.warn(ONE_VALUE, stacklevel=2)


def _check_finite(tensors: Iterable[Tensor], what: str, names: Sequence[str], first: int) -> None:
    """Raise DataError for the first picture of a batch with a value that is NaN or infinite."""
    for tensor in tensors:
        finite = torch.isfinite(tensor).flatten(1).all(1)
        if not finite.all():
            index = first + int((~finite).nonzero()[0])
            name = names[index] if index < len(names) else f"calibration picture {index}"
            raise DataError(what, path=name)


def _settle(name: str, quantizer: ActivationQuantizer) -> None:
    if not (quantizer.fixed or bool((quantizer.count > 0).all())):
        raise ValueError(f"no calibration data reached {name}; give at least one batch")
    if not (quantizer.low.isfinite().all() and quantizer.high.isfinite().all()):
        raise DataError(
            "calibration met NaN or infinite values", path=name, fix="the weights may be damaged: validate the run"
        )
    quantizer.settle()
