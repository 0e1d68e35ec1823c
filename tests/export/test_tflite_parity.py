"""The proof of a .tflite file on a small network: plans of 16 bits, and faults that no other proof would see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import fx

from edgeailite.errors import ParityError
from edgeailite.export.tflite_parity import (
    MICRO_LEVEL,
    TfliteSubject,
    check_operators,
    first_departure,
    prove_tflite,
    tflite_subject,
)
from edgeailite.export.tflite_parity import training_input as as_input
from edgeailite.export.to_tflite import to_tflite
from edgeailite.quantization import Plan, calibrate, prepare, set_input_range
from edgeailite.quantization.tflite_rules import run_program
from tests.export.programs import every_operator, pictures
from tests.export.toy import SIZE, image, toy, toy_card

pytest.importorskip("ai_edge_litert")
PICTURE = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)


def quantized(**activations: int) -> fx.GraphModule:
    model = prepare(toy(), "ort_u8s8", plan=Plan(activations=activations))
    set_input_range(model, *toy_card().preprocessing.input_range)
    calibrate(model, [image(), image(1)])
    return model.eval()


@pytest.fixture
def subject(tmp_path) -> TfliteSubject:
    return made(quantized(), tmp_path)


def made(model: fx.GraphModule, folder: Path, head: str = "logits") -> TfliteSubject:
    path = folder / "made.tflite"
    path.write_bytes(to_tflite(model, toy_card(), size=SIZE, head=head).data)
    return tflite_subject(model, toy_card(), path)


@pytest.mark.parametrize("part", ["stem_2", "pred"])
def test_a_plan_of_16_bits_is_exact_in_every_runtime_that_runs_it(part, tmp_path):
    found = prove_tflite(made(quantized(**{part: 16}), tmp_path), [PICTURE], threads=1, min_fake_quant=0.9)
    levels = [part for part in found.values() if isinstance(part, dict) and "equal_argmax" in part]
    assert len(levels) >= 2
    assert all(level["max_difference"] == 0 for level in levels)
    if part == "pred":  # its last resize has 16 bits, which TensorFlow Lite Micro does not have
        assert MICRO_LEVEL not in found


def test_a_wrong_operator_of_the_program_is_named(subject):
    images = [as_input(PICTURE, subject.card.preprocessing)]
    program = subject.at(SIZE, "logits").program
    assert check_operators(subject, program, images) >= 8
    (operator,) = [each for each in program.operators if each.output.name == "deep.2"]
    operator.inputs[2].data = operator.inputs[2].data + 3000
    with pytest.raises(
        ParityError, match=r"the program departs at deep\.2 \(CONV_2D\): handed the same codes, it is off"
    ):
        check_operators(subject, program, images)


def test_a_program_whose_names_are_unknown_proves_nothing(subject):
    program = subject.at(SIZE, "logits").program
    for operator in program.operators:
        operator.output.name = f"other.{operator.output.name}"
    with pytest.raises(ParityError, match="no tensor of the program is known to the integer-exact network"):
        check_operators(subject, program, [as_input(PICTURE, subject.card.preprocessing)])


def test_a_file_of_another_network_departs_where_it_differs(subject):
    other = quantized()
    conv = next(module for name, module in other.named_modules() if name == "project.0")
    conv.weight.data *= -1
    data = to_tflite(other, toy_card(), size=SIZE).data
    subject.file.write_bytes(data)
    with pytest.raises(ParityError, match=r"departs first at project\.0 \(CONV_2D; .*LiteRT, reference kernels"):
        prove_tflite(subject, [PICTURE], threads=1)


def test_a_file_that_is_not_what_export_writes_is_named_by_its_tensor(subject):
    other = to_tflite(subject.module, replace(toy_card(), dataset_name="other"), size=SIZE).data
    subject.file.write_bytes(other)
    with pytest.raises(ParityError, match=r"edgeailite\.card: .*which is not what export writes of this run"):
        prove_tflite(subject, [PICTURE], threads=1)
    assert prove_tflite(subject, [PICTURE], threads=1, export_again=False)["export"] == "not compared"


def test_the_first_departure_is_in_the_order_of_operators():
    program, values = every_operator(), {}
    run_program(program, pictures(2), "tflite_reference", seen=lambda value, found: values.update({value.name: found}))
    assert first_departure(program, values, values) == (None, len(program.operators))
    changed = {**values, "head": values["head"] + 1, "sum": values["sum"] + 2}
    place, equal = first_departure(program, values, changed)
    assert (place, equal) == ("sum (ADD; 100.00% of values, by up to 254)", 2) or place.startswith("sum (ADD; ")
    without = {name: value for name, value in values.items() if name != "depth"}
    assert first_departure(program, values, without)[0].startswith("depth (DEQUANTIZE), which is missing")
