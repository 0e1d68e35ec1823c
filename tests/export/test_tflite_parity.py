"""The proof of a .tflite file on a small network: plans of 16 bits, and faults that no other proof would see."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import fx

from edgeailite.errors import ParityError
from edgeailite.export import tflite_parity
from edgeailite.export.inner_tensors import integer_tensors
from edgeailite.export.tflite_file import write_tflite
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
from edgeailite.quantization.program import Operator, Program, Value
from edgeailite.quantization.tflite_rules import run_operator, run_program
from edgeailite.runtime.tflite_file import read_tflite
from tests.export.programs import every_operator, pictures
from tests.export.toy import SIZE, image, toy, toy_card

pytest.importorskip("ai_edge_litert")
PICTURE = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)


@pytest.fixture(autouse=True)
def _untried(monkeypatch) -> None:
    """Files made here need no trial in a child process; tests of the session have one."""
    monkeypatch.setattr("edgeailite.runtime.tflite_session.try_tflite", lambda data, **more: None)


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


def operator_of(program: Program, output: str) -> Operator:
    return next(each for each in program.operators if each.output.name == output)


def doubled(value: Value) -> None:
    value.scale = None if value.scale is None else value.scale * np.float32(2)


FAULTS: dict[str, tuple[Callable[[Program], Any], str]] = {
    "weight": (lambda p: operator_of(p, "project.0").inputs[1].data.__ixor__(0x40), r"project\.0 \(CONV_2D"),
    "bias": (lambda p: operator_of(p, "stem.2").inputs[2].data.__iadd__(3000), r"stem\.2 \(CONV_2D"),
    "scale of a weight": (lambda p: doubled(operator_of(p, "pred").inputs[1]), r"pred \(CONV_2D"),
    "scale": (lambda p: doubled(operator_of(p, "project.0").output), r"project\.0 \(CONV_2D"),
    "zero point": (lambda p: setattr(operator_of(p, "project.0").output, "zero_point", 9), r"project\.0 \(CONV_2D"),
    "activation": (lambda p: operator_of(p, "project.0").options.update(activation="RELU"), r"project\.0 \(CONV_2D"),
    "padding": (lambda p: operator_of(p, "stem.0.padded").inputs[1].data[1].sort(), r"stem\.0\.padded \(PAD"),
    "input": (lambda p: operator_of(p, "cat").inputs.reverse(), r"cat \(CONCATENATION"),
    "resize": (
        lambda p: operator_of(p, "segmentation.full").options.update(align_corners=True, half_pixel_centers=False),
        r"segmentation\.full \(RESIZE_BILINEAR",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_file_is_named_at_its_operator(name, subject):
    plant, place = FAULTS[name]
    program = copy.deepcopy(subject.written.program)
    plant(program)
    metadata = read_tflite(subject.file).metadata
    subject.file.write_bytes(write_tflite(program, metadata=metadata))
    with pytest.raises(ParityError, match=rf"departs first at {place}; .*LiteRT, reference kernels"):
        prove_tflite(subject, [PICTURE], threads=1)


def test_every_operator_is_compared_and_another_size_too(subject):
    found = prove_tflite(subject, [PICTURE], threads=1, sizes=((40, 64),))
    assert found["inner_tensors"] == {"compared": len(subject.written.program.operators), "departing": 0}
    assert found["additions"] == {"tie_safe": 1, "total": 1}
    assert {name.split()[0] for name in found["sizes"]} == {"40x64"}
    assert all(part["max_difference"] == 0 for part in found["sizes"].values())


def test_nothing_is_proven_without_a_picture_and_less_than_was_asked(subject):
    with pytest.raises(ParityError, match="no picture was compared"):
        prove_tflite(subject, [], threads=1)
    with pytest.raises(ParityError, match="agrees with the fake-quantized one"):
        prove_tflite(subject, [PICTURE], threads=1, min_fake_quant=1.0)


def test_changed_weights_and_descriptions_are_seen_before_anything_is_computed(subject):
    data = bytearray(subject.file.read_bytes())
    data[place_of(subject, "pred.weight")] ^= 1
    subject.file.write_bytes(data)
    with pytest.raises(ParityError, match="weights changed since export"):
        tflite_subject(subject.module, toy_card(), subject.file)
    tflite_subject(subject.module, toy_card(), subject.file, skip_hash=True)
    other = replace(toy_card(), dataset_name="other")
    subject.file.write_bytes(to_tflite(subject.module, other, size=SIZE).data)
    with pytest.raises(ParityError, match=r"edgeailite\.card"):
        tflite_subject(subject.module, toy_card(), subject.file)


def place_of(subject: TfliteSubject, constant: str) -> int:
    """Where in the file the numbers of a constant begin."""
    read = read_tflite(subject.file)
    parts = (read.data, next(tensor.data for tensor in read.tensors if tensor.name == constant))
    start, place = (np.frombuffer(part, np.uint8).__array_interface__["data"][0] for part in parts)
    return place - start


def test_a_fault_that_the_third_picture_alone_shows_is_found(subject):
    data, place = bytearray(subject.file.read_bytes()), place_of(subject, "stem.0.weight")
    for index in range(place, place + 27):
        data[index] ^= 0x40
    subject.file.write_bytes(data)
    grey = np.full_like(PICTURE, 128)  # zeros for the network, whatever the weights are
    with pytest.raises(ParityError, match=r"departs first at stem\.2"):
        prove_tflite(subject, [grey, grey, PICTURE], threads=1, export_again=False)


def test_an_inner_tensor_that_no_output_depends_on_is_compared(tmp_path):
    model = quantized()
    with torch.no_grad():
        model.get_submodule("pred").weight[:, 3] = 0  # of the enlarged branch
    subject = made(model, tmp_path)
    data, place = bytearray(subject.file.read_bytes()), place_of(subject, "deep.0.weight")
    for index in range(place + 3 * 72, place + 4 * 72):  # weights of its channel 3
        data[index] ^= 0x40
    subject.file.write_bytes(data)
    with pytest.raises(ParityError, match=r"departs first at deep\.2 .*max \|difference\| 0\)"):
        prove_tflite(subject, [PICTURE], threads=1, export_again=False)


def test_what_tensorflow_lite_micro_gives_is_compared(subject, monkeypatch):
    real = subject.written.program

    def micro(data, codes, *, name):
        (found,) = run_program(real, codes, "tflite_reference").values()
        return [found + np.float32(1e-3)]

    monkeypatch.setattr(tflite_parity, "find_spec", lambda name: True)
    monkeypatch.setattr(tflite_parity, "run_micro", micro)
    with pytest.raises(ParityError, match=r"departs first at an output \(TensorFlow Lite Micro"):
        prove_tflite(subject, [PICTURE], threads=1)


@pytest.mark.parametrize(
    ("shift", "reason"),
    [
        ((9.0, -9.0), "off by up to (9|10) steps"),  # on average nothing
        ((0.45,) * 8, r"off by up to 1 steps from the integer-exact network, on average 0\.4"),
    ],
)
def test_operators_that_are_far_off_or_shifted_are_named(shift, reason, subject):
    program = subject.at(SIZE, "logits").program
    (operator,) = [each for each in program.operators if each.output.name == "project.0"]
    bias = operator.inputs[2]
    steps = np.zeros(8)
    steps[: len(shift)] = shift
    bias.data = bias.data + np.rint(steps * operator.output.scale / bias.scale).astype(np.int32)
    with pytest.raises(ParityError, match=rf"the program departs at project\.0 \(CONV_2D\): .*{reason}"):
        check_operators(subject, program, [as_input(PICTURE, subject.card.preprocessing)])


def test_each_operator_is_handed_the_codes_of_the_integer_network(subject, monkeypatch):
    handed: dict[str, np.ndarray] = {}

    def recorded(operator, inputs, arithmetic):
        handed[operator.output.name] = inputs[0]
        return run_operator(operator, inputs, arithmetic)

    monkeypatch.setattr(tflite_parity, "run_operator", recorded)
    images = [as_input(PICTURE, subject.card.preprocessing)]
    check_operators(subject, subject.at(SIZE, "logits").program, images)
    exact = integer_tensors(subject.converted, *map(torch.from_numpy, images))["stem.2_quantized"]
    np.testing.assert_array_equal(handed["depthwise.2"], exact.transpose(0, 2, 3, 1).astype(np.int16) - 128)


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
