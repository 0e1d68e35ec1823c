"""A .tflite file of one convolution with our metadata, and its program, to be changed by tests."""

from __future__ import annotations

from edgeailite.modelcard import ModelCard
from edgeailite.preprocessing import Preprocessing
from edgeailite.quantization.program import Program
from edgeailite.runs.onnx_model import card_entries
from tests.export.programs import Builder, scale

SIZE = (8, 12)
CLASSES = tuple(f"class {index}" for index in range(5))
CARD = ModelCard("made", {"segmentation": 5}, CLASSES, tuple((i, i, i) for i in range(5)), Preprocessing(*SIZE), "none")


def program(classes: int = 5, *, stride: int = 1, step: float = 0.2) -> Program:
    """One convolution of a picture to int8 scores of this many classes."""
    make = Builder(SIZE)
    y = make.convolution(make.inputs[0], "head", classes, stride=stride, scale=scale(step), zero_point=-7)
    y.name = "segmentation"
    return make.program(segmentation=y)


def entries(**changes: str) -> dict[str, bytes]:
    """The metadata of that file, with other values of some `edgeailite.` entries."""
    said = {
        "edgeailite.kind": "int8",
        "edgeailite.argmax": "none",
        "edgeailite.head": "quantized",
        **card_entries(CARD),
    }
    said |= {f"edgeailite.{key}": value for key, value in changes.items()}
    return {key: value.encode() for key, value in said.items()}
