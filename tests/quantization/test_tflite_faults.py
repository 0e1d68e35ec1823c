"""Faults planted in a .tflite file: each is found, at the layer where it is, by comparing tensors with the rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np
import pytest
from numpy.typing import NDArray

from edgeailite.quantization import convert
from edgeailite.quantization.lowering import lower
from edgeailite.quantization.program import Program
from tests.quantization.test_tflite_networks import everything_quantized
from tests.quantization.tiny import pixels
from tests.tflite_schema import (
    delegated,
    first_departure,
    inner_tensors,
    int8_codes,
    litert,
    model_of,
    schema,
)

pytest.importorskip("ai_edge_litert")
Array = NDArray[Any]
SIZE = (24, 40)
KERNELS = {"reference": "tflite_reference", "xnnpack": "xnnpack"}


@pytest.fixture(scope="module")
def program() -> Program:
    return lower(convert(everything_quantized("ort_u8s8")), SIZE, head="argmax")


class File:
    """A file to damage, by the names of tensors."""

    def __init__(self, program: Program) -> None:
        self.model = model_of(program)
        self.graph = self.model.subgraphs[0]
        self.index = {tensor.name: index for index, tensor in enumerate(self.graph.tensors)}

    def tensor(self, name: str) -> Any:
        return self.graph.tensors[self.index[name]]

    def operator(self, output: str) -> Any:
        return next(op for op in self.graph.operators if op.outputs[0] == self.index[output])

    def code(self, output: str) -> Any:
        return self.model.operatorCodes[self.operator(output).opcodeIndex]

    def options(self, output: str) -> Any:
        return self.operator(output).builtinOptions

    def change(self, name: str, change: Callable[[Array], None], kind: str = "int8") -> None:
        """Change the numbers of a constant in place, in its shape."""
        tensor = self.tensor(name)
        buffer = self.model.buffers[tensor.buffer]
        numbers = np.frombuffer(buffer.data.tobytes(), kind).reshape(tensor.shape).copy()
        change(numbers)
        buffer.data = np.frombuffer(numbers.tobytes(), np.uint8)

    def data(self) -> bytes:
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def one_weight(file: File) -> None:
    file.change("negative.weight", lambda weight: weight.__setitem__((3, 0, 0, 5), -weight[3, 0, 0, 5] ^ 64))


def two_channels_change_places(file: File) -> None:
    file.change("grouped.0.weight", lambda weight: weight.__setitem__(slice(0, 2), weight[1::-1].copy()))


def mirrored_kernel(file: File) -> None:
    file.change("depthwise.0.weight", lambda weight: weight.__setitem__(..., weight[:, :, ::-1].copy()))


def one_bias(file: File) -> None:
    file.change("segmentation.bias", lambda bias: bias.__iadd__(np.array([0, 900, 0, 0, 0], np.int32)), "int32")


def scale_of_one_channel(file: File) -> None:
    file.tensor("segmentation.weight").quantization.scale[2] *= 1.1


def scale_of_a_result(file: File) -> None:
    file.tensor("negative").quantization.scale = file.tensor("negative").quantization.scale * np.float32(1.02)


def zero_point_of_a_result(file: File) -> None:
    file.tensor("stem.0").quantization.zeroPoint = file.tensor("stem.0").quantization.zeroPoint + 1


def scale_of_the_picture(file: File) -> None:
    for name in ("image", "stem.0.padded"):
        file.tensor(name).quantization.scale = file.tensor(name).quantization.scale * np.float32(1.05)


def padding_on_the_other_side(file: File) -> None:
    file.change("stem.0.pads", lambda pads: pads.__setitem__(..., pads[:, ::-1].copy()), "int32")


def mirror_without_the_border(file: File) -> None:
    file.options("shrink.padded").mode = schema().MirrorPadMode.REFLECT


def no_padding(file: File) -> None:
    file.options("depth_1").padding = schema().Padding.VALID


def stride(file: File) -> None:
    file.options("shrink").strideW = 1


def dilation(file: File) -> None:
    file.options("depthwise.0").dilationWFactor = 2


def size_of_a_window(file: File) -> None:
    file.options("shrink").filterHeight = 2


def activation(file: File) -> None:
    file.options("negative").fusedActivationFunction = schema().ActivationFunctionType.RELU


def corners_as_centres(file: File) -> None:
    file.options("interpolate_1").halfPixelCenters = False


def aligned_corners(file: File) -> None:
    options = file.options("interpolate")
    options.halfPixelCenters, options.alignCorners = False, True


def size_of_the_result(file: File) -> None:
    file.change("interpolate_2.size", lambda size: size.__iadd__(np.array([-1, 0], np.int32)), "int32")


def order_of_parts(file: File) -> None:
    operator = file.operator("cat")
    operator.inputs = operator.inputs[[0, 2, 1]]


def another_input(file: File) -> None:
    operator = file.operator("add")
    operator.inputs = operator.inputs[[0, 0]]


def region_moved_by_one(file: File) -> None:
    file.change("pool.0.1.begin", lambda begin: begin.__isub__(np.array([0, 0, 1, 0], np.int32)), "int32")


def average_of_another_region(file: File) -> None:
    file.operator("pool.1.2").inputs[0] = file.index["pool.1.0.part"]


def least_instead_of_largest(file: File) -> None:
    s, operator, code = schema(), file.operator("segmentation_label"), file.code("segmentation_label")
    code.builtinCode = code.deprecatedBuiltinCode = s.BuiltinOperator.ARG_MIN
    operator.builtinOptionsType, operator.builtinOptions = s.BuiltinOptions.ArgMinOptions, s.ArgMinOptionsT()
    operator.builtinOptions.outputType = s.TensorType.INT32


FAULTS: dict[str, tuple[Callable[[File], None], str]] = {
    "a weight": (one_weight, "negative"),
    "two channels change places": (two_channels_change_places, "grouped.2"),
    "a mirrored kernel": (mirrored_kernel, "depthwise.0"),
    "a bias": (one_bias, "segmentation_1"),
    "the scale of one channel": (scale_of_one_channel, "segmentation_1"),
    "the scale of a result": (scale_of_a_result, "negative"),
    "the zero point of a result": (zero_point_of_a_result, "stem.0"),
    "the scale of the picture": (scale_of_the_picture, "stem.0"),
    "padding on the other side": (padding_on_the_other_side, "stem.0.padded"),
    "mirrored without the border": (mirror_without_the_border, "shrink.padded"),
    "no padding": (no_padding, "depth_1"),
    "a stride": (stride, "shrink"),
    "a dilation": (dilation, "depthwise.0"),
    "the size of a window": (size_of_a_window, "shrink"),
    "an activation": (activation, "negative"),
    "corners as centres": (corners_as_centres, "interpolate_1"),
    "aligned corners": (aligned_corners, "interpolate"),
    "the size of the result": (size_of_the_result, "segmentation.full"),
    "the order of parts": (order_of_parts, "cat"),
    "another input": (another_input, "add"),
    "a region moved by one": (region_moved_by_one, "pool.0.1.part"),
    "the average of another region": (average_of_another_region, "pool.1.2"),
    "the least instead of the largest": (least_instead_of_largest, "segmentation_label"),
}


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_at_its_layer(fault, kernels, program):
    plant, place = FAULTS[fault]
    file, images = File(program), int8_codes(program, *pixels(1, SIZE, seed=2)[0])
    mine = inner_tensors(program, images, KERNELS[kernels])
    assert first_departure(program, mine, litert(file.data(), images, kernels)) is None
    plant(file)
    found = first_departure(program, mine, litert(file.data(), images, kernels))
    assert found is not None
    assert found.tensor == place
    assert found.differing > 0


def test_there_are_enough_faults():
    assert len(FAULTS) >= 20


def test_a_version_that_no_runtime_has_is_refused_with_the_operator(program):
    file = File(program)
    file.code("negative").version = 99
    with pytest.raises(ValueError, match="'CONV_2D' version '99'"):
        litert(file.data(), [], "reference")


def test_a_bias_without_scale_is_left_to_other_kernels(program):
    """XNNPACK does not take such a convolution, and LiteRT's own kernels round otherwise."""
    file = File(program)
    assert "negative" in delegated(file.data())
    file.tensor("negative.bias").quantization = None
    assert "negative" not in delegated(file.data())
