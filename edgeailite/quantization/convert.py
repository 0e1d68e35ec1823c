"""`convert`: turns a prepared model into integer parameters, the common source of ONNX file and integer-exact mode.

The converted graph holds `IntegerConv` (weight codes, int32 bias, scales; `IntegerLinear` for linear layers),
`Quantize` (scale, zero point), `Constant` codes and, for sums, `CodePool` and `CodeTotal` modules. A convolution
runs as an integer kernel only if its result goes directly to a quantizer. So an activation that the following
quantizer implies (ReLU6 at a range up to 6) is removed; one that it does not imply (a ReLU whose scale is shared with
negative values) gets a quantizer of the same scale before it.
Each module's `forward` is the file's form, QuantizeLinear and DequantizeLinear through `torch.onnx.ops.symbolic`, for
the exporter to see; `edgeailite.quantization.integer` computes with their codes.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from edgeailite.quantization.enlarge_codes import EnlargeCodes
from edgeailite.quantization.graph import ACTIVATIONS, activation_limits, is_module, unused_name
from edgeailite.quantization.grids import WeightGrid
from edgeailite.quantization.modules import ActivationQuantizer, IntegerParameters, QuantConv2d, QuantLinear
from edgeailite.quantization.operators import Total
from edgeailite.quantization.pooling import RegionPool, pool_size, region_sums
from edgeailite.quantization.schemes import DEFAULT_SCHEME, SCHEMES
from edgeailite.quantization.tie_free import MIDDLE as TIE_FREE_BIAS
from edgeailite.quantization.tie_free import WEIGHT_STEP, TieFreeResize, taps

DEFAULT_OPSET = 21
WIDE_CODES = (torch.uint16, torch.int16)
MATRIX = 2  # sides
MIDDLE = 128  # of the codes of uint8
GATE_END = 3.0  # a hard-sigmoid is 0 up to -3, 1 from 3 on
TIE_FREE = "tie_free"  # in `meta` of a converted graph: whether its scheme is
TOLERANCE = 1e-3  # of a step: an activation's limit that lies this near the end of the codes is the end


@dataclass(frozen=True)
class Form:
    """Changes to the file's form that some devices need and onnxruntime does not; the defaults change nothing."""

    signed: bool = False
    """Tensors whose zero point is 128 get signed codes and zero point 0: the same values."""
    float_bias: bool = False
    """The bias is float32 (on its grid still), not int32 codes."""
    activation_first: bool = False
    """No quantizer between a convolution and its activation, whatever that clamps."""


DEFAULT_FORM = Form()


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
    """Codes of a tensor and back: the Q/DQ pair. The type of `zero_point` is that of the codes."""

    scale: Tensor
    zero_point: Tensor

    def __init__(self, scale: Tensor, zero_point: Tensor, *, opset: int) -> None:
        super().__init__()
        self.opset = opset
        self.register_buffer("scale", scale.clone())
        self.register_buffer("zero_point", zero_point.clone())

    def codes(self) -> tuple[int, int]:
        """The smallest and the largest code."""
        limits = torch.iinfo(self.zero_point.dtype)
        return limits.min, limits.max

    def bounds(self) -> tuple[float, float]:
        """Values of the smallest and the largest code."""
        (low, high), zero_point, scale = self.codes(), int(self.zero_point), float(self.scale)
        return (low - zero_point) * scale, (high - zero_point) * scale

    def wide(self) -> bool:
        """True if the codes have more bits than integer kernels read."""
        return self.zero_point.dtype in WIDE_CODES

    def forward(self, x: Tensor) -> Tensor:
        codes = quantize_linear(x, self.scale, self.zero_point, opset=self.opset)
        return dequantize_linear(codes, self.scale, self.zero_point, opset=self.opset)


class ToCodes(Quantize):
    """The first half of a `Quantize`: uint8 codes, for who reads those."""

    def forward(self, x: Tensor) -> Tensor:
        return quantize_linear(x, self.scale, self.zero_point, opset=self.opset)


class FromCodes(Quantize):
    """The second half: values of codes."""

    def forward(self, x: Tensor) -> Tensor:
        return dequantize_linear(x, self.scale, self.zero_point, opset=self.opset)


