"""`calibrate`: ranges of a prepared model from a few batches, without training."""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
from torch import Tensor, fx

from edgeailite.quantization.modules import ActivationQuantizer, set_state

INPUTS = r"image\d*"  # names of their ranges


def set_input_range(model: fx.GraphModule, low: float, high: float) -> None:
    """Fix the range of every input: preprocessed uint8 pictures then lose nothing in quantization."""
    for name, module in model.ranges.named_children():
        if re.fullmatch(INPUTS, name):
            module.set_range(low, high)


def learn_ranges(model: fx.GraphModule) -> None:
    """Make parameters (`ranges.*.ends`) of all ranges but the inputs', from where they are."""
    for name, module in model.ranges.named_children():
        if not re.fullmatch(INPUTS, name):
            module.learn()


@torch.no_grad()
def calibrate(model: fx.GraphModule, batches: Iterable[Tensor | tuple[Tensor, ...]]) -> None:
    """Observe normalised inputs (N,3,H,W) in float, then switch quantization on. Raises ValueError without batches.

    A batch of a network with several inputs is a tuple of as many tensors.
    """
    training = model.training
    model.eval()
    for module in model.modules():
        if isinstance(module, ActivationQuantizer):
            module.train()  # ranges move in training mode only; the network itself stays in eval mode
    set_state(model, observing=True, enabled=False)
    for batch in batches:
        model(*(batch if isinstance(batch, tuple) else (batch,)))
    set_state(model, observing=False, enabled=True)
    model.train(training)
    if unseen := [n for n, m in model.named_modules() if isinstance(m, ActivationQuantizer) and not _seen(m)]:
        raise ValueError(f"no calibration data reached {unseen[0]}; give at least one batch")


def _seen(quantizer: ActivationQuantizer) -> bool:
    return quantizer.fixed or bool((quantizer.count > 0).all())
