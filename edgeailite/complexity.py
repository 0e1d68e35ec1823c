"""What a network costs to run: multiply-accumulates and parameters, counted from the graph that is executed.

Rules: (1) convolution, transposed convolution and linear layers count, everything else does not; (2) actual output
sizes, for transposed convolution input sizes; (3) batch 1; bias is not counted; (4) 1 GMAC = 10⁹ MACs = 2 GFLOPs, so
numbers are half of torch's own flop counter. Weights and pictures are shapes without values (device "meta"): counting
takes no memory and leaves the network as it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

COUNTED = {
    torch.ops.aten.convolution,
    torch.ops.aten._convolution,
    torch.ops.aten.mm,  # linear without bias
    torch.ops.aten.addmm,  # linear with bias
}


@dataclass(frozen=True)
class Complexity:
    """Multiply-accumulates for one picture, and learned values."""

    macs: int
    parameters: int

    @property
    def giga_macs(self) -> float:
        """MACs in units of 10⁹."""
        return self.macs / 1e9


def complexity(model: nn.Module, height_width: tuple[int, int], *, inputs: int = 1) -> Complexity:
    """MACs of `model` for `inputs` pictures of (height, width) with three channels, and its parameters."""
    counts = _counted(model, height_width, inputs=inputs)
    return Complexity(_macs(counts["Global"]), sum(p.numel() for p in model.parameters()))


def layer_macs(model: nn.Module, height_width: tuple[int, int], *, inputs: int = 1) -> list[tuple[str, int]]:
    """(module name, MACs) of the modules that compute something themselves, in order of definition.

    What a module's children do is not counted again for the module; the MACs add up to those of `complexity`.
    """
    root = type(model).__name__
    counts = _counted(model, height_width, inputs=inputs)
    paths = {name: f"{root}.{name}" if name else root for name, _ in model.named_modules()}
    total = {name: _macs(counts[path]) for name, path in paths.items() if path in counts}
    own = dict(total)
    for name, macs in total.items():
        caller = _caller(name, total)
        if caller is not None:
            own[caller] -= macs
    return [(name, macs) for name, macs in own.items() if macs > 0]


def _caller(name: str, called: Mapping[str, int]) -> str | None:
    """The nearest module above that was called itself (lists are not); the network, "", has none."""
    while name:
        name = name.rpartition(".")[0]
        if name in called:
            return name
    return None


def _counted(model: nn.Module, height_width: tuple[int, int], *, inputs: int) -> dict[str, Any]:
    """Per module name and operator: floating point operations of one forward pass in eval mode."""
    images = tuple(torch.empty(1, 3, *height_width, device="meta") for _ in range(inputs))
    state = {name: value.to("meta") for name, value in (*model.named_parameters(), *model.named_buffers())}
    with _evaluating(model), torch.no_grad(), FlopCounterMode(display=False) as counter:
        functional_call(model, state, images)
    counts: dict[str, Any] = counter.get_flop_counts()
    return counts


def _macs(operations: Mapping[Any, int]) -> int:
    """Half of the operations of the operators that count."""
    return sum(flops for operator, flops in operations.items() if operator in COUNTED) // 2


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode; afterwards every module is in the mode it was in."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode
