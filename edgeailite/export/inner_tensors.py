"""Inner tensors of an exported file and the same tensors in torch, under the same names."""

from __future__ import annotations

from typing import Any

import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from edgeailite.export.naming import function_names
from edgeailite.modelcard import input_name
from edgeailite.models.fusing import fuse
from edgeailite.quantization.codes import Codes
from edgeailite.quantization.convert import FromCodes, Quantize
from edgeailite.quantization.graph import input_index, is_input, is_module, leaves_network, trace
from edgeailite.quantization.integer import IntegerExact
from edgeailite.runtime import Layer

Array = NDArray[Any]
FLOAT_TAPS = ("Conv", "Add", "Concat", "Resize")


def absent_layer(tensor: str) -> Layer:
    """Describe a tensor that torch has and the file lacks, such as that of a removed quantizer."""
    return Layer(tensor, (tensor.removesuffix("_quantized"),))


def file_layers(model: onnx.ModelProto, kind: str) -> list[Layer]:
    """List a file's tensors that torch has too, in graph order: codes of an int8 file, layer results of a float one."""
    producer = {name: node for node in model.graph.node for name in node.output}
    outputs = {value.name for value in model.graph.output}
    if kind == "int8":
        kinds: tuple[str, ...] = ("QuantizeLinear",)
    else:
        kinds = FLOAT_TAPS
    layers = []
    for node in model.graph.node:
        value = node.output[0] if node.output else ""
        if node.op_type in kinds and value not in outputs and not value.startswith("shape."):
            layers.append(Layer(value, tuple(_nodes_since_quantized(node, producer))))
    return layers


def _nodes_since_quantized(node: onnx.NodeProto, producer: dict[str, onnx.NodeProto]) -> list[str]:
    """Name the nodes that make a code tensor, such as Conv and Relu; the quantizer only where it stands alone."""
    if node.op_type != "QuantizeLinear":
        return [node.name]
    chain: list[str] = []
    current = producer.get(node.input[0])
    while current is not None and current.op_type not in ("QuantizeLinear", "DequantizeLinear"):
        chain.insert(0, current.name)
        current = producer.get(current.input[0]) if current.op_type in ("Relu", "Clip") else None
    return chain or [node.name]


def torch_float_tensors(model: nn.Module, *images: Tensor) -> dict[str, Array]:
    """Return the layer results of a float network, by the names that the exported file gives them."""
    recorder = _Recorder(trace(fuse(model.eval())))
    with torch.inference_mode():
        recorder.run(*images)
    return recorder.values


def integer_tensors(converted: fx.GraphModule, *images: Tensor, arithmetic: str | None = None) -> dict[str, Array]:
    """Return the codes that an integer-exact network computes, by the names of their tensors in the file.

    `arithmetic` is a row of `quantization.arithmetic`; None takes the machine's own.
    """
    values: dict[str, Array] = {}
    names = quantizer_names(converted)

    def seen(node: fx.Node, codes: Codes) -> None:
        code_type = converted.get_submodule(str(node.target)).zero_point.dtype
        values[names[node.name]] = codes.codes.to(code_type).numpy()

    with torch.inference_mode():
        IntegerExact(converted, seen, arithmetic).run(*images)
    return values


def quantizer_names(converted: fx.GraphModule) -> dict[str, str]:
    """Map the quantizers of a converted graph to the names of their code tensors in the file."""
    names = {}
    functions = function_names(converted.graph)
    for node in converted.graph.nodes:
        if is_module(node, Quantize) and not is_module(node, FromCodes):
            source = node.args[0]
            value = input_name(input_index(source)) if is_input(source) else functions.get(source) or str(source.target)
            names[node.name] = f"{value}_quantized"
    return names


class _Recorder(fx.Interpreter):
    """Runs a network and keeps every layer's result; a convolution's is taken after its BatchNorm, as in the file."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.values: dict[str, Array] = {}
        self.functions = function_names(traced.graph)

    def run_node(self, node: fx.Node) -> Any:
        value = super().run_node(node)
        if is_module(node, nn.Conv2d) and not any(is_module(user, nn.BatchNorm2d) for user in node.users):
            self.values[str(node.target)] = value.numpy()
        elif is_module(node, nn.BatchNorm2d) and is_module(node.args[0], nn.Conv2d):
            self.values[str(node.args[0].target)] = value.numpy()
        elif node in self.functions and not leaves_network(node):
            self.values[self.functions[node]] = value.numpy()
        return value
