"""TI TIDL: the float file with power-of-two Clips that TI's training publishes, a standard QDQ file, and settings.

The first is what TI's import reads ranges of (`quantizationStyle` 3; `accuracy_level` 0 and `quantization_scale_type` 1
of its open-source runtimes): convolutions hold float weights with BatchNorm folded in, and a Clip stands where the
published modules with a range stood, under their names. It is float with limits: onnxruntime does not round it. The
second is for `prequantized_model` of newer releases: signed tensors have int8 codes, those behind a ReLU uint8, all
without zero point. Operators, resizes and opsets are limited as TI's list of supported operators says; no TIDL
compiler has read these files.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
import yaml
from torch import fx, nn

from edgeailite.export.lint import (
    Finding,
    Graph,
    attribute,
    dead_channels,
    half_pixel_resizes,
    scale_users,
    scales,
)
from edgeailite.export.targets.record import LAYERS, QUANTIZERS, Files, Request, Target
from edgeailite.export.to_onnx import to_onnx, write_graph
from edgeailite.preprocessing import Preprocessing
from edgeailite.quantization import published_names
from edgeailite.quantization.convert import Form
from edgeailite.quantization.graph import ACTIVATIONS, activation_limits, is_constant, is_module
from edgeailite.quantization.modules import ActivationQuantizer, QuantConv2d

FORM = Form(signed=True, activation_first=True)
IR_VERSION = 8  # of the onnxruntime 1.15 in TI's tools


def files(request: Request) -> Files:
    """Return the file with Clips, the QDQ file and the settings."""
    assert isinstance(request.module, fx.GraphModule)
    how = {"opset": request.opset, "argmax": request.argmax, "size": request.size, "simplify": request.simplify}
    clips = write_graph(clipped(request.module), request.card, **how)
    qdq = to_onnx(request.module, request.card, form=FORM, **how)
    for model in (clips, qdq):
        model.ir_version = IR_VERSION
    return {".onnx": clips, "_qdq.onnx": qdq, ".yaml": settings(request.card.preprocessing)}


@torch.no_grad()
def clipped(model: fx.GraphModule) -> fx.GraphModule:
    """Return a prepared network in float: BatchNorm folded in, a Clip at each published range, none of a constant."""
    result = copy.deepcopy(model).eval().cpu()
    names = published_names(result)
    for node in list(result.graph.nodes):
        if is_module(node, QuantConv2d):
            tensors = [_attribute(result, str(argument.target)) for argument in node.args[2:]]
            result.set_submodule(str(node.target), _float_conv(result.get_submodule(str(node.target)), tensors))
            node.args = node.args[:1]
    for node in list(result.graph.nodes):  # after the convolutions, some of which get a Clip of their own as a child
        if node in names and not is_constant(node.args[0]):
            _clip(result, node, names[node])
        elif is_module(node, ActivationQuantizer):
            node.replace_all_uses_with(node.args[0])
            result.graph.erase_node(node)
    for node in list(result.graph.nodes):
        if node.op == "get_attr" and not node.users:
            result.graph.erase_node(node)
    result.delete_all_unused_submodules()
    result.graph.lint()
    result.recompile()
    return result


def _clip(result: fx.GraphModule, node: fx.Node, name: str) -> None:
    """Replace the quantizer `node` and the activation before it by one Clip called `name`."""
    quantizer, source = result.get_submodule(str(node.target)), node.args[0]
    assert isinstance(quantizer, ActivationQuantizer)
    codes = quantizer.grid.high - quantizer.grid.low + 1
    high = (codes - int(quantizer.zero_point)) * float(quantizer.scale)
    low = -int(quantizer.zero_point) * float(quantizer.scale)
    node.args = (source,)
    if is_module(source, ACTIVATIONS):
        least, most = activation_limits(result.get_submodule(str(source.target)))
        low, high = max(low, least), min(high, most)
        node.args = source.args
        source.replace_all_uses_with(node)
    result.add_submodule(name, nn.Hardtanh(low, high))
    node.target = name
    if not source.users:
        result.graph.erase_node(source)


def _float_conv(module: nn.Module, tensors: list[torch.Tensor]) -> nn.Conv2d:
    assert isinstance(module, QuantConv2d)
    weight, bias = module.folded(*tensors)
    conv = nn.Conv2d(
        module.in_channels,
        module.out_channels,
        module.kernel_size,
        stride=module.stride,
        padding=module.padding,
        dilation=module.dilation,
        groups=module.groups,
        bias=bias is not None,
    )
    conv.weight.copy_(weight)
    if bias is not None and conv.bias is not None:
        conv.bias.copy_(bias)
    return conv


def _attribute(module: nn.Module, path: str) -> torch.Tensor:
    parent, _, name = path.rpartition(".")
    value = getattr(module.get_submodule(parent), name)
    assert isinstance(value, torch.Tensor)
    return value


def settings(preprocessing: Preprocessing) -> str:
    """Return the settings of TI's compilers for either file, as YAML."""
    values = {
        "input": {
            "mean": list(preprocessing.mean),
            "scale": list(preprocessing.scale),
            "channel_order": preprocessing.channel_order,
            "height": preprocessing.height,
            "width": preprocessing.width,
        },
        "clips": {
            "osrt": {"tensor_bits": 8, "accuracy_level": 0, "advanced_options:quantization_scale_type": 1},
            "import": {
                "quantizationStyle": 3,
                "numParamBits": 8,
                "numFeatureBits": 8,
                "calibrationOption": {"TIDL up to 2.0": 0, "TIDL from 8.0": 64},
            },
        },
        "qdq": {"osrt": {"tensor_bits": 8, "advanced_options:prequantized_model": 1}},
    }
    head = "# Settings for TI's compilers: `clips` for the .onnx of this name, `qdq` for the _qdq.onnx beside it.\n"
    return head + yaml.safe_dump(values, sort_keys=False)


