"""Files of the scheme `portable`: one set of codes in every runtime at hand, .onnx and .tflite alike, and proven."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import fx

from edgeailite.export import to_onnx
from edgeailite.export.contract import golden_case
from edgeailite.export.naming import file_names
from edgeailite.export.parity import Subject, prove
from edgeailite.export.tflite_contract import tflite_contract
from edgeailite.export.tflite_parity import prove_tflite, tflite_subject
from edgeailite.export.to_tflite import to_tflite
from edgeailite.quantization import convert, integer_exact
from edgeailite.quantization.arithmetic import ARITHMETICS, ONNXRUNTIME_ROWS
from edgeailite.quantization.lowering import lower
from edgeailite.runtime import load_onnx, run, tensors
from edgeailite.runtime.contract_file import BASE
from tests.export.toy import SIZE, toy_card, toy_quantized
from tests.sweep import pixels, quantized, sweep_card, sweep_model
from tests.tflite_schema import file_of, first_departure, inner_tensors, int8_codes, litert

ODD = (34, 50)  # 9x13 inside become 17x25
OUTPUT = "segmentation"
PICTURE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
NETWORKS = (
    "unet_aspp_mobilenetv2_tv_edgeailite",
    "fpn_aspp_mobilenetv2_tv_edgeailite",
    "deeplabv3plus_mobilenetv2_tv_edgeailite",
    "fpn_aspp_regnetx400mf_edgeailite",
)


@pytest.fixture(scope="module")
def toy() -> fx.GraphModule:
    return toy_quantized("portable")


def same(found: dict[str, object]) -> bool:
    """Every level and size agrees in every bit, the simulation and the unoptimised file among them."""
    levels = [part for part in found.values() if isinstance(part, dict) and "max_difference" in part]
    assert len(levels) >= 2
    return all(level["max_difference"] == 0 for level in levels)


def test_the_onnx_file_is_proven_and_so_is_its_simulation(toy, tmp_path):
    file = tmp_path / "model_int8.onnx"
    file.write_bytes(to_onnx(toy, toy_card(), size=SIZE).SerializeToString())
    found = prove(Subject(toy, toy_card(), file), [PICTURE], sizes=[(33, 49)], threads=1)
    assert same(found)
    assert {"fake_quant", "DISABLED"} <= set(found)
    assert found["conversion"]["largest_step"] == 0
    assert found["additions"] == {"tie_safe": 1, "total": 1}
    assert not found["integer_kernels"]["float_nodes"]


@pytest.mark.parametrize(("size", "head"), [(SIZE, "logits"), (ODD, "argmax")])
def test_the_tflite_file_is_proven(size, head, toy, tmp_path):
    pytest.importorskip("ai_edge_litert")
    file = tmp_path / "model_int8.tflite"
    written = to_tflite(toy, toy_card(), size=size, head=head)
    file.write_bytes(written.data)
    kinds = {op.kind for op in written.program.operators}
    assert ("GATHER" in kinds) == (size == ODD)
    found = prove_tflite(tflite_subject(toy, toy_card(), file), [PICTURE], sizes=[(33, 48), (34, 48)], threads=1)
    assert same(found)
    assert {key.split()[0] for key in found["sizes"]} == {"34x48"}  # the other has no last resize by a power of two
    assert found["inner_tensors"]["departing"] == 0


@pytest.mark.parametrize("size", [SIZE, ODD])
def test_onnx_and_tflite_give_the_same_scores_in_every_runtime(size, toy):
    """LiteRT's optimised kernels, too, which belong to no arithmetic that is promised."""
    pytest.importorskip("ai_edge_litert")
    (picture,) = pixels(1, (1, *size), seed=4)
    expected = toy(picture)["segmentation"].detach().numpy()
    data = to_onnx(toy, toy_card(), size=size).SerializeToString()
    for level in ("EXTENDED", "ALL", "DISABLED"):
        scores = run(load_onnx(data, level=level, threads=1), picture.numpy())["segmentation"]
        np.testing.assert_array_equal(scores, expected)
    program = lower(convert(toy), size)
    codes = int8_codes(program, picture)
    mine = inner_tensors(program, codes, "tflite_reference")
    for kernels in ("reference", "xnnpack", "without delegate"):
        theirs = litert(file_of(program), codes, kernels)
        assert first_departure(program, mine, theirs) is None, kernels
        np.testing.assert_array_equal(theirs["segmentation"].transpose(0, 3, 1, 2), expected)


def test_contracts_say_that_all_arithmetics_are_alike(toy, tmp_path):
    pytest.importorskip("ai_edge_litert")
    onnx_file, file = tmp_path / "model_int8.onnx", tmp_path / "model_int8.tflite"
    onnx_file.write_bytes(to_onnx(toy, toy_card(), size=SIZE).SerializeToString())
    case = golden_case(Subject(toy, toy_card(), onnx_file), PICTURE)
    assert case["arithmetics"] == {name: BASE for name in ONNXRUNTIME_ROWS if name != BASE}
    file.write_bytes(to_tflite(toy, toy_card(), size=SIZE).data)
    contract = tflite_contract(tflite_subject(toy, toy_card(), file), [(_written(tmp_path),)], {})
    [golden] = contract["golden"]
    assert golden["arithmetics"] == {"xnnpack": {"outputs": {}, "layers": {}}}


def _written(folder: Path) -> Path:
    import cv2

    cv2.imwrite(str(folder / "picture.png"), PICTURE)
    return folder / "picture.png"


# --- the networks


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_tensor_of_a_network_is_the_same_everywhere(name):
    """Random weights, calibrated: five arithmetics, onnxruntime, LiteRT with all three kernels."""
    pytest.importorskip("ai_edge_litert")
    network = sweep_model(name)
    model, size = quantized(network, "portable"), (64, 96)
    (picture,) = pixels(1, (1, *size), seed=9)
    with torch.no_grad():
        expected = model(picture)
    for arithmetic in ARITHMETICS:
        found = integer_exact(model, arithmetic)(picture)
        assert all(torch.equal(found[key], value) for key, value in expected.items()), arithmetic
    converted = convert(model)
    program = lower(converted, size, names=file_names(converted.graph))
    codes = int8_codes(program, picture)
    mine = inner_tensors(program, codes, "tflite_reference")
    assert first_departure(program, mine, inner_tensors(program, codes, "xnnpack")) is None
    for kernels in ("reference", "xnnpack", "without delegate"):
        assert first_departure(program, mine, litert(file_of(program), codes, kernels)) is None, kernels
    data = to_onnx(model, sweep_card(network, size), size=size).SerializeToString()
    np.testing.assert_array_equal(run(load_onnx(data, threads=1), picture.numpy())["segmentation"], expected[OUTPUT])
    in_onnx = tensors(data, [f"{name}_quantized" for name in mine], [picture.numpy()], threads=1)
    assert len(in_onnx) > 20
    for key, found in in_onnx.items():
        signed = mine[key.removesuffix("_quantized")].transpose(0, 3, 1, 2).astype(np.int64)
        np.testing.assert_array_equal(found.astype(np.int64) - 128, signed, err_msg=key)
