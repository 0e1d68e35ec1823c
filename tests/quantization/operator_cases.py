"""One operator at a time: the form that export writes, run by onnxruntime, against the rule of the integer-exact mode.

Every case is a graph codes -> values -> operator -> codes, as `convert` makes it. It is exported once; then scales and
zero points are drawn again and again, and written into the file.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, fx, nn

from edgeailite.quantization.codes import Codes
from edgeailite.quantization.convert import CodeTotal, FromCodes, IntegerHardswish, IntegerLinear, Quantize, ToCodes
from edgeailite.quantization.grids import WeightGrid
from edgeailite.quantization.integer import IntegerExact
from edgeailite.quantization.modules import IntegerParameters, QuantLinear
from edgeailite.quantization.operator_rules import FUNCTION_ERROR, all_results, no_tie
from edgeailite.quantization.operators import (
    TABLES,
    Chunk,
    Divide,
    Function,
    MaxUnpool,
    Move,
    Multiply,
    Pad,
    Subtract,
    Total,
)
from edgeailite.quantization.schemes import SCHEMES
from edgeailite.quantization.tie_safe import FUNCTION_STEP, STEPS
from edgeailite.runtime.saturation import EXACT_SUMS, sums_saturate

Codes8 = NDArray[np.uint8]
Build = Callable[[fx.Graph, list[fx.Node]], fx.Node]
LEVELS = {
    "EXTENDED": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "ALL": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
OPSET = 21


def by_module(*arguments: Any, **options: Any) -> Build:
    """Call the case's module on its inputs; `arguments` and `options` follow them."""
    return lambda graph, nodes: graph.call_module("operator", (*nodes, *arguments), options)


def first(graph: fx.Graph, nodes: list[fx.Node]) -> fx.Node:
    """Nothing behind the input, which computes itself (`of_codes`)."""
    return nodes[0]


def resized(size: tuple[int, int], **how: Any) -> Build:
    """A resize to `size`."""
    return lambda graph, nodes: graph.call_function(F.interpolate, tuple(nodes), {"size": size, **how})


@dataclass(frozen=True)
class Case:
    """An operator with inputs of these shapes; `kernel` is what runs in onnxruntime's optimised graph.

    `keeps` if the result has the scale of the input, `of_codes` if the file computes on codes (`CodeTotal`).
    """

    kernel: str
    module: nn.Module | None = None
    shapes: Sequence[tuple[int, ...]] = ((1, 16, 64, 80),)
    build: Build = field(default_factory=by_module)
    keeps: bool = False
    of_codes: bool = False


def linear(channels: int, out: int) -> IntegerLinear:
    """A linear layer with random weights, as `convert` makes it."""
    rng = torch.Generator().manual_seed(0)
    weight = torch.randint(-127, 128, (out, channels, 1, 1), generator=rng, dtype=torch.int8)
    scale = torch.rand(out, generator=rng) / 1000 + 0.001
    bias = torch.randint(-9000, 9000, (out,), generator=rng, dtype=torch.int32)
    layer = QuantLinear.from_linear(nn.Linear(channels, out), WeightGrid(SCHEMES["ort_u8s8"], 8))
    return IntegerLinear(layer, IntegerParameters(weight, scale, bias, scale * 0.02), opset=OPSET)