class Constant(FromCodes):
    """Codes of a constant, and their values."""

    codes_: Tensor

    def __init__(self, value: Tensor, quantize: Quantize) -> None:
        super().__init__(quantize.scale, quantize.zero_point, opset=quantize.opset)
        codes = torch.round(value / quantize.scale) + quantize.zero_point.float()
        self.register_buffer("codes_", codes.clamp(*quantize.codes()).to(quantize.zero_point.dtype))

    def forward(self) -> Tensor:  # type: ignore[override]
        return dequantize_linear(self.codes_, self.scale, self.zero_point, opset=self.opset)


class CodePool(RegionPool):
    """Adaptive average pooling of codes: whole numbers are added, one factor follows."""

    scale: Tensor
    one: Tensor
    zero_point: Tensor

    def __init__(self, output_size: tuple[int, int], source: Quantize) -> None:
        super().__init__(output_size)
        self.opset = source.opset
        self.register_buffer("scale", source.scale.clone())
        self.register_buffer("one", torch.ones_like(source.scale))
        self.register_buffer("zero_point", source.zero_point.clone())

    def forward(self, x: Tensor) -> Tensor:
        sums, areas = region_sums(dequantize_linear(x, self.one, self.zero_point, opset=self.opset), self.output_size)
        return sums * (self.scale / areas)


class CodeTotal(Total):
    """The sum or mean of codes over some axes: whole numbers are added, one factor follows."""

    scale: Tensor
    one: Tensor
    zero_point: Tensor

    def __init__(self, total: Total, source: Quantize) -> None:
        super().__init__(total.dims, keepdim=total.keepdim, mean=total.mean)
        self.opset = source.opset
        self.register_buffer("scale", source.scale.clone())
        self.register_buffer("one", torch.ones_like(source.scale))
        self.register_buffer("zero_point", source.zero_point.clone())

    def forward(self, x: Tensor) -> Tensor:
        codes = dequantize_linear(x, self.one, self.zero_point, opset=self.opset)
        sums = codes.sum(self.dims, keepdim=self.keepdim)
        return sums * (self.scale / self.count(x) if self.mean else self.scale)


class IntegerHardswish(nn.Hardswish):
    """A hard-swish as two integer kernels: a table gives the codes of its gate, and a product follows.

    The gate, a hard-sigmoid, is a change of scale that the ends of the codes cut off: code 0 is reached at -3. Its
    middle is as high as the largest value that `source` codes allows, so that its codes are fine. Where that is 3 or
    more, the last code is 1: it lies 128 codes from the middle, the first one 127, so negative values are made smaller.
    """

    step: Tensor
    middle: Tensor
    scale: Tensor
    zero: Tensor

    def __init__(self, source: Quantize) -> None:
        super().__init__()
        self.opset, kind = source.opset, source.zero_point.dtype
        (first, last), largest = source.codes(), source.bounds()[1]
        middle, self.slope, one = (last - first) // 2, 1.0, last - first
        step = GATE_END / (one - middle)
        if largest < GATE_END:
            middle = int(GATE_END * one / (largest + GATE_END))
            step, one = GATE_END / middle, 2 * middle
        else:
            self.slope = middle / (one - middle)
        self.register_buffer("step", torch.tensor(step))
        self.register_buffer("middle", torch.tensor(first + middle, dtype=kind))
        self.register_buffer("scale", torch.tensor(1 / one))
        self.register_buffer("zero", torch.tensor(first, dtype=kind))

    def forward(self, x: Tensor) -> Tensor:
        codes = quantize_linear(F.leaky_relu(x, self.slope), self.step, self.middle, opset=self.opset)
        return x * dequantize_linear(codes, self.scale, self.zero, opset=self.opset)

    def gate(self, values: Tensor) -> Tensor:
        """Return the gate of float32 values as codes from 0 on, in steps of `scale`."""
        codes = torch.round(F.leaky_relu(values, self.slope) / self.step) + self.middle.float()
        info = torch.iinfo(self.zero.dtype)
        return codes.clamp(info.min, info.max) - info.min


