"""Sides of a trace that compute TensorFlow Lite's operators: a lowered program, and a .tflite file in LiteRT.

Every operator gives a place, under the name that its result has in the file (ours, as in ONNX files). Values are those
of the codes, channels first as on other sides; what leaves the network in float32 keeps the grid of its codes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeailite.errors import UsageError, option
from edgeailite.export.tflite_parity import program_codes
from edgeailite.export.trace.sides import Array, Grid, Place, Reading, Side
from edgeailite.quantization.program import Program, Value
from edgeailite.quantization.tflite_rules import run_operator
from edgeailite.runtime.tflite_file import Tensor, TfliteFile, read_tflite
from edgeailite.runtime.tflite_recheck import ARITHMETICS
from edgeailite.runtime.tflite_session import input_codes, load_tflite, tensors_of

DEFAULT_KERNELS = "xnnpack"
OPERATORS = {
    "ADD": "Add", "ARG_MAX": "ArgMax", "CONCATENATION": "Concat", "CONV_2D": "Conv", "DEPTHWISE_CONV_2D": "Conv",
    "MAX_POOL_2D": "MaxPool", "MEAN": "Pool", "RESIZE_BILINEAR": "Resize", "RESIZE_NEAREST_NEIGHBOR": "Resize",
}  # as other sides call them; others keep their names  # fmt: skip
WEIGHT_AXES = {"CONV_2D": (0, 3, 1, 2), "DEPTHWISE_CONV_2D": (3, 0, 1, 2)}  # to torch's order
WEIGHT = ".weight"  # ends the name of a layer's weight


@dataclass(frozen=True)
class _Step:
    """An operator: what it gives, on which grid, from which tensors; name and shape of a convolution's weight."""

    kind: str
    output: str
    grid: Grid | None
    inputs: tuple[str, ...]
    weight: tuple[str, tuple[int, ...]] | None


def program_side(label: str, program: Program, arithmetic: str) -> Side:
    """Open a lowered program in `tflite_reference` or `xnnpack`, the arithmetics of TensorFlow Lite's runtimes."""
    grids = {value.name: _value_grid(value) for value in program.inputs}
    steps = []
    for operator in program.operators:
        weight = operator.inputs[1] if operator.kind in WEIGHT_AXES else None
        steps.append(
            _Step(
                operator.kind,
                operator.output.name,
                _value_grid(operator.output),
                tuple(value.name for value in operator.inputs if value.data is None),
                None if weight is None else (weight.name, weight.shape),
            )
        )
    places = _places(grids, steps)

    def read(images: Sequence[Array], asked: Sequence[str], fed: Mapping[str, Array]) -> Reading:
        values, wanted = dict[str, Array](), {*asked, *(value.name for value in program.outputs.values())}
        codes: dict[Value, Array] = {}

        def keep(value: Value, found: Array) -> None:
            """Keep the values of a tensor; go on with those of the other side where it feeds this one."""
            if value.name in wanted:
                values[value.name] = _as_values(found, value.scale, value.zero_point)
            grid = places[value.name].grid
            if value.name in fed and grid is not None and value not in program.outputs.values():
                found = _channels_last(grid.codes(fed[value.name])).astype(value.type)
            codes[value] = found

        for value, found in zip(program.inputs, program_codes(program, images), strict=True):
            keep(value, found)
        for operator in program.operators:
            inputs = [codes[value] if value.data is None else value.data for value in operator.inputs]
            keep(operator.output, run_operator(operator, inputs, arithmetic))
        return Reading(values, {name: values[value.name] for name, value in program.outputs.items()})

    return Side(label, places, {}, integer=True, feeds=True, read=read)