def fixed_size(graph: Graph) -> Iterator[Finding]:
    """Find inputs with an open side: the compiler needs all of them."""
    for value in graph.model.graph.input:
        if not all(side.dim_value for side in value.type.tensor_type.shape.dim):
            yield Finding("open-size", value.name)


def powers_of_two(graph: Graph) -> Iterator[Finding]:
    """Find scales of quantizers and ends of Clips, except those of a ReLU6, that are no powers of two."""
    for name, users in scale_users(graph).items():
        if not (np.frexp(graph.constants[name])[0] == 0.5).all():
            yield Finding("scale-power", users[0].name, f"{graph.constants[name].flatten()[0]:.6g}")
    for node in graph.of("Clip"):
        ends = [float(graph.constants[name]) for name in node.input[1:] if name]
        if any(abs(end) not in (0.0, 6.0) and np.frexp(abs(end))[0] != 0.5 for end in ends):
            yield Finding("clip", node.name, f"{ends[0]:.6g} to {ends[-1]:.6g}")


def resize_factors(graph: Graph) -> Iterator[Finding]:
    """Find resizes that are not by a power of two, alike for height and width."""
    for node in graph.of("Resize"):
        before, after = graph.shapes.get(node.input[0]), graph.shapes.get(node.output[0])
        if not before or not after or 0 in before + after:
            continue
        factors = {after[axis] / before[axis] for axis in (2, 3)}
        if len(factors) > 1 or np.frexp(min(factors))[0] != 0.5:
            yield Finding("resize-factor", node.name, f"{before[2]}x{before[3]} to {after[2]}x{after[3]}")


def kept_class_axis(graph: Graph) -> Iterator[Finding]:
    """Find ArgMax without keepdims."""
    for node in graph.of("ArgMax"):
        if not attribute(node, "keepdims", 1):
            yield Finding("argmax", node.name)


TARGET = Target(
    "tidl",
    "TI TIDL: Clips as published, QDQ, settings",
    files,
    operators=LAYERS | QUANTIZERS | {"Constant", "Cast"},
    checks=(fixed_size, scales, powers_of_two, half_pixel_resizes, resize_factors, kept_class_axis, dead_channels),
    opset=18,
    newest_opset=19,
    schemes=("tidl_pow2",),
    stem="model_tidl",
)