class IntegerConv(nn.Module):
    """A convolution's codes and scales. Its bias is float32 where it is computed in float (`integer` False)."""

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
        self.integer = conv.integer
        zero_point = torch.zeros_like(parameters.weight_scale, dtype=parameters.weight.dtype)
        self.register_buffer("weight", parameters.weight)
        self.register_buffer("weight_scale", parameters.weight_scale)
        self.register_buffer("weight_zero_point", zero_point)
        self.register_buffer("bias", parameters.bias)
        self.register_buffer("bias_scale", parameters.bias_scale)
        self.register_buffer("bias_zero_point", torch.zeros_like(parameters.bias_scale, dtype=parameters.bias.dtype))

    @classmethod
    def of_numbers(cls, weight: Tensor, weight_scale: Tensor, bias: Tensor, geometry: tuple[Any, ...]) -> IntegerConv:
        """Return a convolution for `integer.convolve` of weight codes without zero point, scales and bias codes.

        `geometry` is stride, padding, dilation and groups, as `F.conv2d` takes them.
        """
        conv = cls.__new__(cls)
        nn.Module.__init__(conv)
        conv.geometry, conv.integer, conv.opset = geometry, True, DEFAULT_OPSET
        for name, value in (("weight", weight), ("weight_scale", weight_scale), ("bias", bias)):
            conv.register_buffer(name, value)
        return conv

    def forward(self, x: Tensor) -> Tensor:
        axis = 0 if self.weight_scale.dim() else 1  # one scale has no axis; 1 is what ONNX writes by default
        weight = dequantize_linear(self.weight, self.weight_scale, self.weight_zero_point, axis=axis, opset=self.opset)
        bias = self.bias
        if self.integer:
            bias = dequantize_linear(bias, self.bias_scale, self.bias_zero_point, axis=0, opset=self.opset)
        return F.conv2d(x, weight, bias, *self.geometry)

    def values(self) -> tuple[Tensor, Tensor]:
        """Weight and bias in float32."""
        scale = self.weight_scale.view(-1, 1, 1, 1)
        return self.weight * scale, self.bias * self.bias_scale if self.integer else self.bias


class IntegerLinear(IntegerConv):
    """A linear layer on (..., in): the convolution of one pixel, as a product of matrices (rows, in) in the file."""

    def __init__(self, conv: QuantConv2d, parameters: IntegerParameters, *, opset: int = DEFAULT_OPSET) -> None:
        super().__init__(conv, parameters, opset=opset)
        self.weight = self.weight.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        axis = 0 if self.weight_scale.dim() else 1
        weight = dequantize_linear(self.weight, self.weight_scale, self.weight_zero_point, axis=axis, opset=self.opset)
        bias = self.bias
        if self.integer:
            bias = dequantize_linear(bias, self.bias_scale, self.bias_zero_point, axis=0, opset=self.opset)
        if x.dim() == MATRIX:
            return F.linear(x, weight, bias)
        return F.linear(x.flatten(0, -2), weight, bias).reshape(*x.shape[:-1], -1)

    def as_convolution(self) -> IntegerConv:
        """Return the convolution of one pixel with the same numbers."""
        conv = IntegerConv.__new__(IntegerConv)
        conv.__dict__ = self.__dict__ | {"_buffers": self._buffers | {"weight": self.weight[:, :, None, None]}}
        return conv


@torch.no_grad()
def convert(model: fx.GraphModule, *, opset: int = DEFAULT_OPSET, form: Form = DEFAULT_FORM) -> fx.GraphModule:
    """Bake the integer parameters of a prepared and calibrated model, which is left as it is.

    `opset` is the ONNX version of the QuantizeLinear and DequantizeLinear operators that an export will see, `form` how
    a device wants them.
    """
    result = copy.deepcopy(model).eval().cpu()
    graph = result.graph
    result.meta[TIE_FREE] = any(isinstance(m, ActivationQuantizer) and m.grid.scheme.tie_free for m in result.modules())
    for quantizer in result.modules():
        if isinstance(quantizer, ActivationQuantizer) and quantizer.ends is not None:
            quantizer.update_scale()  # the optimizer may have moved a learned range since the last forward pass
    layers = {name: module for name, module in result.named_modules() if isinstance(module, QuantConv2d)}
    for node in list(graph.nodes):
        if is_module(node, (QuantConv2d, IntegerConv)):
            _bake_layer(node, layers[str(node.target)], opset=opset, form=form)
        elif is_module(node, (ActivationQuantizer, Quantize)):
            module = result.get_submodule(str(node.target))
            if isinstance(module, ActivationQuantizer):
                result.set_submodule(str(node.target), _pair(module, opset=opset, form=form))
            node.args = node.args[:1]
    for node in list(graph.nodes):
        if is_module(node, Quantize) and node.args[0].op == "get_attr":
            _bake_constant(node)
    for node in list(graph.nodes):
        if node.op == "get_attr" and not node.users:
            graph.erase_node(node)
        elif is_module(node, ACTIVATIONS) and not is_module(node.args[0], Quantize):
            _settle_activation(node, form)
    for node in list(graph.nodes):
        if is_module(node, (nn.AdaptiveAvgPool2d, Total)):
            _add_codes(node)
        elif is_module(node, nn.Hardswish) and form == DEFAULT_FORM:
            _gate(node)
        elif is_module(node, TieFreeResize):
            _convolve_resize(node)
    result.delete_all_unused_submodules()
    graph.lint()
    result.recompile()
    return result


