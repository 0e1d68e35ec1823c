"""Scales that kernels do not take are refused before a runtime sees them; those next to them are computed alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeailite.errors import UsageError
from edgeailite.quantization.program import Operator, Program, Value
from edgeailite.quantization.scale_limits import check_scales
from tests.tflite_schema import check_everywhere


def value(name: str, scale: float, **changes: Any) -> Value:
    return Value(name, (1, 1, 1, 2), scale=np.array([scale], np.float32), **changes)


def addition(first: float, second: float, result: float, kind: str = "int8") -> Program:
    a, b, y = value("a", first, type=kind), value("b", second, type=kind), value("y", result, type=kind)
    return Program([a, b], {"y": y}, [Operator("ADD", [a, b], y, {"activation": "NONE"})])


def convolution(*, multiplier: float, bias: int = 0, kind: str = "int8") -> Program:
    x, y, bias_type = value("x", 1.0, type=kind), value("y", 1.0, type=kind), "int32" if kind == "int8" else "int64"
    data, scale = np.ones((2, 1, 1, 2), np.int8), np.full(2, multiplier, np.float32)
    w = Value("w", data.shape, scale=scale, data=data)
    b = Value("b", (2,), bias_type, scale, data=np.full(2, bias, bias_type))
    return Program([x], {"y": y}, [Operator("CONV_2D", [x, w, b], y, {"activation": "NONE"})])


REFUSED = {
    "a ratio of 2^8": addition(256.0, 1.0, 1.0),
    "a ratio of 2^7 beside one that XNNPACK leaves to others": addition(128.0, 2**-11, 1.0),
    "a multiplier of 2^8": convolution(multiplier=256.0),
    "a ratio of 2^14 in 16 bits": addition(2.0**14, 1.0, 1.0, "int16"),
    "a multiplier of 2^7 in 16 bits": convolution(multiplier=128.0, kind="int16"),
    "a sum beyond 2^47 in 16 bits": convolution(multiplier=0.001, bias=2**47 - 1, kind="int16"),
    "a sum beyond int32": convolution(multiplier=0.001, bias=2**31 - 256),
    "a sum beyond int32 after its shift": convolution(multiplier=8.0, bias=2**28),
}
TAKEN = {
    "ratios that XNNPACK takes": addition(255.9, 2**-10, 1.0),
    "a ratio that XNNPACK leaves to others": addition(127.9, 2**-20, 1.0),
    "ratios in 16 bits": addition(2.0**14 - 1, 2**-10, 1.0, "int16"),
    "a multiplier in 16 bits": convolution(multiplier=127.0, kind="int16"),
    "a sum in 16 bits": convolution(multiplier=0.001, bias=2**46, kind="int16"),
    "a multiplier": convolution(multiplier=255.0),
    "a sum": convolution(multiplier=0.001, bias=2**31 - 1024),
    "a shifted sum": convolution(multiplier=7.9, bias=2**28 - 1024),
}


@pytest.mark.parametrize("program", REFUSED.values(), ids=REFUSED)
def test_scales_that_kernels_do_not_take_are_refused_with_the_layer(program):
    with pytest.raises(UsageError, match="beyond what integer kernels take") as caught:
        check_scales(program)
    assert caught.value.path == "y"


@pytest.mark.parametrize("program", TAKEN.values(), ids=TAKEN)
def test_scales_next_to_those_are_taken(program):
    pytest.importorskip("ai_edge_litert")
    check_scales(program)
    for op in program.operators:
        if op.kind == "CONV_2D":
            op.options |= {"stride": (1, 1), "dilation": (1, 1), "padding": "VALID"}
    check_everywhere(program, [np.full(v.shape, 127, v.type) for v in program.inputs])
