"""The .tflite file of a network: its numbers are those of its program, its checks find what is planted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgeailite.errors import DataError, UsageError
from edgeailite.export.targets import TARGETS, Request, write
from edgeailite.export.targets.tflite import (
    TARGET,
    dead_channels,
    micro_operators,
    npu_classes,
    npu_resizes,
    npu_weights,
)
from edgeailite.export.to_tflite import WrittenProgram, file_hash, program_hash
from edgeailite.quantization import integer_exact
from edgeailite.quantization.tflite_rules import run_program
from edgeailite.runtime import load_tflite
from edgeailite.runtime.tflite_file import read_tflite
from edgeailite.runtime.tflite_metadata import HEADS
from edgeailite.runtime.tflite_session import input_codes
from tests.export.programs import Builder, constant, scale
from tests.export.toy import SIZE, image, toy, toy_card, toy_quantized

pytest.importorskip("ai_edge_litert")
ARITHMETICS = {"reference": "tflite_reference", "xnnpack": "xnnpack"}


def request(module: torch.nn.Module, **changes) -> Request:
    return replace(Request(module, toy_card(), 0, size=SIZE), **changes)


def made(module: torch.nn.Module, **changes) -> WrittenProgram:
    content = write("tflite", request(module, **changes))[0][".tflite"]
    assert isinstance(content, WrittenProgram)
    return content


@pytest.fixture(scope="module")
def quantized() -> torch.fx.GraphModule:
    return toy_quantized("ort_u8s8")


@pytest.mark.parametrize("kernels", ARITHMETICS)
@pytest.mark.parametrize("scheme", TARGET.schemes)
def test_litert_gives_the_program_s_codes_in_every_scheme(scheme, kernels):
    head = "codes" if scheme == "portable" else "quantized"  # at full size it would have ties, and is refused
    written = made(toy_quantized(scheme), head=head)
    model = load_tflite(written.data, threads=1, kernels=kernels)
    codes = input_codes(image(1).numpy(), model.inputs[0][1])
    expected = run_program(written.program, [codes], ARITHMETICS[kernels])["segmentation"]
    np.testing.assert_array_equal(model.compute([codes])["segmentation"], expected)


@pytest.mark.parametrize("head", HEADS)
def test_every_head_gives_scores_or_classes_of_full_size(head, quantized):
    options = {"argmax": "full"} if head == "argmax" else {"head": head}
    model = load_tflite(made(quantized, **options).data, threads=1)
    assert model.head == head
    (name, found), *others = model.run(image(1).numpy()).items()
    assert not others
    expected = integer_exact(quantized)(image(1))["segmentation"].numpy()
    if head == "argmax":
        assert (name, found.shape, found.dtype) == ("segmentation_label", (1, *SIZE), np.int32)
        assert (found == expected.argmax(1)).mean() > 0.98
    else:
        assert (name, found.shape, found.dtype) == ("segmentation", expected.shape, np.float32)
        step = 0.1 * expected.std()
        assert np.abs(found - expected).max() < (2 if head != "codes" else 1) * step


def test_the_hash_is_that_of_the_constants_and_changes_with_one(quantized):
    written = made(quantized)
    file = read_tflite(written.data)
    said = file.texts()["edgeailite.weights_sha256"]
    assert file_hash(file) == program_hash(written.program) == said
    weight = next(op.inputs[1] for op in written.program.operators if op.kind == "CONV_2D")
    place = written.data.index(weight.data.tobytes())
    changed = bytearray(written.data)
    changed[place] ^= 1
    assert file_hash(read_tflite(bytes(changed))) != said


def test_the_same_network_gives_the_same_bytes(quantized):
    assert made(quantized).data == made(quantized).data


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": None}, r"--target tflite: a file of one size; leave --dynamic out"),
        ({"argmax": "before_upsampling"}, r"--argmax before_upsampling: --target tflite has full"),
        ({"argmax": "full", "head": "codes"}, r"--head codes: with --argmax full outputs are class numbers"),
        ({"kernels": "onnxruntime"}, r"--kernels onnxruntime: not for --target tflite"),
    ],
)
def test_options_that_do_not_suit_are_refused(changes, message, quantized):
    with pytest.raises(UsageError, match=message):
        made(quantized, **changes)


def test_a_float_run_and_a_head_of_an_onnx_file_are_refused(quantized):
    with pytest.raises(UsageError, match=r"--target tflite: a float run; calibrate or quantize it .* first"):
        made(toy())
    with pytest.raises(UsageError, match=r"--head codes: of a \.tflite file; add --target tflite"):
        write("onnxruntime", replace(request(quantized), opset=TARGETS["onnxruntime"].opset, head="codes"))


def test_the_checks_find_what_is_planted():
    make = Builder((8, 8))
    x = make.convolution(make.inputs[0], "dead", 200, scale=scale(0.1))
    make.operators[-1].inputs[1].data[3] = 0
    wide = np.full((1, 1, 1, 200), 127, np.int8)
    up = constant("up", [24, 16])
    how = {"align_corners": False, "half_pixel_centers": True}
    x = make.add("RESIZE_BILINEAR", [x, up], "resized", (1, 24, 16, 200), **how)
    twice = make.add("RESIZE_BILINEAR", [x, constant("twice", [48, 32])], "doubled", (1, 48, 32, 200), **how)
    make.add("ARG_MAX", [twice, constant("axis", [3])], "label", (1, 48, 32), type="int32", scale=None)
    program = make.program(label=twice)
    assert [(f.code, f.node, f.detail) for f in npu_resizes(program)] == [
        ("npu-resize", "resized", "8x8 to 24x16; U85: CPU")
    ]
    assert [(f.code, f.node, f.detail) for f in npu_classes(program)] == [("npu-classes", "label", "200, at most 127")]
    assert list(micro_operators(program)) == []
    twice.type = x.type = "int16"
    assert [f.node for f in micro_operators(program)] == ["doubled"]
    assert [(f.code, f.node, f.detail) for f in dead_channels(program)] == [("dead-channel", "dead", "1 of 200")]
    assert list(npu_weights(program)) == []
    conv = program.operators[0].inputs[1]
    conv.data = np.broadcast_to(wide[..., :1], (1, 1, 70_000, 1))
    conv.axis = 0
    assert [(f.code, f.node) for f in npu_weights(program)] == [("npu-weights", "dead")]


def test_files_of_others_and_files_that_are_none_are_refused(tmp_path, quantized):
    path = tmp_path / "made.tflite"
    with pytest.raises(DataError, match=r"made\.tflite: no such TFLite file"):
        load_tflite(path)
    path.write_bytes(b"no such thing at all")
    with pytest.raises(DataError, match=r"made\.tflite: cannot be read as TFLite"):
        load_tflite(path)
