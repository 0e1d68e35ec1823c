"""`integer_exact`: computes the results of the fused integer kernels bit for bit, with torch operations alone.

Rules, found by comparing with onnxruntime's kernels (optimisation levels EXTENDED and ALL). Additions and resizes
differ from one kind of processor to another; the rows of `quantization.arithmetic` say how:
 1. Convolution: int32 sum of (code - zero_point) x weight code, plus the int32 bias; then float32(sum) times
    float32(input scale x weight scale / output scale), rounded half to even, plus zero point, clamped.
 2. Addition: the arithmetic's `add`.
 3. Concatenation at one scale copies codes, and so does maximum pooling.
 4. Bilinear resize works in float32 on dequantized values, its four products added by the arithmetic's `blend`. At a
    scale of 8 significant bits (`grids`) and a factor of 2, 4 or 8 all sums are exact, so that every arithmetic gives
    the same. Elsewhere there is an exception: level ALL may lay tensors out with channels last; a resize that changes
    the width and not the height is then taken over width and channels, and the last row is summed in another order: a
    tie may fall to the next code. It needs features of 2, 3 or 6 rows in pyramid pooling (up to 192 pixels at stride
    32), one row elsewhere; `verify` finds it.
 5. Quantization divides by the scale in float32 and rounds half to even. An activation behind a quantizer works on
    dequantized values.
 6. Average pooling multiplies the whole sum of (code - zero_point) by scale / area, both float32.
 7. What reads or gives codes of 16 bits has no integer kernel: it is computed in float32 from dequantized values, in an
    order of the machine's own, so that agreement is not promised there.
Rules 8 to 14 and 17 are those of other people's networks (`operator_rules`).
Sums are taken in float32 where every partial sum stays below 2^24 and is therefore exact; longer ones are split.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from edgeailite.errors import UsageError
from edgeailite.quantization.arithmetic import (
    ONNXRUNTIME_ROWS,
    Arithmetic,
    Products,
    arithmetic_of,
    blend_rounded,
)
from edgeailite.quantization.codes import EXACT_IN_FLOAT32, LARGEST_CODE, Codes, Pending, rounded
from edgeailite.quantization.convert import CodePool, Constant, FromCodes, IntegerConv, IntegerLinear, Quantize, convert
from edgeailite.quantization.enlarge_codes import EnlargeCodes
from edgeailite.quantization.graph import ACTIVATIONS, ADDITIONS, NEAREST, named_outputs
from edgeailite.quantization.lowered import LoweredPrograms
from edgeailite.quantization.operator_rules import resize_nearest, run_operator
from edgeailite.quantization.pooling import region_sums

CORNERS_COMPARED = ("onnxruntime_x86",)  # arithmetics whose resize with aligned corners was compared


class IntegerExact(fx.Interpreter):
    """Runs a converted graph with the rules above. `seen` is called with every quantized tensor and its node.

    `arithmetic` names the kernels of onnxruntime: a row of `arithmetic.ARITHMETICS`; None takes the machine's own.
    Raises UsageError for a row that computes another form of the network.
    """

    def __init__(
        self,
        module: fx.GraphModule,
        seen: Callable[[fx.Node, Codes], None] | None = None,
        arithmetic: str | None = None,
    ) -> None:
        super().__init__(module)
        self.extra_traceback = False  # it would rewrite the sentence of an error
        self.seen = seen
        self.arithmetic = arithmetic_of(arithmetic)
        if self.arithmetic.lowered:
            raise UsageError(
                "computes a lowered network, whose inner tensors are others",
                about="arithmetic",
                value=arithmetic,
                fix=f"take one of {', '.join(ONNXRUNTIME_ROWS)}",
            )

    def run_node(self, node: fx.Node) -> Any:
        if node.op == "call_function":
            arguments = self.map_nodes_to_values(node.args, node)
            if node.target in ADDITIONS and all(isinstance(a, Codes) for a in arguments):
                return _add(arguments[0], arguments[1], self.arithmetic)
            if node.target is torch.cat:
                return _concatenate(*arguments)
            if node.target is F.interpolate:
                return self._resize(arguments[0], self.map_nodes_to_values(node.kwargs, node))
            if node.target is not getattr:
                return node.target(*(a.dequantize() if isinstance(a, Codes) else a for a in arguments))
        if node.op == "call_module":
            result = self._run_module(node, self.module.get_submodule(str(node.target)))
            if result is not None:
                return result
        return super().run_node(node)

    def _run_module(self, node: fx.Node, module: nn.Module) -> Any:
        """Compute a module on codes; None of one that is not known here."""
        arguments = self.map_nodes_to_values(node.args, node)
        value = arguments[0] if arguments else None
        if isinstance(module, ACTIVATIONS):  # behind a kernel, clamping the codes does it
            return value if callable(value) else module(value.dequantize())
        if isinstance(module, EnlargeCodes):
            return replace(value, codes=module(value.codes, *arguments[1:]))  # it may be told a size
        if isinstance(module, CodePool):
            return _pool(module, value)
        if isinstance(module, IntegerConv):
            return convolve(module, value)
        if isinstance(module, Constant):
            return _as_codes(module, module.codes_.float())
        if isinstance(module, Quantize):
            result = _quantize(module, value)
            if self.seen is not None and not isinstance(module, FromCodes):
                self.seen(node, result)
            return result
        options = self.map_nodes_to_values(node.kwargs, node)
        return run_operator(module, arguments, options, self.arithmetic.name)

    def _resize(self, x: Any, how: Mapping[str, Any]) -> Any:
        size, corners = (int(how["size"][0]), int(how["size"][1])), bool(how.get("align_corners"))
        if how.get("mode") == NEAREST:
            return replace(x, codes=resize_nearest(x.codes, size))
        if corners and self.arithmetic.name not in CORNERS_COMPARED:
            problem = f"a resize with aligned corners was never compared with {self.arithmetic.about}"
            raise UsageError(problem, value=self.arithmetic.name, about="arithmetic", fix="use align_corners=False")
        values = x.dequantize() if isinstance(x, Codes) else x
        assert isinstance(values, Tensor)
        assert self.arithmetic.blend is not None
        return resize_bilinear(values, size, self.arithmetic.blend, corners=corners)


class IntegerModel(nn.Module):
    """`model(*images)` -> outputs by name, computed in an arithmetic: by `IntegerExact`, or as a lowered program."""

    def __init__(self, converted: fx.GraphModule, arithmetic: str | None = None) -> None:
        super().__init__()
        self.converted = converted
        self.arithmetic = arithmetic_of(arithmetic)
        self.programs = LoweredPrograms(converted, self.arithmetic.name) if self.arithmetic.lowered else None

    @torch.no_grad()
    def forward(self, *images: Tensor) -> dict[str, Tensor]:
        if self.programs is not None:
            return self.programs.run(*images)
        with torch.backends.cudnn.flags(allow_tf32=False):
            outputs = named_outputs(IntegerExact(self.converted, arithmetic=self.arithmetic.name).run(*images))
        return {name: value.dequantize() if isinstance(value, Codes) else value for name, value in outputs.items()}


def integer_exact(model: fx.GraphModule, arithmetic: str | None = None) -> IntegerModel:
    """Return the integer-exact form of a prepared and calibrated model, in the arithmetic of a runtime.

    `arithmetic` is a row of `quantization.arithmetic`, such as "onnxruntime_arm64"; None takes that of onnxruntime on
    this machine. Raises UsageError for an unknown row, or None on a machine whose kernels were never compared.
    """
    return IntegerModel(convert(model), arithmetic)


def _quantize(module: Quantize, value: Any) -> Codes:
    if isinstance(value, Codes):  # rule 3: same scale by construction
        return value
    zero_point = module.zero_point.float()
    codes = value(module) if callable(value) else torch.round(value / module.scale) + zero_point
    return _as_codes(module, codes.clamp(*module.codes()))


def _as_codes(module: Quantize, codes: Tensor) -> Codes:
    return Codes(codes, module.scale, module.zero_point.float(), module.wide(), module.codes()[0])


def _multiply_matrices(module: IntegerLinear, x: Codes) -> Pending:
    """A linear layer is the convolution of one pixel (rule 1), for each row."""
    rows = x.codes.shape[:-1]
    pixel = convolve(module.as_convolution(), replace(x, codes=x.codes.flatten(0, -2)[:, :, None, None]))
    return lambda output: pixel(output).reshape(*rows, -1)


def convolve(module: IntegerConv, x: Codes) -> Pending:
    """Convolve codes (N,C,H,W), or multiply them (N,C) by a matrix, by rule 1."""
    if isinstance(module, IntegerLinear):
        return _multiply_matrices(module, x)
    if x.wide or not module.integer:
        return lambda output: rounded(_convolve_in_float(module, x), output)
    total = _integer_sum(module, x.codes - x.zero_point)
    exact = _largest_sum(module.weight.float()) + module.bias.abs().max().item() < EXACT_IN_FLOAT32
    total = total + module.bias.to(total.dtype if exact else torch.float64).view(-1, 1, 1)

    def finish(output: Quantize) -> Tensor:
        if output.wide():
            return rounded(_convolve_in_float(module, x), output)
        multiplier = (x.scale * module.weight_scale) / output.scale
        return torch.round(total.float() * multiplier.view(-1, 1, 1)) + output.zero_point

    return finish


def _convolve_in_float(module: IntegerConv, x: Codes) -> Tensor:
    return F.conv2d(x.dequantize(), *module.values(), *module.geometry)


def _integer_sum(module: IntegerConv, codes: Tensor) -> Tensor:
    """Exact integer convolution, as float32 if every sum is exact there, else as float64."""
    *geometry, groups = module.geometry
    if groups == 1:
        return _dense_sum(codes, module.weight.float(), geometry)
    # a group is short in every network here (9 values depthwise); should one be long, float64 is exact too
    kind = torch.float32 if _largest_sum(module.weight.float()) < EXACT_IN_FLOAT32 else torch.float64
    return F.conv2d(codes.to(kind), module.weight.to(kind), None, *geometry, groups)


def _dense_sum(codes: Tensor, weight: Tensor, geometry: list[Any]) -> Tensor:
    """Split the input channels in halves until every partial sum is exact in float32."""
    if _largest_sum(weight) < EXACT_IN_FLOAT32:
        return F.conv2d(codes, weight, None, *geometry)
    if weight.shape[1] == 1:
        return F.conv2d(codes.double(), weight.double(), None, *geometry)
    halves = zip(codes.tensor_split(2, 1), weight.tensor_split(2, 1), strict=True)
    first, second = (_dense_sum(c, w, geometry) for c, w in halves)
    return first.double() + second.double()


def _largest_sum(weight: Tensor) -> float:
    return LARGEST_CODE * weight.abs().sum((1, 2, 3)).max().item()


def _add(a: Codes, b: Codes, arithmetic: Arithmetic) -> Pending:
    def finish(output: Quantize) -> Tensor:
        if a.wide or b.wide or output.wide():
            return rounded(a.dequantize() + b.dequantize(), output)
        assert arithmetic.add is not None
        return arithmetic.add(a, b, output)

    return finish


def _concatenate(parts: tuple[Codes, ...], dim: int) -> Codes:
    return replace(parts[0], codes=torch.cat([part.codes for part in parts], dim))


def _pool(module: CodePool, x: Codes) -> Tensor:
    sums, areas = region_sums((x.codes - x.zero_point).double(), module.output_size)
    return sums.float() * (x.scale / areas.float())


def resize_bilinear(
    x: Tensor,
    size: tuple[int, int],
    blend: Callable[[Products], Tensor] = blend_rounded,
    *,
    corners: bool = False,
) -> Tensor:
    """Resize (N,C,h,w) bilinearly, in onnxruntime's order of float32 operations (rule 4).

    `blend` adds the weighted corners; the default is that of x86. Centres are at half pixels, or such that the corners
    of both pictures coincide (`corners`, rule 14).
    """
    top, bottom, top_distance, bottom_distance = _axis(x.shape[2], size[0], x.device, corners=corners)
    left, right, left_distance, right_distance = _axis(x.shape[3], size[1], x.device, corners=corners)
    near_top, near_bottom = bottom_distance[:, None], top_distance[:, None]

    def products() -> Products:
        for near_row, row in ((near_top, top), (near_bottom, bottom)):
            values = x[:, :, row]
            yield right_distance * near_row, values[..., left]
            yield left_distance * near_row, values[..., right]

    return blend(products())


def _axis(
    size: int, new_size: int, device: torch.device, *, corners: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """First and second neighbour of every new position, and the distance to each; both 0.5 where they are one."""
    if corners:
        centre = torch.arange(new_size, dtype=torch.float32) * float(size - 1) / max(new_size - 1, 1)
    else:
        scale = torch.tensor(float(new_size)) / torch.tensor(float(size))
        centre = (torch.arange(new_size, dtype=torch.float32) + 0.5) / scale - 0.5
    centre = centre.clamp(0, size - 1)
    first = centre.long().clamp(max=size - 1)
    second = (first + 1).clamp(max=size - 1)
    half = torch.tensor(0.5)
    to_first = torch.where(first == second, half, (centre - first).abs())
    to_second = torch.where(first == second, half, (centre - second).abs())
    return tuple(t.to(device) for t in (first, second, to_first, to_second))
