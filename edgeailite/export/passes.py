"""Exact rewrites of an int8 file: the same codes from shapes that onnxruntime's x86 kernels run faster.

Every sum of an integer convolution stays what it was (zeros are added, nothing else), so the file keeps its proof.

 1. `pad_image`: a fourth channel at the zero point. The kernel gathers patches by copying runs of channels, and runs
    of three bytes are slow.
 2. `merge_groups`: several groups of a grouped convolution become one, with zeros between them, up to 64 channels.
    Each group costs a pass over the picture, gathered in runs of its few channels.
 3. `pad_depthwise`: channels up to a multiple of 16. The depthwise kernel takes 16 at a time, the rest one by one
    (38 channels take 2.7 times as long as 48). Channels are added where they are made, or with Pad on the codes.
 4. `multiply_last_resizes`: a last resize by 2, 4 or 8, which is computed in float, becomes two matrix products over
    blocks of columns and of rows, each with its neighbours. The resize kernel computes one value at a time, matrix
    products 16. At a scale of 8 significant bits (`quantization.grids`) all sums are exact, so the bits are the same.

All cost multiplications by zero: the file counts more MACs than the network. OpenVINO is neither faster nor slower.

Measured and not kept: concatenating codes outside of the quantizers (1 %), resizing codes (half the speed, and it
truncates), grouped convolutions as dense ones (slower than groups of 64 channels), 2x2 blocks of the picture moved to
channels (0.3 ms better than rule 1, but for even sizes only); other forms of the last resize are in
docs/quantization.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

Kernels = Literal["plain", "onnxruntime"]
IMAGE_CHANNELS = 4
GROUP_CHANNELS = 64
DEPTHWISE_CHANNELS = 16
WEIGHT, BIAS = 1, 2  # inputs of a convolution
RESIZE_FACTORS = (2, 4, 8)  # by which all sums are exact
BLOCKS = (8, 9, 10, 7, 6, 5, 12, 4)  # rows or columns that one product enlarges: the first that divides their number
ACTIVATIONS = ("Relu", "Clip")
PREVIOUS = ""  # the result of the step before


class Index:
    """Maker and readers of each tensor of a graph, by name; build it again after nodes were added."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.maker = {name: node for node in graph.node for name in node.output}
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.outputs = {value.name for value in graph.output}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self.readers[name].append(node)

    def sole_reader(self, name: str) -> onnx.NodeProto | None:
        """Return the one node that reads the values of `name`; None where there are several, or it is an output.

        `Shape` does not count: it reads only height and width, which no rewrite changes.
        """
        readers = [node for node in self.readers[name] if node.op_type != "Shape"]
        return readers[0] if len(readers) == 1 and name not in self.outputs else None

    def integer_convolutions(self) -> list[onnx.NodeProto]:
        """Return the convolutions whose weight and bias are dequantized codes."""
        convolutions = [node for node in self.graph.node if node.op_type == "Conv"]
        return [node for node in convolutions if all(self._dequantized(node, index) for index in (WEIGHT, BIAS))]

    def _dequantized(self, node: onnx.NodeProto, index: int) -> bool:
        maker = self.maker.get(node.input[index]) if index < len(node.input) else None
        return maker is not None and maker.op_type == "DequantizeLinear" and maker.input[0] in self.constants

    def codes(self, node: onnx.NodeProto, index: int) -> NDArray[Any]:
        """Return the weight or bias codes of an integer convolution."""
        return numpy_helper.to_array(self.constants[self.maker[node.input[index]].input[0]])

    def change(self, node: onnx.NodeProto, position: int, value: NDArray[Any]) -> None:
        """Replace the constant at input `position` of `node`; other nodes that read it keep the old value."""
        name = node.input[position]
        if len(self.readers[name]) == 1:
            self.constants[name].CopyFrom(numpy_helper.from_array(np.asarray(value, order="C"), name))
            return
        self.readers[name].remove(node)
        new = f"{node.name}.{position}"  # two places of one node may read one constant
        node.input[position] = new
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(value, order="C"), new))
        self.constants[new] = self.graph.initializer[-1]
        self.readers[new].append(node)


def apply_passes(model: onnx.ModelProto, kernels: Kernels) -> onnx.ModelProto:
    """Rewrite an int8 model for the kernels of a runtime, in place, and return it; "plain" only separates weights."""
    own_weights(model.graph)
    if kernels != "plain":
        for rewrite in PASSES[kernels]:
            rewrite(model.graph)
        del model.graph.value_info[:]
    return model


