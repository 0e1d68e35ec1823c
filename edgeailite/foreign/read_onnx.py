"""`read_onnx`: a float ONNX file of any exporter as a torch.fx graph in normal form (`edgeailite.foreign`)."""

from __future__ import annotations

import operator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import fx

from edgeailite.errors import DataError, UsageError
from edgeailite.foreign.edits import SIDES
from edgeailite.foreign.layers import LAYERS
from edgeailite.foreign.moves import MOVES
from edgeailite.foreign.normal_form import check_normal_form, check_shapes
from edgeailite.foreign.pools import POOLS
from edgeailite.foreign.reader import FIXED_SIZE, Reader
from edgeailite.foreign.rewrites import REWRITES
from edgeailite.onnxfile import OnnxFile, Sizes, unreadable, with_outside_data
from edgeailite.onnxfile import read_onnx as read_file
from edgeailite.onnxfile.shapes import Limits, sizes_of
from edgeailite.onnxfile.values import VALUES
from edgeailite.onnxfile.wire import TO_FIRST, TO_LAST, Damaged, Node, Port
from edgeailite.untrusted import printable, shown

if TYPE_CHECKING:
    import onnx

TABLE = {**MOVES, **LAYERS, **POOLS}
OLDEST_OPSET = 11
LIMITS = Limits(elements=2**31, operations=2**53)
# (height, width) of samples. Halved again and again, rounding down or up, each side is odd in one sample and even in
# another: an amount that depends on that is no constant.
ODD = ((97, 161), (118, 174), (143, 219))
EVEN = ((192, 320), (256, 384), (384, 512))  # for networks that only take multiples of 64
HELD_OUT_ODD, HELD_OUT_EVEN = (112, 144), (320, 256)  # sizes that nothing is concluded from
BATCHES = (2, 3, 5)
OPEN = (0, -1)  # numbers that some exporters write for a side of any length
LARGEST_SIDE = 65_535
FLOAT_TYPES = (1, 10, 11, 16)  # of inputs, TensorProto.DataType
CAST_LIKE = "CastLike"
INT8 = ("QuantizeLinear", "DequantizeLinear")


def read_onnx(source: Path | str | bytes | onnx.ModelProto) -> fx.GraphModule:
    """Read a float ONNX file, from its path, its bytes or a loaded model, into a network that `prepare` takes.

    Opsets from 11 on, of any exporter. The network takes normalised pictures (N,3,H,W) float32 in the order of the
    file's inputs, also where those have channels last, (N,H,W,3); it returns a dict of its outputs, as onnxruntime
    computes them up to rounding. Weights have the names of the file's initializers where Python allows them. Height and
    width stay open where the file leaves them open.
    Raises DataError for a file that is damaged or not safe to open, UsageError for an int8 file and for an operator
    that cannot be read, with its node.

    >>> import torch
    >>> network = read_onnx("runs/night/model.onnx")
    >>> {name: tuple(value.shape) for name, value in network(torch.zeros(1, 3, 64, 64)).items()}
    {'segmentation': (1, 19, 64, 64)}
    """
    file = _needed(with_outside_data(read_file(_plain(source))))
    _check(file)
    samples, held_out = _samples(file)
    read = Reader(file, samples)
    images = read.graph.placeholder("*images")
    for index, port in enumerate(file.graph.inputs):
        read.tensors[port.name] = image = read.call(operator.getitem, images, index)
        if port.channels_last:
            read.tensors[port.name] = read.call(torch.permute, image, TO_LAST)
    for node in file.graph.nodes:
        _translate(read, node)
    read.graph.output({port.name: _output(read, port.name) for port in file.graph.outputs})
    network = fx.GraphModule(read.root, read.graph)
    for rewrite in REWRITES:
        rewrite(network)
        network.graph.eliminate_dead_code()
    check_normal_form(network, where=file.name)
    network.delete_all_unused_submodules()
    network.graph.lint()
    network.recompile()
    network.eval()  # BatchNorm in training takes no single value
    for sizes in samples:
        _check_sample(network, file, sizes)
    if len(samples) > 1:
        _check_held_out(network, file, held_out)
    return network


def _check_sample(network: fx.GraphModule, file: OnnxFile, sizes: Sizes) -> None:
    """Run the network without values at a sample size. Raises DataError."""
    inputs = []
    for port in file.graph.inputs:
        shape = sizes.shapes[port.name]
        inputs.append([shape[axis] for axis in TO_FIRST] if port.channels_last else shape)
    outputs = {port.name: sizes.shapes[port.name] for port in file.graph.outputs}
    check_shapes(network, inputs, outputs, where=file.name)


def _check_held_out(network: fx.GraphModule, file: OnnxFile, size: tuple[int, int]) -> None:
    """Try a size that nothing was concluded from. Raises UsageError where the network that was read differs there."""
    shapes = {port.name: _sample_shape(file, port, size=size, batch=BATCHES[0]) for port in file.graph.inputs}
    try:
        _check_sample(network, file, sizes_of(file.graph, shapes, LIMITS))
    except (Damaged, DataError):
        raise UsageError(
            f"its sizes at {size[0]}x{size[1]} do not follow from those at others",
            path=file.name,
            fix=FIXED_SIZE,
            code="wrong-kind",
        ) from None


def _plain(source: Path | str | bytes | onnx.ModelProto) -> Path | bytes:
    if isinstance(source, str):
        return Path(source)
    return source if isinstance(source, Path | bytes) else bytes(source.SerializeToString())


def _needed(file: OnnxFile) -> OnnxFile:
    """Return the file without the nodes that no output needs."""
    needed = {port.name for port in file.graph.outputs}
    nodes = []
    for node in reversed(file.graph.nodes):
        if needed.intersection(node.outputs):
            needed.update(node.inputs)
            nodes.append(node)
    return replace(file, graph=replace(file.graph, nodes=tuple(reversed(nodes))))


