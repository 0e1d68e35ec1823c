"""Exact rewrites of an int8 file: the same codes from shapes that onnxruntime's x86 kernels run faster.

Zeros are added, nothing else: every sum of an integer convolution stays what it was, so the file keeps its proof.

 1. `pad_image`: a fourth channel at the zero point. The kernel gathers patches by copying runs of channels, and runs
    of three bytes are slow.
 2. `merge_groups`: several groups of a grouped convolution become one, with zeros between them, up to 64 channels.
    Each group costs a pass over the picture, gathered in runs of its few channels.
 3. `pad_depthwise`: channels up to a multiple of 16. The depthwise kernel takes 16 at a time, the rest one by one
    (38 channels take 2.7 times as long as 48). Channels are added where they are made, or with Pad on the codes.

All cost multiplications by zero: the file counts more MACs than the network. OpenVINO is neither faster nor slower.

Measured and not kept: concatenating codes outside of the quantizers (1 %), the last resize in two steps (slower) or as
blocked matrix products (2 ms of 42, but in bfloat16 under OpenVINO), resizing codes (half the speed, and it truncates),
grouped convolutions as dense ones (slower than groups of 64 channels), 2x2 blocks of the picture moved to channels
(0.3 ms better than rule 1, but for even sizes only).
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
ACTIVATIONS = ("Relu", "Clip")


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


PASSES: dict[Kernels, tuple[Callable[[onnx.GraphProto], None], ...]] = {
    "plain": (),
    "onnxruntime": (pad_image, merge_groups, pad_depthwise),
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
