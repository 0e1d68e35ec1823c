"""Is a .tflite file what export writes? What differs is named: an entry, a tensor, an operator, the order, a byte."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeailite.errors import ParityError
from edgeailite.export.identity import SAME_BYTES, SAME_GRAPH
from edgeailite.export.tflite_file import write_tflite
from edgeailite.export.tflite_identity import compare_with_export
from edgeailite.export.to_tflite import WrittenProgram, to_tflite
from edgeailite.quantization.program import Operator, Program
from edgeailite.runtime.tflite_file import read_tflite
from tests.export.toy import SIZE, toy_card, toy_quantized


@pytest.fixture(scope="module")
def written() -> WrittenProgram:
    return to_tflite(toy_quantized("ort_u8s8"), toy_card(), size=SIZE)


@pytest.fixture
def changed(written, tmp_path) -> Callable[..., Path]:
    """Write the file anew, after a change to its program and with other entries."""

    def make(change: Callable[[Program], Any] = lambda program: None, **entries: str) -> Path:
        program, metadata = copy.deepcopy(written.program), dict(read_tflite(written.data).metadata)
        change(program)
        metadata |= {f"edgeailite.{key}": value.encode() for key, value in entries.items()}
        (tmp_path / "made.tflite").write_bytes(write_tflite(program, metadata=metadata))
        return tmp_path / "made.tflite"

    return make


def operator_of(program: Program, output: str) -> Operator:
    return next(each for each in program.operators if each.output.name == output)


def test_the_same_bytes_and_the_same_content_of_another_version(written, changed):
    assert compare_with_export(changed(), written.data) == SAME_BYTES
    assert compare_with_export(changed(version="0.0.1"), written.data) == SAME_GRAPH


def scaled(value: Any) -> None:
    value.scale = value.scale * np.float32(1.001)


CHANGES: dict[str, tuple[Callable[[Program], Any], str]] = {
    "constant": (lambda p: operator_of(p, "pred").inputs[1].data.__ixor__(1), r"tensor pred\.weight, "),
    "scale": (lambda p: scaled(operator_of(p, "deep.2").output), r"tensor deep\.2, "),
    "scales of a weight": (lambda p: scaled(operator_of(p, "deep.2").inputs[1]), r"tensor deep\.0\.weight, "),
    "zero point": (lambda p: setattr(operator_of(p, "project.0").output, "zero_point", 5), r"tensor project\.0, "),
    "no scale": (lambda p: setattr(operator_of(p, "add").output, "scale", None), r"tensor add, "),
    "type": (lambda p: setattr(operator_of(p, "deep.2").output, "type", "int16"), r"tensor deep\.2, "),
    "name": (lambda p: setattr(operator_of(p, "add").output, "name", "sum"), r"tensor sum, "),
    "kind": (lambda p: setattr(operator_of(p, "cat"), "kind", "ADD"), r"operator cat \(ADD\), "),
    "inputs": (lambda p: operator_of(p, "cat").inputs.reverse(), r"operator cat \(CONCATENATION\), |tensor "),
    "end": (
        lambda p: (p.operators.pop(), p.outputs.update(segmentation=operator_of(p, "segmentation.full").output)),
        "another number or order of tensors or operators, ",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("version", [{}, {"version": "0.0.1"}])
def test_what_differs_is_named(name, version, written, changed):
    change, place = CHANGES[name]
    with pytest.raises(ParityError, match=rf"made\.tflite: ({place}).*is not what export writes of this run") as caught:
        compare_with_export(changed(change, **version), written.data)
    assert ("the file is of version '0.0.1'" in str(caught.value)) == bool(version)


def test_entries_differ_but_for_those_that_say_how_it_was_written(written, changed):
    with pytest.raises(ParityError, match=r"edgeailite\.scheme: 's8s8', which is not"):
        compare_with_export(changed(scheme="s8s8"), written.data)
    with pytest.raises(ParityError, match=r"edgeailite\.more: 'x', which is not"):
        compare_with_export(changed(more="x"), written.data)


def test_other_bytes_of_the_same_content_are_no_file_of_this_version(written, tmp_path):
    path = tmp_path / "made.tflite"
    path.write_bytes(written.data + b"\0")
    with pytest.raises(ParityError, match="other bytes than are written of the same operators and weights"):
        compare_with_export(path, written.data)