def own_weights(graph: onnx.GraphProto) -> None:
    """Give each dequantized int8 weight codes and a zero point of its own, where the exporter shares equal ones.

    onnxruntime can move weights to uint8 (`session.x64quantprecision`, exact sums without VNNI) only if no other weight
    reads them.
    """
    index = Index(graph)
    for node in list(graph.node):
        codes = index.constants.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if codes is None or codes.data_type != onnx.TensorProto.INT8:
            continue
        for position, name in ((0, node.input[0]), *((2, name) for name in node.input[2:])):
            if len(index.readers[name]) > 1:
                index.change(node, position, numpy_helper.to_array(index.constants[name]))


def pad_image(graph: onnx.GraphProto) -> None:
    """Apply rule 1 to every picture that one dense convolution reads."""
    for value in list(graph.input):
        index = Index(graph)
        quantize = index.sole_reader(value.name)
        dequantize = index.sole_reader(quantize.output[0]) if _is(quantize, "QuantizeLinear") else None
        conv = index.sole_reader(dequantize.output[0]) if _is(dequantize, "DequantizeLinear") else None
        if conv is None or dequantize is None or conv not in index.integer_convolutions() or _groups(conv) != 1:
            continue
        extra = IMAGE_CHANNELS - index.codes(conv, WEIGHT).shape[1]
        if extra > 0:
            _grow_inputs(index, conv, extra)
            _pad_codes(index, conv, dequantize, extra)


def merge_groups(graph: onnx.GraphProto) -> None:
    """Apply rule 2 to every grouped convolution that is not depthwise."""
    index = Index(graph)
    for conv in index.integer_convolutions():
        weight, groups = index.codes(conv, WEIGHT), _groups(conv)
        width = weight.shape[1]
        factor = max(f for f in range(1, groups + 1) if groups % f == 0 and (f == 1 or f * width <= GROUP_CHANNELS))
        if width == 1 or factor == 1:
            continue
        index.change(index.maker[conv.input[WEIGHT]], 0, merged_weight(weight, groups, factor))
        _set_groups(conv, groups // factor)


def merged_weight(weight: NDArray[Any], groups: int, factor: int) -> NDArray[Any]:
    """Spread weights (O, C/groups, kh, kw) over `factor` times fewer groups: (O, factor C/groups, kh, kw)."""
    outputs, width = weight.shape[0] // groups, weight.shape[1]
    merged = np.zeros((weight.shape[0], width * factor, *weight.shape[2:]), weight.dtype)
    for group in range(groups):
        rows, first = slice(group * outputs, (group + 1) * outputs), group % factor * width
        merged[rows, first : first + width] = weight[rows]
    return merged


def pad_depthwise(graph: onnx.GraphProto) -> None:
    """Apply rule 3 to every depthwise convolution whose result only dense convolutions read."""
    for name in [node.name for node in Index(graph).integer_convolutions()]:
        index = Index(graph)
        conv = next(node for node in graph.node if node.name == name)
        channels, groups = index.codes(conv, WEIGHT).shape[0], _groups(conv)
        extra = -channels % DEPTHWISE_CHANNELS
        followers = _dense_readers(index, conv)
        dequantize = index.maker.get(conv.input[0])
        if groups != channels or groups == 1 or not extra or not followers or not _is(dequantize, "DequantizeLinear"):
            continue
        assert dequantize is not None
        _grow_outputs(index, conv, extra)
        _set_groups(conv, groups + extra)
        for follower in followers:
            _grow_inputs(index, follower, extra)
        source = _dense_maker(index, dequantize)
        if source is not None:
            _grow_outputs(index, source, extra)
        else:
            _pad_codes(index, conv, dequantize, extra)


def multiply_last_resizes(graph: onnx.GraphProto) -> None:
    """Apply rule 4 to every resize whose result leaves the network, if its size is fixed and can be cut into blocks."""
    index = Index(graph)
    shapes = {value.name: [side.dim_value for side in value.type.tensor_type.shape.dim] for value in graph.value_info}
    for resize in [node for node in graph.node if node.op_type == "Resize"]:
        dequantize, small = index.maker.get(resize.input[0]), shapes.get(resize.input[0], [])
        if dequantize is None or not _of_short_codes(index, dequantize) or not _is_last_bilinear(index, resize):
            continue
        large = numpy_helper.to_array(index.constants[resize.input[3]]).tolist()
        factor = next((f for f in RESIZE_FACTORS if [*small[:2], *(f * side for side in small[2:])] == large), None)
        blocks = [block for side in small[2:] for block in [b for b in BLOCKS if side % b == 0][:1]]
        if factor is not None and small[0] == 1 and len(blocks) == 2:
            _multiply(graph, resize, dequantize, small, factor, (blocks[0], blocks[1]))


def _of_short_codes(index: Index, dequantize: onnx.NodeProto) -> bool:
    """Tell if values are codes of 8 bits times one scale of 8 significant bits."""
    constants = [index.constants.get(name) for name in dequantize.input[1:]]
    if dequantize.op_type != "DequantizeLinear" or len(constants) != 2 or None in constants:
        return False
    scale, zero_point = (numpy_helper.to_array(constant) for constant in constants if constant is not None)
    if scale.dtype != np.float32 or scale.size != 1 or zero_point.dtype not in (np.uint8, np.int8):
        return False
    return int(scale.reshape(1).view(np.uint32)[0]) % 2**16 == 0  # of 23 stored bits 7 are left


def _is_last_bilinear(index: Index, resize: onnx.NodeProto) -> bool:
    """Tell if a resize to a known size is bilinear with half-pixel centres, and its result is not quantized again."""
    how = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in resize.attribute}
    return (
        how.get("mode") == b"linear"
        and how.get("coordinate_transformation_mode", b"half_pixel") == b"half_pixel"
        and not how.get("antialias")
        and "axes" not in how
        and len(resize.input) == 4
        and resize.input[3] in index.constants
        and not any(_is(reader, "QuantizeLinear") for reader in index.readers[resize.output[0]])
    )


