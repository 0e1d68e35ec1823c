"""Every operator of other people's networks, for every target: written, or refused in one line that names it."""

from __future__ import annotations

import pytest
import torch

from edgeailite.errors import UsageError
from edgeailite.export.targets import TARGETS, Request, write
from edgeailite.modelcard import ModelCard
from edgeailite.preprocessing import Preprocessing
from tests.quantization.test_lowering_operators import BODIES, SIZE, Between, prepared

SCHEMES = {"tensorrt": "s8s8", "tidl": "tidl_pow2"}
WRITTEN = ("onnxruntime", "tflite")  # that take every body
CARD = ModelCard("between", {"output": 4}, tuple("abcd"), ((0, 0, 0),) * 4, Preprocessing(*SIZE), "none")


DEFAULT = (("tensorrt", "Pad"), ("tidl", "constants"), ("tflite", "Hardswish"))


@pytest.mark.parametrize(("target", "name"), [
    pytest.param(target, name, marks=() if (target, name) in DEFAULT else pytest.mark.slow)
    for target in TARGETS if target != "ethos-u" for name in BODIES  # Vela compiles the tflite file
])  # fmt: skip
def test_a_target_takes_an_operator_or_refuses_it_by_name(target, name):
    torch.manual_seed(0)
    body, module, _ = BODIES[name]
    model, _ = prepared(Between(body, module), scheme=SCHEMES.get(target, "ort_u8s8"))
    request = Request(model, CARD, TARGETS[target].opset or 17, size=SIZE)
    try:
        files, _ = write(target, request)
    except UsageError as error:
        assert target not in WRITTEN, str(error)
        assert "\n" not in str(error)
        assert any(word in str(error) for word in ("operator", "has no", "an activation behind")), str(error)
    else:
        assert files