def _bake_layer(node: fx.Node, layer: QuantConv2d, *, opset: int, form: Form) -> None:
    """Give a call its integer parameters; a layer that is called again has other scales there, so another name."""
    root = node.graph.owning_module
    tensors = [_attribute(root, argument.target) for argument in node.args[1:]]
    if not is_module(node, QuantConv2d):
        node.target = unused_name(str(node.target), dict(root.named_modules()).__contains__)
    parameters = _integer_layer(layer, tensors, opset=opset, form=form)
    root.set_submodule(str(node.target), parameters)
    node.args = node.args[:1]


def _bake_constant(node: fx.Node) -> None:
    root = node.graph.owning_module
    quantize = root.get_submodule(str(node.target))
    assert isinstance(quantize, Quantize)
    root.set_submodule(str(node.target), Constant(_attribute(root, str(node.args[0].target)), quantize))
    node.args = ()


def _integer_layer(module: QuantConv2d, tensors: list[Tensor], *, opset: int, form: Form) -> IntegerConv:
    kind = IntegerLinear if isinstance(module, QuantLinear) else IntegerConv
    parameters = module.integer_parameters(*tensors)
    if not (form.float_bias and module.integer):
        return kind(module, parameters, opset=opset)
    converted = kind(module, replace(parameters, bias=parameters.bias * parameters.bias_scale), opset=opset)
    converted.integer = False
    return converted


def _pair(quantizer: ActivationQuantizer, *, opset: int, form: Form) -> Quantize:
    code_type = quantizer.grid.code_type
    zero_point = quantizer.zero_point.to(code_type)
    if form.signed and code_type == torch.uint8 and int(zero_point) == MIDDLE:
        zero_point = torch.zeros_like(zero_point, dtype=torch.int8)
    return Quantize(quantizer.scale, zero_point, opset=opset)


def _settle_activation(node: fx.Node, form: Form) -> None:
    """Remove an activation if the quantizer after it clamps the same way; otherwise quantize before it too.

    A ReLU stays where the zero point is 0: onnxruntime drops it, and readers of the file expect it.
    """
    root = node.graph.owning_module
    quantizer = next(user for user in node.users if is_module(user, Quantize))
    module, quantize = root.get_submodule(str(node.target)), root.get_submodule(str(quantizer.target))
    assert isinstance(quantize, Quantize)
    low, high = activation_limits(module)
    bottom, top = quantize.bounds()
    if low > bottom + TOLERANCE * quantize.scale or high < top - TOLERANCE * quantize.scale:
        if not form.activation_first:
            with node.graph.inserting_before(node):
                node.args = (node.graph.call_module(str(quantizer.target), node.args[:1]),)
    elif not isinstance(module, nn.ReLU):
        node.replace_all_uses_with(node.args[0])
        node.graph.erase_node(node)


def _add_codes(node: fx.Node) -> None:
    """Let an average pooling or sum read codes."""
    root, codes = node.graph.owning_module, _codes(node.args[0])
    module, quantize = root.get_submodule(str(node.target)), root.get_submodule(str(codes.target))
    assert isinstance(module, nn.AdaptiveAvgPool2d | Total)
    assert isinstance(quantize, Quantize)
    adder = CodeTotal(module, quantize) if isinstance(module, Total) else CodePool(pool_size(module), quantize)
    root.set_submodule(str(node.target), adder)
    node.args = (codes,)


