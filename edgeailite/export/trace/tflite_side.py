"""Sides of a trace that compute TensorFlow Lite's operators: a lowered program, and a .tflite file in LiteRT.

Every operator gives a place, under the name that its result has in the file (ours, as in ONNX files). Values are those
of the codes, channels first as on other sides; what leaves the network in float32 keeps the grid of its codes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from edgeailite.errors import UsageError, option
from edgeailite.export.tflite_parity import program_codes
from edgeailite.export.trace.sides import Array, Grid, Place, Reading, Side
from edgeailite.quantization.program import Program, Value
from edgeailite.quantization.tflite_rules import run_operator
from edgeailite.runtime.tflite_file import Tensor, read_tflite
from edgeailite.runtime.tflite_recheck import ARITHMETICS
from edgeailite.runtime.tflite_session import input_codes, load_tflite, tensors_of

DEFAULT_KERNELS = "xnnpack"
OPERATORS = {
    "ADD": "Add", "ARG_MAX": "ArgMax", "CONCATENATION": "Concat", "CONV_2D": "Conv", "DEPTHWISE_CONV_2D": "Conv",
    "MAX_POOL_2D": "MaxPool", "MEAN": "Pool", "RESIZE_BILINEAR": "Resize", "RESIZE_NEAREST_NEIGHBOR": "Resize",
}  # as other sides call them; others keep their names  # fmt: skip
WEIGHT_AXES = {"CONV_2D": (0, 3, 1, 2), "DEPTHWISE_CONV_2D": (3, 0, 1, 2)}  # to torch's order
WEIGHT = ".weight"  # ends the name of a layer's weight


def program_side(label: str, program: Program, arithmetic: str) -> Side:
    """Open a lowered program in `tflite_reference` or `xnnpack`, the arithmetics of TensorFlow Lite's runtimes."""
    places = _places(program.inputs, ((each.kind, each.inputs, each.output) for each in program.operators))

    def read(images: Sequence[Array], asked: Sequence[str], fed: Mapping[str, Array]) -> Reading:
        values, wanted = dict[str, Array](), {*asked, *(value.name for value in program.outputs.values())}
        codes: dict[Value, Array] = {}

        def keep(value: Value, found: Array) -> None:
            """Keep the values of a tensor; go on with those of the other side where it feeds this one."""
            if value.name in wanted:
                values[value.name] = _values(found, value)
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
    operators = ((n.kind, [file.tensors[i] for i in n.inputs], file.tensors[n.outputs[0]]) for n in file.nodes)
    places = _places([file.tensors[index] for index in file.inputs.values()], operators)

    def read(images: Sequence[Array], asked: Sequence[str], fed: Mapping[str, Array]) -> Reading:
        codes = [input_codes(image, tensor) for image, (_, tensor) in zip(images, model.inputs, strict=True)]
        alone = model.compute(codes)
        inner = tensors_of(file.data, codes, kernels=kernels, threads=threads or 1, name=model.name)
        values = {name: _values(inner[name], tensors[name]) for name in asked if name in inner}
        gaps = [
            float(np.abs(inner[file.tensors[index].name].astype(np.float64) - alone[name]).max())
            for name, index in file.outputs.items()
        ]
        outputs = {name: model.values(name, found) for name, found in alone.items()}
        return Reading(values, outputs, disturbed=max(gaps))

    return Side(label, places, {}, integer=True, feeds=False, read=read)


def _places(
    inputs: Iterable[Value | Tensor], operators: Iterable[tuple[str, Sequence[Value | Tensor], Value | Tensor]]
) -> dict[str, Place]:
    """Return the inputs and the results of operators (kind, inputs, output) in graph order."""
    places = {value.name: Place(value.name, value.name, "Input", grid=_grid(value)) for value in inputs}
    for kind, given, output in operators:
        axes = WEIGHT_AXES.get(kind, ())
        sources = tuple(dict.fromkeys(value.name for value in given if value.data is None))
        places[output.name] = Place(
            output.name,
            given[1].name.removesuffix(WEIGHT) if axes else output.name,
            OPERATORS.get(kind, kind),
            tuple(given[1].shape[axis] for axis in axes),
            sources,
            places[sources[0]].grid if kind == "DEQUANTIZE" else _grid(output),
        )
    return places


def _grid(value: Value | Tensor) -> Grid | None:
    if value.scale is None:
        return None
    limits = np.iinfo(value.type)
    return Grid(float(value.scale[0]), _zero_point(value), int(limits.min), int(limits.max))


def _values(found: Array, value: Value | Tensor) -> Array:
    """Return what a tensor's numbers mean, as floats if they are codes, channels first where there are channels."""
    if value.scale is not None:
        found = (found.astype(np.int32) - _zero_point(value)).astype(np.float32) * value.scale
    return np.ascontiguousarray(found.transpose(0, 3, 1, 2)) if found.ndim == 4 else found


def _zero_point(value: Value | Tensor) -> int:
    zero_point = np.asarray(0 if value.zero_point is None else value.zero_point).reshape(-1)
    return int(zero_point[0]) if len(zero_point) else 0


def _channels_last(values: Array) -> Array:
    return values.transpose(0, 2, 3, 1)