WIDE, ROWS, LARGE, FLAT = (1, 16, 512, 512), (1, 256, 64, 256), (1, 64, 128, 160), (1, 4, 256, 320)
STRIDED = (slice(None), slice(1, 14, 3), slice(None, None, 2), slice(-20, -3))
PLANE, CHANNELS = (1, 16, 64, 80), (1, 16, 1, 1)
CASES: dict[str, Case] = {
    "Sigmoid": Case("QLinearSigmoid", nn.Sigmoid()),
    "LeakyReLU": Case("QLinearLeakyRelu", nn.LeakyReLU(0.1)),
    "Tanh": Case("Tanh", nn.Tanh()),
    "Hardsigmoid": Case("HardSigmoid", nn.Hardsigmoid()),
    "Hardswish": Case("QLinearMul", nn.Hardswish()),
    "SiLU": Case("Sigmoid", nn.SiLU()),
    "GELU": Case("Gelu", nn.GELU()),
    "GELU tanh": Case("Gelu", nn.GELU("tanh")),
    "Mish": Case("Softplus", nn.Mish()),
    "ELU": Case("Elu", nn.ELU()),
    "Softplus": Case("Softplus", nn.Softplus()),
    "Linear": Case("QGemm", linear(300, 100), ((1000, 300),)),
    "1 - x": Case("Sub", Function(torch.sub, 1.0, first=False)),
    "x^2": Case("Pow", Function(torch.pow, 2)),
    "PReLU": Case("PRelu", nn.PReLU(16)),
    "Mul": Case("QLinearMul", Multiply(), (PLANE, PLANE)),
    "Mul (N,C,1,1)": Case("QLinearMul", Multiply(), (PLANE, CHANNELS)),
    "Mul (N,C,1,1) first": Case("QLinearMul", Multiply(), (CHANNELS, PLANE)),
    "Mul (N,1,H,W)": Case("QLinearMul", Multiply(), (PLANE, (1, 1, 64, 80))),
    "Mul ()": Case("QLinearMul", Multiply(), (PLANE, ())),
    "Sub": Case("Sub", Subtract(), (PLANE, PLANE)),
    "Div": Case("Div", Divide(), (PLANE, PLANE)),
    "Div (N,C,1,1)": Case("Div", Divide(), (PLANE, CHANNELS)),
    "AvgPool2d 2": Case("QLinearAveragePool", nn.AvgPool2d(2, count_include_pad=False)),
    "AvgPool2d 3/2 padded": Case("QLinearAveragePool", nn.AvgPool2d(3, 2, 1)),
    "AvgPool2d 3/2 uncounted": Case("QLinearAveragePool", nn.AvgPool2d(3, 2, 1, count_include_pad=False)),
    "AvgPool2d 2 ceil": Case("QLinearAveragePool", nn.AvgPool2d(3, 3, ceil_mode=True, count_include_pad=False)),
    "mean over channels": Case("ReduceSum", Total((1,), keepdim=True, mean=True), (WIDE,), first, of_codes=True),
    "mean over rows": Case("ReduceSum", Total((2,), keepdim=False, mean=True), (ROWS,), first, of_codes=True),
    "sum over channels": Case("ReduceSum", Total((1,), keepdim=True, mean=False), (WIDE,), first, of_codes=True),
    "AvgPool2d 17/8": Case("QLinearAveragePool", nn.AvgPool2d(17, 8, 8), (LARGE,)),
    "nearest x2": Case("Resize", build=resized((128, 160), mode="nearest"), keeps=True),
    "nearest 77x91": Case("Resize", build=resized((77, 91), mode="nearest"), keeps=True),
    "bilinear": Case("Resize", build=resized((128, 160), mode="bilinear", align_corners=False), keeps=True),
    "aligned corners": Case("Resize", build=resized((77, 91), mode="bilinear", align_corners=True), keeps=True),
    "aligned corners x2": Case("Resize", build=resized((128, 160), mode="bilinear", align_corners=True), keeps=True),
    "MaxPool2d ceil": Case("MaxPool", nn.MaxPool2d(3, 2, ceil_mode=True), keeps=True),
    "max unpooling": Case("MaxUnpool", MaxUnpool((2, 2), (2, 2), (0, 0)), ((1, 16, 32, 40), PLANE), keeps=True),
    "max unpooling 2/3 padded": Case(
        "MaxUnpool", MaxUnpool((2, 3), (3, 3), (1, 1)), ((1, 16, 22, 27), PLANE), keeps=True
    ),
    "PixelShuffle": Case("DepthToSpace", nn.PixelShuffle(2), keeps=True),
    "ChannelShuffle": Case("Transpose", nn.ChannelShuffle(2), keeps=True),
    "Pad": Case("Pad", Pad(), build=by_module([1, 2, 3, 4]), keeps=True),
    "Pad reflect": Case("Pad", Pad("reflect"), build=by_module([1, 2, 3, 4]), keeps=True),
    "reshape": Case("Reshape", Move(torch.reshape), build=by_module((1, 8, 128, 80)), keeps=True),
    "permute": Case("Transpose", Move(torch.permute), build=by_module((0, 2, 3, 1)), keeps=True),
    "flatten": Case("Reshape", Move(torch.flatten), build=by_module(1), keeps=True),
    "slice": Case("Slice", Move(_slice := lambda x, a, b: x[:, a:b]), build=by_module(2, 6), keeps=True),
    "chunk": Case("Slice", Chunk(3, 1, 1), keeps=True),
    "slice with a step": Case("Slice", Move(operator.getitem), build=by_module(STRIDED), keeps=True),
    "flip": Case("Slice", Move(torch.flip), build=by_module((3,)), keeps=True),
    "reshape to five sides": Case("Reshape", Move(torch.reshape), build=by_module((1, 2, 8, 64, 80)), keeps=True),
    "permute five sides": Case(
        "Transpose", Move(torch.permute), ((1, 2, 8, 64, 80),), by_module((0, 2, 1, 3, 4)), keeps=True
    ),
    "Pad with 1.5": Case("Pad", Pad(), build=by_module([1, 2, 3, 4], 1.5), keeps=True),
    "Pad replicate": Case("Pad", Pad("replicate"), build=by_module([1, 2, 3, 4]), keeps=True),
    "Linear on tokens": Case("QGemm", linear(300, 100), ((2, 500, 300),)),
    "amin": Case("ReduceMin", Move(torch.amin), (FLAT,), build=by_module(1, True), keeps=True),
    "amax": Case("ReduceMax", Move(torch.amax), (FLAT,), build=by_module(1, True), keeps=True),
}