def tflite_side(label: str, path: Path, *, kernels: str, threads: int | None = None) -> Side:
    """Open an exported .tflite file in LiteRT: with `xnnpack`, its default, or `reference` kernels.

    Raises UsageError for other kernels and where LiteRT is not installed, DataError for a damaged or foreign file.
    """
    if kernels not in ARITHMETICS:
        raise UsageError(
            f"{option('trace')} {label}: unknown kernels {kernels!r}; known: {', '.join(sorted(ARITHMETICS))}",
            value=kernels,
            known=tuple(ARITHMETICS),
            code="unknown-name",
        )
    model, file = load_tflite(path, threads=threads, kernels=kernels), read_tflite(path)
    tensors = {tensor.name: tensor for tensor in file.tensors}
    places = _places({file.tensors[i].name: _tensor_grid(file.tensors[i]) for i in file.inputs.values()}, _steps(file))

    def read(images: Sequence[Array], asked: Sequence[str], fed: Mapping[str, Array]) -> Reading:
        codes = [input_codes(image, tensor) for image, (_, tensor) in zip(images, model.inputs, strict=True)]
        alone = model.compute(codes)
        inner = tensors_of(file.data, codes, kernels=kernels, threads=threads or 1, name=model.name)
        values = {name: _tensor_values(inner[name], tensors[name]) for name in asked if name in inner}
        gaps = [
            float(np.abs(inner[file.tensors[index].name].astype(np.float64) - alone[name]).max())
            for name, index in file.outputs.items()
        ]
        outputs = {name: model.values(name, found) for name, found in alone.items()}
        return Reading(values, outputs, disturbed=max(gaps))

    return Side(label, places, {}, integer=True, feeds=False, read=read)


def _steps(file: TfliteFile) -> list[_Step]:
    steps = []
    for node in file.nodes:
        inputs = [file.tensors[index] for index in node.inputs]
        weight, output = inputs[1] if node.kind in WEIGHT_AXES else None, file.tensors[node.outputs[0]]
        steps.append(
            _Step(
                node.kind,
                output.name,
                _tensor_grid(output),
                tuple(tensor.name for tensor in inputs if tensor.data is None),
                None if weight is None else (weight.name, weight.shape),
            )
        )
    return steps


def _places(inputs: Mapping[str, Grid | None], steps: Iterable[_Step]) -> dict[str, Place]:
    """Return inputs and results of operators in graph order."""
    places = {name: Place(name, name, "Input", grid=grid) for name, grid in inputs.items()}
    for step in steps:
        layer, shape = step.weight or (step.output, ())
        sources = tuple(dict.fromkeys(step.inputs))
        places[step.output] = Place(
            step.output,
            layer.removesuffix(WEIGHT),
            OPERATORS.get(step.kind, step.kind),
            tuple(shape[axis] for axis in WEIGHT_AXES[step.kind]) if shape else (),
            sources,
            places[sources[0]].grid if step.kind == "DEQUANTIZE" else step.grid,
        )
    return places


def _value_grid(value: Value) -> Grid | None:
    return None if value.scale is None else _grid(value.scale, value.zero_point, value.type)


def _tensor_grid(tensor: Tensor) -> Grid | None:
    if tensor.scale is None or tensor.zero_point is None:
        return None
    return _grid(tensor.scale, int(tensor.zero_point[0]), tensor.type)


def _grid(scale: Array, zero_point: int, kind: str) -> Grid:
    limits = np.iinfo(kind)
    return Grid(float(scale.reshape(-1)[0]), zero_point, int(limits.min), int(limits.max))


def _tensor_values(found: Array, tensor: Tensor) -> Array:
    return _as_values(found, tensor.scale, 0 if tensor.zero_point is None else int(tensor.zero_point[0]))


def _as_values(found: Array, scale: Any, zero_point: int) -> Array:
    """Return float values of codes (None as scale: of values), channels first where there are channels."""
    values = (found.astype(np.int32) - zero_point).astype(np.float32) * scale if scale is not None else found
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2)) if values.ndim == 4 else values


def _channels_last(values: Array) -> Array:
    return values.transpose(0, 2, 3, 1)
