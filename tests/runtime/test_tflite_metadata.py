"""What a .tflite file says of itself must be what its graph is; no runtime is needed to find out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgeailite.errors import DataError
from edgeailite.export.tflite_file import write_tflite
from edgeailite.runtime.tflite_file import Node, Tensor, TfliteFile, read_tflite
from edgeailite.runtime.tflite_metadata import Port, admit_tflite
from tests.runtime.small_tflite import CARD, entries, program


def made(changed: Any = None, **said: str) -> TfliteFile:
    return read_tflite(write_tflite(program() if changed is None else changed, metadata=entries(**said)))


def tensor(kind: str = "int8", shape: tuple[int, ...] = (1, 4, 6, 3), scales: int = 1, zeros: int = 1) -> Tensor:
    scale = None if scales == 0 else np.ones(scales, np.float32)
    return Tensor("x", shape, kind, scale, np.zeros(zeros, np.int64), 3, None)


@pytest.mark.parametrize(
    ("found", "fits"),
    [
        (tensor(), True),
        (tensor("int16"), True),
        (tensor("float32"), False),
        (tensor(shape=(1, 4, 9, 3)), True),  # any width
        (tensor(shape=(1, 5, 6, 3)), False),
        (tensor(shape=(1, 4, 6)), False),
        (tensor(shape=(1, 4, 0, 3)), False),
        (tensor(scales=0), False),
        (tensor(scales=3, zeros=3), False),
        (tensor(scales=1, zeros=0), False),
    ],
)
def test_a_port_says_what_fits(found, fits):
    assert Port(("int8", "int16"), (1, 4, None, 3)).fits(found) == fits


def test_a_sound_file_is_admitted():
    about, head = admit_tflite(made())
    assert (about.card, head) == (CARD, "quantized")


@pytest.mark.parametrize(("other", "found"), [(program(4), "'int8 1x8x12x4'"), (program(stride=2), "'int8 1x4x6x5'")])
def test_outputs_of_another_shape_are_refused(other, found):
    with pytest.raises(DataError, match=rf"output segmentation: the metadata say 'int8 or int16 .*graph has {found}"):
        admit_tflite(made(other))


def test_codes_may_have_any_size():
    assert admit_tflite(made(program(stride=2), head="codes"))[1] == "codes"


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "LOGISTIC"},
        {"inputs": (-1, 1, 2)},
        {"outputs": (3, 2)},
    ],
)
def test_operators_that_export_does_not_write_are_refused(change):
    file = made()
    (node,) = file.nodes
    assert isinstance(node, Node)
    with pytest.raises(DataError, match=f"{change.get('kind', 'CONV_2D')}, which export does not write like that"):
        admit_tflite(replace(file, nodes=(replace(node, **change),)))
