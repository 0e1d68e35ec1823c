"""Cost of running a network: multiply-accumulates, parameters and memory, layer by layer.

Counted from the graph that is executed, for torch networks and ONNX files by the same rules (`layer.py`). Numbers in
MACs are half of torch's own flop counter. torch and onnx are imported by the functions that need them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeailite.cost.int8 import int8_cost, int8_layers
from edgeailite.cost.layer import Cost, Layer, Value
from edgeailite.cost.memory import held_bytes
from edgeailite.cost.pareto import pareto

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "Complexity", "Cost", "Layer", "Value",
    "complexity", "held_bytes", "int8_cost", "int8_layers", "layer_macs", "file_cost", "onnx_cost", "onnx_layers",
    "pareto", "tflite_cost", "torch_cost", "torch_layers",
]  # fmt: skip


@dataclass(frozen=True)
class Complexity:
    """Multiply-accumulates for one picture, and learned values."""

    macs: int
    parameters: int

    @property
    def giga_macs(self) -> float:
        """Return MACs in units of 10⁹."""
        return self.macs / 1e9


def complexity(model: nn.Module, height_width: tuple[int, int], *, inputs: int = 1) -> Complexity:
    """Count the MACs of `model` for `inputs` pictures of (height, width) with three channels, and its parameters.

    Branches that a file has as one convolution (RepVGG, MobileOne) are counted as that one.
    """
    from edgeailite.models.fusing import fuse

    model = fuse(model)
    macs = sum(layer.macs for layer in torch_layers(model, height_width, inputs=inputs))
    return Complexity(macs, sum(p.numel() for p in model.parameters()))


def layer_macs(model: nn.Module, height_width: tuple[int, int], *, inputs: int = 1) -> list[tuple[str, int]]:
    """Return (module name, MACs) of the modules that compute something themselves, in order of definition.

    What a module's children do is not counted again for the module; the MACs add up to those of `complexity`. Names are
    those after fusing (`models.fusing`), which a quantized network has too.
    """
    from edgeailite.cost.torch_graph import record
    from edgeailite.models.fusing import fuse

    model = fuse(model)
    recording = record(model, height_width, inputs=inputs)
    macs = dict.fromkeys((name for name, _ in model.named_modules()), 0)
    for path, layer in zip(recording.paths, recording.layers, strict=True):
        macs[path] += layer.macs
    return [(name, count) for name, count in macs.items() if count > 0]


def torch_layers(model: nn.Module, height_width: tuple[int, int], *, inputs: int = 1) -> tuple[Layer, ...]:
    """Return the layers of a torch network in eval mode for `inputs` pictures of (height, width), as `torch_cost`."""
    from edgeailite.cost.torch_graph import record
    from edgeailite.models.fusing import fuse

    return record(fuse(model), height_width, inputs=inputs).layers


def torch_cost(model: nn.Module, height_width: tuple[int, int], *, inputs: int = 1) -> Cost:
    """Count layers, memory and weights of a torch network in eval mode; int8 numbers are estimates (`int8.py`).

    Branches that a file has as one convolution (RepVGG, MobileOne) are counted as that one, its parameters too.
    """
    from edgeailite.cost.torch_graph import record
    from edgeailite.models.fusing import fuse

    model = fuse(model)
    recording = record(model, height_width, inputs=inputs)
    cost = Cost(
        recording.layers,
        sum(p.numel() for p in model.parameters()),
        recording.inputs,
        recording.outputs,
        memory=recording.memory,
        memory_int8=None,
        weight_bytes=recording.weight_bytes,
        weight_int8_bytes=None,
    )
    integer = int8_cost(cost)
    return replace(cost, memory_int8=integer.memory, weight_int8_bytes=integer.weight_bytes)


def onnx_layers(path: Path, height_width: tuple[int, int] | None = None) -> tuple[Layer, ...]:
    """Return the layers of an ONNX file, float or int8, in its order; `height_width` is for files of open size.

    Raises DataError for a file that cannot be read or counted, UsageError for a size that is missing or not the file's.
    """
    return onnx_cost(path, height_width).layers


def file_cost(path: Path, height_width: tuple[int, int] | None = None) -> Cost:
    """Everything about an ONNX or .tflite file at one size. Raises as `onnx_layers`."""
    return tflite_cost(path, height_width) if path.suffix == ".tflite" else onnx_cost(path, height_width)


def tflite_cost(path: Path, height_width: tuple[int, int] | None = None) -> Cost:
    """Everything about a .tflite file, whose size is fixed. Raises as `onnx_layers`."""
    from edgeailite.cost.tflite_graph import tflite_cost as count

    return count(path, height_width)


def onnx_cost(path: Path, height_width: tuple[int, int] | None = None) -> Cost:
    """Count layers, memory and weights of an ONNX file at one size. Raises as `onnx_layers`."""
    from edgeailite.cost.onnx_graph import read

    found = read(path, height_width)
    memory = held_bytes(found.layers, found.inputs, found.outputs)
    integer = any(layer.integer for layer in found.layers)
    return Cost(
        found.layers,
        found.parameters,
        found.inputs,
        found.outputs,
        memory=memory,
        memory_int8=memory if integer else None,
        weight_bytes=found.weight_bytes,
        weight_int8_bytes=found.weight_bytes if integer else None,
    )
