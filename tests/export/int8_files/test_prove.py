"""int8 files of onnxruntime's own quantizer are proven tensor by tensor, and a planted fault is named at its layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeailite.errors import ParityError
from edgeailite.export.int8_files.file import Int8File, int8_file
from edgeailite.export.int8_files.prove import Proof, prove_int8
from edgeailite.onnxfile import read_onnx
from edgeailite.preprocessing import Preprocessing
from tests.export.int8_files.files import FORMATS, SIZE, pictures, quantized

SIGNED_QDQ = "QDQ s8s8 per channel"  # x86 computes parts of such files in float


def opened(path) -> Int8File:
    return int8_file(read_onnx(path))


def proven(file: Int8File, **options) -> Proof:
    return prove_int8(file, pictures(), Preprocessing(*SIZE), **options)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_form_of_file_is_proven(tmp_path, kind):
    proof = proven(opened(quantized(tmp_path, kind)))
    assert proof.pictures == 2 and proof.tensors > 10
    for level in ("EXTENDED", "ALL"):
        assert [part.max_difference for part in proof.agreements[level]] == [0.0, 0.0]
    layers = {"node_0", "node_2", "node_4", "node_9", "node_15", "node_18"}
    assert {name.removesuffix("_quant") for name in proof.macs} == layers
    if kind == SIGNED_QDQ:
        assert proof.float_layers and 0 < proof.integer_macs < 1 and not proof.exact
    else:
        assert not proof.float_layers and proof.integer_macs == 1
        assert all(part.largest_step <= 1 for part in proof.parts.values())  # functions next to a tie, if any


PLANTED = {"w1": "node_0", "w2": "node_2", "w4": "node_15", "wl": "node_18"}


@pytest.mark.parametrize("weight", PLANTED)
@pytest.mark.parametrize("kind", ["QDQ u8s8 per channel", "QOperator u8u8"])
def test_one_weight_code_is_named_at_its_layer(tmp_path, kind, weight):
    file = opened(quantized(tmp_path, kind))
    codes = file.constants[f"{weight}_quantized"].copy()
    place = np.unravel_index(codes.argmax(), codes.shape)
    codes[place] = codes[place] - 100
    other = replace(file, constants={**file.constants, f"{weight}_quantized": codes})
    with pytest.raises(ParityError, match=f"departs at {PLANTED[weight]}(_quant)? .* codes differ"):
        proven(file, evaluated=other)
