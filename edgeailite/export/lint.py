"""Checks of an exported graph that find what a device would stumble on: one row of `CODES` per code, one function each.

error: the device refuses the file or computes something else; export refuses to write it. warning: it runs, perhaps
slower or less exactly than it could. The codes are part of the command line's interface.

U8S8 saturation, exactly: without VNNI, AVX2 and AVX-512 multiply uint8 activations with int8 weights by VPMADDUBSW,
which adds two neighbouring products in int16 and cuts off at its ends. onnxruntime lays a weight out as (kernel row,
kernel column, input channel), channels fastest, so neighbours are known, and with activations of 0..255 the largest and
smallest sum of a pair too. Depthwise convolutions have a kernel of their own, in 32 bits. OpenVINO has the same hazard
(its documentation: "Saturation (overflow) issue"), but packs weights as each CPU's kernel likes: there any two weights
of a channel are taken for neighbours, which is an upper bound.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import fx

from edgeailite.errors import UsageError, option, with_options
from edgeailite.quantization.modules import ActivationQuantizer

Level = Literal["error", "warning"]
Array = NDArray[Any]
INT16 = np.iinfo(np.int16)
LARGEST_ACTIVATION = 255
NAMED = 3  # nodes that a line names

# `{name}` is an option; see `errors.with_options`.
CODES: dict[str, tuple[Level, str]] = {
    "operator": ("error", "an operator that the device does not run; export without it, or for another target"),
    "opset": ("error", "a newer opset than the device's reader knows; choose another {opset}"),
    "open-size": ("error", "an input without fixed size; export without {dynamic}"),
    "resize-mode": ("error", "a resize that the device does not compute; build the network with align_corners=False"),
    "scale": ("error", "a scale that is no normal number above 0; calibrate again, with more pictures"),
    "scale-power": ("error", "a scale that is no power of two; quantize with {scheme} tidl_pow2"),
    "code-type": ("error", "codes of a type that the device does not read; leave these layers out of the plan"),
    "zero-point": ("error", "a zero point other than 0; quantize with {scheme} s8s8"),
    "weight-axis": ("error", "weight scales along another axis than output channels; export from a run folder"),
    "bias-codes": ("error", "a bias of integer codes, which the device does not read; export with its target"),
    "before-activation": (
        "error",
        "an activation behind a quantizer, not its layer; move it to the layer, or export with the device's target",
    ),
    "clip": ("error", "a Clip whose range is no power of two; quantize with {scheme} tidl_pow2"),
    "float-layer": ("warning", "a convolution whose input or weight is not quantized: it runs in float"),
    "saturation": ("warning", "without VNNI, sums may be cut off at 16 bits; {scheme} ort_u8s7 never does"),
    "dead-channel": ("warning", "output channels whose weights are all 0: they give a constant"),
    "zero-range": ("warning", "a tensor that was 0 in all of calibration; its range was set to 0..1"),
    "resize-factor": (
        "warning",
        "a resize by no power of two, alike for height and width, which the device leaves out",
    ),
    "npu-resize": (
        "warning",
        "a bilinear resize by another factor than 2, which Arm's Ethos-U55 and U65 leave to their CPU",
    ),
    "npu-classes": ("warning", "an ArgMax over more classes than Arm's Ethos-U55 and U65 take: it runs on their CPU"),
    "npu-weights": ("warning", "weights of a channel that add up to more than Arm's Ethos-U takes: it runs on its CPU"),
    "micro-operator": (
        "warning",
        "an operator that TensorFlow Lite Micro lacks; leave its range out of the plan",
    ),
    "argmax": ("warning", "an ArgMax without the class axis kept, which the device leaves to its CPU"),
}


@dataclass(frozen=True)
class Finding:
    """Something that a check found: a code of CODES, the node or tensor, and its numbers."""

    code: str
    node: str
    detail: str = ""

    @property
    def level(self) -> Level:
        """The level in CODES: error or warning."""
        return CODES[self.code][0]


class Graph:
    """An ONNX graph with the look-ups that checks need."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes = list(model.graph.node)
        self.producer = {name: node for node in self.nodes for name in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                self.readers[name].append(node)

    @cached_property
    def constants(self) -> dict[str, Array]:
        """Values of initializers and Constant nodes."""
        values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in self.model.graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant":
                values[node.output[0]] = onnx.numpy_helper.to_array(attribute(node, "value"))
        return values

    @cached_property
    def shapes(self) -> dict[str, list[int]]:
        """Shapes of all tensors; 0 for an open side."""
        inferred = onnx.shape_inference.infer_shapes(self.model).graph
        values = (*inferred.input, *inferred.value_info, *inferred.output)
        return {value.name: [side.dim_value for side in value.type.tensor_type.shape.dim] for value in values}

    def of(self, *kinds: str) -> list[onnx.NodeProto]:
        """Nodes of these operators."""
        return [node for node in self.nodes if node.op_type in kinds]

    def weight_codes(self, conv: onnx.NodeProto) -> tuple[Array, Array] | None:
        """Codes (out, in, kh, kw) and scale of a convolution's weight; None where it is float."""
        source = self.producer.get(conv.input[1])
        if source is None or source.op_type != "DequantizeLinear":
            return None
        return self.constants[source.input[0]], self.constants[source.input[1]]


Check = Callable[[Graph], Iterator[Finding]]


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """Return the value of a node's attribute, or `default`."""
    return next((onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def lint(
    model: onnx.ModelProto, checks: Sequence[Check], *, operators: frozenset[str], newest_opset: int
) -> list[Finding]:
    """Return what the checks find in a model, and operators or an opset that the device does not know."""
    graph = Graph(model)
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    found = [Finding("operator", node.name, node.op_type) for node in graph.nodes if node.op_type not in operators]
    if opset > newest_opset:
        found.append(Finding("opset", "model", f"opset {opset}, the newest is {newest_opset}"))
    return found + [finding for check in checks for finding in check(graph)]


def lint_ranges(model: fx.GraphModule) -> list[Finding]:
    """Find the activation ranges of a prepared network that stayed 0 in calibration."""
    return [
        Finding("zero-range", name)
        for name, module in model.named_modules()
        if isinstance(module, ActivationQuantizer) and float(module.high.max()) <= 0 <= float(module.low.min())
    ]


def lines(findings: Sequence[Finding]) -> dict[str, str]:
    """Return a line for each code: its meaning and the first nodes. What several files have is counted once."""
    by_code: dict[str, list[Finding]] = defaultdict(list)
    for finding in dict.fromkeys(findings):
        by_code[finding.code].append(finding)
    result = {}
    for code, group in by_code.items():
        level, meaning = CODES[code]
        first = "; ".join(f"{f.node} ({f.detail})" if f.detail else f.node for f in group[:NAMED])
        more = f"; and {len(group) - NAMED} more" if len(group) > NAMED else ""
        result[f"{level}: {code}"] = f"{with_options(meaning)}: {first}{more}"
    return result


def refuse_errors(findings: Sequence[Finding], target: str) -> None:
    """Raise UsageError with every error and its nodes, if there is one."""
    errors = lines([finding for finding in findings if finding.level == "error"])
    if errors:
        what = " | ".join(f"{code.removeprefix('error: ')}: {text}" for code, text in errors.items())
        raise UsageError(f"{option('target')} {target}: {what}")


def scales(graph: Graph) -> Iterator[Finding]:
    """Find scales that are no normal numbers above 0: many devices read a subnormal scale as 0."""
    tiny = float(np.finfo(np.float32).tiny)
    for name, users in scale_users(graph).items():
        values = graph.constants[name]
        bad = ~(np.isfinite(values) & (values >= tiny))
        if bad.any():
            yield Finding("scale", users[0].name, f"{np.atleast_1d(values)[np.atleast_1d(bad)][0]:.3g}")


def scale_users(graph: Graph) -> dict[str, list[onnx.NodeProto]]:
    """Map each constant scale to the nodes that read it."""
    users: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.of("QuantizeLinear", "DequantizeLinear"):
        if node.input[1] in graph.constants:
            users[node.input[1]].append(node)
    return users


def half_pixel_resizes(graph: Graph) -> Iterator[Finding]:
    """Find resizes other than bilinear with half-pixel centres, or nearest."""
    for node in graph.of("Resize"):
        mode = attribute(node, "mode", b"nearest").decode()
        centres = attribute(node, "coordinate_transformation_mode", b"half_pixel").decode()
        if mode not in ("linear", "nearest") or (
            mode == "linear" and centres not in ("half_pixel", "pytorch_half_pixel")
        ):
            yield Finding("resize-mode", node.name, f"{mode}, {centres}")


def dead_channels(graph: Graph) -> Iterator[Finding]:
    """Find convolutions with output channels whose weight codes are all 0."""
    for node in graph.of("Conv"):
        weight = graph.weight_codes(node)
        if weight is not None and (dead := int((weight[0].reshape(len(weight[0]), -1) == 0).all(1).sum())):
            yield Finding("dead-channel", node.name, f"{dead} of {len(weight[0])}")


def saturation(graph: Graph) -> Iterator[Finding]:
    """Find convolutions of uint8 activations where the sum of two products that onnxruntime pairs can leave int16."""
    return _saturation(graph, pair_sums)


def saturation_of_any_pair(graph: Graph) -> Iterator[Finding]:
    """Find the same for a runtime that may pair any two weights of a channel."""
    return _saturation(graph, any_pair_sums)


def _saturation(graph: Graph, sums: Callable[[Array], tuple[Array, Array]]) -> Iterator[Finding]:
    for node in graph.of("Conv"):
        weight, source = graph.weight_codes(node), graph.producer.get(node.input[0])
        if weight is None or weight[0].dtype != np.int8 or source is None:
            continue
        if weight[0].shape[1] == 1 and attribute(node, "group", 1) == len(weight[0]):  # depthwise
            continue
        zero = graph.constants.get(source.input[2]) if len(source.input) > 2 else None
        if source.op_type != "DequantizeLinear" or zero is None or zero.dtype != np.uint8:
            continue
        low, high = sums(weight[0])
        count = int(((high > INT16.max) | (low < INT16.min)).sum())
        if count:
            worst = int(high.max()) if high.max() >= -low.min() else int(low.min())
            yield Finding("saturation", node.name, f"{count} of {len(low)} channels, up to {worst}")


def pair_sums(weight: Array) -> tuple[Array, Array]:
    """Return the smallest and largest sum (out,) of two neighbouring products, over all activations 0..255."""
    flat = weight.astype(np.int64).transpose(0, 2, 3, 1).reshape(len(weight), -1)
    pairs = np.pad(flat, ((0, 0), (0, flat.shape[1] % 2))).reshape(len(weight), -1, 2)
    low = LARGEST_ACTIVATION * np.minimum(pairs, 0).sum(2).min(1)
    return low, LARGEST_ACTIVATION * np.maximum(pairs, 0).sum(2).max(1)


def any_pair_sums(weight: Array) -> tuple[Array, Array]:
    """Return the smallest and largest sum (out,) of any two products of a channel."""
    flat = np.sort(np.pad(weight.astype(np.int64).reshape(len(weight), -1), ((0, 0), (0, 1))), axis=1)
    low = LARGEST_ACTIVATION * np.minimum(flat[:, :2], 0).sum(1)
    return low, LARGEST_ACTIVATION * np.maximum(flat[:, -2:], 0).sum(1)