@dataclass
class Found:
    """What was compared: values, how many differ by level, and the kernels of the optimised graph."""

    compared: int = 0
    differing: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LEVELS, 0))
    kernels: tuple[str, ...] = ()


class Compared:
    """A case, exported: `compare` draws scales and codes and adds to what was found."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.case, self.folder, self.found = case, folder, Found()
        self.graph = _graph(case)
        self.model = _exported(self.graph, case.shapes)
        self.owners = ("in0", "in1", "end", *(["operator"] if isinstance(case.module, nn.Hardswish) else []))

    def compare(self, rng: np.random.Generator) -> None:
        """Compare with other scales, at both levels."""
        codes = [rng.integers(0, 256, shape).astype(np.uint8) for shape in self.case.shapes]
        self._draw_scales(rng, codes)
        if self.case.of_codes:  # their scales are computed with when the file is written
            self.model = _exported(self.graph, self.case.shapes)
        with torch.no_grad():
            given = [_codes(value, self.graph.get_submodule(f"in{i}")) for i, value in enumerate(codes)]
            expected = IntegerExact(self.graph).run(*given).codes.numpy()
        for level in LEVELS:
            got = self._run(level, codes)
            assert got.shape == expected.shape
            self.found.differing[level] += int((got != expected).sum())
        self.found.compared += expected.size

    def _draw_scales(self, rng: np.random.Generator, codes: Sequence[Codes8]) -> None:
        for index in range(len(codes)):
            scale, zero = (
                np.exp(rng.uniform(np.log(1 / 400), np.log(1 / 8))),
                int(rng.choice([0, 128, rng.integers(256)])),
            )
            _set(self.graph.get_submodule(f"in{index}"), scale, zero)
        if self.case.keeps:
            _set(self.graph.end, float(self.graph.in0.scale), int(self.graph.in0.zero_point))
            return
        values = [_codes(v, self.graph.get_submodule(f"in{i}")).dequantize() for i, v in enumerate(codes)]
        plain = _plain(self.graph, values)
        if isinstance(self.case.module, Divide):  # most of its range is that of few tiny divisors
            plain = plain.flatten().sort().values[plain.numel() // 10 : -plain.numel() // 10]
        low, high = (float(v) * rng.uniform(0.6, 1.0) for v in plain.aminmax())
        low, high = min(low, 0.0), max(high, 1e-3)
        _set(self.graph.end, (high - low) / 255, round(-low / (high - low) * 255))
        if isinstance(self.case.module, nn.Hardswish):  # its gate depends on the scale of its input
            self.graph.operator = IntegerHardswish(self.graph.in0)
        if isinstance(self.case.module, TABLES):
            _make_safe(self.graph.operator, self.graph.in0, self.graph.end)

    def _run(self, level: str, codes: Sequence[Codes8]) -> Codes8:
        written: set[str] = set()
        for tensor in self.model.graph.initializer:
            owner, _, name = tensor.name.rpartition(".")
            if owner in self.owners:
                written.add(tensor.name)
                value = getattr(self.graph.get_submodule(owner), name).numpy()
                tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
        assert self.case.of_codes or len(written) == 2 * (len(codes) + 1 + 2 * ("operator" in self.owners))
        for node in self.model.graph.node:
            if "operator" in self.owners and node.op_type == "LeakyRelu":
                node.attribute[0].f = self.graph.operator.slope
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level, options.intra_op_num_threads = LEVELS[level], 1
        options.log_severity_level = 3
        if isinstance(self.case.module, IntegerLinear) and sums_saturate():  # as `load_onnx` does
            for key, value in EXACT_SUMS.items():
                options.add_session_config_entry(key, value)
        path = self.folder / f"{level}.onnx"
        if not self.found.kernels:
            options.optimized_model_filepath = str(path)
        session = onnxruntime.InferenceSession(
            self.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        if not self.found.kernels:
            self.found.kernels = tuple(node.op_type for node in onnx.load(path).graph.node)
        names = [value.name for value in session.get_inputs()]
        return session.run(None, dict(zip(names, codes, strict=True)))[0]


def _graph(case: Case) -> fx.GraphModule:
    root, graph = nn.Module(), fx.Graph()
    inputs = [graph.placeholder(f"x{index}") for index in range(len(case.shapes))]
    for index in range(len(inputs)):
        root.add_module(f"in{index}", FromCodes(*_numbers(index), opset=OPSET))
    if case.of_codes:
        assert isinstance(case.module, Total)
        root.in0 = CodeTotal(case.module, root.in0)
    values = [graph.call_module(f"in{index}", (node,)) for index, node in enumerate(inputs)]
    if case.module is not None and not case.of_codes:
        given = IntegerHardswish(root.in0) if isinstance(case.module, nn.Hardswish) else case.module
        root.add_module("operator", given)
    root.add_module("end", ToCodes(*_numbers(len(inputs)), opset=OPSET))
    graph.output(graph.call_module("end", (case.build(graph, values),)))
    return fx.GraphModule(root, graph).eval()


def _numbers(index: int) -> tuple[Tensor, Tensor]:
    """A scale and zero point that no other quantizer has: the exporter would make one constant of two."""
    return torch.tensor(0.02 + 0.01 * index), torch.tensor(100 + index, dtype=torch.uint8)


def _exported(graph: fx.GraphModule, shapes: Sequence[tuple[int, ...]]) -> onnx.ModelProto:
    examples = tuple(torch.zeros(shape, dtype=torch.uint8) for shape in shapes)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(graph, examples, dynamo=True, verbose=False, opset_version=OPSET)
    assert program is not None
    model = program.model_proto
    onnx.checker.check_model(model)
    return model


def _set(module: nn.Module, scale: float, zero_point: int) -> None:
    module.scale.fill_(scale)
    module.zero_point.fill_(zero_point)


def _codes(values: Codes8, grid: Quantize) -> Codes:
    return Codes(torch.from_numpy(values.astype(np.float32)), grid.scale, grid.zero_point.float())


def _plain(graph: fx.GraphModule, values: Sequence[Tensor]) -> Tensor:
    """Run the operator alone, in float."""
    node = next(node for node in graph.graph.nodes if node.op != "output" and next(iter(node.users)).target == "end")
    given = dict(zip(node.all_input_nodes, values, strict=True))
    arguments, options = fx.map_arg((node.args, node.kwargs), given.__getitem__)
    function = graph.get_submodule(str(node.target)) if node.op == "call_module" else node.target
    if isinstance(function, CodeTotal):
        return Total.forward(function, *arguments)
    if isinstance(function, IntegerHardswish):
        return F.hardswish(*arguments)
    if isinstance(function, IntegerLinear):
        return F.linear(*arguments, *(v.flatten(1) if v.dim() > 1 else v for v in function.as_convolution().values()))
    with torch.no_grad():
        return function(*arguments, **options)


def _make_safe(module: nn.Module, x: Quantize, y: Quantize) -> None:
    scale = float(y.scale)
    for step in range(STEPS):
        y.scale.fill_(scale * (1 + FUNCTION_STEP * step))
        if no_tie(all_results(module, _codes(np.zeros(0), x), y), y, relative=FUNCTION_ERROR):
            return
    raise AssertionError("no safe scale was found")