def _gate(node: fx.Node) -> None:
    """Write a hard-swish of 8 bits as integer kernels."""
    root = node.graph.owning_module
    ends = [root.get_submodule(str(end.target)) for end in (node.args[0], _quantizer_behind(node))]
    source = ends[0]
    assert isinstance(source, Quantize)
    if not any(isinstance(end, Quantize) and end.wide() for end in ends):
        root.set_submodule(str(node.target), IntegerHardswish(source))


def _quantizer_behind(node: fx.Node) -> fx.Node:
    """Return the quantizer of a node's result, which an activation may change first."""
    users = list(node.users)
    return next((user for user in users if is_module(user, Quantize)), None) or _quantizer_behind(users[0])


def _convolve_resize(node: fx.Node) -> None:
    """Write a resize as copied codes and the convolution that takes their means."""
    root, codes, name = node.graph.owning_module, _codes(node.args[0]), str(node.target)
    resize, quantize = root.get_submodule(name), root.get_submodule(str(codes.target))
    assert isinstance(resize, TieFreeResize)
    assert isinstance(quantize, Quantize)
    root.set_submodule(f"{name}_enlarge", EnlargeCodes(resize.factor))
    root.set_submodule(f"{name}_values", FromCodes(quantize.scale, quantize.zero_point, opset=quantize.opset))
    with node.graph.inserting_before(node):
        enlarged = node.graph.call_module(f"{name}_enlarge", (codes, *node.args[1:]))
        node.args = (node.graph.call_module(f"{name}_values", (enlarged,)),)
    root.set_submodule(name, mean_conv(resize.factor, resize.channels, quantize, tie_free=True))


def mean_conv(factor: int, channels: int, quantize: Quantize, *, tie_free: bool = False) -> IntegerConv:
    """Return the depthwise convolution that makes a bilinear resize of enlarged codes, without padding.

    Its weight codes are [1, 2, ..., 2, 1] in both directions. With `tie_free` they are multiplied by 4, and the bias
    code is 2 (`quantization.tie_free`). `quantize` is the quantizer of its input.
    """
    step, middle = (WEIGHT_STEP, TIE_FREE_BIAS) if tie_free else (1, 0)
    kernel = (torch.outer(taps(factor), taps(factor)) * step).to(torch.int8)
    weight = kernel.expand(channels, 1, -1, -1).clone()
    scale = torch.tensor(1 / (step * (2 * factor) ** 2), device=quantize.scale.device)
    scale = scale.repeat(channels) if tie_free else scale  # its scheme has one per channel
    conv = nn.Conv2d(channels, channels, factor + 1, groups=channels, bias=False)
    bias = torch.full((channels,), middle, dtype=torch.int32)
    parameters = IntegerParameters(weight, scale, bias, quantize.scale * scale)
    grid = WeightGrid(SCHEMES[DEFAULT_SCHEME], 8)
    return IntegerConv(QuantConv2d.from_conv(conv, None, grid), parameters, opset=quantize.opset)


def _codes(source: fx.Node) -> fx.Node:
    """Split the quantizer `source` in two, unless it is; return the node that gives codes."""
    if is_module(source, FromCodes):
        codes = source.args[0]
        assert isinstance(codes, fx.Node)
        return codes
    graph, root = source.graph, source.graph.owning_module
    quantize = root.get_submodule(str(source.target))
    assert isinstance(quantize, Quantize)
    for end, kind in (("codes", ToCodes), ("values", FromCodes)):
        half = kind(quantize.scale, quantize.zero_point, opset=quantize.opset)
        root.set_submodule(f"{source.target}_{end}", half)
    with graph.inserting_before(source):
        codes = graph.call_module(f"{source.target}_codes", source.args)
        values = graph.call_module(f"{source.target}_values", (codes,))
    source.replace_all_uses_with(values)
    graph.erase_node(source)
    return codes


def _attribute(module: nn.Module, path: str) -> Tensor:
    parent, _, name = path.rpartition(".")
    value = getattr(module.get_submodule(parent), name)
    assert isinstance(value, Tensor)
    return value