def _check(file: OnnxFile) -> None:
    """Refuse what cannot be read whatever its nodes say. Raises UsageError and DataError."""
    graph = file.graph
    opset = graph.opsets.get("", graph.opsets.get("ai.onnx", 0))
    if opset < OLDEST_OPSET:
        fix = f"convert it: onnx.version_converter.convert_version(model, {OLDEST_OPSET})"
        raise UsageError(f"opset {opset}; read are {OLDEST_OPSET} and newer", path=file.name, value=opset, fix=fix)
    if graph.sparse or graph.function_domains:
        what = "sparse constants" if graph.sparse else "functions of its own"
        raise UsageError(f"holds {what}", path=file.name, fix="write them out: onnx.inliner.inline_local_functions")
    if not graph.inputs or not graph.outputs:
        raise DataError("has no input or no output", path=file.name, fix="export it again", code="damaged")
    for node in graph.nodes:
        _check_operator(file, node)


def _check_operator(file: OnnxFile, node: Node) -> None:
    if node.op in INT8:
        raise UsageError(
            f"is quantized already ({node.op} at {printable(node.label)[:100]})",
            path=file.name,
            value=node.op,
            fix="give the float file it was made from",
            code="wrong-kind",
        )
    if node.domain or node.graphs or (node.op not in TABLE and node.op not in VALUES):
        name = f"{node.domain}:{node.op}" if node.domain else node.op
        why = "holds graphs of its own" if node.graphs else "has no int8 form here"
        raise UsageError(
            f"operator {printable(name)[:100]} ({printable(node.label)[:200]}) {why}",
            path=file.name,
            value=node.op,
            fix="export the network without it, or cut the graph in front of it",
            code="wrong-kind",
        )


def _samples(file: OnnxFile) -> tuple[list[Sizes], tuple[int, int]]:
    """Compute the sizes of all tensors for some sizes of the picture (one, where the file fixes all); also return the
    size that is held out.
    """
    faults: list[str] = []
    for sizes, held_out in ((ODD, HELD_OUT_ODD), (EVEN, HELD_OUT_EVEN)):
        shapes = [
            {port.name: _sample_shape(file, port, size=size, batch=batch) for port in file.graph.inputs}
            for size, batch in zip(sizes, BATCHES, strict=True)
        ]
        if all(shape == shapes[0] for shape in shapes):
            shapes = shapes[:1]
        try:
            return [sizes_of(file.graph, shape, LIMITS) for shape in shapes], held_out
        except Damaged as error:
            faults.append(str(error))
    raise unreadable(file.name, f"its sizes cannot be computed: {faults[-1]}; if it is whole, {FIXED_SIZE}")


def _sample_shape(file: OnnxFile, port: Port, *, size: tuple[int, int], batch: int) -> tuple[int, ...]:
    """Return a shape for an input whose open sides take the sample's values."""
    if port.element not in FLOAT_TYPES:
        raise UsageError(
            f"input {printable(port.name)[:100]} holds numbers of type {port.element}, not floating point",
            path=file.name,
            fix="export the network in float32 with normalised pictures as input",
        )
    if port.shape is None or not 2 <= len(port.shape) <= 4:
        what = "no shape" if port.shape is None else f"{len(port.shape)} sides"
        raise UsageError(
            f"input {printable(port.name)[:100]} has {what}, expected (N,3,H,W)", path=file.name, fix="export it again"
        )
    given = port.picture_shape(batch, size)
    sides = tuple(
        side if isinstance(side, int) and side not in OPEN else given[axis] for axis, side in enumerate(port.shape)
    )
    wrong = next((side for side in sides if not 0 < side <= LARGEST_SIDE), None)
    if wrong is not None:
        raise UsageError(
            f"input {printable(port.name)[:100]} has a side of {wrong}", path=file.name, fix="export it again"
        )
    return sides


def _translate(read: Reader, node: Node) -> None:
    """Append what computes a node; nothing for arithmetic on constants and on sizes."""
    names = [name for name in node.outputs if name]
    if all(read.constant(name) is not None or read.is_size(name) for name in names):
        return
    if node.op == CAST_LIKE and (value := read.constant(node.inputs[0])) is not None:
        read.folded[node.outputs[0]] = value.astype(np.float32)  # all tensors are float32 here
        return
    if not any(name in read.tensors for name in node.inputs):
        if node.op in ("Expand", "ConstantOfShape") and read.is_zeros(names[0]):
            return  # of the picture's size; the reader of it tells what it is for
        if read.fold(node):
            return
        raise read.refuse(node, "is computed from constants in a way that cannot be done here", fix="simplify the file")
    translate = TABLE.get(node.op)
    if translate is None:
        raise read.refuse(node, "computes on values of the picture, and has no int8 form here")
    try:
        made = translate(read, node)
    except (ArithmeticError, AssertionError, IndexError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, UsageError | DataError):
            raise
        raise read.refuse(
            node, f"does not fit its inputs ({printable(str(error))[:150]})", fix="export it again"
        ) from None
    for name, result in zip(node.outputs, made if isinstance(made, list) else [made], strict=False):
        read.tensors[name] = result
        result.meta.setdefault("onnx", f"{node.op} ({node.label})")
        result.meta.setdefault(SIDES, read.known_sides(name))


def _output(read: Reader, name: str) -> fx.Node:
    if name not in read.tensors:
        raise UsageError(
            f"output {shown(name)} does not depend on the picture", path=read.file.name, fix="export the network again"
        )
    return read.tensors[name]
