"""`convert`: a prepared model to integer parameters, the common source of the ONNX file and the integer-exact mode.

The converted graph holds `IntegerConv` (int8 weight, int32 bias, scales) and `Quantize` (scale, zero point) modules.
Their `forward` is the file's form, QuantizeLinear and DequantizeLinear through `torch.onnx.ops.symbolic`, for the
exporter to see; `edgeailite.quantization.integer` computes with their codes.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from edgeailite.quantization.modules import ActivationQuantizer, IntegerParameters, QuantConv2d

DEFAULT_OPSET = 21


def quantize_linear(x: Tensor, scale: Tensor, zero_point: Tensor, *, opset: int) -> Tensor:
    """ONNX QuantizeLinear as an opaque operator for the exporter."""
    return torch.onnx.ops.symbolic(
        "QuantizeLinear",
        (x, scale, zero_point),
        {"axis": 1},
        dtype=zero_point.dtype,
        shape=x.shape,
        version=opset,
    )


def dequantize_linear(codes: Tensor, scale: Tensor, zero_point: Tensor, *, axis: int = 1, opset: int) -> Tensor:
    """ONNX DequantizeLinear as an opaque operator for the exporter."""
    inputs = (codes, scale, zero_point)
    return torch.onnx.ops.symbolic(
        "DequantizeLinear", inputs, {"axis": axis}, dtype=torch.float32, shape=codes.shape, version=opset
    )


class Quantize(nn.Module):
    """uint8 codes of a tensor and back: the Q/DQ pair."""

    scale: Tensor
    zero_point: Tensor

    def __init__(self, quantizer: ActivationQuantizer, *, opset: int) -> None:
        super().__init__()
        self.opset = opset
        self.register_buffer("scale", quantizer.scale.clone())
        self.register_buffer("zero_point", quantizer.zero_point.to(torch.uint8))

    def forward(self, x: Tensor) -> Tensor:
        codes = quantize_linear(x, self.scale, self.zero_point, opset=self.opset)
        return dequantize_linear(codes, self.scale, self.zero_point, opset=self.opset)


class IntegerConv(nn.Module):
    """A convolution's codes and scales; `convolve` is its geometry."""

    weight: Tensor
    weight_scale: Tensor
    weight_zero_point: Tensor
    bias: Tensor
    bias_scale: Tensor
    bias_zero_point: Tensor

    def __init__(self, conv: QuantConv2d, parameters: IntegerParameters, *, opset: int = DEFAULT_OPSET) -> None:
        super().__init__()
        self.opset = opset
        self.geometry = (conv.stride, conv.padding, conv.dilation, conv.groups)
        self.register_buffer("weight", parameters.weight)
        self.register_buffer("weight_scale", parameters.weight_scale)
        self.register_buffer("weight_zero_point", torch.zeros_like(parameters.weight_scale, dtype=torch.int8))
        self.register_buffer("bias", parameters.bias)
        self.register_buffer("bias_scale", parameters.bias_scale)
        self.register_buffer("bias_zero_point", torch.zeros_like(parameters.bias))

    def forward(self, x: Tensor) -> Tensor:
        weight = dequantize_linear(self.weight, self.weight_scale, self.weight_zero_point, axis=0, opset=self.opset)
        bias = dequantize_linear(self.bias, self.bias_scale, self.bias_zero_point, axis=0, opset=self.opset)
        return F.conv2d(x, weight, bias, *self.geometry)


@torch.no_grad()
def convert(model: fx.GraphModule, *, opset: int = DEFAULT_OPSET) -> fx.GraphModule:
    """Bake the integer parameters of a prepared and calibrated model, which is left as it is.

    `opset` is the ONNX version of the QuantizeLinear and DequantizeLinear operators that an export will see.
    """
    result = copy.deepcopy(model).eval().cpu()
    graph = result.graph
    for node in list(graph.nodes):
        if node.op != "call_module":
            continue
        module = result.get_submodule(node.target)
        if isinstance(module, QuantConv2d):
            tensors = [_attribute(result, argument.target) for argument in node.args[1:]]
            result.set_submodule(node.target, IntegerConv(module, module.integer_parameters(*tensors), opset=opset))
            node.args = node.args[:1]
        elif isinstance(module, ActivationQuantizer | Quantize):
            if isinstance(module, ActivationQuantizer):
                result.set_submodule(node.target, Quantize(module, opset=opset))
            node.args = node.args[:1]
    for node in list(graph.nodes):
        if node.op == "get_attr" and not node.users:
            graph.erase_node(node)
    result.delete_all_unused_submodules()
    graph.lint()
    result.recompile()
    return result


def _attribute(module: nn.Module, path: str) -> Tensor:
    parent, _, name = path.rpartition(".")
    value = getattr(module.get_submodule(parent), name)
    assert isinstance(value, Tensor)
    return value
