"""Every kind of network through export: float at any size from one file, int8 in every bit.

By default a few small networks, at least one per decoder and kind of operator; `-m slow` runs all that are promised,
one JSON line each into the file that EDGEAILITE_SWEEP_LOG names. The networks list themselves (`tests.sweep`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import fx, nn

from edgeailite.errors import UsageError
from edgeailite.export import to_onnx
from edgeailite.export.graphs import append_argmax
from edgeailite.export.inner_tensors import file_layers, integer_tensors
from edgeailite.export.parity import Subject, integer_kernels, make_golden, prove
from edgeailite.models import MODELS, Pixel2Pixel, create_model
from edgeailite.quantization import DEFAULT_SCHEME, convert, integer_exact, prepare
from edgeailite.quantization.integer import IntegerModel
from edgeailite.runtime import load_onnx, recheck, run, tensors
from edgeailite.runtime.contract import PROVEN_LEVELS
from tests.golden import smooth_pictures
from tests.sweep import (
    COMBINATIONS,
    covering_names,
    golden_sweep_model,
    int8_names,
    logged,
    pixels,
    quantized,
    sweep_card,
    sweep_model,
)

FLOAT_SHAPES = ((1, 97, 161), (2, 33, 65), (1, 64, 64), (2, 32, 32))
INT8_SHAPES = ((1, 64, 64), (2, 97, 65))  # no 2x3 features: see the exception of rule 4 in quantization.integer
INT8_FIXED = (97, 161)
SWEPT_SHAPES = (*INT8_SHAPES, (1, 128, 256), (1, 225, 401))  # with INT8_FIXED five sizes
SWEPT_SCHEMES = ("ort_u8s8", "tidl_pow2", "s8s8")
FLOAT_TOLERANCE = 1e-4  # of the outputs' standard deviation where that is above 1
FLOAT_DEFAULT = [  # name, inputs, outputs
    ("fpn_aspp_regnetx400mf_fd_edgeailite", 1, 2),  # maximum pooling; fd
    ("v1_resnet34_psp_bilinear", 1, 1),  # align_corners
    pytest.param("resnet18_upernet_lite", 2, 1, marks=pytest.mark.slow),
]
INT8_DEFAULT = [  # grouped convolutions are in test_passes
    pytest.param("fpn_aspp_regnetx400mf_edgeailite", 1, 1, marks=pytest.mark.slow),
    ("unet_aspp_mobilenetv2_tv_1p4_edgeailite", 1, 1),  # ReLU6 that shares a scale with negative values
    pytest.param("deeplabv3plus_resnet50_p5_edgeailite", 1, 2, marks=pytest.mark.slow),  # maximum pooling; depth
    pytest.param("mobilenetv2dilated_upernet_lite", 1, 1, marks=pytest.mark.slow),
    ("resnet18_c1", 2, 1),
    ("unet_aspp_mobileone_s0_fd_edgeailite", 1, 1),  # branches that are fused before
    ("ddrnet23_slim", 1, 1),  # averages over windows; resizes by any factor inside
]
TWO_INPUTS, PYRAMID = "unet_aspp_mobilenetv2_tv_edgeailite", "resnet18_ppm"
SIZE = (97, 161)


def float_difference(name: str, inputs: int, outputs: int) -> tuple[float, float]:
    """Largest |difference| / max(1, std) over shapes and outputs of one file, and the std there."""
    model = golden_sweep_model(name, inputs=inputs, outputs=outputs)
    file = load_onnx(to_onnx(model, sweep_card(model), simplify=False).SerializeToString())
    worst = (0.0, 0.0)
    for shape in FLOAT_SHAPES:
        images = pixels(inputs, shape)
        with torch.inference_mode():
            expected = model(*images)
        got = run(file, *(image.numpy() for image in images))
        assert list(got) == list(expected) == list(model.outputs)
        for output, value in expected.items():
            std = float(value.std())
            assert got[output].shape == value.shape
            worst = max(worst, (float(np.abs(got[output] - value.numpy()).max()) / max(1.0, std), std))
    return worst


def int8_difference(network: Pixel2Pixel, scheme: str, file: Path, *, swept: bool) -> float:
    """Largest |difference| over shapes, levels and outputs; asserts integer kernels.

    Of a file with open sizes, and where `swept` at more sizes and of a file with a fixed one.
    """
    model, inputs = quantized(network, scheme), network.inputs
    reference, worst = integer_exact(model), 0.0
    cases: list[tuple[tuple[int, int] | None, Sequence[tuple[int, int, int]]]]
    cases = [(None, SWEPT_SHAPES), (INT8_FIXED, [(1, *INT8_FIXED)])] if swept else [(None, INT8_SHAPES)]
    for size, shapes in cases:
        file.write_bytes(to_onnx(model, sweep_card(network), size=size).SerializeToString())
        kernels = integer_kernels(file)
        assert kernels["all_integer"], kernels
        worst = max(worst, compare_files(file, reference, inputs, shapes))
    return worst


def compare_files(file: Path, reference: nn.Module, inputs: int, shapes: Sequence[tuple[int, int, int]]) -> float:
    worst, files = 0.0, [load_onnx(file, level=level) for level in PROVEN_LEVELS]
    for shape in shapes:
        images = pixels(inputs, shape, seed=9)
        expected = reference(*images)
        for opened in files:
            got = run(opened, *(image.numpy() for image in images))
            assert list(got) == list(expected)
            worst = max(worst, *(float(np.abs(got[k] - value.numpy()).max()) for k, value in expected.items()))
    return worst


def check_float(name: str, inputs: int, outputs: int) -> None:
    with logged("float", name, inputs, outputs) as line:
        line["difference_per_std"], line["std"] = float_difference(name, inputs, outputs)
        assert line["difference_per_std"] <= FLOAT_TOLERANCE


def check_int8(
    name: str, inputs: int, outputs: int, folder: Path, *, scheme: str = DEFAULT_SCHEME, swept: bool = False
) -> None:
    with logged("int8" if scheme == DEFAULT_SCHEME else f"int8 {scheme}", name, inputs, outputs) as line:
        network = sweep_model(name, inputs=inputs, outputs=outputs)
        line["difference"] = int8_difference(network, scheme, folder / "model_int8.onnx", swept=swept)
        assert line["difference"] == 0


@pytest.mark.parametrize(("name", "inputs", "outputs"), FLOAT_DEFAULT)
def test_one_float_file_agrees_at_every_size(name, inputs, outputs):
    check_float(name, inputs, outputs)


@pytest.mark.parametrize(("name", "inputs", "outputs"), INT8_DEFAULT)
def test_int8_agrees_in_every_bit(name, inputs, outputs, tmp_path):
    check_int8(name, inputs, outputs, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("inputs", "outputs"), COMBINATIONS)
@pytest.mark.parametrize("name", covering_names())
def test_every_encoder_and_decoder_in_float(name, inputs, outputs):
    check_float(name, inputs, outputs)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SWEPT_SCHEMES)
@pytest.mark.parametrize("name", int8_names())
def test_every_promised_network_in_int8(name, scheme, tmp_path):
    check_int8(name, 1, 1, tmp_path, scheme=scheme, swept=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in covering_names() if name in int8_names()])
def test_every_encoder_and_decoder_in_int8_with_two_inputs_and_three_outputs(name, tmp_path):
    check_int8(name, 2, 3, tmp_path)


@pytest.fixture(scope="module")
def two_inputs(tmp_path_factory) -> Subject:
    """Two images, three outputs, fixed size."""
    network = sweep_model(TWO_INPUTS, inputs=2, outputs=3)
    model, card = quantized(network), sweep_card(network, SIZE)
    file = tmp_path_factory.mktemp("two_inputs") / "model_int8.onnx"
    file.write_bytes(to_onnx(model, card, size=SIZE).SerializeToString())
    return Subject(model, card, file)


def test_several_pictures_and_outputs_are_proven_and_rechecked(two_inputs):
    pictures = tuple(smooth_pictures(2, (70, 110)))
    results = prove(two_inputs, [pictures], export_again=False)
    assert {results[level]["max_difference"] for level in PROVEN_LEVELS} == {0.0}
    golden = json.loads(json.dumps(make_golden(two_inputs, *pictures).to_dict()))
    assert "labels" not in golden["outputs"]["depth"]
    contract = {"format": 2, "kind": "int8", "sha256": "", "golden": [golden]}
    assert recheck(two_inputs.file, contract, skip_hash=True)["ALL"]["equal_argmax"] == 1
    with pytest.raises(UsageError, match=r"takes 2 picture\(s\) at a time \(image, image1\), got 1"):
        prove(two_inputs, pictures[:1])


def test_inputs_outputs_and_tasks_are_named(two_inputs):
    graph = onnx.load(str(two_inputs.file)).graph
    assert [value.name for value in graph.input] == ["image", "image1"]
    assert [value.name for value in graph.output] == ["segmentation", "depth", "motion"]
    metadata = load_onnx(two_inputs.file).session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["edgeailite.tasks"]) == {k: k for k in ("segmentation", "depth", "motion")}
    assert load_onnx(two_inputs.file).card.options["inputs"] == 2


def test_inner_tensors_have_the_same_names_and_codes_in_torch_and_in_the_file(two_inputs):
    assert isinstance(two_inputs.module, fx.GraphModule)
    images = pixels(2, (1, *SIZE), seed=3)
    mine = integer_tensors(convert(two_inputs.module), *images)
    data = two_inputs.file.read_bytes()
    theirs = tensors(data, list(mine), [image.numpy() for image in images])
    assert set(mine) == {layer.tensor for layer in file_layers(onnx.load_from_string(data), "int8")}
    assert [name for name, codes in mine.items() if not np.array_equal(codes, theirs[name])] == []
    assert all("/" in node.name and "empty" not in node.name for node in onnx.load_from_string(data).graph.node)


@pytest.mark.parametrize("mode", ["full", "before_upsampling"])
def test_argmax_leaves_depth_alone(mode, two_inputs):
    converted = convert(two_inputs.module)
    append_argmax(converted, mode, two_inputs.card.classified)
    results = IntegerModel(converted)(*pixels(2, (1, 64, 64)))
    kinds = {name: (value.dtype, value.dim()) for name, value in results.items()}
    label, depth = (torch.uint8, 3), (torch.float32, 4)
    assert kinds == {"segmentation_label": label, "depth": depth, "motion_label": label}


def test_pyramid_pooling_is_exact_at_fixed_and_open_size_with_cells_larger_than_pixels(tmp_path):
    network = sweep_model(PYRAMID)
    model, card = quantized(network), sweep_card(network, SIZE)
    file = tmp_path / "model_int8.onnx"
    file.write_bytes(to_onnx(model, card, size=SIZE).SerializeToString())
    results = prove(
        Subject(model, card, file), smooth_pictures(1, (70, 110)), sizes=((32, 32), (129, 97)), export_again=False
    )
    assert results["integer_kernels"]["all_integer"]
    assert {part["max_difference"] for part in (results["ALL"], *results["sizes"].values())} == {0.0}


def test_deconvolution_is_refused_in_int8_with_the_fix():
    model = create_model("fpn_aspp_mobilenetv2_tv_edgeailite", 3, upsampling="deconvolution")
    with pytest.raises(UsageError, match=r'decoders\.0\.fpn\.upsamples\.1\..*upsampling="bilinear"'):
        prepare(model)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [("fpn_aspp_mobilenetv2_tv_edgeailite", {"upsampling": "subpixel"}),
     ("mobilenetv2dilated_c1_deepsup", {"align_corners": True})],
)  # fmt: skip
def test_pixel_shuffles_and_aligned_corners_are_exact(name, options, tmp_path):
    network = create_model(name, 3, **options).eval()
    model, card = quantized(network), sweep_card(network, SIZE)
    file = tmp_path / "model_int8.onnx"
    file.write_bytes(to_onnx(model, card, size=SIZE).SerializeToString())
    results = prove(Subject(model, card, file), smooth_pictures(1, (70, 110)), sizes=((97, 65),), export_again=False)
    assert {part["max_difference"] for part in (results["ALL"], *results["sizes"].values())} == {0.0}


def test_aligned_corners_are_refused_in_arithmetics_that_were_never_compared():
    model = quantized(create_model("mobilenetv2dilated_c1_deepsup", 3, align_corners=True).eval())
    with pytest.raises(UsageError, match="onnxruntime_arm64: a resize with aligned corners was never compared"):
        IntegerModel(convert(model), "onnxruntime_arm64")(*pixels(1, (1, 64, 64)))


@pytest.mark.parametrize("method", ["deconvolution", pytest.param("subpixel", marks=pytest.mark.slow)])
def test_other_upsampling_agrees_in_float(method):
    model = create_model("deeplabv3plus_mobilenetv2_tv_edgeailite", 3, upsampling=method).eval()
    file = load_onnx(to_onnx(model, sweep_card(model), simplify=False).SerializeToString())
    (image,) = pixels(1, (2, 33, 65))
    with torch.inference_mode():
        expected = model(image)["segmentation"].numpy()
    assert np.abs(run(file, image.numpy())["segmentation"] - expected).max() <= FLOAT_TOLERANCE


def test_weights_beyond_2_gigabytes_are_refused_at_once():
    with torch.device("meta"):
        model = create_model("resnet50_upernet", outputs={f"segmentation{index}": 150 for index in range(14)})
    with pytest.raises(UsageError, match="an ONNX file holds less than"):
        to_onnx(model, sweep_card(model))


def test_the_selection_has_every_encoder_and_decoder():
    chosen = [MODELS[name] for name in covering_names()]
    assert {(row.family, row.encoder) for row in chosen} == {(row.family, row.encoder) for row in MODELS.values()}
    assert {(row.family, row.decoder) for row in chosen} == {(row.family, row.decoder) for row in MODELS.values()}
