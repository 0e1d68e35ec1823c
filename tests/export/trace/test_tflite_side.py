"""Traces of lowered programs and .tflite files: equal where both are right, and a fault named at its layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch import fx

from edgeailite.errors import DataError, UsageError
from edgeailite.export.to_tflite import WrittenProgram, to_tflite
from edgeailite.export.trace.compare import trace
from edgeailite.export.trace.tflite_side import program_side, tflite_side
from edgeailite.export.trace.torch_side import torch_side
from edgeailite.quantization import Plan, calibrate, prepare, set_input_range
from edgeailite.runtime.tflite_file import read_tflite
from edgeailite.runtime.tflite_recheck import ARITHMETICS
from tests.export.toy import SIZE, image, toy, toy_card, toy_quantized

pytest.importorskip("ai_edge_litert")
IMAGES = [(image(2).numpy(),)]


def quantized(**activations: int) -> fx.GraphModule:
    model = prepare(toy(), "ort_u8s8", plan=Plan(activations=activations))
    set_input_range(model, *toy_card().preprocessing.input_range)
    calibrate(model, [image(), image(1)])
    return model.eval()


@pytest.fixture(scope="module")
def prepared() -> fx.GraphModule:
    return quantized()


@pytest.fixture(scope="module")
def written(prepared) -> WrittenProgram:
    return to_tflite(prepared, toy_card(), size=SIZE)


def saved(folder: Path, data: bytes) -> Path:
    (folder / "made.tflite").write_bytes(data)
    return folder / "made.tflite"


@pytest.mark.parametrize("kernels", ARITHMETICS)
@pytest.mark.parametrize("wide", [{}, {"pred": 16}])
def test_every_tensor_of_a_file_is_that_of_its_program(kernels, wide, tmp_path):
    written = to_tflite(quantized(**wide), toy_card(), size=SIZE)
    sides = (
        program_side("program", written.program, ARITHMETICS[kernels]),
        tflite_side("file", saved(tmp_path, written.data), kernels=kernels),
    )
    found = trace(*sides, IMAGES)
    assert found.first_difference is None
    assert len(found.rows) == len(written.program.operators) + 1  # and the picture
    assert found.matching.unmatched == ((), ())
    assert found.disturbed == (0, 0)
    assert found.outputs["segmentation"] == {"equal_argmax": 1, "max_difference": 0}
    rows = {row.second: row for row in found.rows}
    assert (rows["deep.2"].layer, rows["deep.2"].operator, rows["deep.2"].shape) == ("deep.0", "Conv", (1, 8, 8, 12))
    for side in sides:
        weights = [side.places[name].weight for name in ("deep.2", "depthwise.2", "cat")]
        assert weights == [(8, 8, 3, 3), (8, 1, 3, 3), ()]
    assert rows["segmentation"].max_steps == 0  # float, on the grid of its codes


def test_tensors_have_the_names_and_values_of_the_network_in_onnxruntime(prepared, written, tmp_path):
    exact = torch_side("integer_exact:onnxruntime_x86", prepared)
    found = trace(exact, tflite_side("file", saved(tmp_path, written.data), kernels="xnnpack"), IMAGES)
    assert found.matching.by == "name"
    equal = [row.second for row in found.rows if row.sqnr_db is None]
    assert equal == ["image", "stem.2", "depthwise.2", "project.0", "add", "deep.2", "interpolate", "cat", "pred"]


def test_without_ties_no_pair_of_arithmetics_differs(tmp_path):
    model = toy_quantized("portable")
    written = to_tflite(model, toy_card(), size=SIZE)
    arm = torch_side("integer_exact:onnxruntime_arm64", model)
    file = tflite_side("file", saved(tmp_path, written.data), kernels="reference")
    assert trace(arm, file, IMAGES).first_difference is None
    found = trace(*(program_side(name, written.program, name) for name in ARITHMETICS.values()), IMAGES)
    assert found.first_difference is None


def test_between_two_arithmetics_a_single_step_departs(written):
    found = trace(*(program_side(name, written.program, name) for name in ARITHMETICS.values()), IMAGES)
    assert found.first_departure is not None
    assert (found.first_departure.second, found.first_departure.max_steps) == ("stem.2", 1)


def test_a_changed_weight_is_named_and_local_names_it_alone(prepared, written, tmp_path):
    read, data = read_tflite(written.data), bytearray(written.data)
    weight = next(tensor for tensor in read.tensors if tensor.name == "project.0.weight").data
    start, place = (np.frombuffer(part, np.uint8).__array_interface__["data"][0] for part in (read.data, weight))
    data[place - start] ^= 0x40
    broken = tflite_side("file", saved(tmp_path, bytes(data)), kernels="reference")
    program = program_side("program", written.program, "tflite_reference")
    found = trace(program, broken, IMAGES)
    assert found.first_departure is not None
    assert (found.first_departure.second, found.first_departure.layer) == ("project.0", "project.0")
    assert [row.second for row in found.rows if row.departs][-1] == "segmentation"
    local = trace(broken, program, IMAGES, local=True)
    assert [row.second for row in local.rows if row.departs] == ["project.0"]
    with pytest.raises(UsageError, match="file is a file, whose layers cannot be fed"):
        trace(program, broken, IMAGES, local=True)


def test_fed_with_the_integer_network_each_operator_is_within_a_step(prepared, written):
    exact = torch_side("integer_exact:onnxruntime_x86", prepared)
    found = trace(exact, program_side("program", written.program, "tflite_reference"), IMAGES, local=True)
    assert 0 < max(row.max_steps for row in found.rows) <= 1


@pytest.mark.parametrize("head", ["codes", "argmax"])
def test_files_of_other_heads_have_comparable_outputs(head, prepared, written, tmp_path):
    other = to_tflite(prepared, toy_card(), size=SIZE, head=head)
    file = tflite_side("file", saved(tmp_path, other.data), kernels="reference")
    found = trace(program_side("program", written.program, "tflite_reference"), file, IMAGES)
    share = found.outputs["segmentation"]["equal_argmax"]
    assert share == 1 if head == "argmax" else share > 0.9  # codes are enlarged in float
    assert found.first_departure is None or head == "codes"


def test_unknown_kernels_and_foreign_files_are_refused(written, tmp_path):
    with pytest.raises(UsageError, match=r"trace tflite:gpu: unknown kernels 'gpu'; known: reference, xnnpack"):
        tflite_side("tflite:gpu", saved(tmp_path, written.data), kernels="gpu")
    with pytest.raises(DataError, match="cannot be read as TFLite"):
        tflite_side("tflite", saved(tmp_path, b"nothing"), kernels="reference")
