"""An ONNX file with all shapes known: a size for open inputs, shape arithmetic computed, shape inference.

The size is given, or noted in the metadata as in our files. A file of open size computes sizes while it runs (Shape,
Gather, Concat, Range). With a size given these are constants: onnx infers shapes, what depends on constants alone is
computed by onnx's reference implementation, and so on until nothing changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # ships no type information
from numpy.typing import NDArray
from onnx import numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from edgeailite.errors import DataError, UsageError, option
from edgeailite.onnxfile import read_onnx, unreadable
from edgeailite.untrusted import printable, shown

Array = NDArray[Any]
Shapes = dict[str, tuple[int, ...]]
ROUNDS = 24  # of inference and computation; each makes at least one more value known
# What sizes and weights are computed with before a network runs. Not QuantizeLinear and DequantizeLinear: a dequantized
# weight stays what it is, int8.
COMPUTED = frozenset((
    "Abs", "Add", "And", "Cast", "CastLike", "Ceil", "Clip", "Concat", "Constant", "ConstantOfShape", "Div",
    "Equal", "Exp", "Expand", "Flatten", "Floor", "Gather", "Greater", "GreaterOrEqual", "Identity", "Less",
    "LessOrEqual", "Log", "MatMul", "Max", "Min", "Mod", "Mul", "Neg", "NonZero", "Not", "Or", "Pad", "Pow",
    "Range", "Reciprocal", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape",
    "Round", "ScatterND", "Size", "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Tile", "Transpose", "Trilu",
    "Unsqueeze", "Where", "Xor",
))  # fmt: skip
GROWN_BY = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1}  # the input whose numbers the result's size is made of
BROADCAST = ("Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mod",
             "Mul", "Or", "Pow", "Sub", "Where", "Xor")  # fmt: skip
MOST_ELEMENTS = 2**27  # of all computed constants
MOST_COMPUTED = 20_000  # constants
MOST_SIDES = 64
ONE_BATCH = 1
LONGEST_REASON = 400
SMALL = 1024  # elements: larger constants do not take part in shape arithmetic, only their shapes do


@dataclass(frozen=True)
class SizedGraph:
    """Graph of a file without its large constants; shape, bytes per element and, of constants, values by name."""

    graph: onnx.GraphProto
    shapes: Mapping[str, tuple[int, ...]]
    item_bytes: Mapping[str, int]
    constants: Mapping[str, Array]


def load(path: Path, height_width: tuple[int, int] | None) -> SizedGraph:
    """Load a file and infer all its shapes.

    Raises DataError for a file that cannot be read or whose shapes cannot be known, UsageError where `height_width`
    is missing or is not the file's own.
    """
    model = _read(path)
    _fix_inputs(model, height_width, path)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    _take_out_large(model)
    known = dict(constants)
    shapes, item_bytes = _infer(model, {}, path)
    failed: set[str] = set()
    for _ in range(ROUNDS):
        new = _compute(model, shapes, known, failed)
        if not new:
            break
        known |= new
        shapes, item_bytes = _infer(model, {name: known[name] for name in known if name not in constants}, path)
    for name, value in known.items():
        shapes[name], item_bytes[name] = value.shape, value.itemsize
    for node in model.graph.node:
        unknown = [name for name in node.output if name and name not in shapes]
        if unknown:
            raise DataError(
                f"{path}: the shape of {shown(unknown[0])} ({printable(node.op_type)[:80]}) cannot be inferred; "
                "simplify the file (onnxsim) or export it with a fixed size"
            )
    return SizedGraph(model.graph, shapes, item_bytes, known)


def _take_out_large(model: onnx.ModelProto) -> None:
    """Large constants become inputs of a shape, in place: inference copies the model."""
    large = [tensor for tensor in model.graph.initializer if prod(tensor.dims) > SMALL]
    small = [tensor for tensor in model.graph.initializer if prod(tensor.dims) <= SMALL]
    names = {value.name for value in model.graph.input}
    model.graph.input.extend(
        onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in large
        if tensor.name not in names
    )
    del model.graph.initializer[:]
    model.graph.initializer.extend(small)


def _read(path: Path) -> onnx.ModelProto:
    file = read_onnx(path)
    try:
        model = onnx.load_model_from_string(file.data) if file.is_whole else onnx.load(str(path))
    except (OSError, ValueError, DecodeError, onnx.checker.ValidationError) as error:
        raise unreadable(file.name, str(error)) from None
    for node in model.graph.node:
        if any(attribute.type == onnx.AttributeProto.GRAPH for attribute in node.attribute):
            raise DataError(
                f"{path}: {printable(node.op_type)[:80]} {shown(node.name)} holds a graph of its own, whose cost "
                "depends on values; export without control flow"
            )
    return model


def _fix_inputs(model: onnx.ModelProto, height_width: tuple[int, int] | None, path: Path) -> None:
    """Give open batch, height and width of the inputs their values, in place."""
    noted = _noted_size(model)
    weights = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name in weights:
            continue
        if len(dims) == 4 and not dims[0].dim_value:
            dims[0].dim_value = ONE_BATCH
        fixed = tuple(dim.dim_value for dim in dims)
        if len(dims) != 4:
            if not all(fixed):
                raise DataError(
                    f"{path}: input {shown(value.name)} {list(fixed)}: open sizes are known for (N,C,H,W) alone"
                )
            continue
        if fixed[0] != ONE_BATCH:
            raise DataError(
                f"{path}: input {shown(value.name)} takes {fixed[0]} pictures at once; costs are those of one, export "
                "the file with batch 1"
            )
        wanted = height_width or (fixed[2:] if all(fixed) else noted)
        if wanted is None:
            raise UsageError(f"{path}: input {shown(value.name)} is of open size; give {option('img_resize')} H W")
        for dim, size in zip(dims[2:], wanted, strict=True):
            if dim.dim_value not in (0, size):
                raise UsageError(
                    f"{path}: input {shown(value.name)} is fixed to {fixed[2]}x{fixed[3]}, {option('img_resize')} asks "
                    f"for {' '.join(map(str, height_width or ()))}; "
                    f"leave {option('img_resize')} out, or export with {option('dynamic')} True",
                    code="no-fit",
                )
            dim.dim_value = size


def _noted_size(model: onnx.ModelProto) -> tuple[int, int] | None:
    """Return the input size HxW in the metadata, which our files have; None without a readable one."""
    noted = {entry.key: entry.value for entry in model.metadata_props}.get("input_size", "")
    height, _, width = noted.partition("x")
    sides = [int(side) for side in (height, width) if side.isascii() and side.isdecimal() and len(side) <= 5]
    return (sides[0], sides[1]) if len(sides) == 2 and all(sides) else None


def _infer(model: onnx.ModelProto, computed: Mapping[str, Array], path: Path) -> tuple[Shapes, dict[str, int]]:
    """Shapes that are whole, and bytes per element. What was computed takes part as constants."""
    trial = onnx.ModelProto()
    trial.CopyFrom(model)
    kept = [node for node in trial.graph.node if not all(name in computed for name in node.output if name)]
    del trial.graph.node[:], trial.graph.value_info[:]
    trial.graph.node.extend(kept)
    for value in trial.graph.output:
        value.type.tensor_type.ClearField("shape")
    trial.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in computed.items())
    try:
        graph = shape_inference.infer_shapes(trial, strict_mode=True, data_prop=True).graph
    except (shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError, ValueError) as error:
        reason = printable(" ".join(str(error).split()))[:LONGEST_REASON]
        raise DataError(f"{path}: shapes do not fit ({reason}); export it again", code="damaged") from None
    shapes, item_bytes = {}, {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.elem_type:
            item_bytes[value.name] = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).itemsize
        if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim):
            shapes[value.name] = tuple(dim.dim_value for dim in tensor.shape.dim)
    return shapes, item_bytes


def _compute(model: onnx.ModelProto, shapes: Shapes, known: Mapping[str, Array], failed: set[str]) -> dict[str, Array]:
    """New constants: shapes of known tensors, and nodes that take constants alone; `failed` grows by what fails."""
    new: dict[str, Array] = {}
    made = sum(known[name].size for node in model.graph.node for name in node.output if name in known)
    for node in model.graph.node:
        names = [name for name in node.input if name]
        if node.output[0] in known or node.output[0] in failed:
            continue
        if node.op_type == "Shape" and node.input[0] in shapes:
            whole = {attribute.name: attribute.i for attribute in node.attribute}
            shape = shapes[node.input[0]][whole.get("start", 0) : whole.get("end")]
            new[node.output[0]] = np.array(shape, np.int64)
        elif node.op_type in COMPUTED and not node.domain and all(name in known or name in new for name in names):
            inputs = {name: known[name] if name in known else new[name] for name in dict.fromkeys(names)}
            try:
                made += _result_elements(node, inputs)
                if len(new) > MOST_COMPUTED or made > MOST_ELEMENTS:
                    break
                results = ReferenceEvaluator(_alone(model, node)).run(None, inputs)
            except Exception:  # noqa: BLE001 - a foreign operator fails in any way; its value stays unknown
                failed.add(node.output[0])
                continue
            new |= dict(zip((name for name in node.output if name), map(np.asarray, results)))
    return new


def _result_elements(node: onnx.NodeProto, inputs: Mapping[str, Array]) -> int:
    """Return an upper bound of the number of elements in a node's results."""
    values = [inputs[name] for name in node.input if name]
    shapes = [value.shape for value in values]
    sizes = [max(1, value.size) for value in values] or [1]
    if node.op_type in BROADCAST:
        return prod(np.broadcast_shapes(*shapes))
    if node.op_type == "MatMul":
        return sizes[0] * sizes[1] // max(1, shapes[0][-1])
    if node.op_type == "Gather":
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
        return sizes[1] * sizes[0] // max(1, shapes[0][axis])
    if node.op_type in GROWN_BY:
        grown = prod(max(1, abs(int(side))) for side in values[GROWN_BY[node.op_type]].reshape(-1)[:MOST_SIDES])
        return grown * sizes[0]
    if node.op_type == "Range":
        start, limit, step = (float(value.reshape(-1)[0]) for value in values)
        return int(abs((limit - start) / step))
    if node.op_type == "Pad":
        more = float(np.abs(values[1].astype(np.float64)).sum())
        return int(prod(side + more for side in shapes[0]))
    return sum(sizes)


def _alone(model: onnx.ModelProto, node: onnx.NodeProto) -> onnx.ModelProto:
    """A model of one node."""
    inputs = [onnx.helper.make_empty_tensor_value_info(name) for name in dict.fromkeys(node.input) if name]
    outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = onnx.helper.make_graph([node], "one", inputs, outputs)
    return onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