def _multiply(
    graph: onnx.GraphProto,
    resize: onnx.NodeProto,
    dequantize: onnx.NodeProto,
    small: list[int],
    factor: int,
    blocks: tuple[int, int],
) -> None:
    """Replace a resize of codes (1,C,h,w): gather blocks with a neighbour on each side, channels last, and multiply."""
    stem, (_, channels, height, width), (rows, columns) = resize.name.removesuffix("/Resize"), small, blocks
    constants = {
        "rows": _with_neighbours(height, rows),
        "columns": _with_neighbours(width, columns),
        "row_weights": _block_weights(rows, factor),
        "column_weights": np.ascontiguousarray(_block_weights(columns, factor).T),
        "by_columns": np.array([-1, columns + 2], np.int64),
        "by_rows": np.array([channels * height // rows, rows + 2, factor * width], np.int64),
    }
    named = {key: f"{stem}.{key}" for key in constants}
    graph.initializer.extend(numpy_helper.from_array(value, named[key]) for key, value in constants.items())
    steps: list[tuple[str, list[str], dict[str, Any]]] = [
        ("Transpose", [PREVIOUS], {"perm": [0, 2, 3, 1]}),
        ("Gather", [PREVIOUS, named["rows"]], {"axis": 1}),
        ("Gather", [PREVIOUS, named["columns"]], {"axis": 2}),
        ("Transpose", [PREVIOUS], {"perm": [0, 3, 1, 2]}),
        ("Reshape", [PREVIOUS, named["by_columns"]], {}),
        ("DequantizeLinear", [PREVIOUS, *dequantize.input[1:]], {}),  # not before Reshape: signed codes fail to load
        ("MatMul", [PREVIOUS, named["column_weights"]], {}),
        ("Reshape", [PREVIOUS, named["by_rows"]], {}),
        ("MatMul", [named["row_weights"], PREVIOUS], {}),
        ("Reshape", [PREVIOUS, resize.input[3]], {}),
    ]
    previous, at = dequantize.input[0], list(graph.node).index(resize)
    for number, (kind, names, how) in enumerate(steps):
        inputs = [previous if name == PREVIOUS else name for name in names]
        previous = resize.output[0] if number == len(steps) - 1 else f"{stem}.{number}"
        graph.node.insert(
            at + number, onnx.helper.make_node(kind, inputs, [previous], f"{stem}.{number}/{kind}", **how)
        )
    graph.node.remove(resize)
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    if dequantize.output[0] not in read:
        graph.node.remove(dequantize)


def _with_neighbours(side: int, block: int) -> NDArray[np.int64]:
    """Indices of all blocks of a side, each with the row before and behind it; borders are repeated."""
    places = np.arange(0, side, block)[:, None] + np.arange(-1, block + 1)
    return np.clip(places, 0, side - 1).reshape(-1)


def _block_weights(block: int, factor: int) -> NDArray[np.float32]:
    """Weights (factor x block, block + 2) of a bilinear resize, half-pixel centres."""
    place = (np.arange(factor * block) + 0.5) / factor + 0.5  # of the new pixels, in those of the block with neighbours
    weights: NDArray[np.float64] = 1 - np.abs(place[:, None] - np.arange(block + 2))
    return weights.clip(0).astype(np.float32)


PASSES: dict[Kernels, tuple[Callable[[onnx.GraphProto], None], ...]] = {
    "plain": (),
    "onnxruntime": (pad_image, merge_groups, pad_depthwise, multiply_last_resizes),
}


def _is(node: onnx.NodeProto | None, kind: str) -> bool:
    return node is not None and node.op_type == kind


def _groups(conv: onnx.NodeProto) -> int:
    return next((attribute.i for attribute in conv.attribute if attribute.name == "group"), 1)


def _set_groups(conv: onnx.NodeProto, groups: int) -> None:
    next(attribute for attribute in conv.attribute if attribute.name == "group").i = groups


def _dense_readers(index: Index, conv: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Return the dense convolutions that read `conv` through its quantizer; [] where anything else reads it too."""
    node = index.sole_reader(conv.output[0])
    while node is not None and node.op_type in ACTIVATIONS:
        node = index.sole_reader(node.output[0])
    if node is None or node.op_type != "QuantizeLinear" or node.output[0] in index.outputs:
        return []
    found = []
    for dequantize in index.readers[node.output[0]]:
        if dequantize.op_type != "DequantizeLinear" or dequantize.output[0] in index.outputs:
            return []
        found += [node for node in index.readers[dequantize.output[0]] if node.op_type != "Shape"]
    known = index.integer_convolutions()
    return found if all(node in known and _groups(node) == 1 for node in found) else []


def _dense_maker(index: Index, dequantize: onnx.NodeProto) -> onnx.NodeProto | None:
    """Return the dense convolution that makes these codes, if it makes them for one reader alone."""
    quantize = index.maker.get(dequantize.input[0])
    alone = index.sole_reader(dequantize.input[0]) is not None and index.sole_reader(dequantize.output[0]) is not None
    if not alone or quantize is None or quantize.op_type != "QuantizeLinear":
        return None
    node = index.maker.get(quantize.input[0])
    while node is not None and node.op_type in ACTIVATIONS and index.sole_reader(node.output[0]) is not None:
        node = index.maker.get(node.input[0])
    if node is None or node not in index.integer_convolutions() or _groups(node) != 1:
        return None
    return node if index.sole_reader(node.output[0]) is not None else None


def _grow_inputs(index: Index, conv: onnx.NodeProto, extra: int) -> None:
    """Add `extra` input channels with zero weights to a dense convolution."""
    weight = index.codes(conv, WEIGHT)
    index.change(index.maker[conv.input[WEIGHT]], 0, np.pad(weight, ((0, 0), (0, extra), (0, 0), (0, 0))))


def _grow_outputs(index: Index, conv: onnx.NodeProto, extra: int) -> None:
    """Add `extra` output channels of zeros, with the last channel's scales."""
    for position in (WEIGHT, BIAS):
        node = index.maker[conv.input[position]]
        values = [numpy_helper.to_array(index.constants[name]) for name in node.input]
        for place, value in enumerate(values):
            if value.ndim == 0:  # one scale for all channels
                continue
            mode = "edge" if place == 1 else "constant"  # scales repeat; codes and zero points are 0
            widths = ((0, extra),) + ((0, 0),) * (value.ndim - 1)
            index.change(node, place, np.pad(value, widths, mode=mode))


def _pad_codes(index: Index, conv: onnx.NodeProto, dequantize: onnx.NodeProto, extra: int) -> None:
    """Append channels at the zero point to the codes that `conv` reads, for it alone."""
    graph, codes, zero_point = index.graph, dequantize.input[0], dequantize.input[2]
    alone = index.sole_reader(dequantize.output[0]) is not None
    stem = codes.removesuffix("_quantized") if alone else f"{conv.name.removesuffix('/Conv')}_input"
    amounts = numpy_helper.from_array(np.array([0, 0, 0, 0, 0, extra, 0, 0], np.int64), f"{stem}_padding")
    graph.initializer.append(amounts)
    pad = onnx.helper.make_node("Pad", [codes, amounts.name, zero_point], [f"{stem}_padded"], name=f"{stem}/Pad")
    graph.node.insert(list(graph.node).index(dequantize), pad)
    if alone:
        dequantize.input[0] = pad.output[0]
        return
    own = onnx.helper.make_node(
        "DequantizeLinear", [pad.output[0], *dequantize.input[1:]], [f"{stem}_values"], name=f"{stem}/DequantizeLinear"
    )
    own.attribute.extend(dequantize.attribute)
    graph.node.insert(list(graph.node).index(conv), own)
    conv.input[0] = own.output[0]
