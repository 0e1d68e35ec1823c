"""`lower`: writes a converted graph as a `Program` of TensorFlow Lite's integer operators for one input size.

Rules:
 1. Codes of uint8 become int8 by subtracting 128 from them and from the zero point: the same values.
 2. An operator ends at the quantizer that follows it and takes its scale. An activation in between is fused into the
    operator; one that the codes imply is left out, except ReLU, which readers of the file expect to see.
 3. Padding of torch is SAME where TensorFlow Lite puts as many rows before the picture, else PAD and VALID. PAD writes
    the zero point. Before a maximum pooling that is no neutral value unless it is the smallest code; there MIRROR_PAD
    repeats rows that the window holds anyway.
 4. Adaptive average pooling is one MEAN per region, of a SLICE; the regions are fixed with the size.
 5. With a range of 16 bits an operator runs in int16: its 8-bit inputs pass a QUANTIZE to 1/128 of their scale, which
    is exact, and an 8-bit result is quantized back. int16 has no zero point in TensorFlow Lite, so the scale of such a
    range follows from its end that is farther from zero; weights stay 8 bits and biases are int64.
 6. `EnlargeCodes(k)`: the outermost rows and columns are repeated once (SLICE and CONCATENATION), then all of them k
    times (RESIZE_NEAREST_NEIGHBOR), and k / 2 are cut off at each end. MIRROR_PAD would do it in one, but LiteRT's
    takes ten times as long as all this and the convolution (36 ms for 256 channels of 96x192). From k = 4 on all are
    repeated fewer times, and the convolution becomes one per phase of its rows (`phases`), with the phases of the
    columns side by side as channels; CONCATENATION and RESHAPE put them in order. To a size that is no k-fold, it is
    two GATHER.
 7. The last resize, whose result only leaves the network, keeps the scale of its input. Of a scheme without ties it is
    computed in float, of dequantized values: by a power of two all its sums are exact.
Anything else is refused with the layer's name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import fx, nn

from edgeailite.errors import UsageError
from edgeailite.modelcard import has_classes, input_name
from edgeailite.quantization.convert import (
    MIDDLE,
    TIE_FREE,
    CodePool,
    Constant,
    IntegerConv,
    Quantize,
)
from edgeailite.quantization.enlarge_codes import EnlargeCodes
from edgeailite.quantization.graph import (
    ACTIVATIONS,
    NEAREST,
    activation_limits,
    input_index,
    is_addition,
    is_input,
    is_module,
    named_outputs,
    of_sizes,
    output_nodes,
)
from edgeailite.quantization.lowered_values import fused_activation, narrow_value, scale_of, wide_value
from edgeailite.quantization.lowering_operators import (
    append_table,
    concatenation,
    constant,
    elementwise,
    lower_operator,
    more_rows,
    nearest,
    table,
)
from edgeailite.quantization.operators import FloatPart
from edgeailite.quantization.phases import phase_convolutions
from edgeailite.quantization.pooling import per_axis
from edgeailite.quantization.program import Kind, Program, Value, Window
from edgeailite.quantization.program_builder import ProgramBuilder, Waiting, torch_shape
from edgeailite.quantization.scale_limits import check_scales
from edgeailite.quantization.tflite_rules import LARGEST_DISTANCE
from edgeailite.quantization.tie_free import nearest_rows

Head = Literal["codes", "logits", "quantized", "argmax"]
HEADS: dict[str, str] = {
    "codes": "int8 at the decoder's size, without the last resize",
    "quantized": "int8 at full size",
    "logits": "float32 at full size",
    "argmax": "int32 classes at full size; regression as in logits",
}
LABEL = "_label"  # ends the names of class maps, as in ONNX files
CHANNELS = 3  # of a picture
SMALL_FACTOR = 2  # of a resize whose phases take as long as the whole
FUSING = ("ADD", "SUB", "MUL", "CONV_2D", "DEPTHWISE_CONV_2D", "PHASES")  # that clamp for the activation behind them
WIDE_STEPS = 128  # of int16 in a step of int8: every distance from a zero point, up to 255, has a code
FULL_PRECISION = "export the network in float, or leave this part out of the plan"


def lower(
    converted: fx.GraphModule, size: tuple[int, int], *, head: str = "logits", names: Mapping[str, str] | None = None
) -> Program:
    """Write a converted graph as a program for pictures of `size` (height, width) and batch 1.

    `head` is a key of HEADS and says how outputs leave the network. They are called as in ONNX files: by the network's
    names, and with `_label` behind for class maps. Inner tensors are called after the module that gives them; `names`
    maps nodes of the graph to other names, such as those that `export.naming.file_names` finds for an ONNX file.

    Raises UsageError for an unknown head and, with the layer's name, for a part that TensorFlow Lite has no form of:
    weights of 16 bits, an activation with limits other than those of ReLU and ReLU6 that its range does not imply, and
    scales that a runtime refuses (`check_scales`).
    """
    if head not in HEADS:
        raise UsageError(
            f"unknown head {head!r}",
            fix=f"known: {', '.join(HEADS)}",
            known=tuple(HEADS),
            code="unknown-name",
            value=head,
        )
    lowering = _Lowering(converted, size, head=cast(Head, head), names=names or {})
    lowering.run()
    program = lowering.program
    program.inputs = [value for _, value in sorted(lowering.inputs.items())]
    check_scales(program)
    return program


class _Lowering(fx.Interpreter):
    """Walks the graph with `Value`s and `Waiting` operators in place of tensors and fills `program`."""

    def __init__(
        self, converted: fx.GraphModule, size: tuple[int, int], *, head: Head, names: Mapping[str, str]
    ) -> None:
        super().__init__(converted)
        self.extra_traceback = False  # it would rewrite the sentence of an error
        self.size, self.head, self.names = size, head, names
        self.inputs: dict[int, Value] = {}
        self.widened: dict[Value, Value] = {}
        self.build = ProgramBuilder(_output_names(converted.graph))
        self.program = self.build.program

    def run_node(self, node: fx.Node) -> Any:
        if is_input(node):
            return Waiting("INPUT", [], (1, *self.size, CHANNELS), {"index": input_index(node)})
        if node.op == "placeholder":  # `*images`, which is_input reads
            return None
        args, kwargs = self.fetch_args_kwargs_from_env(node)
        if node.op == "output":
            for name, value in named_outputs(args[0]).items():
                self._output(name, value)
            return None
        if node.op == "call_module":
            return self._module(node, self.module.get_submodule(str(node.target)), *(args or (None,)), **kwargs)
        if node.target is getattr:  # x.shape, in torch's order
            return torch.Size(torch_shape(args[0].shape))
        if of_sizes(node):
            return node.target(*args, **kwargs)
        if is_addition(node):
            return elementwise(self.build, "ADD", *args)
        if node.target is torch.cat:
            return concatenation(*args)
        if node.target is F.interpolate:
            return self._resize(self._name(node), args[0], kwargs)
        problem = f"{node.target} has no form in TensorFlow Lite here"
        raise UsageError(problem, path=node.name, fix=FULL_PRECISION, code="no-integer-form")

    def _module(self, node: fx.Node, module: nn.Module, x: Any, *more: Any, **options: Any) -> Any:
        """Lower a module; `x` is its input, a `Value` or an operator that waits for its scale.

        `more` and `options` are its further arguments, such as the size that some `EnlargeCodes` have.
        """
        name = str(node.target)
        if isinstance(module, Constant):
            return constant(self.build, name, module)
        if isinstance(module, Quantize):
            if isinstance(x, Value) or x.kind == "ENLARGED" or (x.kind in FUSING and _goes_through_activation(node)):
                return x  # the second half of a pair, or the tensor's own scale again
            return self._emit(self._name(node.args[0]), x, module)
        if isinstance(module, ACTIVATIONS):
            return table(self.build, name, module, x) if isinstance(x, Value) else _activated(module, x)
        if isinstance(module, nn.MaxPool2d):
            return self._max_pool(name, module, x)
        found = lower_operator(self.build, name, module, (x, *more), options)
        if isinstance(found, Value) and found is not x and found.name != self._name(node):
            found.name = self.build.unused(self._name(node))
        if found is not None:
            return found
        if isinstance(module, IntegerConv):
            return self._convolution(name, module, x)
        if isinstance(module, CodePool):
            return Waiting("REGIONS", [x], (1, *module.output_size, x.shape[3]))
        if isinstance(module, EnlargeCodes):
            return self._enlarge(name, x, module.factor, *more)
        kind = module.extra_repr() if isinstance(module, FloatPart) else type(module).__name__
        raise UsageError(
            f"{kind} has no form in TensorFlow Lite here", path=name, fix=FULL_PRECISION, code="no-integer-form"
        )

    # --- operators

    def _emit(self, name: str, pending: Waiting, quantize: Quantize) -> Value:
        """Add a pending operator, whose output has the scale of `quantize` (rules 1, 2 and 5)."""
        if pending.kind == "INPUT":
            return self._input(pending, quantize)
        name = self.build.unused(name)
        inputs, is_wide = pending.inputs, quantize.wide() or any(value.type == "int16" for value in pending.inputs)
        if is_wide and pending.narrow:
            problem = "an operator of 16 bits has no form in TensorFlow Lite here"
            raise UsageError(problem, path=name, fix=FULL_PRECISION, code="no-integer-form")
        if is_wide:
            inputs = [self._widen(value) if value.type == "int8" else value for value in inputs]
            back = not quantize.wide()
            output = wide_value(self.build.unused(f"{name}.wide") if back else name, pending.shape, quantize)
        else:
            back, output = False, narrow_value(name, pending.shape, quantize)
        options = dict(pending.options)
        fused = fused_activation(name, pending.limits, quantize)
        if pending.kind in FUSING:
            options["activation"] = fused
        if pending.finish is not None:
            output.name = self.build.unused(f"{name}.kept")
        if pending.kind == "PHASES":
            self._phases(pending, inputs[0], output, fused)
        elif pending.kind == "REGIONS":
            self._regions(inputs[0], output)
        elif pending.table is not None:
            append_table(self.build, pending.table, inputs[0], output, quantize)
        else:
            if pending.conv is not None:
                inputs = [*inputs, *self._parameters(*pending.conv, inputs[0], pending.kind)]
            self.build.append(cast(Kind, pending.kind), inputs, output, **options)
        if pending.finish is not None:
            output = pending.finish(name, output)
            output.name = name
        return self.build.append("QUANTIZE", [output], narrow_value(name, pending.shape, quantize)) if back else output

    def _input(self, pending: Waiting, quantize: Quantize) -> Value:
        """Pictures have 8 bits, whatever the plan gives to the range."""
        index = pending.options["index"]
        value = narrow_value(self.build.unused(input_name(index)), pending.shape, quantize)
        if quantize.wide():
            bottom, top = quantize.bounds()
            step = (top - bottom) / LARGEST_DISTANCE
            value.scale, value.zero_point = scale_of(step), round(-MIDDLE - bottom / step)
        self.inputs[index] = value
        return value

    def _widen(self, x: Value) -> Value:
        """Give the int16 form of an int8 tensor; one for all its readers."""
        if x not in self.widened:
            assert x.scale is not None
            wide = Value(self.build.unused(f"{x.name}.wide"), x.shape, "int16", x.scale / np.float32(WIDE_STEPS))
            self.widened[x] = self.build.append("QUANTIZE", [x], wide)
        return self.widened[x]

    def _convolution(self, name: str, module: IntegerConv, x: Value | Waiting) -> Waiting:
        if isinstance(x, Waiting):
            return replace(x, kind="PHASES", conv=(name, module))
        if module.weight.dtype != torch.int8:
            problem = "weights of 16 bits have no form in TensorFlow Lite, whose weights have 8"
            raise UsageError(
                problem, path=name, fix="give this layer 8 bits in the plan, and its input 16", code="no-integer-form"
            )
        stride, padding, dilation, groups = module.geometry
        x, out, same = self._window(name, x, Window(module.weight.shape[2:], stride, padding, dilation))
        channels = module.weight.shape[0]
        options: dict[str, Any] = {"stride": stride, "dilation": dilation, "padding": "SAME" if same else "VALID"}
        if depthwise := groups == x.shape[3] > 1 and module.weight.shape[1] == 1:
            options["depth_multiplier"] = channels // groups
        kind: Kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        return Waiting(kind, [x], (1, *out, channels), options, conv=(name, module))

    def _parameters(self, name: str, module: IntegerConv, x: Value, kind: str) -> tuple[Value, Value]:
        """Weight and bias of a convolution: OHWI, or 1HWO depthwise; the bias at scale input x weight."""
        depthwise, is_wide = kind == "DEPTHWISE_CONV_2D", x.type == "int16"
        weight = np.ascontiguousarray(module.weight.numpy().transpose((1, 2, 3, 0) if depthwise else (0, 2, 3, 1)))
        scale = module.weight_scale.float().reshape(-1).numpy()
        assert x.scale is not None
        bias_scale = (x.scale * scale).astype(np.float32)
        if module.integer and not is_wide:
            bias = module.bias.numpy()
        else:
            values = module.bias.detach().double() * (module.bias_scale.double() if module.integer else 1)
            bias = np.rint(values.numpy() / (np.float64(x.scale) * np.float64(scale)))
        return (
            self.build.constant(f"{name}.weight", weight, scale=scale, axis=3 if depthwise else 0),
            self.build.constant(f"{name}.bias", bias.astype(np.int64 if is_wide else np.int32), scale=bias_scale),
        )

    def _window(self, name: str, x: Value, window: Window, *, mirror: bool = False) -> tuple[Value, list[int], bool]:
        """Pad where SAME does not (rule 3). Gives the input of the operator, its output's size, and if it is SAME."""
        out, pads, same = window.on(x.shape[1:3])
        if same or not any(window.padding):
            return x, out, same
        shape = (1, x.shape[1] + sum(pads[0]), x.shape[2] + sum(pads[1]), x.shape[3])
        return self._pad(name, x, pads, shape, mirror=mirror), out, False

    def _pad(self, name: str, x: Value, pads: list[tuple[int, int]], shape: tuple[int, ...], *, mirror: bool) -> Value:
        rows = self.build.constant(f"{name}.pads", np.array([(0, 0), *pads, (0, 0)], np.int32))
        padded = replace(x, name=self.build.unused(f"{name}.padded"), shape=shape)
        if mirror:
            return self.build.append("MIRROR_PAD", [x, rows], padded, mode="SYMMETRIC")
        return self.build.append("PAD", [x, rows], padded)

    def _max_pool(self, name: str, module: nn.MaxPool2d, x: Value) -> Waiting:
        kernel, stride, padding, dilation = (
            per_axis(value) for value in (module.kernel_size, module.stride, module.padding, module.dilation)
        )
        if dilation != (1, 1):
            problem = "a maximum pooling that is dilated has no form in TensorFlow Lite"
            raise UsageError(problem, path=name, fix=FULL_PRECISION, code="no-integer-form")
        if module.ceil_mode:
            x = more_rows(self.build, name, x, Window(kernel, stride, padding, dilation))
        lowest = x.zero_point == (-MIDDLE if x.type == "int8" else -(2**15))
        x, out, same = self._window(name, x, Window(kernel, stride, padding, dilation), mirror=not lowest)
        options = {"kernel": kernel, "stride": stride, "padding": "SAME" if same else "VALID"}
        return Waiting("MAX_POOL_2D", [x], (1, *out, x.shape[3]), options)

    def _resize(self, name: str, x: Value, how: Mapping[str, Any]) -> Waiting | Value:
        """Leave a resize pending, as its scale is not known yet; one to the same size is no resize."""
        if how.get("mode") == NEAREST:
            return nearest(self.build, name, x, (int(how["size"][0]), int(how["size"][1])))
        height, width = (int(length) for length in how["size"])
        if (height, width) == x.shape[1:3]:
            return x
        corners = bool(how.get("align_corners"))
        size = self.build.constant(f"{name}.size", np.array([height, width], np.int32))
        options = {"align_corners": corners, "half_pixel_centers": not corners}
        return Waiting("RESIZE_BILINEAR", [x, size], (1, height, width, x.shape[3]), options)

    def _enlarge(self, name: str, x: Value, factor: int, size: Sequence[int] = ()) -> Value | Waiting:
        """Rule 6; what is left to the convolution of the result waits for it."""
        whole = (factor * x.shape[1], factor * x.shape[2])
        if size and tuple(size) != whole:
            return self._gather(name, self._gather(name, x, 2, size[1], factor), 1, size[0], factor)
        for axis in (1, 2):
            x = self._repeat_ends(f"{name}.{axis}", x, axis)
        if factor > SMALL_FACTOR:
            return Waiting("ENLARGED", [x], (1, *whole, x.shape[3]), {"factor": factor})
        nearest = self._nearest(name, x, factor)
        return self._slice(f"{name}.middle", nearest, (factor // 2, factor // 2, whole[0] + factor, whole[1] + factor))

    def _nearest(self, name: str, x: Value, factor: int) -> Value:
        """Repeat rows and columns `factor` times."""
        height, width = x.shape[1] * factor, x.shape[2] * factor
        larger = self.build.constant(f"{name}.size", np.array([height, width], np.int32))
        nearest = replace(x, name=self.build.unused(f"{name}.nearest"), shape=(1, height, width, x.shape[3]))
        flags = {"align_corners": False, "half_pixel_centers": False}
        return self.build.append("RESIZE_NEAREST_NEIGHBOR", [x, larger], nearest, **flags)

    def _phases(self, pending: Waiting, x: Value, y: Value, activation: str) -> None:
        """Rule 6 from a factor of 4 on."""
        assert pending.conv is not None
        (name, module), factor = pending.conv, int(pending.options["factor"])
        repeats, convolutions = phase_convolutions(module, factor)
        count, step = len(convolutions), (1, 1)
        x = self._nearest(name, x, repeats) if repeats > 1 else x
        columns = replace(x, name=self.build.unused(f"{name}.columns"), shape=(*x.shape[:3], count * x.shape[3]))
        x = self.build.append("CONCATENATION", [x] * count, columns, axis=3)
        (_, height, width, channels), rows = x.shape, []
        options = {"stride": step, "dilation": step, "padding": "VALID", "depth_multiplier": 1}
        for index, part in enumerate(convolutions):
            of_row, shape = f"{name}.row{index}", (1, height - repeats, width - repeats, channels)
            inputs = [x, *self._parameters(of_row, part, x, "DEPTHWISE_CONV_2D")]
            row = replace(y, name=self.build.unused(of_row), shape=shape)
            rows.append(self.build.append("DEPTHWISE_CONV_2D", inputs, row, activation=activation, **options))
        lines = replace(y, name=self.build.unused(f"{name}.rows"), shape=(1, shape[1], count * shape[2], channels))
        self.build.append("CONCATENATION", rows, lines, axis=2)
        whole = (1, count * shape[1], count * shape[2], y.shape[3])
        map_ = replace(y, name=self.build.unused(f"{name}.map"), shape=whole)
        self.build.append("RESHAPE", [lines, self.build.constant(f"{name}.shape", np.array(whole, np.int32))], map_)
        self._slice(name, map_, (factor // 2, factor // 2, *y.shape[1:3]), y)

    def _repeat_ends(self, name: str, x: Value, axis: int) -> Value:
        """Add a copy of the first and of the last row (axis 1) or column (axis 2)."""
        ends = [(i, 0, 1, x.shape[2]) if axis == 1 else (0, i, x.shape[1], 1) for i in (0, x.shape[axis] - 1)]
        first, last = (self._slice(f"{name}.end", x, end) for end in ends)
        longer = replace(
            x, name=self.build.unused(name), shape=tuple(n + 2 * (i == axis) for i, n in enumerate(x.shape))
        )
        return self.build.append("CONCATENATION", [first, x, last], longer, axis=axis)

    def _gather(self, name: str, x: Value, axis: int, length: int, factor: int) -> Value:
        """Copy rows or columns of `EnlargeCodes`."""
        places = nearest_rows(x.shape[axis], length, factor, torch.device("cpu")).numpy()
        return self.build.gather(f"{name}.{'rows' if axis == 1 else 'columns'}", x, places, axis)

    def _regions(self, x: Value, y: Value) -> None:
        """Rule 4: regions side by side, then rows one below another."""
        rows, columns = (_edges(n, count) for n, count in zip(x.shape[1:3], y.shape[1:3], strict=True))
        if len(rows) == len(columns) == 1:
            self._mean(y.name, x, y)
            return
        lines = []
        for i, (top, bottom) in enumerate(rows):
            means = []
            for j, (left, right) in enumerate(columns):
                name, part = f"{y.name}.{i}.{j}", (top, left, bottom - top, right - left)
                mean = replace(y, name=self.build.unused(name), shape=(1, 1, 1, y.shape[3]))
                means.append(self._mean(name, self._slice(name, x, part), mean))
            line = (
                y if len(rows) == 1 else replace(y, name=self.build.unused(f"{y.name}.{i}"), shape=(1, 1, *y.shape[2:]))
            )
            lines.append(means[0] if len(means) == 1 else self.build.append("CONCATENATION", means, line, axis=2))
        if len(rows) > 1:
            self.build.append("CONCATENATION", lines, y, axis=1)

    def _mean(self, name: str, x: Value, y: Value) -> Value:
        return self.build.append(
            "MEAN", [x, self.build.constant(f"{name}.axes", np.array([1, 2], np.int32))], y, keep_dims=True
        )

    def _slice(self, name: str, x: Value, part: tuple[int, int, int, int], y: Value | None = None) -> Value:
        """Cut out `part`, which is top, left, height, width, as `y` if that is there already."""
        top, left, height, width = part
        if y is None:
            return self.build.slice(name, x, (0, top, left, 0), (1, height, width, x.shape[3]))
        begin = self.build.constant(f"{name}.begin", np.array([0, top, left, 0], np.int32))
        size = self.build.constant(f"{name}.size", np.array([1, height, width, x.shape[3]], np.int32))
        return self.build.append("SLICE", [x, begin, size], y)

    def _output(self, name: str, value: Value | Waiting) -> None:
        """Add what the head asks for (rule 7) and call the result by the output's name."""
        x = value
        if isinstance(value, Waiting):
            x = value.inputs[0]
            if self.head != "codes" and self.module.meta.get(TIE_FREE):
                x = self._resized_values(name, value)
            elif self.head != "codes":
                full = replace(x, name=self.build.unused(f"{name}.full"), shape=value.shape)
                x = self.build.append(cast(Kind, value.kind), value.inputs, full, **value.options)
        assert isinstance(x, Value)
        last = len(x.shape) - 1
        if self.head == "argmax" and has_classes(name, x.shape[last]):
            if x.type not in ("int8", "float32"):
                fix = "give this output's range 8 bits in the plan"
                raise UsageError("ARG_MAX reads 8 bits", path=name, fix=fix, code="no-integer-form")
            axis = self.build.constant(f"{name}.axis", np.array([last], np.int32))
            name += LABEL
            x = self.build.append("ARG_MAX", [x, axis], Value(name, x.shape[:last], "int32"), axis=last)
        elif self.head in ("logits", "argmax") and x.type != "float32":
            x = self.build.append("DEQUANTIZE", [x], Value(name, x.shape, "float32"))
        if x not in self.program.outputs.values():
            x.name = name
        self.program.outputs[name] = x

    def _resized_values(self, name: str, resize: Waiting) -> Value:
        """Rule 7, of a scheme without ties."""
        if self.head == "quantized":
            problem = "int8 at full size would have ties, which this scheme is without"
            raise UsageError(problem, path=name, fix="take the head logits, codes or argmax")
        x, (_, height, width, _) = resize.inputs[0], resize.shape
        factor = height // x.shape[1]
        if (height, width) != (factor * x.shape[1], factor * x.shape[2]) or factor & (factor - 1):
            raise UsageError(
                f"the last resize, {x.shape[1]}x{x.shape[2]} to {height}x{width}, is not by a power of two, at which "
                "all runtimes agree",
                code="no-fit",
                path=name,
                fix=f"take a picture size whose sides are multiples of {2 ** round(np.log2(height / x.shape[1]))}",
            )
        values = self.build.append("DEQUANTIZE", [x], Value(self.build.unused(f"{name}.values"), x.shape, "float32"))
        full = Value(self.build.unused(f"{name}.full"), resize.shape, "float32")
        return self.build.append("RESIZE_BILINEAR", [values, *resize.inputs[1:]], full, **resize.options)

    # --- names

    def _name(self, node: fx.Node) -> str:
        return self.names.get(node.name) or (str(node.target) if node.op == "call_module" else node.name)


def _output_names(graph: fx.Graph) -> set[str]:
    """Collect names that belong to outputs, with and without a label map's ending."""
    names = set(output_nodes(graph))
    return names | {f"{name}{LABEL}" for name in names}


def _edges(length: int, count: int) -> list[tuple[int, int]]:
    """First and last position (exclusive) of each region, as torch's adaptive pooling has them."""
    return [(index * length // count, -(-(index + 1) * length // count)) for index in range(count)]


def _goes_through_activation(node: fx.Node) -> bool:
    """Tell if a quantizer stands before an activation and its like behind: clamping the codes does both."""
    users = list(node.users)
    if len(users) != 1 or not is_module(users[0], ACTIVATIONS):
        return False
    return {str(user.target).removesuffix("_codes") for user in users[0].users} == {node.target}  # or its first half


def _activated(module: nn.Module, x: Waiting) -> Waiting:
    """Hand an activation's limits to the operator before it, which clamps to them."""
    low, high = activation_limits(module)
    return replace(x, limits=(max(low, x.limits[0]), min(high, x.limits[1])))
